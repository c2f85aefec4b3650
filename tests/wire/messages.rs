//! FUSE messages as a hostile guest writes them (group C).

use std::fs;
use std::os::unix::fs::symlink;

use frontend::fuse::*;
use frontend::wire::Wire;
use frontend::{Client, ROOT_ID};
use libc::{EBADF, EINVAL, EIO, ENAMETOOLONG, ENOENT, ENOSYS};

use crate::guest::{Guest, outcome};

/// An opcode with arguments that are well-formed, and how long a successful reply's payload is.
struct Sample {
    opcode: u32,
    node: u64,
    body: Vec<u8>,
    reply: usize,
}

fn sample(opcode: u32, node: u64, body: &[u8], reply: usize) -> Sample {
    let body = body.to_vec();
    Sample {
        opcode,
        node,
        body,
        reply,
    }
}

fn with_name(arguments: &[u8], names: &[u8]) -> Vec<u8> {
    [arguments, names].concat()
}

/// One good request for each opcode that has arguments, and not one that would succeed.
fn samples(node: u64, fh: u64, dir_fh: u64) -> Vec<Sample> {
    let (entry, open) = (EntryOut::SIZE, OpenOut::SIZE);
    let read = |fh| {
        ReadIn {
            fh,
            size: 64,
            ..ReadIn::default()
        }
        .encode()
    };
    let write = WriteIn {
        fh,
        size: 4,
        ..WriteIn::default()
    }
    .encode();
    let lseek = LseekIn {
        fh,
        whence: libc::SEEK_HOLE as u32,
        ..LseekIn::default()
    };
    let allocate = FallocateIn {
        fh,
        length: 10,
        ..FallocateIn::default()
    };
    let copy = CopyFileRangeIn {
        fh_in: fh,
        nodeid_out: node,
        fh_out: fh,
        ..CopyFileRangeIn::default()
    };
    let create = CreateIn {
        flags: libc::O_RDWR as u32,
        mode: 0o600,
        ..CreateIn::default()
    };
    let handle = |fh| {
        FsyncIn {
            fh,
            ..FsyncIn::default()
        }
        .encode()
    };
    let root = ROOT_ID;
    vec![
        sample(opcode::LOOKUP, root, b"file\0", entry),
        sample(
            opcode::GETATTR,
            node,
            &GetattrIn::default().encode(),
            AttrOut::SIZE,
        ),
        sample(
            opcode::SETATTR,
            node,
            &SetattrIn::default().encode(),
            AttrOut::SIZE,
        ),
        sample(
            opcode::STATX,
            node,
            &StatxIn::default().encode(),
            StatxOut::SIZE,
        ),
        sample(opcode::SYMLINK, root, b"sym\0target\0", entry),
        sample(
            opcode::MKNOD,
            root,
            &with_name(
                &MknodIn {
                    mode: libc::S_IFREG,
                    ..MknodIn::default()
                }
                .encode(),
                b"nod\0",
            ),
            entry,
        ),
        sample(
            opcode::MKDIR,
            root,
            &with_name(&MkdirIn::default().encode(), b"dir\0"),
            entry,
        ),
        sample(opcode::UNLINK, root, b"gone\0", 0),
        sample(opcode::RMDIR, root, b"gone\0", 0),
        sample(
            opcode::RENAME,
            root,
            &with_name(&RenameIn { newdir: root }.encode(), b"gone\0to\0"),
            0,
        ),
        sample(
            opcode::RENAME2,
            root,
            &with_name(
                &Rename2In {
                    newdir: root,
                    ..Rename2In::default()
                }
                .encode(),
                b"gone\0to\0",
            ),
            0,
        ),
        sample(
            opcode::LINK,
            root,
            &with_name(&LinkIn { oldnodeid: node }.encode(), b"link\0"),
            entry,
        ),
        sample(opcode::OPEN, node, &OpenIn::default().encode(), open),
        sample(opcode::OPENDIR, root, &OpenIn::default().encode(), open),
        sample(
            opcode::CREATE,
            root,
            &with_name(&create.encode(), b"new\0"),
            entry + open,
        ),
        sample(opcode::TMPFILE, root, &create.encode(), entry + open),
        sample(opcode::READ, node, &read(fh), 0),
        sample(opcode::WRITE, node, &with_name(&write, b"data"), 8),
        sample(
            opcode::FLUSH,
            node,
            &FlushIn {
                fh,
                ..FlushIn::default()
            }
            .encode(),
            0,
        ),
        sample(
            opcode::RELEASE,
            node,
            &ReleaseIn {
                fh: 99,
                ..ReleaseIn::default()
            }
            .encode(),
            0,
        ),
        sample(
            opcode::RELEASEDIR,
            node,
            &ReleaseIn {
                fh: 99,
                ..ReleaseIn::default()
            }
            .encode(),
            0,
        ),
        sample(opcode::FSYNC, node, &handle(fh), 0),
        sample(opcode::FSYNCDIR, root, &handle(dir_fh), 0),
        sample(opcode::FALLOCATE, node, &allocate.encode(), 0),
        sample(opcode::LSEEK, node, &lseek.encode(), 8),
        sample(opcode::COPY_FILE_RANGE, node, &copy.encode(), 8),
        sample(opcode::COPY_FILE_RANGE_64, node, &copy.encode(), 8),
        sample(opcode::READDIR, root, &read(dir_fh), 0),
        sample(opcode::READDIRPLUS, root, &read(dir_fh), 0),
        sample(opcode::ACCESS, node, &AccessIn::default().encode(), 0),
    ]
}

