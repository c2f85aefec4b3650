//! Names of every length and encoding.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use crate::lab::{Backing, Lab};

#[test]
fn a_name_may_have_255_bytes_and_no_more() {
    let Some(lab) = Lab::on(Backing::Ext4, &[]) else {
        return;
    };
    let share = lab.share(&[]);

    let results = lab.alike(&share, |place| {
        let path = |len| place.join("n".repeat(len));
        let errno =
            |result: std::io::Result<()>| result.err().and_then(|error| error.raw_os_error());
        fs::write(path(255), "text").unwrap();
        [
            errno(fs::write(path(256), "")),
            errno(fs::metadata(path(256)).map(drop)),
            errno(fs::create_dir(path(300))),
            errno(fs::rename(path(255), path(256))),
            errno(fs::hard_link(path(255), path(256))),
            errno(symlink("target", path(1000))),
            errno(fs::remove_file(path(256))),
            errno(fs::read(path(255)).map(drop)),
        ]
    });

    let mut expected = [Some(libc::ENAMETOOLONG); 8];
    expected[7] = None;
    assert_eq!(results, expected);
    // Any program may ask for such a name: that is no malformed request.
    assert!(!share.log().contains("malformed"), "{}", share.log());
}

#[test]
fn a_name_may_hold_any_byte_but_nul_and_slash() {
    let Some(lab) = Lab::on(Backing::Ext4, &[]) else {
        return;
    };
    let share = lab.share(&[]);
    let bytes = (1..=255_u8).filter(|byte| *byte != b'/');
    let mut names: Vec<_> = bytes
        .map(|byte| OsString::from_vec(vec![b'x', byte]))
        .collect();
    names.extend(["...", " ", "-", "\\", "a\nb"].map(OsString::from));
    names.sort_unstable();

    let listed = lab.alike(&share, |place| {
        for name in &names {
            fs::write(place.join(name), name.as_bytes()).unwrap();
        }
        let entries = fs::read_dir(place)
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        let mut listed: Vec<_> = entries
            .map(|name| (fs::read(place.join(&name)).unwrap(), name))
            .collect();
        listed.sort_unstable();
        listed
    });

    let expected: Vec<_> = names
        .into_iter()
        .map(|name| (name.as_bytes().to_vec(), name))
        .collect();
    assert_eq!(listed, expected);
}

#[test]
fn a_link_target_comes_back_whole() {
    let Some(lab) = Lab::on(Backing::Ext4, &[]) else {
        return;
    };
    let share = lab.share(&[]);

    let results = lab.alike(&share, |place| {
        [1, 59, 60, 61, 255, 256, 4000, 4094, 4095, 4096].map(|len| {
            let (target, path) = (PathBuf::from("t".repeat(len)), place.join(len.to_string()));
            let made = symlink(&target, &path).map_err(|error| error.raw_os_error());
            made.map(|()| fs::read_link(path).unwrap() == target)
        })
    });

    assert_eq!(results[..8], [Ok(true); 8]);
}
