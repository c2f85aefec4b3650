//! Requests about open directories.

use super::{Client, Request, Result};
use crate::fuse::{Dirent, DirentPlus, OpenIn, OpenOut, ReadIn, opcode};

impl Client {
    /// OPENDIR.
    pub fn opendir(&mut self, node: u64) -> Result<OpenOut> {
        let arguments = OpenIn {
            flags: libc::O_DIRECTORY as u32,
            open_flags: 0,
        };
        self.ask(Request::new(opcode::OPENDIR, node, &[&arguments.encode()]))
    }

    /// READDIR of up to `size` bytes of entries; none at the end.
    pub fn readdir(&mut self, node: u64, fh: u64, offset: u64, size: u32) -> Result<Vec<Dirent>> {
        let bytes = self.read_entries(opcode::READDIR, node, fh, offset, size)?;
        Ok(Dirent::parse_all(&bytes))
    }

    /// READDIRPLUS of up to `size` bytes of entries; none at the end. Each entry with a node id is a lookup.
    pub fn readdirplus(
        &mut self,
        node: u64,
        fh: u64,
        offset: u64,
        size: u32,
    ) -> Result<Vec<DirentPlus>> {
        let bytes = self.read_entries(opcode::READDIRPLUS, node, fh, offset, size)?;
        Ok(DirentPlus::parse_all(&bytes))
    }

    fn read_entries(
        &mut self,
        opcode: u32,
        node: u64,
        fh: u64,
        offset: u64,
        size: u32,
    ) -> Result<Vec<u8>> {
        let arguments = ReadIn {
            fh,
            offset,
            size,
            ..ReadIn::default()
        };
        self.fetch_data(
            Request::new(opcode, node, &[&arguments.encode()]),
            size as usize,
        )
    }

    /// The names in a directory, `.` and `..` included, by OPENDIR, READDIR to the end and RELEASEDIR.
    pub fn list(&mut self, node: u64) -> Result<Vec<Dirent>> {
        let fh = self.opendir(node)?.fh;
        let (mut entries, mut offset) = (Vec::new(), 0);
        loop {
            let more = self.readdir(node, fh, offset, 32 * 1024)?;
            let Some(last) = more.last() else { break };
            offset = last.off;
            entries.extend(more);
        }
        self.releasedir(node, fh)?;
        Ok(entries)
    }

    /// RELEASEDIR.
    pub fn releasedir(&mut self, node: u64, fh: u64) -> Result<()> {
        self.release_handle(opcode::RELEASEDIR, node, fh)
    }

    /// FSYNCDIR.
    pub fn fsyncdir(&mut self, node: u64, fh: u64, data_only: bool) -> Result<()> {
        self.sync_handle(opcode::FSYNCDIR, node, fh, data_only)
    }
}
