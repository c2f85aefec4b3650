//! The process that maps ids from outside.

use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::wait::waitpid;
use nix::unistd::{Pid, Uid, User};

use super::{Axis, UserNamespace, Writer, to_text};
use crate::error::DaemonError;
use crate::sys::{self, Fork};

/// Where newuidmap and newgidmap are: never looked up in `PATH`, which may be anybody's.
const DIRECTORIES: &[&str] = &["/usr/bin", "/usr/sbin", "/bin", "/run/wrappers/bin"];
/// Between the parts of an error on its way through the pipe.
const SEPARATOR: char = '\0';

/// A helper that waits for the namespace to be there.
#[derive(Debug)]
pub(super) struct Helper {
    pid: Pid,
    go: PipeWriter,
    /// Empty when all went well.
    outcome: PipeReader,
}

impl Helper {
    /// Forks it.
    pub(super) fn start(namespace: &UserNamespace, writer: Writer) -> Result<Self, DaemonError> {
        let (wait, go) = pipe().map_err(no_helper)?;
        let (outcome, mut report) = pipe().map_err(no_helper)?;
        match sys::fork().map_err(no_helper)? {
            Fork::Parent(pid) => Ok(Self { pid, go, outcome }),
            Fork::Child => {
                drop((go, outcome));
                let _ = sys::die_with_parent();
                if let Err(error) = wait_and_map(namespace, writer, wait) {
                    let parts = [error.what(), error.cause(), error.hint()];
                    let _ = report.write_all(parts.join(&SEPARATOR.to_string()).as_bytes());
                }
                std::process::exit(0)
            }
        }
    }

    /// The namespace is there: has the helper map its ids, and waits until it has ended.
    pub(super) fn map_ids(mut self) -> Result<(), DaemonError> {
        let mut report = String::new();
        self.go.write_all(b"!").map_err(no_helper)?;
        self.outcome
            .read_to_string(&mut report)
            .map_err(no_helper)?;
        waitpid(self.pid, None).map_err(no_helper)?;
        let parts: Vec<&str> = report.splitn(3, SEPARATOR).collect();
        match parts[..] {
            [what, cause, hint] => Err(DaemonError::new(what, cause, hint)),
            _ => Ok(()),
        }
    }
}

fn no_helper(error: impl ToString) -> DaemonError {
    let hint = "raise the limit of processes (ulimit -u; TasksMax= of systemd)";
    DaemonError::new("the helper that maps ids", error, hint)
}

/// The helper's life.
fn wait_and_map(
    namespace: &UserNamespace,
    writer: Writer,
    mut wait: PipeReader,
) -> Result<(), DaemonError> {
    let mut start = [0];
    if wait.read(&mut start).map_err(no_helper)? == 0 {
        // No namespace came to be, and its maker says why.
        return Ok(());
    }
    Axis::BOTH.into_iter().try_for_each(|axis| match writer {
        Writer::Delegated => run_program(namespace, axis),
        Writer::Privileged | Writer::Itself => write_map(namespace, axis),
    })
}

fn write_map(namespace: &UserNamespace, axis: Axis) -> Result<(), DaemonError> {
    let file = format!("/proc/{}/{}", parent_id(), axis.file());
    std::fs::write(file, to_text(namespace.map(axis))).map_err(|error| {
        let hint = "ranges must not overlap, and all ids outside must exist in this namespace";
        DaemonError::new(axis.option(), error, hint)
    })
}

fn run_program(namespace: &UserNamespace, axis: Axis) -> Result<(), DaemonError> {
    let program = find(axis.program())?;
    let ids = namespace.map(axis).iter();
    let ids = ids.flat_map(|line| [line.inside, line.outside, line.count]);
    let output = Command::new(&program)
        .arg(parent_id().to_string())
        .args(ids.map(|id| id.to_string()))
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .map_err(|error| DaemonError::new(program.display().to_string(), error, MISSING))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let cause = match said.trim() {
        "" => output.status.to_string(),
        said => said.replace('\n', "; "),
    };
    let hint = cure(namespace, axis, &cause);
    Err(DaemonError::new(program.display().to_string(), cause, hint))
}

const MISSING: &str = "install it: the package is uidmap (Debian, Ubuntu), shadow-utils (Fedora), \
                       shadow (Arch, SUSE) or shadow-subids (Alpine)";

fn find(program: &str) -> Result<PathBuf, DaemonError> {
    let places = DIRECTORIES.iter().map(|dir| Path::new(dir).join(program));
    places
        .into_iter()
        .find(|path| path.exists())
        .ok_or_else(|| {
            let cause = format!("not found in {}", DIRECTORIES.join(", "));
            DaemonError::new(program, cause, MISSING)
        })
}

/// What helps when the program refuses.
fn cure(namespace: &UserNamespace, axis: Axis, cause: &str) -> String {
    if !cause.contains("not allowed") {
        return match sys::has_forgone_new_privileges() {
            true => format!(
                "{} needs its set-user-id bit, which no_new_privs (NoNewPrivileges= of systemd) \
                 makes useless: start the daemon without it",
                axis.program()
            ),
            false => format!(
                "{} must be set-user-id root, or have the file capability for it; ranges must not \
                 overlap",
                axis.program()
            ),
        };
    }
    let user = user_name(namespace.uid);
    let missing = namespace.map(axis).iter();
    let missing = missing.filter(|line| (line.outside, line.count) != (namespace.own_id(axis), 1));
    let lines: Vec<_> = missing
        .map(|line| format!("`{user}:{}:{}`", line.outside, line.count))
        .collect();
    format!(
        "{} must delegate the ids, in lines such as {}",
        axis.delegation(),
        lines.join(" and ")
    )
}

fn user_name(uid: u32) -> String {
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    user.map_or_else(|| uid.to_string(), |user| user.name)
}
