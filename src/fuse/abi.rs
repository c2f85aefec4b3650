//! The layouts and numbers of `include/uapi/linux/fuse.h`.
//!
//! The structures up to 7.33 come from `fuse-backend-rs`; what the protocol gained up to 7.46 is
//! added here. Its `Opcode::from` is never used: it turns guest numbers into an enum unchecked.

pub use fuse_backend_rs::abi::fuse_abi::{
    AccessIn, Attr, AttrOut, BatchForgetIn, CopyFileRangeIn, CreateIn, Dirent, EntryOut,
    FallocateIn, FlushIn, ForgetIn, ForgetOne, FsyncIn, GetattrIn, InHeader, InitIn, InitIn2,
    InitOut, InterruptIn, Kstatfs, LinkIn, LseekIn, LseekOut, MkdirIn, MknodIn, OpenIn, OpenOut,
    OutHeader, ROOT_ID, ReadIn, ReleaseIn, Rename2In, RenameIn, SetattrIn, StatfsOut, WriteIn,
    WriteOut,
};
/// Structures that are plain bytes.
pub use vm_memory_fuse::ByteValued;

/// Protocol major version.
pub const MAJOR: u32 = 7;
/// The newest minor version we speak.
pub const MINOR: u32 = 46;
/// The oldest minor version we speak: Linux 4.18.
pub const MINOR_MIN: u32 = 27;

/// Bytes of the header before every request.
pub const IN_HEADER_LEN: usize = size_of::<InHeader>();
/// Bytes of the header before every reply.
pub const OUT_HEADER_LEN: usize = size_of::<OutHeader>();
/// Bytes of a write request before its data.
pub const WRITE_IN_LEN: usize = size_of::<WriteIn>();
/// The unit of `total_extlen` in a request's header, in bytes.
pub const EXTENSION_UNIT: usize = 8;

/// Request numbers (`enum fuse_opcode`).
pub mod opcode {
    /// Gives each number its name and lists them all.
    macro_rules! opcodes {
        ($($name:ident = $number:literal,)*) => {
            $(#[doc = concat!("`FUSE_", stringify!($name), "`.")] pub const $name: u32 = $number;)*

            /// The name of `number`, for people.
            pub fn name(number: u32) -> &'static str {
                match number { $($number => stringify!($name),)* _ => "unknown" }
            }
        };
    }

    opcodes! {
        LOOKUP = 1,
        FORGET = 2,
        GETATTR = 3,
        SETATTR = 4,
        READLINK = 5,
        SYMLINK = 6,
        MKNOD = 8,
        MKDIR = 9,
        UNLINK = 10,
        RMDIR = 11,
        RENAME = 12,
        LINK = 13,
        OPEN = 14,
        READ = 15,
        WRITE = 16,
        STATFS = 17,
        RELEASE = 18,
        FSYNC = 20,
        SETXATTR = 21,
        GETXATTR = 22,
        LISTXATTR = 23,
        REMOVEXATTR = 24,
        FLUSH = 25,
        INIT = 26,
        OPENDIR = 27,
        READDIR = 28,
        RELEASEDIR = 29,
        FSYNCDIR = 30,
        GETLK = 31,
        SETLK = 32,
        SETLKW = 33,
        ACCESS = 34,
        CREATE = 35,
        INTERRUPT = 36,
        BMAP = 37,
        DESTROY = 38,
        IOCTL = 39,
        POLL = 40,
        NOTIFY_REPLY = 41,
        BATCH_FORGET = 42,
        FALLOCATE = 43,
        READDIRPLUS = 44,
        RENAME2 = 45,
        LSEEK = 46,
        COPY_FILE_RANGE = 47,
        SETUPMAPPING = 48,
        REMOVEMAPPING = 49,
        SYNCFS = 50,
        TMPFILE = 51,
        STATX = 52,
        COPY_FILE_RANGE_64 = 53,
    }
}

/// Feature bits of INIT: the low half travels in `flags`, the high half in `flags2`.
pub mod init_flag {
    /// More than one read in flight per file.
    pub const ASYNC_READ: u64 = 1 << 0;
    /// Writes larger than a page.
    pub const BIG_WRITES: u64 = 1 << 5;
    /// Check cached data against the file's mtime and size.
    pub const AUTO_INVAL_DATA: u64 = 1 << 12;
    /// READDIRPLUS is there.
    pub const DO_READDIRPLUS: u64 = 1 << 13;
    /// The guest chooses between READDIR and READDIRPLUS.
    pub const READDIRPLUS_AUTO: u64 = 1 << 14;
    /// Direct I/O may be asynchronous.
    pub const ASYNC_DIO: u64 = 1 << 15;
    /// Lookups and listings of one directory may run in parallel.
    pub const PARALLEL_DIROPS: u64 = 1 << 18;
    /// `max_pages` of the reply counts.
    pub const MAX_PAGES: u64 = 1 << 22;
    /// READLINK's answer may be cached.
    pub const CACHE_SYMLINKS: u64 = 1 << 23;
    /// The guest mounts what an attribute flags as submount.
    pub const SUBMOUNTS: u64 = 1 << 27;
    /// `flags2` is there.
    pub const INIT_EXT: u64 = 1 << 30;
    /// Shared mappings of files opened for direct I/O.
    pub const DIRECT_IO_ALLOW_MMAP: u64 = 1 << 36;
}

/// Bits of `FOPEN_*` in the reply to OPEN.
pub mod open_flag {
    /// No page cache for this open file.
    pub const DIRECT_IO: u32 = 1 << 0;
    /// Keep what is cached of the file.
    pub const KEEP_CACHE: u32 = 1 << 1;
    /// The listing may be cached.
    pub const CACHE_DIR: u32 = 1 << 3;
}

/// Bits of SETATTR's `valid` (`FATTR_*`).
pub mod setattr_valid {
    #![allow(missing_docs)]
    pub const MODE: u32 = 1 << 0;
    pub const UID: u32 = 1 << 1;
    pub const GID: u32 = 1 << 2;
    pub const SIZE: u32 = 1 << 3;
    pub const ATIME: u32 = 1 << 4;
    pub const MTIME: u32 = 1 << 5;
    pub const FH: u32 = 1 << 6;
    pub const ATIME_NOW: u32 = 1 << 7;
    pub const MTIME_NOW: u32 = 1 << 8;
}

/// GETATTR and STATX: the handle is valid (`FUSE_GETATTR_FH`).
pub const GETATTR_FH: u32 = 1;
/// FSYNC: only the data (`FUSE_FSYNC_FDATASYNC`).
pub const FSYNC_FDATASYNC: u32 = 1;
/// An attribute's object is the root of another file system (`FUSE_ATTR_SUBMOUNT`).
pub const ATTR_SUBMOUNT: u32 = 1;
/// Bytes of `struct fuse_statx_in`: flags, reserved, fh, sx_flags, sx_mask.
pub const STATX_IN_LEN: usize = 24;
