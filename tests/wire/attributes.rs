//! Attributes of files and of the file system.

use std::fs;
use std::os::linux::fs::MetadataExt as _;
use std::os::unix::fs::{MetadataExt, symlink};
use std::time::{SystemTime, UNIX_EPOCH};

use frontend::ROOT_ID;
use frontend::fuse::{SetattrIn, setattr_valid as valid};
use libc::{EACCES, EBADF, EINVAL, EOPNOTSUPP};

use crate::guest::Guest;

#[test]
fn getattr_of_the_root_and_of_a_handle() {
    let mut guest = Guest::start();
    let (node, fh) = guest.open("file", "content", libc::O_RDONLY);

    let root = guest.client().getattr(ROOT_ID).unwrap().attr;
    let file = guest.client().getattr_handle(node, fh).unwrap().attr;

    let host = fs::metadata(guest.host("")).unwrap();
    assert_eq!(
        (root.ino, root.mode, root.uid),
        (host.ino(), host.mode(), host.uid())
    );
    assert_eq!(
        (file.size, file.blksize),
        (
            7,
            fs::metadata(guest.host("file")).unwrap().blksize() as u32
        )
    );
    assert_eq!(
        guest.client().getattr_handle(node, fh + 1).unwrap_err(),
        EBADF
    );
    guest.client().release(node, fh).unwrap();
    guest.client().forget(node, 1);
    guest.assert_unharmed();
}

#[test]
fn chmod_and_chown() {
    let mut guest = Guest::start();
    let node = guest.file("file", "");
    let host = |guest: &Guest| fs::symlink_metadata(guest.host("file")).unwrap();

    let changed = guest
        .client()
        .chmod(node, libc::S_IFDIR | 0o4751)
        .unwrap()
        .attr;
    assert_eq!(changed.mode, libc::S_IFREG | 0o4751, "the type stays");
    assert_eq!(host(&guest).mode(), changed.mode);

    let changed = guest.client().chown(node, 1234, 5678).unwrap().attr;
    assert_eq!((changed.uid, changed.gid), (1234, 5678));
    assert_eq!((host(&guest).uid(), host(&guest).gid()), (1234, 5678));
    assert_eq!(changed.mode & 0o7777, 0o751, "set-uid goes with the owner");

    let group_only = SetattrIn {
        valid: valid::GID,
        uid: 9,
        gid: 7,
        ..SetattrIn::default()
    };
    let changed = guest.client().setattr(node, &group_only).unwrap().attr;
    assert_eq!((changed.uid, changed.gid), (1234, 7));
    guest.client().forget(node, 1);
    guest.assert_unharmed();
}

#[test]
fn e16_a_symlink_has_an_owner_but_no_mode() {
    let mut guest = Guest::start();
    symlink("../outside/secret", guest.host("link")).unwrap();
    let node = guest.node("link");

    assert_eq!(guest.client().chmod(node, 0o777).unwrap_err(), EOPNOTSUPP);
    guest.client().chown(node, 12, 34).unwrap();

    let host = fs::symlink_metadata(guest.host("link")).unwrap();
    assert_eq!((host.uid(), host.gid()), (12, 34));
    guest.client().forget(node, 1);
    guest.assert_unharmed();
}

#[test]
fn times_are_set_to_the_nanosecond_or_to_now() {
    let mut guest = Guest::start();
    let node = guest.file("file", "");
    let exact = SetattrIn {
        valid: valid::ATIME | valid::MTIME,
        atime: 1_000_000_000,
        atimensec: 123_456_789,
        mtime: -5_i64 as u64,
        mtimensec: 1,
        ..SetattrIn::default()
    };

    guest.client().setattr(node, &exact).unwrap();

    let host = fs::metadata(guest.host("file")).unwrap();
    assert_eq!(
        (host.atime(), host.atime_nsec()),
        (1_000_000_000, 123_456_789)
    );
    assert_eq!((host.mtime(), host.mtime_nsec()), (-5, 1));

    let now = SetattrIn {
        valid: valid::MTIME | valid::MTIME_NOW,
        ..exact
    };
    guest.client().setattr(node, &now).unwrap();
    let host = fs::metadata(guest.host("file")).unwrap();
    let clock = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs() as i64;
    assert!((clock - host.mtime()).abs() < 60);
    assert_eq!(host.atime(), 1_000_000_000, "untouched");

    let broken = SetattrIn {
        mtimensec: 1_000_000_000,
        ..exact
    };
    assert_eq!(guest.client().setattr(node, &broken).unwrap_err(), EINVAL);
    guest.client().forget(node, 1);
    guest.assert_unharmed();
}

