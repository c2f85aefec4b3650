//! Requests about POSIX and flock locks.

use super::{Client, Request, Result};
use crate::fuse::{FileLock, LkIn, LkOut, flag, opcode};

/// Whose lock on which open file.
#[derive(Clone, Copy, Debug)]
pub struct LockRequest {
    /// The file.
    pub node: u64,
    /// The open file.
    pub fh: u64,
    /// The owner's number.
    pub owner: u64,
    /// Range (`end` is the last byte), type (`F_RDLCK`, `F_WRLCK`, `F_UNLCK`) and process.
    pub lock: FileLock,
    /// flock(2) semantics instead of fcntl(2)'s.
    pub flock: bool,
}

impl LockRequest {
    /// The arguments as they travel.
    pub fn arguments(&self) -> LkIn {
        let lk_flags = if self.flock { flag::LK_FLOCK } else { 0 };
        LkIn {
            fh: self.fh,
            owner: self.owner,
            lk: self.lock,
            lk_flags,
            padding: 0,
        }
    }
}

impl Client {
    /// GETLK: the first lock in the way, or `F_UNLCK`.
    pub fn getlk(&mut self, request: &LockRequest) -> Result<FileLock> {
        let arguments = request.arguments().encode();
        let reply: LkOut = self.ask(Request::new(opcode::GETLK, request.node, &[&arguments]))?;
        Ok(reply.lk)
    }

    /// SETLK, or SETLKW when it shall `wait`.
    pub fn setlk(&mut self, request: &LockRequest, wait: bool) -> Result<()> {
        let opcode = if wait { opcode::SETLKW } else { opcode::SETLK };
        self.tell(Request::new(
            opcode,
            request.node,
            &[&request.arguments().encode()],
        ))
    }
}