/// A guest with a known file, both open, and the samples about them.
fn prepared() -> (Guest, u64, Vec<Sample>) {
    let mut guest = Guest::start();
    let (node, fh) = guest.open("file", "content", libc::O_RDWR);
    let dir_fh = guest.client().opendir(ROOT_ID).unwrap().fh;
    let samples = samples(node, fh, dir_fh);
    (guest, node, samples)
}

/// Ends the session, and with it everything the case left open.
fn finish(mut guest: Guest) {
    guest.client().destroy().unwrap();
    guest.client().init().unwrap();
    guest.assert_unharmed();
}

fn header(opcode: u32, len: u32) -> InHeader {
    InHeader {
        len,
        opcode,
        unique: 77,
        nodeid: ROOT_ID,
        ..InHeader::default()
    }
}

#[test]
fn c1_less_than_a_header_is_dropped() {
    let mut guest = Guest::start();
    let bytes = header(opcode::GETATTR, 56).encode();
    for len in 0..InHeader::SIZE {
        let reply = guest.client().raw_bytes(&bytes[..len], 200);
        assert_eq!(outcome(&reply), None, "{len} bytes");
    }
    finish(guest);
}

#[test]
fn c2_lengths_that_lie() {
    let mut guest = Guest::start();
    let body = GetattrIn::default().encode();
    for (len, expected) in [
        (0, EINVAL),
        (39, EINVAL),
        (40, EINVAL),
        (55, EINVAL),
        (56, 0),
        (57, EINVAL),
        (4096, EINVAL),
        (1 << 31, EINVAL),
        (u32::MAX, EINVAL),
    ] {
        let bytes = [&header(opcode::GETATTR, len).encode()[..], &body].concat();
        assert_eq!(
            outcome(&guest.client().raw_bytes(&bytes, 200)),
            Some(expected),
            "{len}"
        );
    }
    // More bytes than the header says: they mean nothing.
    let bytes = [
        &header(opcode::GETATTR, 56).encode()[..],
        &body,
        &[0xff; 1000],
    ]
    .concat();
    assert_eq!(outcome(&guest.client().raw_bytes(&bytes, 200)), Some(0));
    finish(guest);
}

#[test]
fn c3_names_that_are_none() {
    let (mut guest, _, _) = prepared();
    for name in [
        &b""[..],
        b"x",
        b"\0",
        b"a\0b\0",
        b"file\0\0",
        b".\0",
        b"..\0",
    ] {
        let reply = guest.client().raw(opcode::LOOKUP, ROOT_ID, name, 200);
        assert_eq!(outcome(&reply), Some(EINVAL), "{name:?}");
    }
    let unterminated = with_name(&MkdirIn::default().encode(), b"name");
    let reply = guest
        .client()
        .raw(opcode::MKDIR, ROOT_ID, &unterminated, 200);
    assert_eq!(outcome(&reply), Some(EINVAL));
    finish(guest);
}

