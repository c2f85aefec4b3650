//! Calls on files, one by one.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::thread;

use nix::errno::Errno;
use nix::fcntl::{
    AT_FDCWD, AtFlags, FallocateFlags, OFlag, RenameFlags, copy_file_range, fallocate, open,
    renameat2,
};
use nix::sys::stat::Mode;
use nix::unistd::{Whence, linkat, lseek64};

use crate::lab::{Backing, Lab};
use crate::tool::{self, sh};

/// The modes in which data takes different ways through the guest's kernel.
const CACHES: [&str; 3] = ["--cache=auto", "--cache=always", "--cache=never"];

fn open_new(path: &Path) -> File {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)
        .unwrap()
}

/// Where data and holes begin, from the start to the end of the file.
fn segments(file: &File) -> Vec<(i64, i64)> {
    let mut segments = Vec::new();
    let mut offset = 0;
    while let Ok(data) = lseek64(file.as_fd(), offset, Whence::SeekData) {
        offset = lseek64(file.as_fd(), data, Whence::SeekHole).unwrap();
        segments.push((data, offset));
    }
    segments
}

#[test]
fn holes_stay_holes() {
    let Some(lab) = Lab::on(Backing::Ext4, &[]) else {
        return;
    };
    let share = lab.share(&[]);

    let (segments, blocks, past_end) = lab.alike(&share, |place| {
        let file = open_new(&place.join("sparse"));
        for offset in [1 << 20, 5 << 20, 1 << 40] {
            file.write_all_at(&[7; 4096], offset).unwrap();
        }
        file.sync_all().unwrap();
        let past_end = lseek64(file.as_fd(), 1 << 41, Whence::SeekData);
        (segments(&file), file.metadata().unwrap().blocks(), past_end)
    });

    assert_eq!(
        segments,
        [1 << 20, 5 << 20, 1 << 40].map(|start| (start, start + 4096))
    );
    assert!(blocks < 1000, "{blocks} blocks");
    assert_eq!(past_end, Err(Errno::ENXIO));
}

#[test]
fn ranges_are_reserved_zeroed_and_given_back() {
    let Some(lab) = Lab::on(Backing::Ext4, &[]) else {
        return;
    };
    for cache in CACHES {
        let share = lab.share(&[cache]);
        let outcome = lab.alike(&share, |place| {
            let file = open_new(&place.join(cache));
            file.write_all_at(&[7; 1 << 20], 0).unwrap();
            let keep = FallocateFlags::FALLOC_FL_KEEP_SIZE;
            let modes = [
                (FallocateFlags::FALLOC_FL_PUNCH_HOLE | keep, 8192, 65536),
                (FallocateFlags::FALLOC_FL_ZERO_RANGE, 131_072, 4096),
                (keep, 1 << 21, 65536),
                (FallocateFlags::empty(), 1 << 20, 4096),
                (FallocateFlags::FALLOC_FL_PUNCH_HOLE, 0, 4096),
                (FallocateFlags::FALLOC_FL_COLLAPSE_RANGE, 0, 4096),
                (FallocateFlags::empty(), 0, 0),
            ];
            let results =
                modes.map(|(mode, offset, len)| fallocate(file.as_fd(), mode, offset, len));
            let mut bytes = Vec::new();
            (&file).read_to_end(&mut bytes).unwrap();
            let zeros = bytes.iter().filter(|byte| **byte == 0).count();
            // FUSE knows no COLLAPSE_RANGE (fs/fuse/file.c, fuse_file_fallocate): left out of the comparison.
            (
                results[..5].to_vec(),
                results[6],
                bytes.len() % 4096,
                zeros % 4096,
            )
        });

        assert_eq!(outcome.0[..4], [Ok(()); 4], "{cache}");
        assert_eq!(outcome.1, Err(Errno::EINVAL));
    }
}

