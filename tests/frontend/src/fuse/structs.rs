//! Requests' arguments and replies, field by field as in `linux/fuse.h`.

use crate::wire::wire_struct;

macro_rules! wire_structs {
    ($($(#[$meta:meta])* $name:ident { $($fields:tt)* })*) => {
        $(wire_struct! { $(#[$meta])* $name { $($fields)* } })*
    };
}

wire_structs! {
    /// Start of every request; `total_extlen` counts the extensions behind the arguments in units of 8 bytes.
    InHeader {
        len: u32, opcode: u32, unique: u64, nodeid: u64, uid: u32, gid: u32, pid: u32, total_extlen: u16, padding: u16,
    }
    /// Start of every reply; `error` is 0 or a negative errno.
    OutHeader { len: u32, error: i32, unique: u64 }

    /// A file's attributes.
    Attr {
        ino: u64, size: u64, blocks: u64, atime: u64, mtime: u64, ctime: u64,
        atimensec: u32, mtimensec: u32, ctimensec: u32,
        mode: u32, nlink: u32, uid: u32, gid: u32, rdev: u32, blksize: u32, flags: u32,
    }
    /// Reply to LOOKUP and to whatever makes a name.
    EntryOut {
        nodeid: u64, generation: u64, entry_valid: u64, attr_valid: u64, entry_valid_nsec: u32, attr_valid_nsec: u32,
        attr: Attr,
    }
    /// Reply to GETATTR and SETATTR.
    AttrOut { attr_valid: u64, attr_valid_nsec: u32, dummy: u32, attr: Attr }

    /// INIT.
    InitIn { major: u32, minor: u32, max_readahead: u32, flags: u32, flags2: u32, unused: [u32; 11] }
    /// Reply to INIT.
    InitOut {
        major: u32, minor: u32, max_readahead: u32, flags: u32, max_background: u16, congestion_threshold: u16,
        max_write: u32, time_gran: u32, max_pages: u16, map_alignment: u16, flags2: u32, max_stack_depth: u32,
        request_timeout: u16, unused: [u16; 11],
    }

    /// FORGET.
    ForgetIn { nlookup: u64 }
    /// Start of BATCH_FORGET; `count` of `ForgetOne` follow.
    BatchForgetIn { count: u32, dummy: u32 }
    /// One item of BATCH_FORGET.
    ForgetOne { nodeid: u64, nlookup: u64 }
    /// INTERRUPT: the unique of the request that shall end.
    InterruptIn { unique: u64 }

    /// GETATTR.
    GetattrIn { getattr_flags: u32, dummy: u32, fh: u64 }
    /// SETATTR.
    SetattrIn {
        valid: u32, padding: u32, fh: u64, size: u64, lock_owner: u64, atime: u64, mtime: u64, ctime: u64,
        atimensec: u32, mtimensec: u32, ctimensec: u32, mode: u32, unused4: u32, uid: u32, gid: u32, unused5: u32,
    }
    /// STATX.
    StatxIn { getattr_flags: u32, reserved: u32, fh: u64, sx_flags: u32, sx_mask: u32 }
    /// A time in `Statx`.
    StatxTime { tv_sec: i64, tv_nsec: u32, reserved: i32 }
    /// A file's attributes as statx(2) has them.
    Statx {
        mask: u32, blksize: u32, attributes: u64, nlink: u32, uid: u32, gid: u32, mode: u16, spare0: u16,
        ino: u64, size: u64, blocks: u64, attributes_mask: u64,
        atime: StatxTime, btime: StatxTime, ctime: StatxTime, mtime: StatxTime,
        rdev_major: u32, rdev_minor: u32, dev_major: u32, dev_minor: u32, spare2: [u64; 14],
    }
    /// Reply to STATX.
    StatxOut { attr_valid: u64, attr_valid_nsec: u32, flags: u32, spare: [u64; 2], stat: Statx }

    /// MKNOD; the name follows.
    MknodIn { mode: u32, rdev: u32, umask: u32, padding: u32 }
    /// MKDIR; the name follows.
    MkdirIn { mode: u32, umask: u32 }
    /// RENAME; both names follow.
    RenameIn { newdir: u64 }
    /// RENAME2; both names follow.
    Rename2In { newdir: u64, flags: u32, padding: u32 }
    /// LINK; the name follows.
    LinkIn { oldnodeid: u64 }

    /// OPEN and OPENDIR.
    OpenIn { flags: u32, open_flags: u32 }
    /// CREATE and TMPFILE; the name follows.
    CreateIn { flags: u32, mode: u32, umask: u32, open_flags: u32 }
    /// Reply to OPEN and OPENDIR; second part of the reply to CREATE and TMPFILE.
    OpenOut { fh: u64, open_flags: u32, backing_id: i32 }
    /// Reply to CREATE and TMPFILE.
    CreateOut { entry: EntryOut, open: OpenOut }
    /// RELEASE and RELEASEDIR.
    ReleaseIn { fh: u64, flags: u32, release_flags: u32, lock_owner: u64 }
    /// FLUSH.
    FlushIn { fh: u64, unused: u32, padding: u32, lock_owner: u64 }
    /// FSYNC and FSYNCDIR.
    FsyncIn { fh: u64, fsync_flags: u32, padding: u32 }
    /// SYNCFS.
    SyncfsIn { padding: u64 }

    /// READ, READDIR and READDIRPLUS.
    ReadIn { fh: u64, offset: u64, size: u32, read_flags: u32, lock_owner: u64, flags: u32, padding: u32 }
    /// WRITE; the data follow.
    WriteIn { fh: u64, offset: u64, size: u32, write_flags: u32, lock_owner: u64, flags: u32, padding: u32 }
    /// Reply to WRITE and COPY_FILE_RANGE.
    WriteOut { size: u32, padding: u32 }
    /// FALLOCATE.
    FallocateIn { fh: u64, offset: u64, length: u64, mode: u32, padding: u32 }
    /// LSEEK.
    LseekIn { fh: u64, offset: u64, whence: u32, padding: u32 }
    /// Reply to LSEEK.
    LseekOut { offset: u64 }
    /// COPY_FILE_RANGE and its 64-bit form.
    CopyFileRangeIn { fh_in: u64, off_in: u64, nodeid_out: u64, fh_out: u64, off_out: u64, len: u64, flags: u64 }
    /// Reply to COPY_FILE_RANGE_64.
    CopyFileRangeOut { bytes_copied: u64 }

    /// ACCESS.
    AccessIn { mask: u32, padding: u32 }
    /// Reply to STATFS.
    StatfsOut {
        blocks: u64, bfree: u64, bavail: u64, files: u64, ffree: u64, bsize: u32, namelen: u32, frsize: u32,
        padding: u32, spare: [u32; 6],
    }

    /// SETXATTR as without SETXATTR_EXT; name and value follow.
    SetxattrInCompat { size: u32, flags: u32 }
    /// SETXATTR with SETXATTR_EXT; name and value follow.
    SetxattrIn { size: u32, flags: u32, setxattr_flags: u32, padding: u32 }
    /// GETXATTR (the name follows) and LISTXATTR.
    GetxattrIn { size: u32, padding: u32 }
    /// Reply to GETXATTR and LISTXATTR when they asked for the size.
    GetxattrOut { size: u32, padding: u32 }

    /// A lock; `end` is the last byte.
    FileLock { start: u64, end: u64, typ: u32, pid: u32 }
    /// GETLK, SETLK and SETLKW.
    LkIn { fh: u64, owner: u64, lk: FileLock, lk_flags: u32, padding: u32 }
    /// Reply to GETLK.
    LkOut { lk: FileLock }

    /// IOCTL; the data follow.
    IoctlIn { fh: u64, flags: u32, cmd: u32, arg: u64, in_size: u32, out_size: u32 }
    /// Start of the reply to IOCTL.
    IoctlOut { result: i32, flags: u32, in_iovs: u32, out_iovs: u32 }
    /// POLL.
    PollIn { fh: u64, kh: u64, flags: u32, events: u32 }
    /// Reply to POLL.
    PollOut { revents: u32, padding: u32 }

    /// Fixed part of a directory entry; the name follows, padded to a multiple of 8 bytes.
    DirentHeader { ino: u64, off: u64, namelen: u32, typ: u32 }

    /// Start of one extension of a request; `size` includes this header.
    ExtHeader { size: u32, typ: u32 }
    /// Start of the security contexts of a request that makes a file.
    SecctxHeader { size: u32, nr_secctx: u32 }
    /// Start of one security context; its name, NUL and `size` bytes of value follow.
    Secctx { size: u32, padding: u32 }
}

impl InitOut {
    /// All 64 flags.
    pub fn all_flags(&self) -> u64 {
        u64::from(self.flags2) << 32 | u64::from(self.flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Wire;

    #[test]
    fn lengths_are_those_of_the_kernel_header() {
        assert_eq!((InHeader::SIZE, OutHeader::SIZE), (40, 16));
        assert_eq!((Attr::SIZE, EntryOut::SIZE, AttrOut::SIZE), (88, 128, 104));
        assert_eq!((InitIn::SIZE, InitOut::SIZE), (64, 64));
        assert_eq!(
            (SetattrIn::SIZE, Statx::SIZE, StatxOut::SIZE),
            (88, 256, 288)
        );
        assert_eq!((ReadIn::SIZE, WriteIn::SIZE, StatfsOut::SIZE), (40, 40, 80));
        assert_eq!(
            (LkIn::SIZE, LkOut::SIZE, CopyFileRangeIn::SIZE),
            (48, 24, 56)
        );
    }
}
