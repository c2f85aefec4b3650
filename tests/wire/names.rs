//! Operations on names, and what the host then sees.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};

use frontend::ROOT_ID;
use libc::{EEXIST, EINVAL, EISDIR, ELOOP, ENOENT, ENOTDIR, ENOTEMPTY, EPERM};

use crate::guest::Guest;

#[test]
fn lookup_finds_what_the_host_has() {
    let mut guest = Guest::start();
    fs::write(guest.host("file"), "12345").unwrap();
    symlink("file", guest.host("link")).unwrap();
    fs::create_dir(guest.host("dir")).unwrap();

    for name in ["file", "link", "dir"] {
        let found = guest.client().lookup(ROOT_ID, name).unwrap();

        let host = fs::symlink_metadata(guest.host(name)).unwrap();
        let attr = found.attr;
        assert_eq!(
            (attr.ino, attr.mode, attr.nlink, attr.size, attr.blocks),
            (
                host.ino(),
                host.mode(),
                host.nlink() as u32,
                host.size(),
                host.blocks()
            ),
            "{name}"
        );
        assert_eq!(
            (attr.mtime as i64, attr.mtimensec as i64, attr.ctime as i64),
            (host.mtime(), host.mtime_nsec(), host.ctime())
        );
        guest.client().forget(found.nodeid, 1);
    }
    guest.assert_unharmed();
}

#[test]
fn lookup_errors() {
    let mut guest = Guest::start();
    let file = guest.file("file", "");
    symlink("/", guest.host("link")).unwrap();
    let link = guest.node("link");

    let client = guest.client();
    assert_eq!(client.lookup(ROOT_ID, "nothing").unwrap_err(), ENOENT);
    assert_eq!(client.lookup(file, "below").unwrap_err(), ENOTDIR);
    assert_eq!(
        client.lookup(link, "etc").unwrap_err(),
        ENOTDIR,
        "not followed"
    );
    client.batch_forget(&[(file, 1), (link, 1)]);
    guest.assert_unharmed();
}

#[test]
fn two_names_of_one_file_are_one_node() {
    let mut guest = Guest::start();
    let file = guest.file("one", "");
    fs::hard_link(guest.host("one"), guest.host("two")).unwrap();

    let again = guest.client().lookup(ROOT_ID, "two").unwrap();

    assert_eq!((again.nodeid, again.attr.nlink), (file, 2));
    guest.client().forget(file, 2);
    guest.assert_unharmed();
}

#[test]
fn mknod_makes_files_fifos_and_sockets() {
    let mut guest = Guest::start();
    for (name, kind) in [
        ("file", libc::S_IFREG),
        ("fifo", libc::S_IFIFO),
        ("socket", libc::S_IFSOCK),
    ] {
        let made = guest
            .client()
            .mknod(ROOT_ID, name, kind | 0o666, 0)
            .unwrap();

        let host = fs::symlink_metadata(guest.host(name)).unwrap();
        assert_eq!(host.mode(), kind | 0o644, "{name}");
        assert_eq!(made.attr.mode, host.mode());
        guest.client().forget(made.nodeid, 1);
    }
    let again = guest.client().mknod(ROOT_ID, "fifo", libc::S_IFIFO, 0);
    assert_eq!(again.unwrap_err(), EEXIST);
    guest.assert_unharmed();
}

#[test]
fn mknod_makes_device_nodes_for_root_only() {
    let mut guest = Guest::start();
    // 8:17, as new_encode_dev packs it.
    let device = 8 << 8 | 17;

    let made = guest
        .client()
        .mknod(ROOT_ID, "disk", libc::S_IFBLK | 0o600, device);
    guest.client().caller.uid = 1000;
    let other = guest
        .client()
        .mknod(ROOT_ID, "other", libc::S_IFCHR | 0o600, device);

    let node = made.expect("root may");
    assert_eq!(node.attr.rdev, device);
    let host = fs::symlink_metadata(guest.host("disk")).unwrap();
    assert!(host.file_type().is_block_device());
    assert_eq!(host.rdev(), libc::makedev(8, 17));
    assert_eq!(other.unwrap_err(), EPERM);
    guest.client().forget(node.nodeid, 1);
    guest.assert_unharmed();
}

