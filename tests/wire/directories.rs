//! Listings.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;

use frontend::fuse::{Dirent, ReadIn, opcode};
use frontend::{Client, ROOT_ID};
use libc::{EBADF, EINVAL, ENOTDIR};

use crate::guest::{Guest, outcome};

/// Makes files with names of many lengths on the host; their names.
fn populate(guest: &Guest, count: usize) -> BTreeSet<Vec<u8>> {
    let name = |n: usize| format!("{n}-{}", "x".repeat(n % 250)).into_bytes();
    let names: BTreeSet<_> = (0..count).map(name).collect();
    for name in &names {
        fs::write(guest.host(std::str::from_utf8(name).unwrap()), "").unwrap();
    }
    names
}

/// Every name but the dots, by readings of `size` bytes.
fn list(client: &mut Client, size: u32, plus: bool) -> Vec<Vec<u8>> {
    let fh = client.opendir(ROOT_ID).unwrap().fh;
    let (mut names, mut offset) = (Vec::new(), 0);
    loop {
        let batch: Vec<Dirent> = if plus {
            let entries = client.readdirplus(ROOT_ID, fh, offset, size).unwrap();
            for entry in entries.iter().filter(|entry| entry.entry.nodeid != 0) {
                client.forget(entry.entry.nodeid, 1);
            }
            entries.into_iter().map(|entry| entry.dirent).collect()
        } else {
            client.readdir(ROOT_ID, fh, offset, size).unwrap()
        };
        let Some(last) = batch.last() else { break };
        offset = last.off;
        names.extend(batch.into_iter().map(|entry| entry.name));
    }
    client.releasedir(ROOT_ID, fh).unwrap();
    names.retain(|name| name != b"." && name != b"..");
    names
}

#[test]
fn every_entry_comes_once_whatever_the_buffer() {
    let mut guest = Guest::start();
    let expected = populate(&guest, 600);
    for plus in [false, true] {
        for size in [432, 512, 4096, 32_768, 1 << 20] {
            let names = list(guest.client(), size, plus);
            assert_eq!(names.len(), expected.len(), "{size} bytes, plus: {plus}");
            assert_eq!(BTreeSet::from_iter(names), expected);
        }
    }
    guest.assert_unharmed();
}

#[test]
fn entries_have_the_hosts_numbers_and_types() {
    let mut guest = Guest::start();
    fs::write(guest.host("file"), "").unwrap();
    fs::create_dir(guest.host("dir")).unwrap();
    std::os::unix::fs::symlink("x", guest.host("link")).unwrap();

    let listed = guest.client().list(ROOT_ID).unwrap();

    let find = |name: &[u8]| listed.iter().find(|entry| entry.name == name).unwrap();
    for (name, kind) in [
        ("file", libc::DT_REG),
        ("dir", libc::DT_DIR),
        ("link", libc::DT_LNK),
    ] {
        let entry = find(name.as_bytes());
        let host = fs::symlink_metadata(guest.host(name)).unwrap();
        assert_eq!((entry.ino, entry.typ), (host.ino(), kind.into()), "{name}");
    }
    assert_eq!(listed.len(), 5);
    guest.assert_unharmed();
}

#[test]
fn c25_the_parent_of_the_root_is_the_root() {
    let mut guest = Guest::start();
    fs::create_dir(guest.host("dir")).unwrap();
    let dir = guest.node("dir");
    let root = fs::metadata(guest.host("")).unwrap().ino();

    let parent = |entries: Vec<Dirent>| entries.into_iter().find(|e| e.name == b"..").unwrap();
    let of_root = parent(guest.client().list(ROOT_ID).unwrap());
    let of_dir = parent(guest.client().list(dir).unwrap());

    assert_eq!((of_root.ino, of_root.typ), (root, libc::DT_DIR.into()));
    assert_eq!(of_dir.ino, root);
    guest.client().forget(dir, 1);
    guest.assert_unharmed();
}

#[test]
fn readdirplus_is_a_lookup_of_all_but_the_dots() {
    let mut guest = Guest::start();
    let known = guest.file("known", "12");
    fs::write(guest.host("fresh"), "123").unwrap();
    let fh = guest.client().opendir(ROOT_ID).unwrap().fh;

    let entries = guest.client().readdirplus(ROOT_ID, fh, 0, 4096).unwrap();

    let find = |name: &[u8]| {
        entries
            .iter()
            .find(|entry| entry.dirent.name == name)
            .unwrap()
    };
    assert_eq!((find(b".").entry.nodeid, find(b"..").entry.nodeid), (0, 0));
    assert_eq!(
        (find(b"known").entry.nodeid, find(b"known").entry.attr.size),
        (known, 2)
    );
    let fresh = find(b"fresh").entry;
    assert_eq!(fresh.attr.size, 3);
    assert_eq!(
        guest.client().getattr(fresh.nodeid).unwrap().attr.ino,
        fresh.attr.ino
    );
    // One lookup each: two of the file that was known before.
    guest
        .client()
        .batch_forget(&[(known, 1), (fresh.nodeid, 1)]);
    assert_eq!(guest.client().getattr(fresh.nodeid).unwrap_err(), EBADF);
    assert!(guest.client().getattr(known).is_ok());
    guest.client().forget(known, 1);
    guest.client().releasedir(ROOT_ID, fh).unwrap();
    guest.assert_unharmed();
}

