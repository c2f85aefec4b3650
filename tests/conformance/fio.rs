//! fio: data written in many ways, checked by checksum.

use std::path::Path;

use crate::lab::{Backing, Lab, scale};
use crate::tool;

/// Ways to write and read back: name and options.
const JOBS: &[(&str, &str)] = &[
    (
        "sequential",
        "--rw=write --bs=128k --ioengine=psync --numjobs=2",
    ),
    (
        "random",
        "--rw=randwrite --bs=4k --ioengine=psync --numjobs=2",
    ),
    (
        "unaligned",
        "--rw=randwrite --bs=512-64k --bs_unaligned --ioengine=pvsync2 --fsync=64",
    ),
    (
        "queued",
        "--rw=randrw --bs=4k-64k --ioengine=libaio --iodepth=16 --numjobs=2",
    ),
    (
        "unbuffered",
        "--rw=randrw --bs=4k --ioengine=libaio --iodepth=16 --direct=1",
    ),
    ("mapped-random", "--rw=randwrite --bs=4k --ioengine=mmap"),
    ("mapped-sequential", "--rw=write --bs=64k --ioengine=mmap"),
];

#[test]
fn what_is_written_verifies_with_cache_auto() {
    every_job_verifies(&["--cache=auto"]);
}

#[test]
fn what_is_written_verifies_with_cache_always() {
    every_job_verifies(&["--cache=always"]);
}

#[test]
fn what_is_written_verifies_without_caching() {
    every_job_verifies(&["--cache=never", "--allow-mmap"]);
}

#[test]
fn what_one_side_writes_verifies_on_the_other() {
    let Some(lab) = Lab::on(Backing::Ext4, &["fio"]) else {
        return;
    };
    let share = lab.share(&["--cache=auto"]);
    let job = "--rw=randwrite --bs=4k --ioengine=psync";
    let (write, read) = (
        format!("{job} --do_verify=0 --end_fsync=1"),
        format!("{job} --verify_only"),
    );

    fio(share.path(), "from-guest", &write);
    fio(&lab.shared(), "from-host", &write);

    fio(&lab.shared(), "from-guest", &read);
    fio(share.path(), "from-host", &read);
}

fn every_job_verifies(daemon_args: &[&str]) {
    let Some(lab) = Lab::on(Backing::Ext4, &["fio"]) else {
        return;
    };
    let share = lab.share(daemon_args);
    for (name, options) in JOBS {
        fio(share.path(), name, options);
    }
}

fn fio(directory: &Path, name: &str, options: &str) {
    let general = format!(
        "--name={name} --size={}m --verify=crc32c --verify_fatal=1 --minimal",
        16 * scale()
    );
    let args: Vec<_> = general.split(' ').chain(options.split(' ')).collect();
    let run = tool::run(directory, "fio", &args);
    assert_eq!(run.status, Some(0), "{name}: {}", run.output);
}
