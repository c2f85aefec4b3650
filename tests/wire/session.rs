//! INIT, DESTROY and what they agree on.

use frontend::ROOT_ID;
use frontend::fuse::{InitIn, InitOut, init_flag, opcode};
use frontend::wire::Wire;
use libc::{EBADF, EIO, ENOSYS, EPROTO};

use crate::guest::{Guest, outcome};

/// Flags of daemons with every option that this daemon has so far.
const OFFERED: u64 = init_flag::ASYNC_READ
    | init_flag::BIG_WRITES
    | init_flag::AUTO_INVAL_DATA
    | init_flag::DO_READDIRPLUS
    | init_flag::READDIRPLUS_AUTO
    | init_flag::ASYNC_DIO
    | init_flag::PARALLEL_DIROPS
    | init_flag::MAX_PAGES
    | init_flag::SUBMOUNTS
    | init_flag::INIT_EXT;

fn init_request(major: u32, minor: u32, flags: u64) -> InitIn {
    InitIn {
        major,
        minor,
        max_readahead: 1 << 17,
        flags: flags as u32,
        flags2: (flags >> 32) as u32,
        unused: [0; 11],
    }
}

#[test]
fn every_version_of_linux_5_4_to_7_3_and_later_is_spoken() {
    let mut guest = Guest::start();
    for minor in (27..=46).chain([47, 99, u32::MAX]) {
        // The message grew with 7.36; before, it ends after the first flags.
        let flags = if minor < 36 {
            init_flag::LINUX & 0x3fff_ffff
        } else {
            init_flag::LINUX
        };
        let body = init_request(7, minor, flags).encode();
        let len = if minor < 36 { 16 } else { 64 };

        let reply = guest.client().raw(opcode::INIT, 0, &body[..len], 80);

        assert_eq!(outcome(&reply), Some(0), "7.{minor}");
        let out = InitOut::decode(&reply.body).expect("a whole reply");
        assert_eq!((out.major, out.minor), (7, minor.min(46)));
        assert_eq!(
            (out.max_write, out.max_pages, out.time_gran),
            (1 << 20, 256, 1)
        );
        assert_eq!(out.max_readahead, 1 << 17);
        assert_eq!(
            out.all_flags() & !flags,
            0,
            "nothing that was not asked for"
        );
        assert!(guest.client().getattr(ROOT_ID).is_ok());
    }
    guest.assert_unharmed();
}

#[test]
fn c9_versions_before_and_beyond_ours() {
    let mut guest = Guest::start();
    for (major, minor) in [(6, 46), (0, 0), (7, 0), (7, 26)] {
        let body = init_request(major, minor, init_flag::LINUX).encode();
        let reply = guest.client().raw(opcode::INIT, 0, &body, 80);
        assert_eq!(outcome(&reply), Some(EPROTO), "{major}.{minor}");
    }
    for major in [8, u32::MAX] {
        let body = init_request(major, 1, u64::MAX).encode();
        let reply = guest.client().raw(opcode::INIT, 0, &body, 80);
        assert_eq!(outcome(&reply), Some(0));
        let out = InitOut::decode(&reply.body).unwrap();
        assert_eq!(
            (out.major, out.all_flags()),
            (7, 0),
            "asked again in our version"
        );
    }
    guest.client().init().unwrap();
    guest.assert_unharmed();
}

#[test]
fn c9_only_flags_of_both_sides_are_agreed_on() {
    let mut guest = Guest::with(|builder| builder.args(["--announce-submounts", "--cache=auto"]));
    for bit in 0..64 {
        let asked = 1 << bit | init_flag::INIT_EXT;
        let agreed = guest.client().init_with(46, asked).unwrap().all_flags();
        assert_eq!(agreed, asked & OFFERED, "bit {bit}");
    }
    let mut extreme = init_request(7, 46, u64::MAX);
    extreme.max_readahead = u32::MAX;
    extreme.unused = [u32::MAX; 11];
    let reply = guest.client().raw(opcode::INIT, 0, &extreme.encode(), 80);
    let agreed = InitOut::decode(&reply.body).unwrap().all_flags();
    assert_eq!(agreed & !OFFERED, 0, "nothing unknown: {agreed:#x}");
    guest.assert_unharmed();
}

#[test]
fn the_second_word_of_flags_counts_only_when_announced() {
    let mut guest = Guest::with(|builder| builder.arg("--allow-mmap"));
    let mmap = init_flag::DIRECT_IO_ALLOW_MMAP;

    let with = guest
        .client()
        .init_with(46, mmap | init_flag::INIT_EXT)
        .unwrap();
    let without = guest.client().init_with(46, mmap).unwrap();

    assert_eq!(
        (with.all_flags() & mmap, without.all_flags() & mmap),
        (mmap, 0)
    );
    guest.assert_unharmed();
}