#[test]
fn c4_one_name_where_there_should_be_two() {
    let mut guest = Guest::start();
    let rename = RenameIn { newdir: ROOT_ID }.encode();
    let rename2 = Rename2In {
        newdir: ROOT_ID,
        ..Rename2In::default()
    }
    .encode();
    for (opcode, arguments) in [
        (opcode::SYMLINK, &[][..]),
        (opcode::RENAME, &rename),
        (opcode::RENAME2, &rename2),
    ] {
        for names in [
            &b"one\0"[..],
            b"one\0two",
            b"one",
            b"one\0\0",
            b"\0two\0",
            b"a\0b\0c\0",
        ] {
            let reply = guest
                .client()
                .raw(opcode, ROOT_ID, &with_name(arguments, names), 200);
            assert_eq!(outcome(&reply), Some(EINVAL), "opcode {opcode} {names:?}");
        }
    }
    assert_eq!(fs::read_dir(guest.host("")).unwrap().count(), 0);
    finish(guest);
}

#[test]
fn c5_names_up_to_255_bytes() {
    let mut guest = Guest::start();
    for (len, errno) in [
        (255, ENOENT),
        (256, ENAMETOOLONG),
        (4096, ENAMETOOLONG),
        (65_536, ENAMETOOLONG),
    ] {
        let looked_up = guest.client().lookup(ROOT_ID, vec![b'n'; len]);
        assert_eq!(looked_up.unwrap_err(), errno, "{len} bytes");
    }
    let target = guest.client().symlink(ROOT_ID, "link", vec![b't'; 4096]);
    assert_eq!(target.unwrap_err(), ENAMETOOLONG);
    finish(guest);
}

#[test]
fn c6_arguments_cut_at_every_length() {
    let (mut guest, _, samples) = prepared();
    let count = fs::read_dir(guest.host("")).unwrap().count();
    for sample in &samples {
        for len in 0..sample.body.len() {
            let cut = &sample.body[..len];
            let reply = guest.client().raw(sample.opcode, sample.node, cut, 400);
            assert_eq!(
                outcome(&reply),
                Some(EINVAL),
                "opcode {} with {len} bytes",
                sample.opcode
            );
        }
    }
    assert_eq!(
        fs::read_dir(guest.host("")).unwrap().count(),
        count,
        "nothing was made"
    );
    finish(guest);
}

#[test]
fn c7_unknown_opcodes_are_enosys() {
    let mut guest = Guest::start();
    let beyond = (0..=65_535u32)
        .step_by(7)
        .chain([0, 7, 19, 54, 4096, 1 << 31, u32::MAX]);
    let unknown = beyond.filter(|number| *number > 53 || [0, 7, 19].contains(number));
    for number in unknown {
        let reply = guest.client().raw(number, ROOT_ID, &[0; 64], 400);
        assert_eq!(outcome(&reply), Some(ENOSYS), "opcode {number}");
    }
    finish(guest);
}

#[test]
fn c10_extensions_are_cut_off_or_refused() {
    let mut guest = Guest::start();
    // What follows the names is skipped as a whole: none of it was negotiated.
    guest.client().extensions = vec![0xff; 64];
    let made = guest.client().mkdir(ROOT_ID, "dir", 0o755).unwrap();
    assert!(guest.host("dir").is_dir());
    guest.client().forget(made.nodeid, 1);

    let body = with_name(&MkdirIn::default().encode(), b"other\0\0\0");
    for units in [1, 2, 3, 1000, u16::MAX] {
        let head = InHeader {
            total_extlen: units,
            ..header(opcode::MKDIR, 40 + body.len() as u32)
        };
        let bytes = [&head.encode()[..], &body].concat();
        let reply = guest.client().raw_bytes(&bytes, 200);
        assert_eq!(outcome(&reply), Some(EINVAL), "{units} units");
    }
    assert!(!guest.host("other").exists());
    finish(guest);
}