#[test]
fn hard_links_are_one_file() {
    let Some(lab) = Lab::on(Backing::Ext4, &[]) else {
        return;
    };
    let share = lab.share(&[]);

    let (links, same, text) = lab.alike(&share, |place| {
        let (first, second) = (place.join("first"), place.join("second"));
        fs::write(&first, "text").unwrap();
        fs::hard_link(&first, &second).unwrap();
        fs::write(&second, "longer text").unwrap();
        let (a, b) = (first.metadata().unwrap(), second.metadata().unwrap());
        fs::remove_file(&first).unwrap();
        let left = second.metadata().unwrap().nlink();
        (
            [a.nlink(), b.nlink(), left],
            a.ino() == b.ino(),
            fs::read_to_string(&second).unwrap(),
        )
    });

    assert_eq!(
        (links, same, text.as_str()),
        ([2, 2, 1], true, "longer text")
    );
}

#[test]
fn a_link_too_many_is_refused_alike() {
    /// `EXT4_LINK_MAX` (fs/ext4/ext4.h).
    const LINK_MAX: u32 = 65_000;
    let Some(lab) = Lab::on(Backing::Ext4, &["perl"]) else {
        return;
    };
    let share = lab.share(&[]);
    let most = format!(
        "perl -e 'open(F, \">0\"); for (1..{}) {{ link(\"0\", $_) or die $! }}'",
        LINK_MAX - 2
    );
    sh(&lab.host(), &most);
    sh(&lab.shared(), &most);

    let results = lab.alike(&share, |place| {
        let link = |name: &str| {
            fs::hard_link(place.join("0"), place.join(name)).map_err(|error| error.raw_os_error())
        };
        [link("last"), link("too many")]
    });

    assert_eq!(results, [Ok(()), Err(Some(libc::EMLINK))]);
}

#[test]
fn renaming_obeys_its_flags() {
    let Some(lab) = Lab::on(Backing::Ext4, &[]) else {
        return;
    };
    let share = lab.share(&[]);

    let results = lab.alike(&share, |place| {
        let (a, b) = (place.join("a"), place.join("b"));
        fs::write(&a, "a").unwrap();
        fs::write(&b, "b").unwrap();
        let rename = |from: &Path, to: &Path, flags| renameat2(AT_FDCWD, from, AT_FDCWD, to, flags);
        let exclusive = rename(&a, &b, RenameFlags::RENAME_NOREPLACE);
        let exchanged = rename(&a, &b, RenameFlags::RENAME_EXCHANGE);
        let content = (
            fs::read_to_string(&a).unwrap(),
            fs::read_to_string(&b).unwrap(),
        );
        let whiteout = rename(&a, &place.join("c"), RenameFlags::RENAME_WHITEOUT);
        let left = a
            .symlink_metadata()
            .map(|meta| (meta.file_type().is_char_device(), meta.rdev()))
            .ok();
        let both = rename(
            &b,
            &place.join("d"),
            RenameFlags::RENAME_NOREPLACE | RenameFlags::RENAME_EXCHANGE,
        );
        (exclusive, exchanged, content, whiteout, left, both)
    });

    let swapped = ("b".to_owned(), "a".to_owned());
    let expected = (
        Err(Errno::EEXIST),
        Ok(()),
        swapped,
        Ok(()),
        Some((true, 0)),
        Err(Errno::EINVAL),
    );
    assert_eq!(results, expected);
}

#[test]
fn an_unlinked_file_stays_usable_while_open() {
    let Some(lab) = Lab::on(Backing::Ext4, &[]) else {
        return;
    };
    for cache in CACHES {
        let share = lab.share(&[cache]);

        let outcome = lab.alike(&share, |place| {
            let path = place.join("gone");
            let mut file = open_new(&path);
            file.write_all(b"before ").unwrap();
            fs::remove_file(&path).unwrap();
            file.write_all(b"after").unwrap();
            file.set_permissions(fs::Permissions::from_mode(0o640))
                .unwrap();
            file.set_len(10).unwrap();
            let mut text = String::new();
            file.seek(SeekFrom::Start(0)).unwrap();
            file.read_to_string(&mut text).unwrap();
            let meta = file.metadata().unwrap();
            (
                text,
                meta.nlink(),
                meta.size(),
                meta.mode() & 0o7777,
                path.exists(),
            )
        });

        assert_eq!(
            outcome,
            ("before aft".into(), 0, 10, 0o640, false),
            "{cache}"
        );
    }
}