#[test]
fn mkdir_and_rmdir() {
    let mut guest = Guest::start();

    let made = guest.client().mkdir(ROOT_ID, "dir", 0o1777).unwrap();

    let host = fs::metadata(guest.host("dir")).unwrap();
    assert_eq!((host.mode(), host.is_dir()), (libc::S_IFDIR | 0o1755, true));
    assert_eq!(
        guest.client().mkdir(ROOT_ID, "dir", 0o777).unwrap_err(),
        EEXIST
    );
    fs::write(guest.host("dir/file"), "").unwrap();
    assert_eq!(guest.client().rmdir(ROOT_ID, "dir").unwrap_err(), ENOTEMPTY);
    assert_eq!(guest.client().unlink(ROOT_ID, "dir").unwrap_err(), EISDIR);
    assert_eq!(
        guest.client().rmdir(made.nodeid, "file").unwrap_err(),
        ENOTDIR
    );

    fs::remove_file(guest.host("dir/file")).unwrap();
    guest.client().rmdir(ROOT_ID, "dir").unwrap();

    assert!(!guest.host("dir").exists());
    assert_eq!(guest.client().rmdir(ROOT_ID, "dir").unwrap_err(), ENOENT);
    guest.client().forget(made.nodeid, 1);
    guest.assert_unharmed();
}

#[test]
fn symlink_and_readlink_keep_any_bytes() {
    let mut guest = Guest::start();
    let long = vec![b'x'; 4095];
    for (name, target) in [
        ("plain", &b"../outside/secret"[..]),
        ("odd", b"\xff\n /%s"),
        ("long", &long),
    ] {
        let made = guest.client().symlink(ROOT_ID, name, target).unwrap();

        assert_eq!(guest.client().readlink(made.nodeid).unwrap(), target);
        let host = fs::read_link(guest.host(name)).unwrap();
        assert_eq!(host.as_os_str().as_encoded_bytes(), target);
        guest.client().forget(made.nodeid, 1);
    }
    let (file, client) = (guest.file("file", ""), guest.client());
    assert_eq!(client.readlink(file).unwrap_err(), EINVAL);
    assert_eq!(client.symlink(ROOT_ID, "file", "x").unwrap_err(), EEXIST);
    client.forget(file, 1);
    guest.assert_unharmed();
}

#[test]
fn unlink_removes_the_name() {
    let mut guest = Guest::start();
    let file = guest.file("file", "");

    guest.client().unlink(ROOT_ID, "file").unwrap();

    assert!(!guest.host("file").exists());
    assert_eq!(guest.client().unlink(ROOT_ID, "file").unwrap_err(), ENOENT);
    assert_eq!(guest.client().getattr(file).unwrap().attr.nlink, 0);
    guest.client().forget(file, 1);
    guest.assert_unharmed();
}

#[test]
fn link_adds_a_name() {
    let mut guest = Guest::start();
    let file = guest.file("file", "data");
    symlink("nowhere", guest.host("symlink")).unwrap();
    let symlink = guest.node("symlink");
    fs::create_dir(guest.host("dir")).unwrap();
    let dir = guest.node("dir");

    let linked = guest.client().link(file, dir, "second").unwrap();
    let twin = guest.client().link(symlink, ROOT_ID, "twin").unwrap();

    assert_eq!((linked.nodeid, linked.attr.nlink), (file, 2));
    assert_eq!(fs::read(guest.host("dir/second")).unwrap(), b"data");
    assert_eq!(twin.nodeid, symlink, "the link itself");
    assert!(
        fs::symlink_metadata(guest.host("twin"))
            .unwrap()
            .is_symlink()
    );
    let client = guest.client();
    assert_eq!(client.link(file, ROOT_ID, "file").unwrap_err(), EEXIST);
    assert_eq!(client.link(dir, ROOT_ID, "other").unwrap_err(), EPERM);
    client.batch_forget(&[(file, 2), (symlink, 2), (dir, 1)]);
    guest.assert_unharmed();
}

