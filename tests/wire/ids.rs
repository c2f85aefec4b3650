//! Whose files a guest's requests make.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use frontend::{Caller, ROOT_ID};
use libc::EINVAL;

use crate::guest::Guest;

const USER: Caller = Caller {
    uid: 1000,
    gid: 1001,
    pid: 7,
};

#[test]
fn what_a_caller_makes_is_the_callers() {
    let mut guest = Guest::start();
    // Nobody but root may write here: the guest's kernel has checked that the caller may.
    fs::set_permissions(guest.host(""), fs::Permissions::from_mode(0o700)).unwrap();
    let client = guest.client();
    (client.caller, client.umask) = (USER, 0o027);

    let (file, opened) = client.create(ROOT_ID, "file", libc::O_RDWR, 0o666).unwrap();
    let nodes = [
        client.mkdir(ROOT_ID, "dir", 0o777).unwrap(),
        client
            .mknod(ROOT_ID, "fifo", libc::S_IFIFO | 0o666, 0)
            .unwrap(),
        client.symlink(ROOT_ID, "link", "x").unwrap(),
        file,
    ];
    let (temporary, other) = client.tmpfile(ROOT_ID, libc::O_RDWR, 0o666).unwrap();

    for (name, mode) in [
        ("file", 0o640),
        ("dir", 0o750),
        ("fifo", 0o640),
        ("link", 0o777),
    ] {
        let host = fs::symlink_metadata(guest.host(name)).unwrap();
        assert_eq!((host.uid(), host.gid()), (1000, 1001), "{name}");
        assert_eq!(host.mode() & 0o7777, mode, "{name}");
    }
    let attr = temporary.attr;
    assert_eq!(
        (attr.uid, attr.gid, attr.mode & 0o7777),
        (1000, 1001, 0o640)
    );
    let client = guest.client();
    client.release(file.nodeid, opened.fh).unwrap();
    client.release(temporary.nodeid, other.fh).unwrap();
    nodes
        .iter()
        .for_each(|entry| client.forget(entry.nodeid, 1));
    client.forget(temporary.nodeid, 1);
    guest.assert_unharmed();
}

#[test]
fn callers_do_not_rub_off_on_each_other() {
    let mut guest = Guest::start();
    for n in 0..200u32 {
        let client = guest.client();
        client.caller = Caller {
            uid: n % 3 * 500,
            gid: n % 5 * 100,
            pid: 1,
        };
        let name = format!("file{n}");
        let (made, opened) = client.create(ROOT_ID, &name, libc::O_RDWR, 0o666).unwrap();
        client.release(made.nodeid, opened.fh).unwrap();
        client.forget(made.nodeid, 1);
        let host = fs::metadata(guest.host(&name)).unwrap();
        assert_eq!(
            (host.uid(), host.gid()),
            (n % 3 * 500, n % 5 * 100),
            "{name}"
        );
    }
    guest.assert_unharmed();
}

#[test]
fn e1_a_set_group_id_directory_hands_its_group_on() {
    const STAFF: u32 = 50;
    let mut guest = Guest::start();
    fs::create_dir(guest.host("dir")).unwrap();
    chown(guest.host("dir"), Some(0), Some(STAFF)).unwrap();
    fs::set_permissions(guest.host("dir"), fs::Permissions::from_mode(0o2777)).unwrap();
    let dir = guest.node("dir");
    let client = guest.client();
    client.caller = Caller { gid: 1000, ..USER };

    let (file, opened) = client.create(dir, "file", libc::O_RDWR, 0o2755).unwrap();
    let sub = client.mkdir(dir, "sub", 0o755).unwrap();
    let node = client
        .mknod(dir, "node", libc::S_IFREG | 0o2755, 0)
        .unwrap();
    let (temporary, other) = client.tmpfile(dir, libc::O_RDWR, 0o2755).unwrap();

    for (entry, mode) in [
        (file, 0o755),
        (node, 0o755),
        (temporary, 0o755),
        (sub, 0o2755),
    ] {
        let attr = entry.attr;
        assert_eq!((attr.uid, attr.gid), (1000, STAFF));
        assert_eq!(attr.mode & 0o7777, mode);
    }
    client.release(file.nodeid, opened.fh).unwrap();
    client.release(temporary.nodeid, other.fh).unwrap();
    for entry in [file, sub, node, temporary] {
        client.forget(entry.nodeid, 1);
    }
    client.forget(dir, 1);
    guest.assert_unharmed();
}

#[test]
fn e7_ids_that_nobody_has_make_nothing() {
    let mut guest = Guest::start();
    for (uid, gid) in [(u32::MAX, 0), (0, u32::MAX), (u32::MAX, u32::MAX)] {
        let client = guest.client();
        client.caller = Caller { uid, gid, pid: 1 };
        let created = client.create(ROOT_ID, "file", libc::O_RDWR, 0o644);
        assert_eq!(created.unwrap_err(), EINVAL);
        assert_eq!(client.mkdir(ROOT_ID, "dir", 0o755).unwrap_err(), EINVAL);
    }
    assert_eq!(fs::read_dir(guest.host("")).unwrap().count(), 0);
    guest.assert_unharmed();
}

#[test]
fn e9_device_nodes_are_for_the_privileged() {
    let mut guest = Guest::start();
    guest.client().caller = USER;
    for kind in [libc::S_IFCHR, libc::S_IFBLK] {
        let made = guest
            .client()
            .mknod(ROOT_ID, "device", kind | 0o666, 1 << 8 | 1);
        assert_eq!(made.unwrap_err(), libc::EPERM);
    }
    assert_eq!(fs::read_dir(guest.host("")).unwrap().count(), 0);
    guest.assert_unharmed();
}

#[test]
fn e9_root_with_another_group_is_still_root() {
    let mut guest = Guest::start();
    fs::create_dir(guest.host("dir")).unwrap();
    chown(guest.host("dir"), Some(0), Some(50)).unwrap();
    fs::set_permissions(guest.host("dir"), fs::Permissions::from_mode(0o2775)).unwrap();
    let dir = guest.node("dir");
    guest.client().caller = Caller {
        uid: 0,
        gid: 5,
        pid: 1,
    };

    let device = guest
        .client()
        .mknod(ROOT_ID, "null", libc::S_IFCHR | 0o666, 1 << 8 | 3)
        .expect("root makes device nodes");
    let (file, opened) = guest
        .client()
        .create(dir, "file", libc::O_RDWR, 0o2755)
        .unwrap();

    assert_eq!((device.attr.uid, device.attr.gid), (0, 5));
    assert_eq!(
        (file.attr.gid, file.attr.mode & 0o7777),
        (50, 0o2755),
        "as on the host"
    );
    guest.client().release(file.nodeid, opened.fh).unwrap();
    guest
        .client()
        .batch_forget(&[(device.nodeid, 1), (file.nodeid, 1), (dir, 1)]);
    guest.assert_unharmed();
}

#[test]
fn e8_the_daemons_own_umask_does_not_count() {
    let mut guest = Guest::start();
    guest.client().umask = 0;

    let dir = guest.client().mkdir(ROOT_ID, "dir", 0o777).unwrap();

    assert_eq!(dir.attr.mode & 0o777, 0o777);
    guest.client().forget(dir.nodeid, 1);
    guest.assert_unharmed();
}
