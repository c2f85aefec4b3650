//! What guests ask for: one type per operation, checked while it is decoded.
//!
//! The decoded operation is the argument list of the file system's method of the same name. By
//! topic: [`names`] makes, moves and removes directory entries, [`open`] opens and closes,
//! [`data`] moves and arranges bytes, [`attr`] is about attributes, [`dir`] about listings,
//! [`control`] about the session.

pub mod attr;
pub mod control;
pub mod data;
pub mod dir;
pub mod names;
pub mod open;

use super::abi::{self, ByteValued, InHeader, opcode};
use super::cursor::Cursor;
use super::{Caller, InitRequest, NodeId, WireError};

pub use attr::{Access, Getattr, SetTime, Setattr, Statx};
pub use control::{BatchForget, Forget};
pub use data::{CopyFileRange, Fallocate, Flush, Fsync, Lseek, Read, Write};
pub use dir::Readdir;
pub use names::{Create, Link, Lookup, Mkdir, Mknod, Rename, Symlink, Tmpfile, Unlink};
pub use open::{Open, Release};

/// Permission bits, with set-id and sticky bits.
const PERMISSIONS: u32 = 0o7777;

/// A decoded request.
#[derive(Debug)]
pub struct Request<'a> {
    /// The guest's number for this request; the reply carries it.
    pub unique: u64,
    /// On whose behalf.
    pub caller: Caller,
    /// What to do.
    pub operation: Operation<'a>,
}

