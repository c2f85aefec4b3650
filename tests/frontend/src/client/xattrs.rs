//! Requests about extended attributes.

use super::{Client, Request, Result, c_name};
use crate::fuse::{GetxattrIn, GetxattrOut, SetxattrIn, SetxattrInCompat, init_flag, opcode};

impl Client {
    /// SETXATTR with flags of setxattr(2), in the form that INIT negotiated.
    pub fn setxattr(
        &mut self,
        node: u64,
        name: impl AsRef<[u8]>,
        value: &[u8],
        flags: i32,
    ) -> Result<()> {
        let (size, flags) = (value.len() as u32, flags as u32);
        let long = SetxattrIn {
            size,
            flags,
            setxattr_flags: 0,
            padding: 0,
        }
        .encode();
        let short = SetxattrInCompat { size, flags }.encode();
        let arguments = if self.has_flag(init_flag::SETXATTR_EXT) {
            &long[..]
        } else {
            &short[..]
        };
        self.tell(Request::new(
            opcode::SETXATTR,
            node,
            &[arguments, &c_name(name), value],
        ))
    }

    /// GETXATTR with room for `size` bytes.
    pub fn getxattr(&mut self, node: u64, name: impl AsRef<[u8]>, size: u32) -> Result<Vec<u8>> {
        let arguments = GetxattrIn { size, padding: 0 }.encode();
        let name = c_name(name);
        self.fetch_args(
            Request::new(opcode::GETXATTR, node, &[&arguments, &name]),
            size as usize,
        )
    }

    /// GETXATTR of the value's length.
    pub fn getxattr_size(&mut self, node: u64, name: impl AsRef<[u8]>) -> Result<u32> {
        let arguments = GetxattrIn::default().encode();
        let name = c_name(name);
        let reply: GetxattrOut =
            self.ask(Request::new(opcode::GETXATTR, node, &[&arguments, &name]))?;
        Ok(reply.size)
    }

    /// LISTXATTR with room for `size` bytes: names, each with its NUL.
    pub fn listxattr(&mut self, node: u64, size: u32) -> Result<Vec<u8>> {
        let arguments = GetxattrIn { size, padding: 0 }.encode();
        self.fetch_args(
            Request::new(opcode::LISTXATTR, node, &[&arguments]),
            size as usize,
        )
    }

    /// LISTXATTR of the list's length.
    pub fn listxattr_size(&mut self, node: u64) -> Result<u32> {
        let arguments = GetxattrIn::default().encode();
        let reply: GetxattrOut = self.ask(Request::new(opcode::LISTXATTR, node, &[&arguments]))?;
        Ok(reply.size)
    }

    /// REMOVEXATTR.
    pub fn removexattr(&mut self, node: u64, name: impl AsRef<[u8]>) -> Result<()> {
        self.tell(Request::new(
            opcode::REMOVEXATTR,
            node,
            &[name.as_ref(), b"\0"],
        ))
    }
}
