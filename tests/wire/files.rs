//! Open files and their bytes.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};

use frontend::fuse::{CopyFileRangeIn, SetattrIn, flag, setattr_valid};
use frontend::{Client, ROOT_ID};
use libc::{EBADF, EINVAL, EISDIR, ELOOP, ENXIO, EOPNOTSUPP, O_RDONLY, O_RDWR, O_WRONLY};

use crate::guest::Guest;

/// Bytes of which no two parts are alike.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i ^ i >> 8 ^ i >> 16) as u8).collect()
}

fn finish(mut guest: Guest, node: u64, handles: &[u64]) {
    for fh in handles {
        guest.client().release(node, *fh).unwrap();
    }
    guest.client().forget(node, 1);
    guest.assert_unharmed();
}

#[test]
fn a_megabyte_is_read_and_written_in_one_request() {
    let mut guest = Guest::start();
    let (node, fh) = guest.open("file", "", O_RDWR);
    let data = pattern(1 << 20);

    let written = guest.client().write(node, fh, 0, &data).unwrap();
    let read = guest.client().read(node, fh, 0, 1 << 20).unwrap();

    assert_eq!(written, 1 << 20);
    assert!(read == data && fs::read(guest.host("file")).unwrap() == data);
    finish(guest, node, &[fh]);
}

#[test]
fn reads_end_where_the_file_does() {
    let mut guest = Guest::start();
    let (node, fh) = guest.open("file", pattern(10_000), O_RDONLY);
    for (offset, size, expected) in [
        (0, 0, 0),
        (0, 1, 1),
        (4095, 2, 2),
        (9_999, 4096, 1),
        (10_000, 4096, 0),
        (1 << 40, 4096, 0),
        (1, 1 << 20, 9_999),
    ] {
        let read = guest.client().read(node, fh, offset, size).unwrap();
        let start = (offset as usize).min(10_000);
        assert_eq!(
            read,
            pattern(10_000)[start..start + expected],
            "{size} at {offset}"
        );
    }
    finish(guest, node, &[fh]);
}

#[test]
fn writes_land_where_they_should() {
    let mut guest = Guest::start();
    let (node, fh) = guest.open("file", "", O_WRONLY);

    assert_eq!(guest.client().write(node, fh, 5000, b"later").unwrap(), 5);
    assert_eq!(guest.client().write(node, fh, 2, b"first").unwrap(), 5);
    assert_eq!(guest.client().write(node, fh, 0, b"").unwrap(), 0);

    let content = fs::read(guest.host("file")).unwrap();
    assert_eq!(
        (&content[..7], &content[5000..]),
        (&b"\0\0first"[..], &b"later"[..])
    );
    assert_eq!(guest.client().read(node, fh, 0, 1).unwrap_err(), EBADF);
    finish(guest, node, &[fh]);
}

#[test]
fn an_appending_write_goes_to_the_end_unless_it_comes_from_the_cache() {
    let mut guest = Guest::start();
    let (node, fh) = guest.open("file", "12345", O_WRONLY | libc::O_APPEND);
    let write = |client: &mut Client, data: &[u8], write_flags| {
        let arguments = frontend::fuse::WriteIn {
            fh,
            offset: 1,
            size: data.len() as u32,
            write_flags,
            flags: libc::O_APPEND as u32,
            ..Default::default()
        };
        let body = [&arguments.encode()[..], data].concat();
        let reply = client.raw(frontend::fuse::opcode::WRITE, node, &body, 24);
        assert_eq!(reply.errno(), Some(0));
    };

    write(guest.client(), b"end", 0);
    write(guest.client(), b"C", flag::WRITE_CACHE);

    assert_eq!(fs::read(guest.host("file")).unwrap(), b"1C345end");
    finish(guest, node, &[fh]);
}

#[test]
fn open_modes_hold() {
    let mut guest = Guest::start();
    let (node, read_only) = guest.open("file", "content", O_RDONLY);

    let write_only = guest.client().open(node, O_WRONLY).unwrap().fh;
    let client = guest.client();
    assert_eq!(client.write(node, read_only, 0, b"x").unwrap_err(), EBADF);
    assert_eq!(client.read(node, write_only, 0, 1).unwrap_err(), EBADF);

    let truncating = client.open(node, O_RDWR | libc::O_TRUNC).unwrap().fh;
    assert_eq!(client.getattr(node).unwrap().attr.size, 0);
    finish(guest, node, &[read_only, write_only, truncating]);
}

