//! Whose file it becomes, and which bits a write takes away.

use std::path::Path;

use crate::lab::{Backing, Lab};
use crate::tool::sh;

/// As an ordinary user without further groups.
const AS_NOBODY: &str = "setpriv --reuid 65534 --regid 65534 --clear-groups";

/// Every way to change a file's data. Each must clear set-id bits when an ordinary user takes it.
const CHANGES: &[&str] = &[
    "echo more >> f",
    "echo other > f",
    "truncate -s 3 f",
    "dd if=/dev/zero of=f bs=4k count=1 conv=notrunc status=none",
    "dd if=/dev/zero of=f bs=4k count=1 conv=notrunc oflag=direct status=none",
    "fallocate -l 64K f",
    "fallocate -p -l 4K f",
];

#[test]
fn writing_clears_set_id_bits_in_every_cache_mode() {
    let Some(lab) = Lab::on(Backing::Ext4, &["setpriv", "fallocate"]) else {
        return;
    };
    for cache in [
        "--cache=auto",
        "--cache=always",
        "--cache=metadata",
        "--cache=never",
    ] {
        let share = lab.share(&[cache]);
        for change in CHANGES {
            let left = lab.alike(&share, |place| {
                modes_after(place, change, "4777 2777 6777 4666 6757")
            });

            assert!(left.starts_with("777 "), "{cache}, {change}: {left}");
        }
    }
}

/// What is left of each of these modes of a file after an ordinary user's change.
fn modes_after(place: &Path, change: &str, modes: &str) -> String {
    let script = format!(
        "for mode in {modes}; do
             rm -f f; seq 5000 > f; chmod $mode f
             {AS_NOBODY} sh -c '{change}'; stat -c '%a %s' f
         done"
    );
    sh(place, &script)
}

/// An expected difference: without FUSE_HANDLE_KILLPRIV_V2 the guest's kernel clears the bits itself, by the rule before Linux 6.2,
/// which spares set-group-id without group execution (fs/fuse/dir.c, fuse_setattr).
#[test]
fn set_group_id_without_group_execution_outlives_a_cached_write() {
    let Some(lab) = Lab::on(Backing::Ext4, &["setpriv"]) else {
        return;
    };
    let share = lab.share(&["--cache=auto"]);

    let modes = [lab.host(), share.path().to_owned()]
        .map(|place| modes_after(&place, "echo more >> f", "2767"));

    assert!(modes[0].starts_with("767 "), "on the host: {}", modes[0]);
    assert!(
        modes[1].starts_with("2767 "),
        "the difference is gone: {}",
        modes[1]
    );
}

#[test]
fn root_keeps_set_id_bits_when_it_writes() {
    let Some(lab) = Lab::on(Backing::Ext4, &[]) else {
        return;
    };
    for cache in ["--cache=auto", "--cache=never"] {
        let share = lab.share(&[cache]);

        let modes = lab.alike(&share, |place| {
            sh(
                place,
                "rm -f f; echo > f; chmod 6777 f; echo >> f; stat -c %a f",
            )
        });

        assert_eq!(modes, "6777\n", "{cache}");
    }
}

#[test]
fn what_a_user_makes_is_the_users() {
    let Some(lab) = Lab::on(Backing::Ext4, &["setpriv"]) else {
        return;
    };
    let share = lab.share(&[]);
    let make = "umask 027; touch file; mkdir dir; mkfifo fifo; ln -s file link; ln file same; mknod null c 0 0 2>/dev/null || true";

    let listing = lab.alike(&share, |place| {
        sh(
            place,
            &format!("chmod 777 .; {AS_NOBODY} sh -c '{make}'; stat -c '%n %A %u:%g' *"),
        )
    });

    assert!(listing.contains("file -rw-r----- 65534:65534"), "{listing}");
    assert!(!listing.contains(" 0:0"), "{listing}");
}

#[test]
fn a_set_group_id_directory_gives_its_group() {
    let Some(lab) = Lab::on(Backing::Ext4, &["setpriv"]) else {
        return;
    };
    let share = lab.share(&[]);
    let make = "umask 0; touch file; mkdir dir; chmod 2777 file 2>/dev/null || true; mkfifo fifo; ln -s x link";

    let listing = lab.alike(&share, |place| {
        sh(
            place,
            &format!(
                "chown 0:4242 .; chmod 2777 .; {AS_NOBODY} sh -c '{make}'; stat -c '%n %A %u:%g' *"
            ),
        )
    });

    assert!(listing.contains("dir drwxrwsrwx 65534:4242"), "{listing}");
}

#[test]
fn the_umask_of_the_daemon_does_not_matter() {
    let Some(lab) = Lab::on(Backing::Ext4, &[]) else {
        return;
    };
    // Of this thread alone, since it has a mount namespace of its own; the daemon inherits it.
    let previous = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    let share = lab.share(&[]);
    nix::sys::stat::umask(previous);

    let modes = lab.alike(&share, |place| {
        sh(
            place,
            "umask 0; touch f; mkdir d; mkfifo p; stat -c '%n %a' *",
        )
    });

    assert_eq!(modes, "d 777\nf 666\np 666\n");
}

#[test]
fn others_are_kept_out_alike() {
    let Some(lab) = Lab::on(Backing::Ext4, &["setpriv"]) else {
        return;
    };
    let share = lab.share(&[]);
    let attempts = "cat secret; ls private; touch private/x; rm sticky/roots; mv sticky/roots x; chmod 777 secret; chown 65534 secret
        ln secret mine; touch -d 2001-01-01 secret; echo > secret; mkdir private/d; cd private; rmdir private; true";

    let outcome = lab.alike(&share, |place| {
        sh(place, "mkdir -m 700 private; mkdir -m 1777 sticky; touch sticky/roots; echo text > secret; chmod 600 secret; chmod 755 .");
        let said = sh(place, &format!("{AS_NOBODY} sh -c '{attempts}' 2>&1"));
        (said, sh(place, "stat -c '%n %a %u:%g %s' * sticky/* secret"))
    });

    assert!(
        outcome.0.matches("Permission denied").count() > 4,
        "{outcome:?}"
    );
}
