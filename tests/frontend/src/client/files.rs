//! Requests about open files and their data.

use super::{Client, Payload, Request, Result};
use crate::fuse::{
    CopyFileRangeIn, CopyFileRangeOut, FallocateIn, FlushIn, FsyncIn, LseekIn, LseekOut, OpenIn,
    OpenOut, ReadIn, ReleaseIn, WriteIn, WriteOut, flag, opcode,
};
use crate::memory::PAGE_SIZE;

impl Client {
    /// READLINK.
    pub fn readlink(&mut self, node: u64) -> Result<Vec<u8>> {
        self.fetch_data(Request::new(opcode::READLINK, node, &[]), PAGE_SIZE - 1)
    }

    /// OPEN with flags of open(2).
    pub fn open(&mut self, node: u64, flags: i32) -> Result<OpenOut> {
        let arguments = OpenIn {
            flags: flags as u32,
            open_flags: 0,
        };
        self.ask(Request::new(opcode::OPEN, node, &[&arguments.encode()]))
    }

    /// READ of up to `size` bytes.
    pub fn read(&mut self, node: u64, fh: u64, offset: u64, size: u32) -> Result<Vec<u8>> {
        let arguments = ReadIn {
            fh,
            offset,
            size,
            ..ReadIn::default()
        };
        self.fetch_data(
            Request::new(opcode::READ, node, &[&arguments.encode()]),
            size as usize,
        )
    }

    /// WRITE; returns the number of bytes written.
    pub fn write(&mut self, node: u64, fh: u64, offset: u64, data: &[u8]) -> Result<u32> {
        self.write_flagged(node, fh, offset, data, 0)
    }

    /// WRITE with `flag::WRITE_...`.
    pub fn write_flagged(
        &mut self,
        node: u64,
        fh: u64,
        offset: u64,
        data: &[u8],
        write_flags: u32,
    ) -> Result<u32> {
        let size = data.len() as u32;
        let arguments = WriteIn {
            fh,
            offset,
            size,
            write_flags,
            ..WriteIn::default()
        };
        let (arguments, data) = (arguments.encode(), Payload::Bytes(data));
        let written: WriteOut =
            self.ask(Request::new(opcode::WRITE, node, &[&arguments]).data(data))?;
        Ok(written.size)
    }

    /// FLUSH: a descriptor of the file is closed.
    pub fn flush(&mut self, node: u64, fh: u64) -> Result<()> {
        let arguments = FlushIn {
            fh,
            ..FlushIn::default()
        };
        self.tell(Request::new(opcode::FLUSH, node, &[&arguments.encode()]))
    }

    /// RELEASE: the open file is gone.
    pub fn release(&mut self, node: u64, fh: u64) -> Result<()> {
        self.release_handle(opcode::RELEASE, node, fh)
    }

    pub(super) fn release_handle(&mut self, opcode: u32, node: u64, fh: u64) -> Result<()> {
        let arguments = ReleaseIn {
            fh,
            ..ReleaseIn::default()
        };
        self.tell(Request::new(opcode, node, &[&arguments.encode()]))
    }

    /// FSYNC, of the data only if so wished.
    pub fn fsync(&mut self, node: u64, fh: u64, data_only: bool) -> Result<()> {
        self.sync_handle(opcode::FSYNC, node, fh, data_only)
    }

    pub(super) fn sync_handle(
        &mut self,
        opcode: u32,
        node: u64,
        fh: u64,
        data_only: bool,
    ) -> Result<()> {
        let fsync_flags = if data_only { flag::FSYNC_FDATASYNC } else { 0 };
        let arguments = FsyncIn {
            fh,
            fsync_flags,
            padding: 0,
        };
        self.tell(Request::new(opcode, node, &[&arguments.encode()]))
    }

    /// FALLOCATE with a mode of fallocate(2).
    pub fn fallocate(
        &mut self,
        node: u64,
        fh: u64,
        offset: u64,
        length: u64,
        mode: i32,
    ) -> Result<()> {
        let arguments = FallocateIn {
            fh,
            offset,
            length,
            mode: mode as u32,
            padding: 0,
        };
        self.tell(Request::new(
            opcode::FALLOCATE,
            node,
            &[&arguments.encode()],
        ))
    }

    /// LSEEK with `SEEK_DATA` or `SEEK_HOLE`.
    pub fn lseek(&mut self, node: u64, fh: u64, offset: u64, whence: i32) -> Result<u64> {
        let arguments = LseekIn {
            fh,
            offset,
            whence: whence as u32,
            padding: 0,
        };
        let found: LseekOut =
            self.ask(Request::new(opcode::LSEEK, node, &[&arguments.encode()]))?;
        Ok(found.offset)
    }

    /// COPY_FILE_RANGE from the open file `arguments.fh_in` of `node`; returns the number of bytes copied.
    pub fn copy_file_range(&mut self, node: u64, arguments: &CopyFileRangeIn) -> Result<u32> {
        let request = Request::new(opcode::COPY_FILE_RANGE, node, &[]);
        let copied: WriteOut = self.ask(Request {
            args: &[&arguments.encode()],
            ..request
        })?;
        Ok(copied.size)
    }

    /// COPY_FILE_RANGE_64: the same, replied to with 64 bits.
    pub fn copy_file_range_64(&mut self, node: u64, arguments: &CopyFileRangeIn) -> Result<u64> {
        let request = Request::new(opcode::COPY_FILE_RANGE_64, node, &[]);
        let copied: CopyFileRangeOut = self.ask(Request {
            args: &[&arguments.encode()],
            ..request
        })?;
        Ok(copied.bytes_copied)
    }
}
