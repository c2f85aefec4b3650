//! Requests about attributes, of files and of the whole file system.

use super::{Client, Request, Result};
use crate::fuse::{
    AccessIn, AttrOut, GetattrIn, SetattrIn, StatfsOut, StatxIn, StatxOut, SyncfsIn, flag, opcode,
    setattr_valid,
};

impl Client {
    /// GETATTR of a node.
    pub fn getattr(&mut self, node: u64) -> Result<AttrOut> {
        let arguments = GetattrIn::default();
        self.ask(Request::new(opcode::GETATTR, node, &[&arguments.encode()]))
    }

    /// GETATTR of an open file.
    pub fn getattr_handle(&mut self, node: u64, fh: u64) -> Result<AttrOut> {
        let arguments = GetattrIn {
            getattr_flags: flag::GETATTR_FH,
            dummy: 0,
            fh,
        };
        self.ask(Request::new(opcode::GETATTR, node, &[&arguments.encode()]))
    }

    /// SETATTR of whatever `changes.valid` says.
    pub fn setattr(&mut self, node: u64, changes: &SetattrIn) -> Result<AttrOut> {
        self.ask(Request::new(opcode::SETATTR, node, &[&changes.encode()]))
    }

    /// SETATTR of the mode.
    pub fn chmod(&mut self, node: u64, mode: u32) -> Result<AttrOut> {
        self.setattr(
            node,
            &SetattrIn {
                valid: setattr_valid::MODE,
                mode,
                ..SetattrIn::default()
            },
        )
    }

    /// SETATTR of owner and group.
    pub fn chown(&mut self, node: u64, uid: u32, gid: u32) -> Result<AttrOut> {
        let valid = setattr_valid::UID | setattr_valid::GID;
        self.setattr(
            node,
            &SetattrIn {
                valid,
                uid,
                gid,
                ..SetattrIn::default()
            },
        )
    }

    /// SETATTR of the size.
    pub fn truncate(&mut self, node: u64, size: u64) -> Result<AttrOut> {
        self.setattr(
            node,
            &SetattrIn {
                valid: setattr_valid::SIZE,
                size,
                ..SetattrIn::default()
            },
        )
    }

    /// STATX with a mask of `STATX_...`.
    pub fn statx(&mut self, node: u64, mask: u32) -> Result<StatxOut> {
        let arguments = StatxIn {
            sx_mask: mask,
            ..StatxIn::default()
        };
        self.ask(Request::new(opcode::STATX, node, &[&arguments.encode()]))
    }

    /// ACCESS with a mask of `R_OK`, `W_OK`, `X_OK`.
    pub fn access(&mut self, node: u64, mask: u32) -> Result<()> {
        let arguments = AccessIn { mask, padding: 0 };
        self.tell(Request::new(opcode::ACCESS, node, &[&arguments.encode()]))
    }

    /// STATFS.
    pub fn statfs(&mut self, node: u64) -> Result<StatfsOut> {
        self.ask(Request::new(opcode::STATFS, node, &[]))
    }

    /// SYNCFS.
    pub fn syncfs(&mut self, node: u64) -> Result<()> {
        self.tell(Request::new(
            opcode::SYNCFS,
            node,
            &[&SyncfsIn::default().encode()],
        ))
    }
}
