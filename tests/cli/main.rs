//! The command line at the process boundary: what the built binary prints,
//! where, and with which exit status.

mod print;
mod usage;

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

/// The user and group id of nobody on most systems; any unprivileged one would do.
const NOBODY: u32 = 65534;

/// How a run of the binary ended.
struct Run {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Runs the binary as it would be run by hand.
fn virtiofsd(args: &[&str]) -> Run {
    Run::from(command(env!("CARGO_BIN_EXE_virtiofsd")).args(args).output())
}

/// Runs the binary as a management layer may: from `/`, with an empty
/// environment, and without any privilege.
fn virtiofsd_as_nobody(args: &[&str]) -> Run {
    let binary = File::open(env!("CARGO_BIN_EXE_virtiofsd")).expect("the binary is built");
    // Through the descriptor, because nobody may not be let into the build directory.
    let mut command = command(&format!("/proc/self/fd/{}", binary.as_raw_fd()));
    command.env_clear().current_dir("/").args(args);
    if nix::unistd::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    Run::from(command.output())
}

fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}

impl From<std::io::Result<Output>> for Run {
    fn from(output: std::io::Result<Output>) -> Self {
        let output = output.expect("the binary runs");
        Self {
            status: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
        }
    }
}
