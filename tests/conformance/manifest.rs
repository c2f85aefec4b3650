//! What a directory tree holds, as lines that can be compared.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// One line for each file below `root`, sorted: its path, type, permissions, owner, links, size, device, content or target, and
/// modification time to the nanosecond.
pub fn manifest(root: &Path) -> Vec<String> {
    let mut lines = contents(root);
    let stamp = |line: &mut String| {
        let path = root.join(line.split('\t').next().expect("the path comes first"));
        let meta = fs::symlink_metadata(path).unwrap();
        line.push_str(&format!("\t{}.{:09}", meta.mtime(), meta.mtime_nsec()));
    };
    lines.iter_mut().for_each(stamp);
    lines
}

/// The same without the times.
pub fn contents(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    describe_below(root, root, &mut lines);
    lines.sort_unstable();
    lines
}

fn describe_below(root: &Path, directory: &Path, lines: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        lines.push(describe(root, &path));
        if path.symlink_metadata().unwrap().is_dir() {
            describe_below(root, &path, lines);
        }
    }
}

fn describe(root: &Path, path: &Path) -> String {
    let meta = fs::symlink_metadata(path).unwrap();
    let kind = meta.file_type();
    let what = if kind.is_file() {
        format!(
            "file {} bytes, hash {:x}",
            meta.size(),
            hash(&fs::read(path).unwrap())
        )
    } else if kind.is_symlink() {
        format!("link to {}", fs::read_link(path).unwrap().display())
    } else if kind.is_dir() {
        "directory".into()
    } else {
        format!(
            "fifo {}, socket {}, device {:x}",
            kind.is_fifo(),
            kind.is_socket(),
            meta.rdev()
        )
    };
    let name = path.strip_prefix(root).unwrap().display();
    format!(
        "{name}\t{what}\tmode {:o}\t{}:{}\t{} links",
        meta.mode(),
        meta.uid(),
        meta.gid(),
        meta.nlink()
    )
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}
