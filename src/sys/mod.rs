//! Every system call of the daemon behind a safe signature.
//!
//! Together with `device::chain` this is the only place with unsafe code. A call's errno becomes
//! an [`Errno`] right beside the call; descriptors are [`OwnedFd`] or [`BorrowedFd`]. This module
//! knows no guests, no FUSE and no virtio: it does what it is told, on descriptors.
//!
//! [`OwnedFd`]: std::os::fd::OwnedFd
//! [`BorrowedFd`]: std::os::fd::BorrowedFd
#![allow(unsafe_code)]

mod creds;
mod dirents;
mod errno;
mod fd;
mod file;
mod iov;
mod mount;
mod path;
mod privilege;
mod process;
mod stat;

pub use creds::{Capabilities, effective_ids, set_effective_gid, set_effective_uid};
pub use dirents::{RawDirent, dirents, read_dirents};
pub use errno::Errno;
pub use fd::{FdCell, ProcFds, close_duplicate};
pub use file::{
    FileSystemStat, WriteTo, copy_file_range, fallocate, fstatfs, fsync, pread_into, pwrite_from,
    seek, syncfs, truncate,
};
pub use iov::{GuestBuffers, Span};
pub use mount::{MountAttributes, attach_tree, clone_tree, restrict_tree};
pub use path::{
    chmod, chown, create_exclusive, link, make_directory, make_node, open_child, open_root,
    open_temporary, read_link, rename, set_times, symlink, unlink,
};
pub use privilege::{
    clear_ambient_set, die_with_parent, drop_from_bounding_set, forbid_dumps, forgo_new_privileges,
    has_forgone_new_privileges, leave_session_keyring, make_root_ordinary,
};
pub use process::{
    Fork, NofileLimit, NofileWish, clear_direct, clear_umask, close_all_but,
    close_inherited_directories, end_at_once, forbid_core_files, fork, hear_of_children,
    ignore_induced_signals, inherit_fd, is_anonymous, leave_out_of_dumps, peek, raise_nofile_limit,
    replace_standard_streams, report_trapped_calls, set_nonblocking,
};
pub use stat::{FileType, Stat, stat, stat_child};
