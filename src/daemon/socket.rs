//! The listening socket.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::socket::{SockType, getsockopt, sockopt};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, umask};
use nix::unistd::{Gid, Group, UnlinkatFlags, unlinkat};

use super::DaemonError;
use super::pidfile::PidFile;
use crate::cli::Listener;
use crate::sys;

/// A socket that listens for front-ends.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
}

/// What was created for a socket; it is removed when this is dropped.
#[derive(Debug)]
pub struct Traces {
    /// The name is removed before the lock on it is given up.
    bound: Bound,
    _pid_file: PidFile,
}

impl Traces {
    /// Removes nothing: another process does, and this one has no way to them any more.
    pub fn leave_to_the_supervisor(self) {
        std::mem::forget(self);
    }

    /// The owner of the directory they are in, if this process still sees it under the same number
    /// and it means somebody: in a user namespace it may mean somebody else, or "nobody you know".
    pub fn directory_owner(&self) -> Option<u32> {
        /// What `/proc/sys/kernel/overflowuid` says unless somebody changed it (`proc(5)`).
        const OVERFLOW_UID: u32 = 65_534;
        let now = owner_of(&self.bound.directory).ok()?;
        (now == self.bound.directory_owner && now != OVERFLOW_UID).then_some(now)
    }
}

/// A socket's name in its directory.
#[derive(Debug)]
struct Bound {
    directory: OwnedFd,
    /// When the name was made.
    directory_owner: u32,
    name: OsString,
    identity: (u64, u64),
}

fn owner_of(directory: &OwnedFd) -> nix::Result<u32> {
    Ok(fstat(directory)?.st_uid)
}

/// The error of a socket that cannot be listened on.
pub fn cannot_listen(error: io::Error) -> DaemonError {
    DaemonError::new("the socket", error, "front-ends cannot connect to it")
}

impl Socket {
    /// Listens as the command line says.
    pub fn listen(listener: &Listener) -> Result<(Self, Option<Traces>), DaemonError> {
        let (listener, traces) = match listener {
            Listener::Fd(number) => (inherit(*number)?, None),
            Listener::Socket { path, group } => {
                let (listener, traces) = create(path, group.as_deref())?;
                (listener, Some(traces))
            }
        };
        listener.set_nonblocking(true).map_err(cannot_listen)?;
        Ok((Self { listener }, traces))
    }

