//! Descriptors: shared between threads, duplicated, re-opened.

use std::ffi::CStr;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

use super::Errno;
use super::errno::{check, retry};

const NONE: RawFd = -1;

/// A place for one descriptor that many threads read without a lock.
///
/// Whoever calls [`FdCell::take`] must know that no other thread still uses what
/// [`FdCell::borrow`] gave it: `fs::epoch` is how the daemon knows.
#[derive(Debug)]
pub struct FdCell(AtomicI32);

impl Default for FdCell {
    fn default() -> Self {
        Self(AtomicI32::new(NONE))
    }
}

impl FdCell {
    /// Stores `fd`, closing nothing: the cell must be empty.
    pub fn put(&self, fd: OwnedFd) {
        let previous = self.0.swap(fd.into_raw_fd(), Ordering::Release);
        debug_assert_eq!(previous, NONE, "a descriptor would be lost");
    }

    /// The descriptor, or `EBADF` when the cell is empty.
    pub fn borrow(&self) -> Result<BorrowedFd<'_>, Errno> {
        match self.0.load(Ordering::Acquire) {
            NONE => Err(Errno::EBADF),
            // SAFETY: the number came from an `OwnedFd` and stays open until `take`, which is
            // only called once no borrower is left (the type's contract, upheld by fs::epoch).
            raw => Ok(unsafe { BorrowedFd::borrow_raw(raw) }),
        }
    }

    /// Empties the cell and gives its descriptor back to be closed.
    pub fn take(&self) -> Option<OwnedFd> {
        match self.0.swap(NONE, Ordering::AcqRel) {
            NONE => None,
            // SAFETY: `put` received the ownership of this number and the swap passes it on to
            // exactly one caller.
            raw => Some(unsafe { OwnedFd::from_raw_fd(raw) }),
        }
    }
}

impl Drop for FdCell {
    fn drop(&mut self) {
        drop(self.take());
    }
}

/// Takes the result of a call that opens a descriptor.
pub(super) fn owned(raw: RawFd) -> Result<OwnedFd, Errno> {
    let raw = check(raw)?;
    // SAFETY: the kernel just returned this descriptor to us; nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Duplicates `fd` and closes the duplicate, for what `close(2)` then reports.
pub fn close_duplicate(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: F_DUPFD_CLOEXEC takes an integer and touches no memory.
    let duplicate = owned(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3) })?;
    // SAFETY: the number was ours alone and `into_raw_fd` gave it up; Linux closes it even when
    // it reports an error.
    check(unsafe { libc::close(duplicate.into_raw_fd()) }).map(drop)
}

/// The directory `/proc/self/fd`: the way from an `O_PATH` descriptor to what needs a path or an
/// opened file. Only decimal descriptor numbers are ever looked up in it, never guest data.
#[derive(Debug)]
pub struct ProcFds(OwnedFd);

/// A descriptor's name below `/proc/self/fd`, NUL-terminated.
pub(super) struct ProcName([u8; 12]);

impl ProcName {
    pub(super) fn new(fd: BorrowedFd<'_>) -> Self {
        let mut name = [0; 12];
        // An i32 has at most 11 characters: the last byte stays NUL.
        write!(&mut name[..11], "{}", fd.as_raw_fd()).expect("a number fits");
        Self(name)
    }

    pub(super) fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).expect("the last byte is NUL")
    }
}

impl ProcFds {
    /// Opens `/proc/self/fd`.
    pub fn open() -> Result<Self, Errno> {
        let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
        // SAFETY: the path is a NUL-terminated literal.
        owned(unsafe { libc::open(c"/proc/self/fd".as_ptr(), flags) }).map(Self)
    }

    /// Takes a path descriptor of `/proc/self/fd`; fails with `EXDEV` unless that is the root of a
    /// mount attached nowhere, so that not even `..` leads out of it. `/proc` is the one this
    /// process sees and may be any process's.
    pub fn jailed(directory: OwnedFd) -> Result<Self, Errno> {
        let jailed = Self(directory);
        jailed.check_jail().map(|()| jailed)
    }

    /// Whether `..` leads nowhere else.
    pub fn is_jailed(&self) -> bool {
        self.check_jail().is_ok()
    }

    /// `..` must lead nowhere, or nowhere else.
    fn check_jail(&self) -> Result<(), Errno> {
        let flags = libc::O_PATH | libc::O_CLOEXEC;
        // SAFETY: the path is a NUL-terminated literal.
        let parent = match owned(unsafe { libc::openat(self.as_raw(), c"..".as_ptr(), flags) }) {
            Ok(parent) => super::stat(parent.as_fd(), 0, 0)?,
            Err(_) => return Ok(()),
        };
        let own = super::stat(self.0.as_fd(), 0, 0)?;
        let same = parent.raw().stx_ino == own.raw().stx_ino && parent.dev() == own.dev();
        if same { Ok(()) } else { Err(Errno::EXDEV) }
    }

    /// Opens the object behind `fd` anew with `flags` (`open(2)`; `O_CLOEXEC` is added). The magic
    /// link leads to the object itself: no name is looked up and no symlink followed.
    pub fn reopen(&self, fd: BorrowedFd<'_>, flags: i32) -> Result<OwnedFd, Errno> {
        let name = ProcName::new(fd);
        let raw = retry(|| {
            // SAFETY: `name` is NUL-terminated and outlives the call.
            unsafe {
                libc::openat(
                    self.0.as_raw_fd(),
                    name.as_c_str().as_ptr(),
                    flags | libc::O_CLOEXEC,
                )
            }
        })?;
        owned(raw)
    }

    pub(super) fn as_raw(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn a_cell_gives_its_descriptor_back_once() {
        let cell = FdCell::default();
        assert_eq!(cell.borrow().unwrap_err().raw(), libc::EBADF);

        cell.put(File::open("/dev/null").unwrap().into());

        assert!(cell.borrow().is_ok());
        assert!(cell.take().is_some());
        assert!(cell.take().is_none());
    }

    #[test]
    fn a_proc_name_is_the_decimal_number() {
        let file = File::open("/dev/null").unwrap();
        let name = ProcName::new(file.as_fd());
        assert_eq!(
            name.as_c_str().to_str().unwrap(),
            file.as_raw_fd().to_string()
        );
    }
}
