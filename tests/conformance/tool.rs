//! Running other people's programs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How a program ended.
#[derive(Debug)]
pub struct Run {
    /// Its exit status, `None` after a signal.
    pub status: Option<i32>,
    /// What it wrote to stdout and stderr.
    pub output: String,
}

/// Where a program is: where `prepare` puts it, else on the path.
pub fn find(name: &str) -> Option<PathBuf> {
    let prepared = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .with_file_name("conformance")
        .join("bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::iter::once(prepared).chain(std::env::split_paths(&path));
    places.find_map(|place| Some(place.join(name)).filter(|file| file.is_file()))
}

/// Runs a program in `directory` to its end.
pub fn run(directory: &Path, name: &str, args: &[&str]) -> Run {
    let program = find(name).unwrap_or_else(|| panic!("{name} is not installed"));
    let mut command = Command::new(program);
    command
        .args(args)
        .current_dir(directory)
        .stdin(Stdio::null());
    command
        .env("LC_ALL", "C")
        .env("NO_COLOR", "1")
        .env("RUST_BACKTRACE", "0")
        .env("HOME", directory);
    let done = command
        .output()
        .unwrap_or_else(|error| panic!("run {name}: {error}"));
    let output = [done.stdout, done.stderr].concat();
    Run {
        status: done.status.code(),
        output: String::from_utf8_lossy(&output).into_owned(),
    }
}

/// Runs a shell script in `directory`, which must succeed; what it wrote.
pub fn sh(directory: &Path, script: &str) -> String {
    let run = run(directory, "sh", &["-euc", script]);
    assert_eq!(
        run.status,
        Some(0),
        "in {}: {script}\n{}",
        directory.display(),
        run.output
    );
    run.output
}