#[test]
fn link_of_an_unlinked_file_is_enoent() {
    let mut guest = Guest::start();
    let file = guest.file("file", "");
    guest.client().unlink(ROOT_ID, "file").unwrap();

    assert_eq!(
        guest.client().link(file, ROOT_ID, "back").unwrap_err(),
        ENOENT
    );

    guest.client().forget(file, 1);
    guest.assert_unharmed();
}

#[test]
fn rename_replaces_and_moves() {
    let mut guest = Guest::start();
    fs::create_dir(guest.host("dir")).unwrap();
    fs::write(guest.host("dir/old"), "old").unwrap();
    let (file, dir) = (guest.file("file", "new"), guest.node("dir"));

    guest.client().rename(ROOT_ID, "file", dir, "old").unwrap();

    assert_eq!(fs::read(guest.host("dir/old")).unwrap(), b"new");
    let moved = guest.client().lookup(dir, "old").unwrap();
    assert_eq!(moved.nodeid, file, "the node moves along");
    let client = guest.client();
    assert_eq!(
        client.rename(ROOT_ID, "file", dir, "x").unwrap_err(),
        ENOENT
    );
    assert_eq!(
        client.rename(ROOT_ID, "dir", dir, "x").unwrap_err(),
        EINVAL,
        "into itself"
    );
    assert_eq!(
        client.rename(dir, "old", ROOT_ID, "dir").unwrap_err(),
        ENOTEMPTY,
        "its own parent"
    );
    client.batch_forget(&[(file, 2), (dir, 1)]);
    guest.assert_unharmed();
}

#[test]
fn rename2_flags() {
    let mut guest = Guest::start();
    fs::write(guest.host("a"), "a").unwrap();
    fs::write(guest.host("b"), "b").unwrap();
    let client = guest.client();

    let refused = client.rename2(ROOT_ID, "a", ROOT_ID, "b", libc::RENAME_NOREPLACE);
    assert_eq!(refused.unwrap_err(), EEXIST);

    client
        .rename2(ROOT_ID, "a", ROOT_ID, "b", libc::RENAME_EXCHANGE)
        .unwrap();
    assert_eq!(fs::read(guest.host("a")).unwrap(), b"b");
    assert_eq!(fs::read(guest.host("b")).unwrap(), b"a");

    let client = guest.client();
    client
        .rename2(ROOT_ID, "a", ROOT_ID, "c", libc::RENAME_WHITEOUT)
        .unwrap();
    let whiteout = fs::symlink_metadata(guest.host("a")).unwrap();
    assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);

    let client = guest.client();
    for flags in [8, u32::MAX, libc::RENAME_NOREPLACE | libc::RENAME_EXCHANGE] {
        let refused = client.rename2(ROOT_ID, "b", ROOT_ID, "d", flags);
        assert_eq!(refused.unwrap_err(), EINVAL, "{flags:#x}");
    }
    guest.assert_unharmed();
}

