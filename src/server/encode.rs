//! The file system's values as the protocol's structures.

use std::time::Duration;

use crate::fs::{CachePolicy, DataCache, Entry, Opened};
use crate::fuse::abi::{self, Attr, AttrOut, EntryOut, Kstatfs, OpenOut, StatfsOut};
use crate::fuse::{Features, Operation, Reply};
use crate::sys::{FileSystemStat, Stat};

/// Bytes of payload that the reply to `operation` has whenever it succeeds; replies of varying
/// length fit what room there is.
pub fn payload_len(operation: &Operation<'_>) -> usize {
    const ENTRY: usize = size_of::<EntryOut>();
    const ATTR: usize = size_of::<AttrOut>();
    const OPEN: usize = size_of::<OpenOut>();
    const COUNT: usize = size_of::<abi::WriteOut>();
    match operation {
        Operation::Lookup(_)
        | Operation::Symlink(_)
        | Operation::Mknod(_)
        | Operation::Mkdir(_)
        | Operation::Link(_) => ENTRY,
        Operation::Create(_) | Operation::Tmpfile(_) => ENTRY + OPEN,
        Operation::Open(_) | Operation::Opendir(_) => OPEN,
        Operation::Getattr(_) | Operation::Setattr(_) => ATTR,
        Operation::Statx(_) => STATX_OUT_LEN,
        Operation::Statfs(_) => size_of::<StatfsOut>(),
        Operation::Write(_) | Operation::CopyFileRange(_) | Operation::Lseek(_) => COUNT,
        Operation::Init(_) => size_of::<abi::InitOut>(),
        // Their replies have no payload, or one that is cut to the room there is.
        Operation::Forget(_)
        | Operation::BatchForget(_)
        | Operation::Readlink(_)
        | Operation::Unlink(_)
        | Operation::Rmdir(_)
        | Operation::Rename(_)
        | Operation::Read(_)
        | Operation::Flush(_)
        | Operation::Release(_)
        | Operation::Releasedir(_)
        | Operation::Fsync(_)
        | Operation::Fsyncdir(_)
        | Operation::Fallocate(_)
        | Operation::Readdir(_)
        | Operation::Readdirplus(_)
        | Operation::Syncfs(_)
        | Operation::Access(_)
        | Operation::Interrupt
        | Operation::Destroy
        | Operation::Unsupported(_) => 0,
    }
}

/// A looked-up file.
pub fn entry(entry: &Entry, cache: &CachePolicy, features: Features) -> EntryOut {
    let announce = entry.submount && features.has(abi::init_flag::SUBMOUNTS);
    let (valid, valid_nsec) = split(cache.timeout);
    EntryOut {
        nodeid: entry.node.0,
        // Node ids are never used twice, so no generation is needed beside them.
        generation: 0,
        entry_valid: valid,
        entry_valid_nsec: valid_nsec,
        attr_valid: valid,
        attr_valid_nsec: valid_nsec,
        attr: attr(&entry.stat, if announce { abi::ATTR_SUBMOUNT } else { 0 }),
    }
}

/// A file's attributes.
pub fn attr_out(stat: &Stat, cache: &CachePolicy) -> AttrOut {
    let (attr_valid, attr_valid_nsec) = split(cache.timeout);
    AttrOut {
        attr_valid,
        attr_valid_nsec,
        dummy: 0,
        attr: attr(stat, 0),
    }
}

fn attr(stat: &Stat, flags: u32) -> Attr {
    let raw = stat.raw();
    Attr {
        ino: raw.stx_ino,
        size: raw.stx_size,
        blocks: raw.stx_blocks,
        atime: raw.stx_atime.tv_sec as u64,
        mtime: raw.stx_mtime.tv_sec as u64,
        ctime: raw.stx_ctime.tv_sec as u64,
        atimensec: raw.stx_atime.tv_nsec,
        mtimensec: raw.stx_mtime.tv_nsec,
        ctimensec: raw.stx_ctime.tv_nsec,
        mode: raw.stx_mode.into(),
        nlink: raw.stx_nlink,
        uid: raw.stx_uid,
        gid: raw.stx_gid,
        rdev: encode_device(raw.stx_rdev_major, raw.stx_rdev_minor),
        blksize: raw.stx_blksize,
        flags,
    }
}