/// What to do.
#[allow(missing_docs)] // The names are the protocol's.
#[derive(Debug)]
pub enum Operation<'a> {
    Lookup(Lookup<'a>),
    Forget(Forget),
    BatchForget(BatchForget<'a>),
    Getattr(Getattr),
    Setattr(Setattr),
    Statx(Statx),
    Readlink(NodeId),
    Symlink(Symlink<'a>),
    Mknod(Mknod<'a>),
    Mkdir(Mkdir<'a>),
    Unlink(Unlink<'a>),
    Rmdir(Unlink<'a>),
    Rename(Rename<'a>),
    Link(Link<'a>),
    Open(Open),
    Opendir(Open),
    Create(Create<'a>),
    Tmpfile(Tmpfile),
    Read(Read),
    Write(Write),
    Flush(Flush),
    Release(Release),
    Releasedir(Release),
    Fsync(Fsync),
    Fsyncdir(Fsync),
    Fallocate(Fallocate),
    Lseek(Lseek),
    CopyFileRange(CopyFileRange),
    Readdir(Readdir),
    Readdirplus(Readdir),
    Statfs(NodeId),
    Syncfs(NodeId),
    Access(Access),
    Init(InitRequest),
    Interrupt,
    Destroy,
    /// An opcode that is not served: the kernel takes `ENOSYS` for "never ask again".
    Unsupported(u32),
}

impl<'a> Request<'a> {
    /// Decodes the request with this header; `body` is what follows it, for a write without the
    /// data.
    pub fn decode(header: &InHeader, body: &'a [u8]) -> Result<Self, WireError> {
        let body = without_extensions(header, body)?;
        Ok(Self {
            unique: header.unique,
            caller: Caller {
                uid: header.uid,
                gid: header.gid,
            },
            operation: Operation::decode(header.opcode, NodeId(header.nodeid), Cursor::new(body))?,
        })
    }
}

/// Cuts off the extensions that may follow a creating request's names (`total_extlen`, since
/// 7.38, in the low half of what was padding). None is negotiated, so none has a meaning yet.
fn without_extensions<'a>(header: &InHeader, body: &'a [u8]) -> Result<&'a [u8], WireError> {
    let units = usize::from(header.padding as u16);
    let len = body
        .len()
        .checked_sub(units * abi::EXTENSION_UNIT)
        .ok_or(WireError::Malformed)?;
    Ok(&body[..len])
}

impl<'a> Operation<'a> {
    fn decode(opcode: u32, node: NodeId, body: Cursor<'a>) -> Result<Self, WireError> {
        Ok(match opcode {
            opcode::LOOKUP => Self::Lookup(Lookup::decode(node, body)?),
            opcode::FORGET => Self::Forget(Forget::decode(node, body)?),
            opcode::BATCH_FORGET => Self::BatchForget(BatchForget::decode(body)?),
            opcode::GETATTR => Self::Getattr(Getattr::decode(node, body)?),
            opcode::SETATTR => Self::Setattr(Setattr::decode(node, body)?),
            opcode::STATX => Self::Statx(Statx::decode(node, body)?),
            opcode::READLINK => Self::Readlink(node),
            opcode::SYMLINK => Self::Symlink(Symlink::decode(node, body)?),
            opcode::MKNOD => Self::Mknod(Mknod::decode(node, body)?),
            opcode::MKDIR => Self::Mkdir(Mkdir::decode(node, body)?),
            opcode::UNLINK => Self::Unlink(Unlink::decode(node, body)?),
            opcode::RMDIR => Self::Rmdir(Unlink::decode(node, body)?),
            opcode::RENAME => Self::Rename(Rename::decode(node, body)?),
            opcode::RENAME2 => Self::Rename(Rename::decode_with_flags(node, body)?),
            opcode::LINK => Self::Link(Link::decode(node, body)?),
            opcode::OPEN => Self::Open(Open::decode(node, body)?),
            opcode::OPENDIR => Self::Opendir(Open::decode(node, body)?),
            opcode::CREATE => Self::Create(Create::decode(node, body)?),
            opcode::TMPFILE => Self::Tmpfile(Tmpfile::decode(node, body)?),
            opcode::READ => Self::Read(Read::decode(node, body)?),
            opcode::WRITE => Self::Write(Write::decode(node, body)?),
            opcode::FLUSH => Self::Flush(Flush::decode(node, body)?),
            opcode::RELEASE => Self::Release(Release::decode(node, body)?),
            opcode::RELEASEDIR => Self::Releasedir(Release::decode(node, body)?),
            opcode::FSYNC => Self::Fsync(Fsync::decode(node, body)?),
            opcode::FSYNCDIR => Self::Fsyncdir(Fsync::decode(node, body)?),
            opcode::FALLOCATE => Self::Fallocate(Fallocate::decode(node, body)?),
            opcode::LSEEK => Self::Lseek(Lseek::decode(node, body)?),
            opcode::COPY_FILE_RANGE => {
                Self::CopyFileRange(CopyFileRange::decode(node, body, false)?)
            }
            opcode::COPY_FILE_RANGE_64 => {
                Self::CopyFileRange(CopyFileRange::decode(node, body, true)?)
            }
            opcode::READDIR => Self::Readdir(Readdir::decode(node, body)?),
            opcode::READDIRPLUS => Self::Readdirplus(Readdir::decode(node, body)?),
            opcode::STATFS => Self::Statfs(node),
            opcode::SYNCFS => Self::Syncfs(node),
            opcode::ACCESS => Self::Access(Access::decode(node, body)?),
            opcode::INIT => Self::Init(InitRequest::decode(body)?),
            opcode::INTERRUPT => Self::Interrupt,
            opcode::DESTROY => Self::Destroy,
            other => Self::Unsupported(other),
        })
    }

    /// Whether it could change anything on the host: what a read-only share refuses.
    pub fn mutates(&self) -> bool {
        match self {
            Self::Setattr(_)
            | Self::Symlink(_)
            | Self::Mknod(_)
            | Self::Mkdir(_)
            | Self::Unlink(_)
            | Self::Rmdir(_)
            | Self::Rename(_)
            | Self::Link(_)
            | Self::Create(_)
            | Self::Tmpfile(_)
            | Self::Write(_)
            | Self::Fallocate(_)
            | Self::CopyFileRange(_) => true,
            Self::Open(open) => open.writes(),
            Self::Access(access) => access.mask & libc::W_OK as u32 != 0,
            _ => false,
        }
    }
}

/// Whether the guest waits for no reply to `opcode` (`FR_FORCE`-less noreply requests and
/// interrupts, `fs/fuse/dev.c`).
pub fn is_silent(opcode: u32) -> bool {
    matches!(
        opcode,
        opcode::FORGET | opcode::BATCH_FORGET | opcode::INTERRUPT | opcode::NOTIFY_REPLY
    )
}

/// The request's header, from its bytes.
pub fn header(bytes: &[u8; abi::IN_HEADER_LEN]) -> InHeader {
    let mut header = InHeader::default();
    header.as_mut_slice().copy_from_slice(bytes);
    header
}

/// A file offset: `off_t` is signed, so the upper half of the wire's range does not exist.
fn offset(raw: u64) -> Result<i64, WireError> {
    i64::try_from(raw).map_err(|_| WireError::OutOfRange)
}

/// An offset with a length after it that must not pass the end of what offsets can say.
fn range(raw_offset: u64, length: u64) -> Result<i64, WireError> {
    let start = offset(raw_offset)?;
    let end = raw_offset
        .checked_add(length)
        .ok_or(WireError::OutOfRange)?;
    offset(end).map(|_| start)
}

/// The next 32-bit word.
pub(super) fn word(body: &mut Cursor<'_>) -> Result<u32, WireError> {
    Ok(u32::from_ne_bytes(
        body.bytes(4)?.try_into().expect("4 bytes"),
    ))
}

#[cfg(test)]
mod tests;