#[test]
fn entries_that_do_not_fit_cost_no_lookup() {
    let mut guest = Guest::start();
    populate(&guest, 50);
    let fh = guest.client().opendir(ROOT_ID).unwrap().fh;

    let entries = guest.client().readdirplus(ROOT_ID, fh, 0, 1000).unwrap();

    let nodes = entries.iter().map(|entry| (entry.entry.nodeid, 1));
    let given: Vec<_> = nodes.filter(|(node, _)| *node != 0).collect();
    assert!(!given.is_empty());
    guest.client().batch_forget(&given);
    guest.client().releasedir(ROOT_ID, fh).unwrap();
    guest.assert_unharmed();
}

#[test]
fn a_listing_goes_on_from_any_offset_it_gave() {
    let mut guest = Guest::start();
    populate(&guest, 40);
    let fh = guest.client().opendir(ROOT_ID).unwrap().fh;
    let all = guest.client().readdir(ROOT_ID, fh, 0, 32_768).unwrap();

    for start in [30, 0, 7, 38] {
        let rest = guest
            .client()
            .readdir(ROOT_ID, fh, all[start].off, 32_768)
            .unwrap();
        assert_eq!(rest, all[start + 1..], "after entry {start}");
    }
    assert_eq!(guest.client().readdir(ROOT_ID, fh, 0, 32_768).unwrap(), all);
    guest.client().releasedir(ROOT_ID, fh).unwrap();
    guest.assert_unharmed();
}

#[test]
fn c25_odd_offsets_and_tiny_buffers_end() {
    let mut guest = Guest::start();
    populate(&guest, 10);
    let fh = guest.client().opendir(ROOT_ID).unwrap().fh;
    for offset in [12_345, i64::MAX as u64, 1 << 63, u64::MAX] {
        // Which of an error, an end and a few entries is the host's own choice.
        let answer = guest.client().readdir(ROOT_ID, fh, offset, 4096);
        assert!(
            answer.is_ok() || answer == Err(EINVAL),
            "{offset:#x}: {answer:?}"
        );
    }
    for size in [0, 1, 23, 24] {
        let answer = guest.client().readdir(ROOT_ID, fh, 0, size);
        assert!(
            matches!(&answer, Ok(none) if none.is_empty()),
            "{size}: {answer:?}"
        );
    }
    guest.client().releasedir(ROOT_ID, fh).unwrap();
    guest.assert_unharmed();
}

#[test]
fn c13_a_listing_never_exceeds_the_room() {
    let mut guest = Guest::start();
    populate(&guest, 30);
    let fh = guest.client().opendir(ROOT_ID).unwrap().fh;
    let arguments = ReadIn {
        fh,
        size: 1 << 20,
        ..ReadIn::default()
    }
    .encode();
    for opcode in [opcode::READDIR, opcode::READDIRPLUS] {
        for room in [16, 17, 100, 300, 1000] {
            let reply = guest.client().raw(opcode, ROOT_ID, &arguments, room);
            assert_eq!(outcome(&reply), Some(0));
            assert!(reply.used_len as usize <= room);
            if opcode == opcode::READDIRPLUS {
                let entries = frontend::fuse::DirentPlus::parse_all(&reply.body);
                let nodes: Vec<_> = entries.iter().map(|e| (e.entry.nodeid, 1)).collect();
                guest.client().batch_forget(&nodes);
            }
        }
    }
    guest.client().releasedir(ROOT_ID, fh).unwrap();
    guest.assert_unharmed();
}

#[test]
fn directories_and_files_have_handles_of_their_own_kind() {
    let mut guest = Guest::start();
    let (file, file_fh) = guest.open("file", "content", libc::O_RDWR);
    let dir_fh = guest.client().opendir(ROOT_ID).unwrap().fh;
    let client = guest.client();

    assert_eq!(client.opendir(file).unwrap_err(), ENOTDIR);
    assert_eq!(client.read(ROOT_ID, dir_fh, 0, 10).unwrap_err(), EBADF);
    assert_eq!(client.write(ROOT_ID, dir_fh, 0, b"x").unwrap_err(), EBADF);
    assert_eq!(client.readdir(file, file_fh, 0, 100).unwrap_err(), EBADF);
    assert_eq!(client.release(ROOT_ID, dir_fh).unwrap_err(), EBADF);
    assert_eq!(client.releasedir(file, file_fh).unwrap_err(), EBADF);
    client.fsyncdir(ROOT_ID, dir_fh, false).unwrap();
    client.fsyncdir(ROOT_ID, dir_fh, true).unwrap();

    client.release(file, file_fh).unwrap();
    client.releasedir(ROOT_ID, dir_fh).unwrap();
    client.forget(file, 1);
    guest.assert_unharmed();
}

#[test]
fn c25_a_directory_that_changes_while_it_is_listed_ends() {
    let mut guest = Guest::start();
    let stable = populate(&guest, 200);
    let fh = guest.client().opendir(ROOT_ID).unwrap().fh;
    let (mut seen, mut offset) = (BTreeSet::new(), 0);
    for round in 0.. {
        assert!(round < 2000, "no end");
        let batch = guest.client().readdir(ROOT_ID, fh, offset, 600).unwrap();
        let Some(last) = batch.last() else { break };
        offset = last.off;
        seen.extend(batch.into_iter().map(|entry| entry.name));
        fs::write(guest.host(&format!("new{}", round % 5)), "").unwrap();
        let _ = fs::remove_file(guest.host(&format!("new{}", (round + 2) % 5)));
    }

    assert!(
        seen.is_superset(&stable),
        "what was there all the time is listed"
    );
    guest.client().releasedir(ROOT_ID, fh).unwrap();
    guest.assert_unharmed();
}
