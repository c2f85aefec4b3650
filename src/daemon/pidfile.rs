//! The pid file: who serves this socket, and a lock so that it is one only.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use nix::fcntl::{AtFlags, Flock, FlockArg, OFlag, openat};
use nix::sys::stat::{Mode, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::DaemonError;

/// A locked file with our pid in it, removed when dropped.
#[derive(Debug)]
pub struct PidFile {
    directory: OwnedFd,
    name: OsString,
    file: Flock<File>,
}

impl PidFile {
    /// Creates or takes over `name` in `directory`; `shown` is what to call it.
    pub fn create(directory: OwnedFd, name: OsString, shown: &str) -> Result<Self, DaemonError> {
        let failed = |cause: &dyn std::fmt::Display| {
            let hint = "the directory of the socket must be writable, and its .pid file our own";
            DaemonError::new(shown, cause, hint)
        };
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        // A FIFO in its place must not make us wait.
        let flags = flags | OFlag::O_NONBLOCK;
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        let fd =
            openat(&directory, name.as_os_str(), flags, mode).map_err(|errno| failed(&errno))?;
        let file = File::from(fd);
        let metadata = file.metadata().map_err(|error| failed(&error))?;
        let ours = metadata.is_file()
            && metadata.nlink() == 1
            && metadata.uid() == crate::sys::effective_ids().0;
        if !ours {
            return Err(failed(&"it exists and is not a plain file of ours"));
        }
        let file = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| {
            let hint = "stop the other daemon, or use another socket path";
            DaemonError::new(shown, "another daemon serves this socket", hint)
        })?;
        let mut pid_file = Self {
            directory,
            name,
            file,
        };
        if !pid_file.is_in_place() {
            return Err(failed(&"it was replaced just now by another daemon"));
        }
        pid_file.write_pid().map_err(|error| failed(&error))?;
        Ok(pid_file)
    }

    fn write_pid(&mut self) -> std::io::Result<()> {
        self.file.set_len(0)?;
        writeln!(self.file, "{}", std::process::id())
    }

    /// Whether the name still stands for the file we locked.
    fn is_in_place(&self) -> bool {
        let Ok(ours) = self.file.metadata() else {
            return false;
        };
        fstatat(
            self.directory.as_fd(),
            self.name.as_os_str(),
            AtFlags::AT_SYMLINK_NOFOLLOW,
        )
        .is_ok_and(|found| (found.st_dev, found.st_ino) == (ours.dev(), ours.ino()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if self.is_in_place() {
            let _ = unlinkat(
                &self.directory,
                self.name.as_os_str(),
                UnlinkatFlags::NoRemoveDir,
            );
        }
    }
}