#[test]
fn a_file_without_a_name_can_get_one() {
    let Some(lab) = Lab::on(Backing::Ext4, &[]) else {
        return;
    };
    let share = lab.share(&[]);

    let outcome = lab.alike(&share, |place| {
        let mode = Mode::from_bits_truncate(0o600);
        let unnamed = open(place, OFlag::O_TMPFILE | OFlag::O_RDWR, mode).unwrap();
        let file = File::from(unnamed);
        file.write_all_at(b"text", 0).unwrap();
        let before = file.metadata().unwrap().nlink();
        let named = place.join("named");
        linkat(file.as_fd(), "", AT_FDCWD, &named, AtFlags::AT_EMPTY_PATH).unwrap();
        (
            before,
            file.metadata().unwrap().nlink(),
            fs::read_to_string(named).unwrap(),
        )
    });

    assert_eq!(outcome, (0, 1, "text".into()));
}

#[test]
fn two_processes_append_without_losing_a_line() {
    let Some(lab) = Lab::on(Backing::Ext4, &["perl"]) else {
        return;
    };
    for cache in CACHES {
        let share = lab.share(&[cache]);
        let program =
            r#"open(F, ">>", "log"); for (1..2000) { syswrite(F, "$ARGV[0] $_\n") or die $! }"#;
        let append = format!("perl -e '{program}'");
        let script =
            format!("rm -f log; {append} a & {append} b; wait; sort log | sha256sum; wc -l < log");

        let outcome = lab.alike(&share, |place| sh(place, &script));

        assert!(outcome.ends_with("\n4000\n"), "{cache}: {outcome}");
    }
}

#[test]
fn appending_meets_what_the_host_appended() {
    let Some(lab) = Lab::on(Backing::Ext4, &[]) else {
        return;
    };
    for cache in CACHES {
        let share = lab.share(&[cache]);
        let append = |place: &Path| {
            OpenOptions::new()
                .append(true)
                .create(true)
                .open(place.join(cache))
                .unwrap()
        };
        let (mut guest, mut host) = (append(share.path()), append(&lab.shared()));

        for _ in 0..10 {
            guest.write_all(b"guest\n").unwrap();
            host.write_all(b"host\n").unwrap();
        }

        let text = fs::read_to_string(lab.shared().join(cache)).unwrap();
        assert_eq!(text, "guest\nhost\n".repeat(10), "{cache}");
    }
}

#[test]
fn a_range_is_copied_between_files() {
    let Some(lab) = Lab::on(Backing::Ext4, &[]) else {
        return;
    };
    for cache in CACHES {
        let share = lab.share(&[cache]);

        let outcome = lab.alike(&share, |place| {
            let (from, to) = (
                open_new(&place.join(format!("{cache}1"))),
                open_new(&place.join(format!("{cache}2"))),
            );
            let bytes: Vec<u8> = (0..300_000_u32).map(|byte| (byte % 251) as u8).collect();
            from.write_all_at(&bytes, 0).unwrap();
            let (mut offset_in, mut offset_out) = (1000, 77);
            let copied = copy_file_range(
                &from,
                Some(&mut offset_in),
                &to,
                Some(&mut offset_out),
                1 << 20,
            );
            let mut copy = vec![0; 299_000];
            to.read_exact_at(&mut copy, 77).unwrap();
            (
                copied,
                copy == bytes[1000..],
                to.metadata().unwrap().size(),
                offset_in,
                offset_out,
            )
        });

        assert_eq!(
            outcome,
            (Ok(299_000), true, 299_077, 300_000, 299_077),
            "{cache}"
        );
    }
}

