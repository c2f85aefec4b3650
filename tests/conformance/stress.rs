//! stress-ng's stressors of file systems, each for a short while.

use std::path::Path;

use crate::lab::{Backing, Lab, scale};
use crate::tool;

/// Those that work on files in a directory of their own.
const STRESSORS: &str = "access aio chattr chdir chmod chown copy-file dentry dir dirdeep dirmany dnotify dup fallocate fcntl \
    fiemap file-ioctl filename flock fpunch fsize fstat getdent handle hdd inode-flags inotify io iomix lease link locka lockf \
    lockofd mknod mmap msync open readahead rename revio seek sendfile symlink sync-file touch utime verity xattr";

/// Stressors that end otherwise through a share: their outcome on ext4 and through the share, and why.
const DIFFERENCES: &[(&str, Outcome, Outcome)] = &[
    // FUSE has no request for FS_IOC_FIEMAP (fs/fuse has no fiemap inode operation).
    ("fiemap", Outcome::Passed, Outcome::Skipped),
    // The daemon serves no extended attributes yet.
    ("xattr", Outcome::Passed, Outcome::Skipped),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    /// Needs something that the file system lacks.
    Skipped,
    Failed,
}

#[test]
fn every_stressor_ends_alike() {
    let Some(lab) = Lab::on(Backing::Ext4, &["stress-ng"]) else {
        return;
    };
    let share = lab.share(&["--cache=auto"]);

    let outcomes: Vec<_> = STRESSORS
        .split_whitespace()
        .map(|name| (name, stress(&lab.host(), name), stress(share.path(), name)))
        .collect();

    let differing = outcomes.iter().filter(|(_, host, share)| host != share);
    assert_eq!(differing.copied().collect::<Vec<_>>(), DIFFERENCES);
    assert!(
        outcomes.iter().all(|(_, host, _)| *host != Outcome::Failed),
        "{outcomes:?}"
    );
}

fn stress(directory: &Path, name: &str) -> Outcome {
    let general = format!(
        "--temp-path . --timeout {} --verify --fallocate-bytes 8M --hdd-bytes 4M --iomix-bytes 8M",
        scale()
    );
    let which = format!("--{name} 1 --{name}-ops {}", 100 * scale());
    let args: Vec<_> = general.split(' ').chain(which.split(' ')).collect();
    let run = tool::run(directory, "stress-ng", &args);
    match run.status {
        Some(0) if !run.output.contains("skipp") => Outcome::Passed,
        // EXIT_NO_RESOURCE and EXIT_NOT_IMPLEMENTED (stress-ng(1)), or only a message.
        Some(0 | 3 | 4) => Outcome::Skipped,
        status => {
            eprintln!(
                "{name} ended with {status:?} in {}: {}",
                directory.display(),
                run.output
            );
            Outcome::Failed
        }
    }
}