#[test]
fn c12_sizes_are_bounded_by_the_room() {
    let (mut guest, node, _) = prepared();
    let fh = guest.client().open(node, libc::O_RDONLY).unwrap().fh;
    let dir_fh = guest.client().opendir(ROOT_ID).unwrap().fh;
    fs::write(guest.host("file"), vec![1; 3 << 20]).unwrap();
    let before = guest.worker().private_memory().unwrap();
    for (opcode, node, fh) in [
        (opcode::READ, node, fh),
        (opcode::READDIR, ROOT_ID, dir_fh),
        (opcode::READDIRPLUS, ROOT_ID, dir_fh),
    ] {
        let huge = ReadIn {
            fh,
            size: u32::MAX,
            ..ReadIn::default()
        }
        .encode();
        for room in [16, 17, 1000, 100_000] {
            let reply = guest.client().raw(opcode, node, &huge, room);
            assert_eq!(outcome(&reply), Some(0), "opcode {opcode}, room {room}");
            assert!(reply.used_len as usize <= room);
            assert!(opcode != opcode::READ || reply.used_len as usize == room);
        }
    }
    let grown = guest
        .worker()
        .private_memory()
        .unwrap()
        .saturating_sub(before);
    assert!(grown < 2 << 20, "{grown} bytes more");
    finish(guest);
}

#[test]
fn c13_replies_without_room() {
    let (mut guest, _, samples) = prepared();
    for sample in &samples {
        let (opcode, body) = (sample.opcode, &sample.body);
        for room in [0, 8, 15] {
            let reply = guest.client().raw(opcode, sample.node, body, room);
            assert_eq!(outcome(&reply), None, "opcode {opcode}, room {room}");
        }
        for room in [16, 17, 16 + sample.reply.saturating_sub(1)] {
            if sample.reply > 0 && room < 16 + sample.reply {
                let reply = guest.client().raw(opcode, sample.node, body, room);
                assert_eq!(outcome(&reply), Some(EIO), "opcode {opcode}, room {room}");
            }
        }
    }
    assert_eq!(
        fs::read_dir(guest.host("")).unwrap().count(),
        1,
        "nothing was made"
    );
    assert_eq!(
        fs::read(guest.host("file")).unwrap(),
        b"content",
        "nor written"
    );
    finish(guest);
}

#[test]
fn c13_readlink_that_does_not_fit_is_no_half_target() {
    let mut guest = Guest::start();
    symlink("0123456789", guest.host("link")).unwrap();
    let node = guest.node("link");
    for (room, expected) in [(16, EIO), (25, EIO), (26, 0), (100, 0)] {
        let reply = guest.client().raw(opcode::READLINK, node, &[], room);
        assert_eq!(outcome(&reply), Some(expected), "room {room}");
    }
    finish(guest);
}

#[test]
fn c14_a_malformed_batch_forget_forgets_nothing() {
    let mut guest = Guest::start();
    let node = guest.file("file", "");
    let one = ForgetOne {
        nodeid: node,
        nlookup: 1,
    }
    .encode();
    for (count, len) in [
        (0, 16),
        (2, 16),
        (u32::MAX, 16),
        (1 << 28, 16),
        (1, 15),
        (1, 0),
    ] {
        let batch = BatchForgetIn { count, dummy: 0 }.encode();
        let body = [&batch[..], &one[..len]].concat();
        for room in [0, 16, 100] {
            let reply = guest.client().raw(opcode::BATCH_FORGET, 0, &body, room);
            assert_eq!(outcome(&reply), None, "{count} of {len} bytes");
        }
    }
    for len in 0..8 {
        let reply = guest
            .client()
            .raw(opcode::FORGET, node, &1u64.to_le_bytes()[..len], 16);
        assert_eq!(outcome(&reply), None);
    }
    assert!(guest.client().getattr(node).is_ok(), "it is still known");

    let reply = guest
        .client()
        .raw(opcode::FORGET, node, &1u64.to_le_bytes(), 100);
    assert_eq!(outcome(&reply), None, "never answered");
    assert_eq!(guest.client().getattr(node).unwrap_err(), EBADF);
    guest.assert_unharmed();
}