#[test]
fn two_processes_share_a_mapping() {
    // SQLite's write-ahead log has its index in memory that all its processes map.
    const ADD_CONCURRENTLY: &str = "
        sqlite3 db 'PRAGMA journal_mode = wal; CREATE TABLE t (id INTEGER)'
        add() { for n in $(seq 50); do sqlite3 -cmd '.timeout 20000' db \"INSERT INTO t VALUES ($n)\"; done; }
        add & add; wait
        sqlite3 db 'SELECT count(*), sum(id) FROM t'";
    let Some(lab) = Lab::on(Backing::Tmpfs, &["sqlite3"]) else {
        return;
    };
    // Without a cache the guest's kernel shares no mapping.
    let share = lab.share(&["--cache=auto"]);

    let outcome = lab.alike(&share, |place| sh(place, ADD_CONCURRENTLY));

    assert_eq!(outcome, "wal\n100|2550\n");
}

#[test]
fn a_file_opened_for_writing_needs_no_write_permission_later() {
    let Some(lab) = Lab::on(Backing::Ext4, &[]) else {
        return;
    };
    let share = lab.share(&[]);

    let outcome = lab.alike(&share, |place| {
        let path = place.join("object");
        // As git makes its objects.
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o444)
            .open(&path)
            .unwrap();
        file.write_all(b"text").unwrap();
        file.set_permissions(fs::Permissions::from_mode(0o0))
            .unwrap();
        file.set_len(2).unwrap();
        (
            fs::read_to_string(&path).unwrap(),
            path.metadata().unwrap().mode() & 0o777,
        )
    });

    assert_eq!(outcome, ("te".into(), 0));
}

#[test]
fn times_are_kept_to_the_nanosecond() {
    let Some(lab) = Lab::on(Backing::Ext4, &[]) else {
        return;
    };
    let share = lab.share(&[]);
    let script = "touch f; touch -a -d '2001-01-01 00:00:00.123456789 UTC' f; touch -m -d '1960-01-01 00:00:00.5 UTC' f
        stat -c '%x %y' f; ln -s f l; touch -h -d '2030-01-01 00:00:00.000000001 UTC' l; stat -c '%x %y' l";

    let times = lab.alike(&share, |place| sh(place, script));

    assert_eq!(
        sh(&lab.shared(), "stat -c '%x %y' f l"),
        times,
        "behind the share"
    );
}

#[test]
fn a_file_has_a_birth_time() {
    let Some(lab) = Lab::on(Backing::Ext4, &[]) else {
        return;
    };
    let share = lab.share(&[]);
    fs::write(share.path().join("f"), "").unwrap();

    let birth = |place: &Path| place.join("f").metadata().unwrap().created().ok();

    assert!(birth(share.path()).is_some());
    assert_eq!(birth(share.path()), birth(&lab.shared()));
}

#[test]
fn the_file_system_says_how_full_it_is() {
    let Some(lab) = Lab::on(Backing::Ext4, &[]) else {
        return;
    };
    let share = lab.share(&[]);

    lab.alike(&share, |place| {
        sh(place, "stat -f -c '%a %b %c %d %f %l %s %S' .")
    });
}

#[test]
fn extended_attributes_are_said_to_be_unsupported() {
    let Some(lab) = Lab::on(Backing::Ext4, &["setfattr", "getfattr"]) else {
        return;
    };
    let share = lab.share(&[]);
    fs::write(share.path().join("f"), "").unwrap();

    for (program, args) in [
        ("setfattr", ["-n", "user.a", "-v", "b", "f"].as_slice()),
        ("setfattr", ["-x", "user.a", "f"].as_slice()),
        ("getfattr", ["-n", "user.a", "f"].as_slice()),
    ] {
        let run = tool::run(share.path(), program, args);
        assert!(
            run.output.contains("Operation not supported"),
            "{program} {args:?}: {}",
            run.output
        );
    }
}

#[test]
fn threads_create_and_remove_without_meeting_errors() {
    let Some(lab) = Lab::on(Backing::Tmpfs, &[]) else {
        return;
    };
    let share = lab.share(&["--thread-pool-size=4"]);
    let churn = |thread: usize| {
        for round in 0..500 {
            let (path, moved) = (
                share.path().join(format!("{thread}-{round}")),
                share.path().join(format!("moved-{thread}")),
            );
            fs::write(&path, path.as_os_str().as_encoded_bytes()).unwrap();
            fs::rename(&path, &moved).unwrap();
            assert_eq!(
                fs::read(&moved).unwrap(),
                path.as_os_str().as_encoded_bytes()
            );
            fs::remove_file(&moved).unwrap();
        }
    };

    thread::scope(|scope| (0..4).for_each(|thread| drop(scope.spawn(move || churn(thread)))));

    assert_eq!(fs::read_dir(lab.shared()).unwrap().count(), 0);
}