    /// The next front-end; `WouldBlock` when there is none.
    pub fn accept(&self) -> io::Result<UnixStream> {
        let (stream, _) = self.listener.accept()?;
        stream.set_nonblocking(false)?;
        Ok(stream)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

/// Takes over the listening socket that a launcher passed.
fn inherit(number: RawFd) -> Result<UnixListener, DaemonError> {
    let what = format!("--fd={number}");
    let hint = "the launcher must pass a listening UNIX stream socket under this number";
    let fd = sys::inherit_fd(number).map_err(|errno| DaemonError::new(&what, errno, hint))?;
    let listens = getsockopt(&fd, sockopt::AcceptConn).unwrap_or(false);
    let streams = getsockopt(&fd, sockopt::SockType).is_ok_and(|kind| kind == SockType::Stream);
    if !listens || !streams {
        return Err(DaemonError::new(
            what,
            "not a listening stream socket",
            hint,
        ));
    }
    Ok(UnixListener::from(fd))
}

/// Creates the socket at `path`, under the lock of its pid file.
fn create(path: &Path, group: Option<&str>) -> Result<(UnixListener, Traces), DaemonError> {
    let shown = path.display().to_string();
    let failed = |cause: &dyn std::fmt::Display, hint: &str| DaemonError::new(&shown, cause, hint);
    let hint = "--socket-path must name a place in a directory that can be written to";
    let name = path
        .file_name()
        .ok_or_else(|| failed(&"it has no file name", hint))?;
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let directory = open(parent.unwrap_or(Path::new(".")), flags, Mode::empty())
        .map_err(|errno| failed(&errno, hint))?;
    let gid = group.map(find_group).transpose()?;

    let pid_dir = directory
        .try_clone()
        .map_err(|error| failed(&error, hint))?;
    let mut pid_name = name.to_owned();
    pid_name.push(".pid");
    let pid_file = PidFile::create(pid_dir, pid_name, &format!("{shown}.pid"))?;
    remove_stale(&directory, name, path)
        .map_err(|cause| failed(&cause, "remove it, or use another socket path"))?;
    let listener = bind(path, &directory, name).map_err(|error| failed(&error, hint))?;
    let bound = Bound::new(directory, name).map_err(|errno| failed(&errno, hint))?;
    if let Some(gid) = gid {
        bound
            .open_to_group(gid)
            .map_err(|errno| failed(&errno, "the daemon's user must be in --socket-group"))?;
    }
    let traces = Traces {
        bound,
        _pid_file: pid_file,
    };
    Ok((listener, traces))
}

/// The group of this name or number.
fn find_group(group: &str) -> Result<Gid, DaemonError> {
    let failed = |cause: &str| {
        DaemonError::new(
            format!("--socket-group={group}"),
            cause,
            "`getent group` lists the groups",
        )
    };
    match (Group::from_name(group), group.parse()) {
        (Ok(Some(found)), _) => Ok(found.gid),
        (_, Ok(number)) => Ok(Gid::from_raw(number)),
        (Err(errno), _) => Err(failed(errno.desc())),
        _ => Err(failed("no such group")),
    }
}

/// Removes the socket of a daemon that is gone; anything else stays and is an error.
fn remove_stale(directory: &OwnedFd, name: &OsStr, path: &Path) -> Result<(), String> {
    let found = match look_at(directory, name) {
        Ok(found) => found,
        Err(nix::errno::Errno::ENOENT) => return Ok(()),
        Err(errno) => return Err(errno.desc().to_owned()),
    };
    if SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT != SFlag::S_IFSOCK {
        return Err("it exists and is not a socket".to_owned());
    }
    if is_listened_on(path) {
        return Err("another process listens on it".to_owned());
    }
    unlinkat(directory, name, UnlinkatFlags::NoRemoveDir).map_err(|errno| errno.desc().to_owned())
}

/// Whether `/proc/net/unix` (`proc(5)`) shows a listener with this path. Connecting to find out
/// would end a daemon that serves its first connection only.
fn is_listened_on(path: &Path) -> bool {
    /// `__SO_ACCEPTCON` in the flags column: the socket listens.
    const LISTENS: &[u8] = b"00010000";
    let ours = real_place(path);
    let Ok(sockets) = std::fs::read("/proc/net/unix") else {
        return false;
    };
    let mut lines = sockets.split(|&byte| byte == b'\n');
    lines.any(|line| {
        // Num RefCount Protocol Flags Type St Inode, then the path, which may have blanks in it.
        let columns = columns(line, 7);
        let listens = columns.get(3) == Some(&LISTENS);
        let bound_to = columns
            .last()
            .map(|path| Path::new(OsStr::from_bytes(path)));
        listens && ours.is_some() && bound_to.and_then(real_place) == ours
    })
}

/// The first `count` columns of a line, and as the last one whatever is behind them.
fn columns(line: &[u8], count: usize) -> Vec<&[u8]> {
    let mut rest = line;
    let mut columns = Vec::new();
    for _ in 0..count {
        rest = rest.trim_ascii_start();
        let end = rest.iter().position(|&byte| byte == b' ');
        let (column, behind) = rest.split_at(end.unwrap_or(rest.len()));
        columns.push(column);
        rest = behind;
    }
    columns.push(rest.strip_prefix(b" ").unwrap_or(rest));
    columns
}

/// A name in the directory that its path really leads to.
fn real_place(path: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(path).ok()?;
    Some(
        absolute
            .parent()?
            .canonicalize()
            .ok()?
            .join(absolute.file_name()?),
    )
}

/// Binds and listens. Only the owner may connect.
fn bind(path: &Path, directory: &OwnedFd, name: &OsStr) -> io::Result<UnixListener> {
    /// Longest path that a socket address has room for (`unix(7)`).
    const PATH_MAX: usize = 107;
    let previous = umask(Mode::from_bits_truncate(0o177));
    let listener = if path.as_os_str().len() <= PATH_MAX {
        UnixListener::bind(path)
    } else {
        let mut short = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
        short.extend_from_slice(name.as_bytes());
        UnixListener::bind(OsString::from_vec(short))
    };
    umask(previous);
    listener
}

fn look_at(directory: &OwnedFd, name: &OsStr) -> nix::Result<FileStat> {
    fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW)
}

impl Bound {
    fn new(directory: OwnedFd, name: &OsStr) -> nix::Result<Self> {
        let found = look_at(&directory, name)?;
        Ok(Self {
            directory_owner: owner_of(&directory)?,
            directory,
            name: name.to_owned(),
            identity: (found.st_dev, found.st_ino),
        })
    }
}

impl Bound {
    /// Lets the members of a group connect too; the socket itself, whatever is put in its place.
    fn open_to_group(&self, gid: Gid) -> Result<(), sys::Errno> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let socket = openat(&self.directory, self.name.as_os_str(), flags, Mode::empty())?;
        sys::chown(socket.as_fd(), None, Some(gid.as_raw()))?;
        sys::chmod(&sys::ProcFds::open()?, socket.as_fd(), 0o660)
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let still_ours = look_at(&self.directory, &self.name)
            .is_ok_and(|found| (found.st_dev, found.st_ino) == self.identity);
        if still_ours {
            let _ = unlinkat(
                &self.directory,
                self.name.as_os_str(),
                UnlinkatFlags::NoRemoveDir,
            );
        }
    }
}