#[test]
fn c8_nothing_is_answered_before_init_or_after_destroy_but_eio() {
    let mut guest = Guest::start();
    let (node, fh) = guest.open("file", "content", libc::O_RDWR);

    guest.client().destroy().expect("an answer");

    guest.await_extra_fds(0);
    let client = guest.client();
    assert_eq!(client.getattr(ROOT_ID).unwrap_err(), EIO);
    assert_eq!(client.lookup(ROOT_ID, "file").unwrap_err(), EIO);
    assert_eq!(client.read(node, fh, 0, 1).unwrap_err(), EIO);
    assert_eq!(client.destroy().unwrap_err(), EIO);
    client.forget(node, 1);

    client.init().unwrap();
    assert_eq!(client.getattr(node).unwrap_err(), EBADF);
    assert_eq!(client.read(node, fh, 0, 1).unwrap_err(), EBADF);
    assert_eq!(client.lookup(ROOT_ID, "file").unwrap().attr.size, 7);
    client.init().unwrap();
    guest.assert_unharmed();
}

#[test]
fn c8_a_second_init_forgets_the_first_session() {
    let mut guest = Guest::start();
    let (node, fh) = guest.open("file", "content", libc::O_RDWR);
    guest.client().opendir(ROOT_ID).unwrap();
    assert_eq!(guest.extra_fds(), 3);

    guest.client().init().unwrap();

    guest.await_extra_fds(0);
    assert_eq!(guest.client().read(node, fh, 0, 1).unwrap_err(), EBADF);
    assert_eq!(guest.client().getattr(node).unwrap_err(), EBADF);
    guest.assert_unharmed();
}

#[test]
fn c8_before_the_first_init_there_is_eio() {
    let mut guest = Guest::with(|builder| builder.init(46, 0));
    guest.client().destroy().unwrap();
    guest.vm.stop_queues().unwrap();
    guest.vm.reboot();
    guest.client().destroy().unwrap();

    for opcode in [opcode::GETATTR, opcode::STATFS, opcode::OPENDIR, 9999] {
        let reply = guest.client().raw(opcode, ROOT_ID, &[0; 16], 200);
        assert_eq!(outcome(&reply), Some(EIO), "opcode {opcode}");
    }
    guest.client().init().unwrap();
    guest.assert_unharmed();
}

#[test]
fn opcodes_of_features_to_come_are_enosys_and_not_negotiated() {
    let mut guest = Guest::start();
    let (node, fh) = guest.open("file", "", libc::O_RDWR);
    let body = [&fh.to_le_bytes()[..], &[0; 56], b"user.name\0"].concat();
    for opcode in [
        opcode::SETXATTR,
        opcode::GETXATTR,
        opcode::LISTXATTR,
        opcode::REMOVEXATTR,
        opcode::GETLK,
        opcode::SETLK,
        opcode::SETLKW,
        opcode::IOCTL,
        opcode::POLL,
        opcode::BMAP,
        opcode::SETUPMAPPING,
        opcode::REMOVEMAPPING,
    ] {
        let reply = guest.client().raw(opcode, node, &body, 4096);
        assert_eq!(outcome(&reply), Some(ENOSYS), "opcode {opcode}");
    }
    let later = init_flag::POSIX_LOCKS
        | init_flag::FLOCK_LOCKS
        | init_flag::POSIX_ACL
        | init_flag::WRITEBACK_CACHE
        | init_flag::HANDLE_KILLPRIV_V2
        | init_flag::SETXATTR_EXT
        | init_flag::SECURITY_CTX;
    assert_eq!(guest.vm.negotiated().all_flags() & later, 0);
    guest.client().release(node, fh).unwrap();
    guest.client().forget(node, 1);
    guest.assert_unharmed();
}

#[test]
fn a_guest_that_reboots_starts_anew() {
    let mut guest = Guest::with(|builder| builder.request_queues(3));
    for round in 0..5 {
        let (_, fh) = guest.open("file", "content", libc::O_RDWR);
        let idle = guest.vm.daemon.worker().threads().unwrap();

        guest.vm.reboot();

        guest.await_extra_fds(0);
        assert_eq!(guest.worker().threads().unwrap(), idle, "round {round}");
        let node = guest.node("file");
        assert_eq!(guest.client().read(node, fh, 0, 1).unwrap_err(), EBADF);
        guest.client().forget(node, 1);
    }
    guest.assert_unharmed();
}

#[test]
fn requests_of_all_queues_belong_to_one_session() {
    let mut guest = Guest::with(|builder| builder.request_queues(4));
    let node = guest.file("file", "content");
    for n in 0..4 {
        let client = &mut guest.vm.clients[n];
        let fh = client.open(node, libc::O_RDONLY).unwrap().fh;
        let other = &mut guest.vm.clients[(n + 1) % 4];
        assert_eq!(other.read(node, fh, 0, 100).unwrap(), b"content");
        other.release(node, fh).unwrap();
    }
    guest.client().forget(node, 1);
    guest.assert_unharmed();
}