/// A device number as the kernel packs it (`new_encode_dev`, `include/linux/kdev_t.h`).
fn encode_device(major: u32, minor: u32) -> u32 {
    minor & 0xff | major << 8 | (minor & !0xff) << 12
}

/// Bytes of `struct fuse_statx_out`: validity, flags and spare, then a statx of 256 bytes.
const STATX_OUT_LEN: usize = 32 + 256;

/// Appends `struct fuse_statx_out`; its statx has the layout of the system call's own up to the
/// device numbers and is zero behind them.
pub fn put_statx(reply: &mut Reply, stat: &Stat, cache: &CachePolicy) {
    let raw = stat.raw();
    let (valid, valid_nsec) = split(cache.timeout);
    let mut fields = Fields(reply);
    fields
        .put64(valid)
        .put32(valid_nsec)
        .put32(0)
        .put64(0)
        .put64(0);
    let mask = raw.stx_mask & (libc::STATX_BASIC_STATS | libc::STATX_BTIME);
    fields
        .put32(mask)
        .put32(raw.stx_blksize)
        .put64(raw.stx_attributes);
    fields
        .put32(raw.stx_nlink)
        .put32(raw.stx_uid)
        .put32(raw.stx_gid);
    fields.put32(raw.stx_mode.into());
    fields
        .put64(raw.stx_ino)
        .put64(raw.stx_size)
        .put64(raw.stx_blocks);
    fields.put64(raw.stx_attributes_mask);
    for time in [
        &raw.stx_atime,
        &raw.stx_btime,
        &raw.stx_ctime,
        &raw.stx_mtime,
    ] {
        fields
            .put64(time.tv_sec as u64)
            .put32(time.tv_nsec)
            .put32(0);
    }
    fields.put32(raw.stx_rdev_major).put32(raw.stx_rdev_minor);
    fields.put32(raw.stx_dev_major).put32(raw.stx_dev_minor);
    while fields.0.payload_len() < STATX_OUT_LEN {
        fields.put64(0);
    }
}

/// Appends numbers one behind the other.
struct Fields<'a>(&'a mut Reply);

impl Fields<'_> {
    fn put32(&mut self, value: u32) -> &mut Self {
        self.put(&value.to_ne_bytes())
    }

    fn put64(&mut self, value: u64) -> &mut Self {
        self.put(&value.to_ne_bytes())
    }

    fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.put_bytes(bytes);
        self
    }
}

/// An opened file.
pub fn opened_file(opened: Opened, cache: &CachePolicy) -> OpenOut {
    let open_flags = match cache.data {
        DataCache::Bypass => abi::open_flag::DIRECT_IO,
        DataCache::Revalidate => 0,
        DataCache::Keep => abi::open_flag::KEEP_CACHE,
    };
    OpenOut {
        fh: opened.handle.0,
        open_flags,
        passthrough: 0,
    }
}

/// An opened directory.
pub fn opened_directory(opened: Opened, cache: &CachePolicy) -> OpenOut {
    let keep = abi::open_flag::KEEP_CACHE | abi::open_flag::CACHE_DIR;
    let open_flags = if cache.keep_listings { keep } else { 0 };
    OpenOut {
        fh: opened.handle.0,
        open_flags,
        passthrough: 0,
    }
}

/// A file system.
pub fn statfs(stat: &FileSystemStat) -> StatfsOut {
    StatfsOut {
        st: Kstatfs {
            blocks: stat.blocks,
            bfree: stat.blocks_free,
            bavail: stat.blocks_available,
            files: stat.files,
            ffree: stat.files_free,
            bsize: stat.block_size,
            namelen: stat.name_max,
            frsize: stat.fragment_size,
            ..Default::default()
        },
    }
}

fn split(timeout: Duration) -> (u64, u32) {
    (timeout.as_secs(), timeout.subsec_nanos())
}
