//! What the driver knows about a request: its header, and how much room its reply needs. Pure.

use frontend::fuse::{self, opcode};
use frontend::wire::Wire;

/// Room for a reply that this program knows nothing about, in bytes.
const UNKNOWN_REPLY: usize = 4096;

/// Which queue a request takes, and how large its reply can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Through the hiprio queue, without a reply.
    Hiprio,
    /// Through a request queue, with this many bytes of structures in the reply, in one descriptor.
    Structures(usize),
    /// Through a request queue, with this many bytes of data in the reply, in page-sized descriptors.
    Data(usize),
}

impl Route {
    /// Where a request with this opcode and body (what stands behind the header) goes.
    pub fn of(opcode: u32, body: &[u8]) -> Route {
        match opcode {
            opcode::FORGET | opcode::BATCH_FORGET | opcode::INTERRUPT => Route::Hiprio,
            opcode::READ | opcode::READDIR | opcode::READDIRPLUS => Route::Data(u32_at(body, 16)),
            opcode::READLINK => Route::Data(frontend::memory::PAGE_SIZE - 1),
            _ => Route::Structures(structures(opcode, body)),
        }
    }

    /// Bytes of the reply behind its header.
    pub fn reply_len(self) -> usize {
        match self {
            Route::Hiprio => 0,
            Route::Structures(len) | Route::Data(len) => len,
        }
    }
}

/// The reply's structures as the kernel's fs/fuse lays them out (`args->out_args`).
fn structures(opcode: u32, body: &[u8]) -> usize {
    match opcode {
        opcode::LOOKUP | opcode::SYMLINK | opcode::MKNOD | opcode::MKDIR | opcode::LINK => {
            fuse::EntryOut::SIZE
        }
        opcode::CREATE | opcode::TMPFILE => fuse::CreateOut::SIZE,
        opcode::GETATTR | opcode::SETATTR => fuse::AttrOut::SIZE,
        opcode::STATX => fuse::StatxOut::SIZE,
        opcode::OPEN | opcode::OPENDIR => fuse::OpenOut::SIZE,
        opcode::WRITE | opcode::COPY_FILE_RANGE => fuse::WriteOut::SIZE,
        opcode::COPY_FILE_RANGE_64 => fuse::CopyFileRangeOut::SIZE,
        opcode::STATFS => fuse::StatfsOut::SIZE,
        opcode::INIT => fuse::InitOut::SIZE,
        opcode::GETLK => fuse::LkOut::SIZE,
        opcode::LSEEK | opcode::BMAP => fuse::LseekOut::SIZE,
        opcode::POLL => fuse::PollOut::SIZE,
        opcode::IOCTL => fuse::IoctlOut::SIZE + u32_at(body, 28),
        // Size 0 asks for the size.
        opcode::GETXATTR | opcode::LISTXATTR => match u32_at(body, 0) {
            0 => fuse::GetxattrOut::SIZE,
            size => size,
        },
        opcode::UNLINK | opcode::RMDIR | opcode::RENAME | opcode::RENAME2 | opcode::ACCESS => 0,
        opcode::RELEASE | opcode::RELEASEDIR | opcode::FLUSH | opcode::FSYNC | opcode::FSYNCDIR => {
            0
        }
        opcode::SETXATTR | opcode::REMOVEXATTR | opcode::SETLK | opcode::SETLKW => 0,
        opcode::FALLOCATE | opcode::SYNCFS | opcode::DESTROY => 0,
        _ => UNKNOWN_REPLY,
    }
}

/// The kernel's number at an offset of the body; 0 where the body is shorter.
fn u32_at(body: &[u8], offset: usize) -> usize {
    body.get(offset..).and_then(u32::decode).unwrap_or(0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_for_a_read_is_what_it_asks_for() {
        let body = fuse::ReadIn {
            size: 12345,
            ..Default::default()
        }
        .encode();

        assert_eq!(Route::of(opcode::READ, &body), Route::Data(12345));
    }

    #[test]
    fn an_xattr_query_of_size_zero_gets_the_size() {
        assert_eq!(Route::of(opcode::GETXATTR, &[0; 8]), Route::Structures(8));
        assert_eq!(
            Route::of(opcode::GETXATTR, &[77, 0, 0, 0]),
            Route::Structures(77)
        );
    }

    #[test]
    fn forgets_have_no_reply() {
        assert_eq!(Route::of(opcode::BATCH_FORGET, &[]), Route::Hiprio);
    }
}
