//! Conformance: what a program sees through the daemon is what it sees on the host.
//!
//! Each test takes a [`lab::Lab`] (a file system of its own, ext4 or tmpfs, part of which is shared through the built daemon and
//! mounted back by hostmount), does something on the host's part and the same through the share, and compares. So what the
//! file system underneath cannot do is no failure, and what the daemon changes is. Where the guest's own kernel must differ, the
//! test names the difference and fails when it goes away.
//!
//! - `pjdfstest`, `fsx`, `fio`, `stress`: suites of others. `prepare` installs them.
//! - `work`: what people do: archives, git, compiling, databases, copying trees.
//! - `files`, `directories`, `names`, `privileges`: the calls these rest on, one by one.
//! - `descriptors`: nothing stays open in the daemon.
//!
//! Needs root and /dev/fuse. `CONFORMANCE_SCALE=10` makes the random and the long ones ten times as long;
//! `CONFORMANCE_SEED` repeats a random one.

mod descriptors;
mod directories;
mod files;
mod fio;
mod fsx;
mod lab;
mod manifest;
mod names;
mod pjdfstest;
mod privileges;
mod share;
mod stress;
mod tool;
mod work;
