//! What replies let the guest remember, by cache mode.

use std::time::Duration;

use frontend::ROOT_ID;
use frontend::fuse::{fopen, init_flag};

use crate::guest::Guest;

/// What a mode's replies say.
struct Expected {
    timeout: Duration,
    open: u32,
    opendir: u32,
    init: u64,
}

fn check(args: &[&str], expected: &Expected) {
    let mut guest = Guest::with(|builder| builder.args(args));
    let timeout = (expected.timeout.as_secs(), expected.timeout.subsec_nanos());
    let node = guest.file("file", "");
    let client = guest.client();

    let entry = client.lookup(ROOT_ID, "file").unwrap();
    let attr = client.getattr(node).unwrap();
    let stat = client.statx(node, 0).unwrap();
    let open = client.open(node, libc::O_RDONLY).unwrap();
    let opendir = client.opendir(ROOT_ID).unwrap();
    let (created, created_open) = client.create(ROOT_ID, "new", libc::O_RDWR, 0o600).unwrap();
    let listed = client.readdirplus(ROOT_ID, opendir.fh, 0, 4096).unwrap();

    assert_eq!(
        (entry.entry_valid, entry.entry_valid_nsec),
        timeout,
        "{args:?}"
    );
    assert_eq!((entry.attr_valid, entry.attr_valid_nsec), timeout);
    assert_eq!((created.entry_valid, created.attr_valid_nsec), timeout);
    assert_eq!((attr.attr_valid, attr.attr_valid_nsec), timeout);
    assert_eq!((stat.attr_valid, stat.attr_valid_nsec), timeout);
    let files = listed.iter().filter(|listed| listed.entry.nodeid != 0);
    for listed in files {
        assert_eq!(
            (listed.entry.entry_valid, listed.entry.entry_valid_nsec),
            timeout
        );
        client.forget(listed.entry.nodeid, 1);
    }
    assert_eq!(
        (open.open_flags, created_open.open_flags),
        (expected.open, expected.open)
    );
    assert_eq!(opendir.open_flags, expected.opendir, "{args:?}");
    let cacheable = init_flag::AUTO_INVAL_DATA | init_flag::CACHE_SYMLINKS;
    assert_eq!(
        client.negotiated().all_flags() & cacheable,
        expected.init,
        "{args:?}"
    );
    client.release(node, open.fh).unwrap();
    client.release(created.nodeid, created_open.fh).unwrap();
    client.releasedir(ROOT_ID, opendir.fh).unwrap();
    client.batch_forget(&[(node, 2), (created.nodeid, 1)]);
    guest.assert_unharmed();
}

const DAY: Duration = Duration::from_secs(86_400);
const KEEP_LISTING: u32 = fopen::KEEP_CACHE | fopen::CACHE_DIR;

#[test]
fn auto_is_the_default_and_checks_every_second() {
    let expected = Expected {
        timeout: Duration::from_secs(1),
        open: 0,
        opendir: 0,
        init: init_flag::AUTO_INVAL_DATA,
    };
    check(&[], &expected);
    check(&["--cache=auto"], &expected);
}

#[test]
fn always_keeps_everything_for_a_day() {
    let expected = Expected {
        timeout: DAY,
        open: fopen::KEEP_CACHE,
        opendir: KEEP_LISTING,
        init: init_flag::CACHE_SYMLINKS,
    };
    check(&["--cache=always"], &expected);
}

#[test]
fn metadata_keeps_all_but_the_bytes() {
    let expected = Expected {
        timeout: DAY,
        open: fopen::DIRECT_IO,
        opendir: KEEP_LISTING,
        init: 0,
    };
    check(&["--cache=metadata"], &expected);
}

#[test]
fn never_keeps_nothing() {
    let expected = Expected {
        timeout: Duration::ZERO,
        open: fopen::DIRECT_IO,
        opendir: 0,
        init: 0,
    };
    check(&["--cache=never"], &expected);
    check(&["-o", "cache=none"], &expected);
}

#[test]
fn a_timeout_of_its_own_goes_before_the_modes() {
    let expected = Expected {
        timeout: Duration::from_millis(2500),
        open: fopen::KEEP_CACHE,
        opendir: KEEP_LISTING,
        init: init_flag::CACHE_SYMLINKS,
    };
    check(&["--cache=always", "-o", "timeout=2.5"], &expected);
}

#[test]
fn readdirplus_is_offered_unless_refused() {
    let both = init_flag::DO_READDIRPLUS | init_flag::READDIRPLUS_AUTO;
    for (args, offered) in [(&[][..], both), (&["--no-readdirplus"], 0)] {
        let mut guest = Guest::with(|builder| builder.args(args));
        assert_eq!(
            guest.vm.negotiated().all_flags() & both,
            offered,
            "{args:?}"
        );
        guest.assert_unharmed();
    }
}

#[test]
fn submounts_are_announced_when_asked_for() {
    for (arg, offered) in [
        ("--announce-submounts", init_flag::SUBMOUNTS),
        ("--no-announce-submounts", 0),
    ] {
        let mut guest = Guest::with(|builder| builder.arg(arg));
        assert_eq!(
            guest.vm.negotiated().all_flags() & init_flag::SUBMOUNTS,
            offered
        );
        guest.assert_unharmed();
    }
}

#[test]
fn e20_a_read_only_share_refuses_every_change() {
    use frontend::fuse::SetattrIn;
    let mut guest = Guest::with(|builder| builder.arg("--readonly"));
    let (node, fh) = guest.open("file", "content", libc::O_RDONLY);
    let client = guest.client();
    let (rdwr, trunc) = (libc::O_RDWR, libc::O_RDONLY | libc::O_TRUNC);

    let refusals = [
        client.open(node, rdwr).map(drop),
        client.open(node, libc::O_WRONLY).map(drop),
        client.open(node, trunc).map(drop),
        client.create(ROOT_ID, "new", rdwr, 0o600).map(drop),
        client
            .create(ROOT_ID, "file", libc::O_RDONLY, 0o600)
            .map(drop),
        client.tmpfile(ROOT_ID, rdwr, 0o600).map(drop),
        client.mkdir(ROOT_ID, "new", 0o700).map(drop),
        client.mknod(ROOT_ID, "new", libc::S_IFREG, 0).map(drop),
        client.symlink(ROOT_ID, "new", "x").map(drop),
        client.link(node, ROOT_ID, "new").map(drop),
        client.unlink(ROOT_ID, "file"),
        client.rmdir(ROOT_ID, "file"),
        client.rename(ROOT_ID, "file", ROOT_ID, "new"),
        client.rename2(ROOT_ID, "file", ROOT_ID, "new", 0),
        client.setattr(node, &SetattrIn::default()).map(drop),
        client.truncate(node, 0).map(drop),
        client.write(node, fh, 0, b"x").map(drop),
        client.fallocate(node, fh, 0, 10, 0),
        client.access(node, libc::W_OK as u32),
    ];
    for (n, refusal) in refusals.into_iter().enumerate() {
        assert_eq!(refusal, Err(libc::EROFS), "refusal {n}");
    }

    assert_eq!(client.read(node, fh, 0, 100).unwrap(), b"content");
    assert_eq!(std::fs::read_dir(guest.host("")).unwrap().count(), 1);
    guest.client().release(node, fh).unwrap();
    guest.client().forget(node, 1);
    guest.assert_unharmed();
}