#[test]
fn c31_setattr_with_everything_at_once() {
    let mut guest = Guest::start();
    let node = guest.file("file", "content");
    let everything = SetattrIn {
        valid: !valid::FH,
        mode: 0o644,
        ..SetattrIn::default()
    };

    guest
        .client()
        .setattr(node, &everything)
        .expect("unknown bits are ignored");
    for (change, errno) in [
        (
            SetattrIn {
                valid: valid::SIZE,
                size: 1 << 63,
                ..everything
            },
            EINVAL,
        ),
        (
            SetattrIn {
                valid: valid::UID,
                uid: u32::MAX,
                ..everything
            },
            EINVAL,
        ),
        (
            SetattrIn {
                valid: valid::GID,
                gid: u32::MAX,
                ..everything
            },
            EINVAL,
        ),
    ] {
        assert_eq!(
            guest.client().setattr(node, &change).unwrap_err(),
            errno,
            "{change:?}"
        );
    }

    assert_eq!(fs::metadata(guest.host("file")).unwrap().len(), 0);
    guest.client().forget(node, 1);
    guest.assert_unharmed();
}

#[test]
fn statx_tells_the_birth_time() {
    let mut guest = Guest::start();
    let node = guest.file("file", "content");

    let answer = guest
        .client()
        .statx(node, libc::STATX_BASIC_STATS | libc::STATX_BTIME);

    let stat = answer.unwrap().stat;
    let host = fs::metadata(guest.host("file")).unwrap();
    assert_eq!((stat.ino, stat.size, stat.nlink), (host.ino(), 7, 1));
    assert_eq!(
        (stat.mode, stat.uid, stat.gid),
        (host.mode() as u16, host.uid(), host.gid())
    );
    assert_eq!(
        (stat.mtime.tv_sec, stat.mtime.tv_nsec),
        (host.mtime(), host.mtime_nsec() as u32)
    );
    assert_eq!(
        (stat.ctime.tv_sec, stat.atime.tv_sec),
        (host.ctime(), host.atime())
    );
    let dev = libc::makedev(stat.dev_major, stat.dev_minor);
    assert_eq!(dev, host.dev());
    match host.created() {
        Ok(born) => {
            let born = born.duration_since(UNIX_EPOCH).unwrap();
            assert_ne!(stat.mask & libc::STATX_BTIME, 0);
            assert_eq!(
                (stat.btime.tv_sec, stat.btime.tv_nsec),
                (born.as_secs() as i64, born.subsec_nanos())
            );
        }
        Err(error) => eprintln!("the host's file system has no birth times: {error}"),
    }
    assert_eq!(host.st_size(), stat.size);
    guest.client().forget(node, 1);
    guest.assert_unharmed();
}

#[test]
fn c32_statx_shows_no_more_than_it_should() {
    let mut guest = Guest::start();

    let stat = guest.client().statx(ROOT_ID, u32::MAX).unwrap().stat;

    assert_eq!(
        stat.mask & !(libc::STATX_BASIC_STATS | libc::STATX_BTIME),
        0
    );
    assert_eq!(stat.spare2, [0; 14], "mount ids are the host's own");
    guest.assert_unharmed();
}

#[test]
fn statfs_is_the_hosts() {
    let mut guest = Guest::start();

    let told = guest.client().statfs(ROOT_ID).unwrap();

    let host = nix::sys::statfs::statfs(&guest.host("")).unwrap();
    assert_eq!((told.blocks, told.files), (host.blocks(), host.files()));
    assert_eq!((told.bsize, told.namelen), (host.block_size() as u32, 255));
    assert_ne!(told.frsize, 0);
    guest.assert_unharmed();
}

#[test]
fn access_follows_the_permission_bits() {
    let mut guest = Guest::start();
    let node = guest.file("file", "");
    guest.client().chmod(node, 0o640).unwrap();
    guest.client().chown(node, 1000, 100).unwrap();
    let (r, w, x) = (libc::R_OK as u32, libc::W_OK as u32, libc::X_OK as u32);
    for (uid, gid, mask, expected) in [
        (1000, 1, r | w, Ok(())),
        (1000, 1, x, Err(EACCES)),
        (1, 100, r, Ok(())),
        (1, 100, w, Err(EACCES)),
        (1, 1, r, Err(EACCES)),
        (1, 1, 0, Ok(())),
        (0, 0, r | w, Ok(())),
        (0, 0, x, Err(EACCES)),
        (0, 0, 8, Err(EINVAL)),
    ] {
        (guest.client().caller.uid, guest.client().caller.gid) = (uid, gid);
        assert_eq!(
            guest.client().access(node, mask),
            expected,
            "{uid} {gid} {mask}"
        );
    }
    guest.client().forget(node, 1);
    guest.assert_unharmed();
}
