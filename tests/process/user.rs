//! The daemon of an ordinary user.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use frontend::{Caller, Client, ROOT_ID, Vm};

use crate::run::Place;

const USER: u32 = 1234;

/// A program that runs the binary as the user, wherever that lies.
fn as_user(place: &Place) -> std::path::PathBuf {
    let (binary, script) = (place.path("virtiofsd"), place.path("as-user"));
    fs::copy(env!("CARGO_BIN_EXE_virtiofsd"), &binary).unwrap();
    let run = format!("setpriv --reuid={USER} --regid={USER} --clear-groups --bounding-set=-all");
    fs::write(
        &script,
        format!("#!/bin/sh\nexec {run} {} \"$@\"\n", binary.display()),
    )
    .unwrap();
    for path in [&binary, &script] {
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }
    script
}

#[test]
fn everything_runs_as_the_user_whoever_the_caller_is() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can become another user");
        return;
    }
    let place = Place::new();
    let share = place.path("share");
    chown(&share, Some(USER), Some(USER)).unwrap();
    fs::write(share.join("private"), "roots").unwrap();
    fs::set_permissions(share.join("private"), Permissions::from_mode(0o600)).unwrap();
    let mut vm = Vm::builder(as_user(&place))
        .daemon(|daemon| daemon.socket_by_fd())
        .share(&share)
        .arg("--sandbox=none")
        .start();
    let client = vm.client();

    for (n, uid) in [0, USER, 1, 60_000].into_iter().enumerate() {
        client.caller = Caller {
            uid,
            gid: uid,
            pid: 1,
        };
        let name = format!("file{n}");
        let (made, opened) = client.create(ROOT_ID, &name, libc::O_RDWR, 0o644).unwrap();
        client.write(made.nodeid, opened.fh, 0, b"content").unwrap();
        client.release(made.nodeid, opened.fh).unwrap();
        let dir = client.mkdir(ROOT_ID, format!("dir{n}"), 0o755).unwrap();

        let host = fs::metadata(share.join(&name)).unwrap();
        assert_eq!(
            (host.uid(), host.gid(), host.len()),
            (USER, USER, 7),
            "as {uid}"
        );
        assert_eq!((made.attr.uid, dir.attr.uid), (USER, USER));
        assert_eq!(read_whole(client, made.nodeid), b"content");
    }
    client.caller = Caller::ROOT;
    let private = client.lookup(ROOT_ID, "private").unwrap();
    assert_eq!(
        client.open(private.nodeid, libc::O_RDONLY).unwrap_err(),
        libc::EACCES
    );
    assert_eq!(
        client.chmod(private.nodeid, 0o666).unwrap_err(),
        libc::EPERM
    );
    let mine = client.lookup(ROOT_ID, "file0").unwrap();
    assert_eq!(client.chown(mine.nodeid, 0, 0).unwrap_err(), libc::EPERM);
    let device = client.mknod(ROOT_ID, "device", libc::S_IFCHR | 0o666, 1 << 8 | 1);
    assert_eq!(device.unwrap_err(), libc::EPERM);
    assert_eq!(vm.daemon.stop().code(), Some(0));
}

fn read_whole(client: &mut Client, node: u64) -> Vec<u8> {
    let fh = client.open(node, libc::O_RDONLY).unwrap().fh;
    let bytes = client.read(node, fh, 0, 1 << 20).unwrap();
    client.release(node, fh).unwrap();
    bytes
}
