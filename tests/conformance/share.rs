//! A share: the built daemon, and hostmount in front of it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use frontend::process::Process;
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const DAEMON: &str = env!("CARGO_BIN_EXE_virtiofsd");
/// How long a share may take to unmount and to end.
const PATIENCE: Duration = Duration::from_secs(15);

/// A shared directory, mounted. Dropping it unmounts it, ends the daemon, and fails the test if either went badly.
#[derive(Debug)]
pub struct Share {
    mountpoint: PathBuf,
    hostmount: Child,
    log: PathBuf,
}

impl Share {
    /// Shares `directory` through a daemon with these arguments, mounted in `scratch`.
    pub fn start(directory: &Path, scratch: &Path, daemon_args: &[&str]) -> Share {
        let mountpoint = scratch.join("mnt");
        fs::create_dir_all(&mountpoint).unwrap();
        let log = scratch.join("share.log");
        // However this thread ends, hostmount ends too, and the daemon with it.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM"]).arg(hostmount());
        command
            .args(["--queues", "2", "--daemon", DAEMON])
            .arg(&mountpoint);
        command
            .args(["--", "--shared-dir"])
            .arg(directory)
            .args(daemon_args);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap());
        let mut hostmount = command.spawn().expect("start hostmount");
        let mut first_line = String::new();
        let stdout = hostmount.stdout.take().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut first_line).unwrap();
        let share = Share {
            mountpoint,
            hostmount,
            log,
        };
        assert!(
            first_line.starts_with("hostmount: mounted"),
            "no mount: {}",
            share.log()
        );
        share
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mountpoint
    }

    /// What hostmount and the daemon have said on stderr.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The daemon's process that serves the guest.
    pub fn daemon(&self) -> Process {
        *Process(self.hostmount.id())
            .tree()
            .last()
            .expect("a tree has its root")
    }

    /// Unmounts as an administrator does, and waits for hostmount and the daemon to end by themselves.
    pub fn unmount(&mut self) -> Option<ExitStatus> {
        umount2(&self.mountpoint, MntFlags::empty()).expect("unmount");
        self.wait()
    }

    fn wait(&mut self) -> Option<ExitStatus> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.hostmount.try_wait().expect("wait for our own child") {
                None if Instant::now() < deadline => thread::sleep(Duration::from_millis(2)),
                status => return status,
            }
        }
    }

    /// SIGTERM unless it has ended, then SIGKILL; the exit status of a willing end.
    fn end(&mut self) -> Option<ExitStatus> {
        let pid = Pid::from_raw(self.hostmount.id() as i32);
        if let Ok(None) = self.hostmount.try_wait() {
            let _ = kill(pid, Signal::SIGTERM);
        }
        let status = self.wait();
        if status.is_none() {
            let _ = self.hostmount.kill();
            let _ = self.hostmount.wait();
        }
        // Nothing may stay below the directory that is about to be removed.
        while umount2(&self.mountpoint, MntFlags::MNT_DETACH).is_ok() {}
        status
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let status = self.end();
        let log = self.log();
        if thread::panicking() {
            eprintln!("the share ended with {status:?} and said:\n{log}");
            return;
        }
        assert!(
            status.is_some_and(|status| status.success()),
            "ended with {status:?}: {log}"
        );
        assert!(!log.contains("panicked") && !log.contains("ERROR"), "{log}");
    }
}

/// The example program beside the daemon, built as the daemon was.
fn hostmount() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let directory = Path::new(DAEMON)
            .parent()
            .expect("the daemon is in a directory");
        let profile = match directory.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(name) => name,
        };
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        command.args([
            "build",
            "--quiet",
            "--example",
            "hostmount",
            "--profile",
            profile,
        ]);
        let status = command.current_dir(env!("CARGO_MANIFEST_DIR")).status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "hostmount cannot be built"
        );
        directory.join("examples/hostmount")
    })
}
