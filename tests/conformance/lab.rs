//! A file system of a test's own, and shares of it.

use std::fmt::Debug;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;

use crate::share::Share;
use crate::tool;

/// The file system that both sides of a comparison are on.
#[derive(Clone, Copy, Debug)]
pub enum Backing {
    /// ext4 in an image file.
    Ext4,
    /// tmpfs: nothing waits for a disk.
    Tmpfs,
}

/// A mounted file system with a directory for the host and one that is shared.
///
/// All mounts are in a mount namespace of the test's thread, so they end with it however it ends.
#[derive(Debug)]
pub struct Lab {
    scratch: TempDir,
}

impl Lab {
    /// Makes the file system. `None`, with the reason on stderr, where this machine cannot run the test.
    pub fn on(backing: Backing, tools: &[&str]) -> Option<Lab> {
        if let Some(reason) = hindrance(tools) {
            // Not eprintln!, which the harness would hide.
            let _ = writeln!(io::stderr(), "skipped: {reason}");
            return None;
        }
        unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace of the thread's own");
        let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("private mounts");
        let scratch = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a scratch directory");
        let lab = Lab { scratch };
        fs::create_dir(lab.root()).unwrap();
        lab.mount(backing);
        for directory in [lab.host(), lab.shared()] {
            fs::create_dir(directory).unwrap();
        }
        Some(lab)
    }

    /// What to do on the host is done here.
    pub fn host(&self) -> PathBuf {
        self.root().join("host")
    }

    /// The shared directory as the host sees it.
    pub fn shared(&self) -> PathBuf {
        self.root().join("shared")
    }

    /// A directory outside the file system, for inputs and reports.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// Shares [`Lab::shared`] through a daemon with these arguments besides, and mounts that.
    pub fn share(&self, daemon_args: &[&str]) -> Share {
        Share::start(&self.shared(), self.scratch(), daemon_args)
    }

    /// Does the same on the host and through `share`; both must give the same, which is returned.
    pub fn alike<T: Debug>(&self, share: &Share, act: impl Fn(&Path) -> T) -> T {
        let (on_host, through_share) = (act(&self.host()), act(share.path()));
        assert_alike("on the host", &on_host, "through the share", &through_share);
        through_share
    }

    fn root(&self) -> PathBuf {
        self.scratch().join("fs")
    }

    fn mount(&self, backing: Backing) {
        let script = match backing {
            // Sparse: only what tests write becomes real.
            Backing::Ext4 => "truncate -s 6G image; mkfs.ext4 -q -F image; mount -o loop image fs",
            Backing::Tmpfs => "mount -t tmpfs -o mode=755 none fs",
        };
        tool::sh(self.scratch(), script);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = umount2(&self.root(), MntFlags::MNT_DETACH);
    }
}

/// Compares, and when they differ shows the first lines that do.
pub fn assert_alike<T: Debug>(one: &str, this: &T, other: &str, that: &T) {
    let (this, that) = (format!("{this:#?}"), format!("{that:#?}"));
    if this == that {
        return;
    }
    let pairs = this.lines().zip(that.lines());
    let differing = pairs.filter(|(this, that)| this != that).take(10);
    let shown = differing.map(|(this, that)| format!("{one}: {this}\n{other}: {that}\n"));
    let (lines, others) = (this.lines().count(), that.lines().count());
    panic!(
        "{lines} and {others} lines differ:\n{}",
        shown.collect::<String>()
    );
}

/// Why this machine cannot run a test that needs these programs.
fn hindrance(tools: &[&str]) -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("only root may mount and act as other users".into());
    }
    if fs::File::open("/dev/fuse").is_err() {
        return Some("/dev/fuse cannot be opened; load the fuse kernel module".into());
    }
    let missing = tools.iter().find(|tool| tool::find(tool).is_none())?;
    Some(format!(
        "{missing} is not installed; run tests/conformance/prepare"
    ))
}

/// How much longer than usual the long tests are to be.
pub fn scale() -> u32 {
    std::env::var("CONFORMANCE_SCALE").map_or(1, |text| {
        text.parse().expect("CONFORMANCE_SCALE is a number")
    })
}

/// A seed for a random test, printed so that the test can be repeated with `CONFORMANCE_SEED`.
pub fn seed(test: &str) -> u32 {
    let fresh = || {
        std::process::id()
            ^ std::time::UNIX_EPOCH
                .elapsed()
                .expect("a clock after 1970")
                .subsec_nanos()
    };
    let given = std::env::var("CONFORMANCE_SEED").ok();
    let seed = given.map_or_else(fresh, |text| {
        text.parse().expect("CONFORMANCE_SEED is a number")
    });
    let _ = writeln!(io::stderr(), "{test}: CONFORMANCE_SEED={seed}");
    seed
}
