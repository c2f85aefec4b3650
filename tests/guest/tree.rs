//! A tree of files with known content, big enough to find lost or mixed-up data.

use crate::lab::host;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

/// Regular files in the tree.
pub const FILES: usize = 400;

/// Creates the tree: [`FILES`] files of 0 bytes to 1 MiB in 20 directories, an
/// empty directory, a symbolic link, a file with an unusual name and mode.
pub fn create(root: &Path) {
    for number in 0..FILES - 1 {
        let directory = root.join(format!("directory-{}", number % 20));
        fs::create_dir_all(&directory).expect("create a directory");
        fs::write(directory.join(format!("file-{number}")), content(number)).expect("write a file");
    }
    fs::create_dir(root.join("empty directory")).expect("create a directory");
    symlink("directory-3/file-3", root.join("link")).expect("create a link");
    let unusual = root.join("größer 'als' $HOME");
    fs::write(&unusual, "unusual\n").expect("write a file");
    host(Command::new("chmod").arg("2751").arg(&unusual));
}

/// Bytes that look random and differ from file to file.
fn content(number: usize) -> Vec<u8> {
    let size = match number {
        _ if number % 100 == 99 => 1 << 20,
        _ => number * number % 20_011,
    };
    let mut state = number as u64 + 1;
    let next = || {
        // Knuth's MMIX linear congruential generator.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(size).collect()
}