#[test]
fn c15_offsets_beyond_what_files_have() {
    let (mut guest, node, _) = prepared();
    let fh = guest.client().open(node, libc::O_RDWR).unwrap().fh;
    let client = guest.client();
    for offset in [i64::MAX as u64, 1 << 63, u64::MAX] {
        assert_eq!(client.read(node, fh, offset, 10), Err(EINVAL));
        assert_eq!(client.write(node, fh, offset, b"data"), Err(EINVAL));
        assert_eq!(client.fallocate(node, fh, offset, 10, 0), Err(EINVAL));
        assert_eq!(client.fallocate(node, fh, 10, offset, 0), Err(EINVAL));
        let copy = CopyFileRangeIn {
            fh_in: fh,
            nodeid_out: node,
            fh_out: fh,
            len: 10,
            ..CopyFileRangeIn::default()
        };
        let (from, to) = (
            CopyFileRangeIn {
                off_in: offset,
                ..copy
            },
            CopyFileRangeIn {
                off_out: offset,
                ..copy
            },
        );
        assert_eq!(client.copy_file_range(node, &from), Err(EINVAL));
        assert_eq!(client.copy_file_range_64(node, &to), Err(EINVAL));
    }
    assert_eq!(
        client.lseek(node, fh, 1 << 63, libc::SEEK_DATA),
        Err(EINVAL)
    );
    assert!(
        client
            .lseek(node, fh, i64::MAX as u64, libc::SEEK_DATA)
            .is_err()
    );
    let far = client.write(node, fh, (1 << 62) + 5, b"data");
    assert!(far == Err(libc::EFBIG) || far == Err(EINVAL), "{far:?}");
    finish(guest);
}

#[test]
fn c16_a_write_takes_what_its_size_says() {
    let mut guest = Guest::start();
    let (node, fh) = guest.open("file", "", libc::O_RDWR);
    let write = |client: &mut Client, size: u32, data: &[u8]| {
        let arguments = WriteIn {
            fh,
            size,
            write_flags: u32::MAX,
            ..WriteIn::default()
        };
        let reply = client.raw(
            opcode::WRITE,
            node,
            &with_name(&arguments.encode(), data),
            24,
        );
        outcome(&reply)
    };

    assert_eq!(write(guest.client(), 5, b"1234"), Some(EINVAL));
    assert_eq!(write(guest.client(), u32::MAX, b"1234"), Some(EINVAL));
    assert_eq!(write(guest.client(), 3, b"12345678"), Some(0));

    assert_eq!(fs::read(guest.host("file")).unwrap(), b"123");
    let read = ReadIn {
        fh,
        size: 2,
        ..ReadIn::default()
    };
    let reply = guest.client().raw(opcode::READ, node, &read.encode(), 4096);
    assert_eq!(reply.body, b"12", "no more than asked for");
    finish(guest);
}

#[test]
fn c17_destroy_is_answered_and_init_works_again() {
    let mut guest = Guest::start();

    let reply = guest.client().raw(opcode::DESTROY, 0, &[], 16);

    assert_eq!((outcome(&reply), reply.used_len), (Some(0), 16));
    guest.client().init().unwrap();
    guest.assert_unharmed();
}

/// Numbers that were never given to the guest, aliases of the root's among them.
const UNKNOWN_NODES: &[u64] = &[
    0,
    2,
    3,
    64,
    1 << 31,
    1 << 32,
    1 << 32 | 1,
    1 << 63,
    1 << 63 | 1,
    u64::MAX,
];

#[test]
fn c18_unknown_nodes_are_ebadf() {
    let mut guest = Guest::start();
    let forgotten = guest.file("file", "");
    guest.client().forget(forgotten, 1);
    for &node in UNKNOWN_NODES.iter().chain([&forgotten]) {
        for sample in samples(node, 1, 1) {
            let reply = guest.client().raw(sample.opcode, node, &sample.body, 400);
            assert_eq!(
                outcome(&reply),
                Some(EBADF),
                "opcode {} of {node:#x}",
                sample.opcode
            );
        }
        for opcode in [opcode::READLINK, opcode::STATFS, opcode::SYNCFS] {
            let reply = guest.client().raw(opcode, node, &[0; 8], 400);
            assert_eq!(outcome(&reply), Some(EBADF), "opcode {opcode} of {node:#x}");
        }
        let client = guest.client();
        assert_eq!(client.rename(ROOT_ID, "a", node, "b"), Err(EBADF));
        assert_eq!(client.link(node, ROOT_ID, "b").unwrap_err(), EBADF);
    }
    finish(guest);
}

