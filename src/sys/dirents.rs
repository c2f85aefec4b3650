//! `getdents64(2)`.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::Errno;
use super::errno::retry;

/// Bytes of `struct linux_dirent64` before the name (`getdents(2)`).
const HEADER: usize = 19;

/// One entry as the kernel lists it.
#[derive(Clone, Copy, Debug)]
pub struct RawDirent<'a> {
    /// Inode number; for a mount point the one underneath.
    pub ino: u64,
    /// Where the listing goes on after this entry.
    pub next_offset: i64,
    /// `DT_*`.
    pub kind: u8,
    /// The name, `.` and `..` included.
    pub name: &'a CStr,
}

/// Fills `buffer` with entries of the directory opened as `fd`; zero bytes is its end.
pub fn read_dirents(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    let len = retry(|| {
        // SAFETY: `buffer` is writable for its length.
        unsafe {
            libc::syscall(
                libc::SYS_getdents64,
                fd.as_raw_fd(),
                buffer.as_mut_ptr(),
                buffer.len(),
            )
        }
    })?;
    Ok(len as usize)
}

/// The entries in what [`read_dirents`] filled.
pub fn dirents(mut bytes: &[u8]) -> impl Iterator<Item = RawDirent<'_>> {
    std::iter::from_fn(move || {
        let (header, _) = bytes.split_at_checked(HEADER)?;
        let record_len = usize::from(u16::from_ne_bytes([header[16], header[17]]));
        let record = bytes.get(..record_len)?;
        let entry = RawDirent {
            ino: u64::from_ne_bytes(header[..8].try_into().ok()?),
            next_offset: i64::from_ne_bytes(header[8..16].try_into().ok()?),
            kind: header[18],
            name: CStr::from_bytes_until_nul(record.get(HEADER..)?).ok()?,
        };
        bytes = &bytes[record_len..];
        Some(entry)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsFd;

    #[test]
    fn lists_a_directory_with_its_dots() {
        let dir = File::open("/proc/self").unwrap();
        let mut buffer = [0; 32 * 1024];

        let len = read_dirents(dir.as_fd(), &mut buffer).unwrap();

        let names: Vec<_> = dirents(&buffer[..len]).map(|d| d.name.to_owned()).collect();
        assert!(names.contains(&c".".to_owned()) && names.contains(&c"status".to_owned()));
    }

    #[test]
    fn a_cut_record_ends_the_list() {
        assert_eq!(dirents(&[0; 10]).count(), 0);
        assert_eq!(dirents(&[0; 64]).count(), 0);
    }
}