#[test]
fn only_regular_files_can_be_opened() {
    let mut guest = Guest::start();
    fs::create_dir(guest.host("dir")).unwrap();
    symlink("../outside/secret", guest.host("link")).unwrap();
    for (name, mode) in [
        ("fifo", libc::S_IFIFO),
        ("socket", libc::S_IFSOCK),
        ("null", libc::S_IFCHR),
    ] {
        let made = guest
            .client()
            .mknod(ROOT_ID, name, mode | 0o666, 1 << 8 | 3)
            .unwrap();
        guest.client().forget(made.nodeid, 1);
    }

    for (name, errno) in [
        ("dir", EISDIR),
        ("link", ELOOP),
        ("fifo", ENXIO),
        ("socket", ENXIO),
        ("null", ENXIO),
    ] {
        let node = guest.node(name);
        for flags in [O_RDONLY, O_WRONLY, O_RDWR | libc::O_NONBLOCK] {
            assert_eq!(
                guest.client().open(node, flags).unwrap_err(),
                errno,
                "{name}"
            );
        }
        let sized = guest.client().truncate(node, 0).unwrap_err();
        assert_eq!(sized, if name == "dir" { EISDIR } else { EINVAL }, "{name}");
        guest.client().forget(node, 1);
    }
    guest.assert_unharmed();
}

#[test]
fn flush_fsync_and_syncfs_succeed() {
    let mut guest = Guest::start();
    let (node, fh) = guest.open("file", "", O_RDWR);
    let client = guest.client();

    client.write(node, fh, 0, b"data").unwrap();
    client.flush(node, fh).unwrap();
    client.flush(node, fh).unwrap();
    client.fsync(node, fh, false).unwrap();
    client.fsync(node, fh, true).unwrap();
    client.syncfs(ROOT_ID).unwrap();
    client.syncfs(node).unwrap();

    assert_eq!(client.flush(node, fh + 1).unwrap_err(), EBADF);
    assert_eq!(client.fsync(node, fh + 1, false).unwrap_err(), EBADF);
    finish(guest, node, &[fh]);
}

#[test]
fn an_unlinked_file_lives_while_it_is_open() {
    let mut guest = Guest::start();
    let (node, fh) = guest.open("file", "content", O_RDWR);
    let inode = fs::metadata(guest.host("file")).unwrap().ino();

    guest.client().unlink(ROOT_ID, "file").unwrap();

    let client = guest.client();
    assert_eq!(client.read(node, fh, 0, 100).unwrap(), b"content");
    client.write(node, fh, 7, b"!").unwrap();
    let second = client.open(node, O_RDONLY).expect("by its node").fh;
    assert_eq!(client.read(node, second, 0, 100).unwrap(), b"content!");
    let attr = client.getattr_handle(node, fh).unwrap().attr;
    assert_eq!((attr.ino, attr.nlink, attr.size), (inode, 0, 8));
    client.chmod(node, 0o600).unwrap();
    client.truncate(node, 3).unwrap();
    assert_eq!(client.getattr(node).unwrap().attr.size, 3);
    finish(guest, node, &[fh, second]);
}

#[test]
fn a_handle_outlives_the_last_lookup() {
    let mut guest = Guest::start();
    let (node, fh) = guest.open("file", "content", O_RDONLY);

    guest.client().forget(node, 1);

    assert_eq!(guest.client().read(node, fh, 0, 100).unwrap(), b"content");
    assert_eq!(guest.client().getattr(node).unwrap_err(), EBADF);
    guest.client().release(node, fh).unwrap();
    guest.assert_unharmed();
}

#[test]
fn fallocate_reserves_and_punches() {
    let mut guest = Guest::start();
    let (node, fh) = guest.open("file", pattern(8192), O_RDWR);
    let keep = libc::FALLOC_FL_KEEP_SIZE;
    let client = guest.client();

    client.fallocate(node, fh, 0, 100_000, 0).unwrap();
    client.fallocate(node, fh, 0, 1 << 20, keep).unwrap();
    client
        .fallocate(node, fh, 0, 4096, keep | libc::FALLOC_FL_PUNCH_HOLE)
        .unwrap();
    let client = guest.client();
    assert_eq!(client.fallocate(node, fh, 0, 0, 0).unwrap_err(), EINVAL);
    assert_eq!(
        client.fallocate(node, fh, 0, 1, 1 << 30).unwrap_err(),
        EOPNOTSUPP
    );

    let content = fs::read(guest.host("file")).unwrap();
    assert_eq!(content.len(), 100_000);
    assert!(content[..4096].iter().all(|byte| *byte == 0));
    assert_eq!(content[4096..8192], pattern(8192)[4096..]);
    finish(guest, node, &[fh]);
}