#[test]
fn c19_unknown_and_foreign_handles_are_ebadf() {
    let mut guest = Guest::start();
    let (node, fh) = guest.open("file", "content", libc::O_RDWR);
    let other = guest.file("other", "");
    let closed = guest.client().open(node, libc::O_RDWR).unwrap().fh;
    guest.client().release(node, closed).unwrap();

    let client = guest.client();
    assert_eq!(client.release(node, closed), Err(EBADF), "released twice");
    let bad = [
        (node, closed),
        (node, 0),
        (node, u64::MAX),
        (node, fh | 1 << 63),
        (other, fh),
    ];
    for (node, fh) in bad {
        assert_eq!(client.read(node, fh, 0, 1), Err(EBADF), "{fh:#x}");
        assert_eq!(client.write(node, fh, 0, b"x"), Err(EBADF));
        assert_eq!(client.flush(node, fh), Err(EBADF));
        assert_eq!(client.fsync(node, fh, false), Err(EBADF));
        assert_eq!(client.fallocate(node, fh, 0, 1, 0), Err(EBADF));
        assert_eq!(client.lseek(node, fh, 0, libc::SEEK_DATA), Err(EBADF));
        assert_eq!(client.release(node, fh), Err(EBADF));
        assert_eq!(client.getattr_handle(node, fh).unwrap_err(), EBADF);
    }
    client.release(node, fh).unwrap();
    client.batch_forget(&[(node, 1), (other, 1)]);
    guest.assert_unharmed();
}

#[test]
fn c20_the_root_cannot_be_forgotten() {
    let mut guest = Guest::start();
    let client = guest.client();

    client.forget(ROOT_ID, 1);
    client.forget(ROOT_ID, 10u64.pow(18));
    client.batch_forget(&[(ROOT_ID, u64::MAX), (ROOT_ID, 1)]);
    // Numbers that differ from the root's in bits that do not count must not be the root.
    for node in [1 << 63 | 1, 1 << 32 | 1, u64::MAX] {
        client.forget(node, u64::MAX);
    }

    finish(guest);
}

#[test]
fn c21_forgetting_more_than_was_looked_up_is_forgetting_it() {
    let mut guest = Guest::start();
    for lookups in [2, u64::MAX, 1 << 63] {
        let node = guest.file("file", "");
        guest.client().forget(node, 0);
        assert!(guest.client().getattr(node).is_ok());

        guest.client().forget(node, lookups);

        assert_eq!(guest.client().getattr(node).unwrap_err(), EBADF);
        guest.client().forget(node, 1);
    }
    UNKNOWN_NODES
        .iter()
        .for_each(|node| guest.client().forget(*node, 1));
    guest.assert_unharmed();
}