#[test]
fn create_makes_and_opens() {
    let mut guest = Guest::start();

    let (made, opened) = guest
        .client()
        .create(ROOT_ID, "file", libc::O_RDWR, 0o1777)
        .unwrap();
    guest
        .client()
        .write(made.nodeid, opened.fh, 0, b"bytes")
        .unwrap();

    assert_eq!(fs::read(guest.host("file")).unwrap(), b"bytes");
    let mode = fs::metadata(guest.host("file"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o1755);
    guest.client().release(made.nodeid, opened.fh).unwrap();
    guest.client().forget(made.nodeid, 1);
    guest.assert_unharmed();
}

#[test]
fn create_takes_an_existing_file_unless_exclusive() {
    let mut guest = Guest::start();
    let known = guest.file("file", "content");
    let client = guest.client();

    let exclusive = client.create(ROOT_ID, "file", libc::O_RDWR | libc::O_EXCL, 0o644);
    let (taken, opened) = client.create(ROOT_ID, "file", libc::O_RDWR, 0o644).unwrap();
    let content = client.read(taken.nodeid, opened.fh, 0, 100).unwrap();
    let (_, emptied) = client
        .create(ROOT_ID, "file", libc::O_RDWR | libc::O_TRUNC, 0o644)
        .unwrap();

    assert_eq!(exclusive.unwrap_err(), EEXIST);
    assert_eq!((taken.nodeid, &content[..]), (known, &b"content"[..]));
    assert_eq!(client.getattr(known).unwrap().attr.size, 0);
    client.release(known, opened.fh).unwrap();
    client.release(known, emptied.fh).unwrap();
    client.forget(known, 3);
    guest.assert_unharmed();
}

#[test]
fn create_never_follows_or_opens_what_is_no_file() {
    let mut guest = Guest::start();
    symlink("../outside/new", guest.host("dangling")).unwrap();
    symlink("../outside/secret", guest.host("leading")).unwrap();
    fs::create_dir(guest.host("dir")).unwrap();
    let fifo = guest
        .client()
        .mknod(ROOT_ID, "fifo", libc::S_IFIFO | 0o666, 0)
        .unwrap();
    guest.client().forget(fifo.nodeid, 1);

    for (name, errno) in [
        ("dangling", ELOOP),
        ("leading", ELOOP),
        ("dir", EISDIR),
        ("fifo", libc::ENXIO),
    ] {
        for flags in [libc::O_RDWR, libc::O_WRONLY | libc::O_TRUNC] {
            let refused = guest.client().create(ROOT_ID, name, flags, 0o644);
            assert_eq!(refused.unwrap_err(), errno, "{name}");
        }
    }
    guest.assert_unharmed();
}

#[test]
fn tmpfile_has_no_name_until_it_is_linked() {
    let mut guest = Guest::start();

    let (made, opened) = guest
        .client()
        .tmpfile(ROOT_ID, libc::O_RDWR, 0o666)
        .unwrap();
    guest
        .client()
        .write(made.nodeid, opened.fh, 0, b"tmp")
        .unwrap();
    assert_eq!((made.attr.nlink, made.attr.mode & 0o7777), (0, 0o644));
    assert_eq!(fs::read_dir(guest.host("")).unwrap().count(), 0);

    let linked = guest.client().link(made.nodeid, ROOT_ID, "named").unwrap();

    assert_eq!((linked.nodeid, linked.attr.nlink), (made.nodeid, 1));
    assert_eq!(fs::read(guest.host("named")).unwrap(), b"tmp");
    guest.client().release(made.nodeid, opened.fh).unwrap();
    guest.client().forget(made.nodeid, 2);
    guest.assert_unharmed();
}

#[test]
fn names_keep_their_bytes_and_may_look_like_anything() {
    let mut guest = Guest::start();
    let longest = [b'n'; 255];
    for name in [
        &b"\xff\xfe"[..],
        b"line\nbreak",
        b"self",
        b"0",
        b"...",
        b"-rf",
        &longest,
    ] {
        let (made, opened) = guest
            .client()
            .create(ROOT_ID, name, libc::O_RDWR, 0o600)
            .unwrap();

        assert_eq!(
            guest.client().lookup(ROOT_ID, name).unwrap().nodeid,
            made.nodeid
        );
        guest.client().release(made.nodeid, opened.fh).unwrap();
        guest.client().forget(made.nodeid, 2);
        let listed = guest.client().list(ROOT_ID).unwrap();
        assert!(listed.iter().any(|entry| entry.name == name));
        guest.client().unlink(ROOT_ID, name).unwrap();
    }
    guest.assert_unharmed();
}
