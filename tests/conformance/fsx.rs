//! fsx: random reads, writes, truncations, holes and copies of one file, each read checked.

use std::fs;

use crate::lab::{Backing, Lab, scale, seed};
use crate::tool;

/// What is done how often. Sizes are small so that there are many operations; none is 0, which posix_fallocate(3) refuses everywhere.
const CONFIG: &str = "
flen = 131072
[opsize]
min = 1
max = 8192
[weights]
close_open = 1.0
read = 10.0
write = 10.0
truncate = 5.0
fsync = 0.5
fdatasync = 0.5
posix_fallocate = 2.0
punch_hole = 3.0
sendfile = 5.0
posix_fadvise = 1.0
copy_file_range = 5.0
";
/// Shared mappings.
const MAPPED: &str = "mapread = 10.0\nmapwrite = 10.0\ninvalidate = 1.0\n";
/// FUSE's kernel side refuses them (ENODEV) for files it must not cache, but for `--allow-mmap` (fs/fuse/file.c, fuse_file_mmap).
const UNMAPPED: &str = "mapread = 0.0\nmapwrite = 0.0\ninvalidate = 0.0\n";

#[test]
fn random_operations_read_back_with_cache_auto() {
    exercise("fsx auto", &["--cache=auto"], MAPPED);
}

#[test]
fn random_operations_read_back_with_cache_always() {
    exercise("fsx always", &["--cache=always"], MAPPED);
}

#[test]
fn random_operations_read_back_with_cache_never() {
    exercise("fsx never", &["--cache=never"], UNMAPPED);
}

#[test]
fn random_operations_read_back_with_mappings_but_no_cache() {
    exercise(
        "fsx never, mapped",
        &["--cache=never", "--allow-mmap"],
        MAPPED,
    );
}

fn exercise(test: &str, daemon_args: &[&str], mappings: &str) {
    let Some(lab) = Lab::on(Backing::Tmpfs, &["fsx"]) else {
        return;
    };
    let share = lab.share(daemon_args);
    let (seed, operations) = (seed(test).to_string(), (50_000 * scale()).to_string());
    fs::write(
        lab.scratch().join("fsx.toml"),
        format!("{CONFIG}{mappings}"),
    )
    .unwrap();
    let file = share.path().join("file");

    let args = [
        "-f",
        "fsx.toml",
        "-N",
        &operations,
        "-S",
        &seed,
        "-P",
        ".",
        file.to_str().unwrap(),
    ];
    let run = tool::run(lab.scratch(), "fsx", &args);

    assert_eq!(run.status, Some(0), "{}", run.output);
    assert!(
        run.output.contains("All operations completed"),
        "{}",
        run.output
    );
}