#[test]
fn c23_lookups_and_forgets_of_one_file_race_without_harm() {
    let mut guest = Guest::with(|builder| builder.request_queues(4));
    fs::write(guest.host("file"), "content").unwrap();
    let clients = std::mem::take(&mut guest.vm.clients);

    let race = |mut client: Client| {
        for _ in 0..3000 {
            let node = client.lookup(ROOT_ID, "file").unwrap().nodeid;
            assert_eq!(
                client.getattr(node).unwrap().attr.size,
                7,
                "a node that is held"
            );
            client.forget(node, 1);
        }
        client
    };
    guest.vm.clients = std::thread::scope(|scope| {
        let threads: Vec<_> = clients
            .into_iter()
            .map(|client| scope.spawn(|| race(client)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });

    guest.assert_unharmed();
}

#[test]
fn c24_interrupts_are_never_answered() {
    let mut guest = Guest::start();
    let client = guest.client();
    for unique in [0, 2, 999, u64::MAX - 1] {
        client.interrupt(unique);
        let reply = client.raw(opcode::INTERRUPT, 0, &unique.to_le_bytes(), 100);
        assert_eq!(outcome(&reply), None);
    }
    guest.assert_unharmed();
}

#[test]
fn c26_readers_of_one_directory_handle_take_turns() {
    let mut guest = Guest::with(|builder| builder.request_queues(3));
    (0..300).for_each(|n| fs::write(guest.host(&format!("file{n:03}")), "").unwrap());
    let fh = guest.client().opendir(ROOT_ID).unwrap().fh;
    let all = guest.client().readdir(ROOT_ID, fh, 0, 1 << 16).unwrap();
    let clients = std::mem::take(&mut guest.vm.clients);

    let (all, offsets) = (&all, [0, 50, 299]);
    let read = |(mut client, start): (Client, usize)| {
        for _ in 0..200 {
            let entries = client.readdir(ROOT_ID, fh, all[start].off, 1000).unwrap();
            assert_eq!(entries, all[start + 1..][..entries.len()]);
        }
        client
    };
    guest.vm.clients = std::thread::scope(|scope| {
        let readers = clients.into_iter().zip(offsets);
        let threads: Vec<_> = readers
            .map(|reader| scope.spawn(move || read(reader)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });

    guest.client().releasedir(ROOT_ID, fh).unwrap();
    guest.assert_unharmed();
}

#[test]
fn c27_open_flags_are_masked_or_refused() {
    let mut guest = Guest::start();
    let node = guest.file("file", "content");
    let client = guest.client();
    for flags in [
        libc::O_PATH,
        libc::O_TMPFILE | libc::O_RDWR,
        libc::O_ACCMODE,
        -1,
    ] {
        assert_eq!(client.open(node, flags).unwrap_err(), EINVAL, "{flags:#o}");
        let created = client.create(ROOT_ID, "new", flags, 0o600);
        assert_eq!(created.unwrap_err(), EINVAL, "{flags:#o}");
    }
    for flags in [
        libc::O_CREAT,
        libc::O_CREAT | libc::O_EXCL,
        libc::O_NOFOLLOW,
        libc::O_ASYNC,
        libc::O_DIRECT,
        libc::O_NOATIME,
        libc::O_NONBLOCK,
        libc::O_DIRECTORY,
    ] {
        let fh = client
            .open(node, flags)
            .expect("the guest kernel's own business")
            .fh;
        assert_eq!(
            client.read(node, fh, 0, 100).unwrap(),
            b"content",
            "{flags:#o}"
        );
        client.release(node, fh).unwrap();
    }
    client.forget(node, 1);
    assert!(!guest.host("new").exists());
    guest.assert_unharmed();
}

#[test]
fn c33_a_reply_nobody_asked_for_is_dropped() {
    let mut guest = Guest::start();
    let reply = guest
        .client()
        .raw(opcode::NOTIFY_REPLY, ROOT_ID, &[0; 64], 100);
    assert_eq!(outcome(&reply), None);
    guest.assert_unharmed();
}

#[test]
fn d1_d3_d4_names_that_lead_elsewhere_are_einval() {
    let mut guest = Guest::start();
    let file = guest.file("file", "");
    fs::create_dir(guest.host("dir")).unwrap();
    let names = [
        ".",
        "..",
        "../outside/secret",
        "dir/x",
        "/etc/passwd",
        "./file",
        "file/",
        "//",
    ];
    let client = guest.client();
    for name in names {
        let rdwr = libc::O_RDWR;
        assert_eq!(client.lookup(ROOT_ID, name).unwrap_err(), EINVAL, "{name}");
        assert_eq!(client.mkdir(ROOT_ID, name, 0o755).unwrap_err(), EINVAL);
        assert_eq!(
            client.mknod(ROOT_ID, name, libc::S_IFREG, 0).unwrap_err(),
            EINVAL
        );
        assert_eq!(client.symlink(ROOT_ID, name, "x").unwrap_err(), EINVAL);
        assert_eq!(client.link(file, ROOT_ID, name).unwrap_err(), EINVAL);
        assert_eq!(
            client.create(ROOT_ID, name, rdwr, 0o600).unwrap_err(),
            EINVAL
        );
        assert_eq!(client.unlink(ROOT_ID, name).unwrap_err(), EINVAL);
        assert_eq!(client.rmdir(ROOT_ID, name).unwrap_err(), EINVAL);
        for (from, to) in [(name, "new"), ("file", name)] {
            assert_eq!(
                client.rename(ROOT_ID, from, ROOT_ID, to).unwrap_err(),
                EINVAL
            );
            assert_eq!(
                client.rename2(ROOT_ID, from, ROOT_ID, to, 0).unwrap_err(),
                EINVAL
            );
        }
    }
    client.forget(file, 1);
    assert_eq!(fs::read_dir(guest.host("")).unwrap().count(), 2);
    guest.assert_unharmed();
}

#[test]
fn f3_errors_leave_nothing_behind() {
    let (mut guest, _, samples) = prepared();
    let before = guest.worker().open_fds().unwrap();
    for _ in 0..300 {
        for sample in &samples {
            if sample.reply > 0 {
                guest
                    .client()
                    .raw(sample.opcode, sample.node, &sample.body, 16);
            }
            guest.client().raw(sample.opcode, 12_345, &sample.body, 400);
        }
        let _ = guest.client().lookup(ROOT_ID, "nothing");
    }
    assert_eq!(guest.worker().open_fds().unwrap(), before);
    finish(guest);
}