#[test]
fn lseek_finds_data_and_holes() {
    let mut guest = Guest::start();
    let (node, fh) = guest.open("file", "", O_RDWR);
    let host = fs::OpenOptions::new()
        .write(true)
        .open(guest.host("file"))
        .unwrap();
    host.set_len(3 << 20).unwrap();
    host.write_all_at(&[1; 4096], 1 << 20).unwrap();
    let client = guest.client();

    assert_eq!(client.lseek(node, fh, 0, libc::SEEK_DATA), Ok(1 << 20));
    assert_eq!(
        client.lseek(node, fh, 1 << 20, libc::SEEK_HOLE),
        Ok((1 << 20) + 4096)
    );
    assert_eq!(client.lseek(node, fh, 2 << 20, libc::SEEK_DATA), Err(ENXIO));
    assert_eq!(client.lseek(node, fh, 4 << 20, libc::SEEK_HOLE), Err(ENXIO));
    assert_eq!(client.lseek(node, fh, 0, libc::SEEK_END), Err(EINVAL));
    finish(guest, node, &[fh]);
}

#[test]
fn copy_file_range_in_both_forms() {
    let mut guest = Guest::start();
    let data = pattern(300_000);
    let (from, fh_in) = guest.open("from", &data, O_RDONLY);
    let (to, fh_out) = guest.open("to", "", O_RDWR);
    let copy = CopyFileRangeIn {
        fh_in,
        off_in: 1000,
        nodeid_out: to,
        fh_out,
        off_out: 10,
        len: 200_000,
        flags: 0,
    };

    let narrow = guest.client().copy_file_range(from, &copy).unwrap();
    let rest = CopyFileRangeIn {
        off_in: 201_000,
        off_out: 200_010,
        len: 1 << 40,
        ..copy
    };
    let wide = guest.client().copy_file_range_64(from, &rest).unwrap();

    assert_eq!((narrow, wide), (200_000, 99_000));
    assert!(fs::read(guest.host("to")).unwrap()[10..] == data[1000..]);
    for bad in [
        CopyFileRangeIn {
            fh_out: fh_in,
            ..copy
        },
        CopyFileRangeIn {
            fh_in: fh_out,
            ..copy
        },
        CopyFileRangeIn {
            nodeid_out: 99,
            ..copy
        },
    ] {
        assert_eq!(guest.client().copy_file_range(from, &bad), Err(EBADF));
        assert_eq!(guest.client().copy_file_range_64(from, &bad), Err(EBADF));
    }
    let flagged = CopyFileRangeIn { flags: 1, ..copy };
    assert_eq!(guest.client().copy_file_range(from, &flagged), Err(EINVAL));
    guest.client().release(from, fh_in).unwrap();
    guest.client().forget(from, 1);
    finish(guest, to, &[fh_out]);
}

#[test]
fn c30_copying_within_one_file_must_not_overlap() {
    let mut guest = Guest::start();
    let (node, fh) = guest.open("file", pattern(10_000), O_RDWR);
    let copy = CopyFileRangeIn {
        fh_in: fh,
        off_in: 0,
        nodeid_out: node,
        fh_out: fh,
        off_out: 100,
        len: 1000,
        flags: 0,
    };

    assert_eq!(guest.client().copy_file_range(node, &copy), Err(EINVAL));
    let apart = CopyFileRangeIn {
        off_out: 20_000,
        ..copy
    };
    assert_eq!(guest.client().copy_file_range(node, &apart), Ok(1000));
    finish(guest, node, &[fh]);
}

#[test]
fn a_size_is_set_by_node_and_by_handle() {
    let mut guest = Guest::start();
    let (node, fh) = guest.open("file", "content", O_RDWR);

    assert_eq!(guest.client().truncate(node, 3).unwrap().attr.size, 3);
    assert_eq!(fs::read(guest.host("file")).unwrap(), b"con");
    let by_handle = SetattrIn {
        valid: setattr_valid::SIZE | setattr_valid::FH,
        fh,
        size: 100,
        ..SetattrIn::default()
    };
    assert_eq!(
        guest.client().setattr(node, &by_handle).unwrap().attr.size,
        100
    );
    assert_eq!(fs::metadata(guest.host("file")).unwrap().len(), 100);
    let foreign = SetattrIn {
        fh: fh + 1,
        ..by_handle
    };
    assert_eq!(guest.client().setattr(node, &foreign).unwrap_err(), EBADF);
    finish(guest, node, &[fh]);
}

#[test]
fn h7_a_file_that_the_host_changes_is_read_as_it_is() {
    let mut guest = Guest::start();
    let (node, fh) = guest.open("file", pattern(100_000), O_RDONLY);

    fs::write(guest.host("file"), "short").unwrap();

    assert_eq!(guest.client().read(node, fh, 0, 100_000).unwrap(), b"short");
    finish(guest, node, &[fh]);
}
