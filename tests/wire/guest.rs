//! A guest with a share, and what must hold after every case.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use frontend::client::RawReply;
use frontend::process::Process;
use frontend::vm::VmBuilder;
use frontend::{Client, ROOT_ID, Vm};
use tempfile::TempDir;

/// How long what should happen at once may take on a busy machine.
pub const SOON: Duration = Duration::from_secs(5);

/// A running guest. Beside its share lies a tree that no request may touch.
pub struct Guest {
    /// Daemon, device and clients.
    pub vm: Vm,
    directory: TempDir,
    outside: Vec<(PathBuf, String)>,
    worker: Process,
    idle_fds: usize,
    started: Instant,
}

impl Guest {
    /// With one request queue and default options.
    pub fn start() -> Guest {
        Self::with(|builder| builder)
    }

    /// With whatever `change` asks for.
    pub fn with(change: impl FnOnce(VmBuilder) -> VmBuilder) -> Guest {
        let directory = TempDir::new().expect("a temporary directory");
        for sub in ["share", "outside"] {
            fs::create_dir(directory.path().join(sub)).expect("a directory in it");
        }
        fs::write(directory.path().join("outside/secret"), "untouched").expect("a sentinel");
        let builder =
            Vm::builder(env!("CARGO_BIN_EXE_virtiofsd")).share(directory.path().join("share"));
        let vm = change(builder).start();
        let worker = vm.daemon.worker();
        Guest {
            outside: snapshot(&directory.path().join("outside")),
            idle_fds: worker.open_fds().expect("the daemon runs"),
            started: Instant::now(),
            directory,
            vm,
            worker,
        }
    }

    /// The client on the first request queue.
    pub fn client(&mut self) -> &mut Client {
        self.vm.client()
    }

    /// A path in the share, as the host sees it.
    pub fn host(&self, name: &str) -> PathBuf {
        self.directory.path().join("share").join(name)
    }

    /// The process that serves requests.
    pub fn worker(&self) -> Process {
        self.worker
    }

    /// Writes a file on the host; its node id.
    pub fn file(&mut self, name: &str, content: impl AsRef<[u8]>) -> u64 {
        fs::write(self.host(name), content).expect("a file in the share");
        self.node(name)
    }

    /// Looks a name in the root up.
    pub fn node(&mut self, name: &str) -> u64 {
        let found = self.client().lookup(ROOT_ID, name);
        found.expect("the host has the file").nodeid
    }

    /// Writes a file on the host and opens it: node id and handle.
    pub fn open(&mut self, name: &str, content: impl AsRef<[u8]>, flags: i32) -> (u64, u64) {
        let node = self.file(name, content);
        let opened = self.client().open(node, flags).expect("a regular file");
        (node, opened.fh)
    }

    /// Descriptors that the daemon holds beyond those of an idle session.
    pub fn extra_fds(&self) -> isize {
        let open = self.worker.open_fds().expect("the daemon runs");
        open as isize - self.idle_fds as isize
    }

    /// Waits until the daemon holds `count` descriptors more than when idle.
    pub fn await_extra_fds(&self, count: isize) {
        await_that(&format!("{count} extra descriptors"), || {
            self.extra_fds() == count
        });
    }

    /// What must hold after every case: the same process lives and answers on a healthy queue, it
    /// is idle and silent, holds no descriptor more than before, and touched nothing outside.
    pub fn assert_unharmed(&mut self) {
        self.client().timeout = SOON;
        let root = self.client().getattr(ROOT_ID).expect("GETATTR of the root");
        assert_eq!(root.attr.mode & libc::S_IFMT, libc::S_IFDIR);
        self.await_extra_fds(0);
        assert!(self.vm.daemon.try_wait().is_none() && self.worker.is_alive());
        assert_eq!(self.vm.daemon.worker(), self.worker, "the same process");
        assert_idle(self.worker);
        let stderr = self.vm.daemon.stderr();
        assert!(!stderr.contains("panicked"), "{stderr}");
        let allowed = 10 * (self.started.elapsed().as_secs() as usize + 1);
        assert!(stderr.lines().count() <= allowed, "a flood:\n{stderr}");
        let outside = snapshot(&self.directory.path().join("outside"));
        assert_eq!(outside, self.outside, "nothing outside the share changes");
    }
}

/// Every path below `top`, with what tells whether it was touched.
fn snapshot(top: &Path) -> Vec<(PathBuf, String)> {
    let mut entries: Vec<_> = fs::read_dir(top)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path())
        .map(|path| {
            let metadata = fs::symlink_metadata(&path).expect("it is there");
            let content = fs::read(&path).unwrap_or_default();
            let (mode, uid) = (metadata.mode(), metadata.uid());
            let changed = (metadata.ctime(), metadata.ctime_nsec());
            let told = format!("{} {mode:o} {uid} {changed:?} {content:?}", metadata.ino());
            (path, told)
        })
        .collect();
    entries.sort();
    entries
}

/// Under 5 % of a CPU.
pub fn assert_idle(process: Process) {
    const WINDOW: Duration = Duration::from_millis(200);
    let used = || process.cpu_time().expect("it runs");
    let before = used();
    thread::sleep(WINDOW);
    let busy = used().saturating_sub(before);
    assert!(busy < WINDOW / 20, "busy for {busy:?} of {WINDOW:?}");
}

/// Waits until `condition` holds.
#[track_caller]
pub fn await_that(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// The errno in a reply, 0 for success; `None` for a chain returned unanswered.
#[track_caller]
pub fn outcome(reply: &RawReply) -> Option<i32> {
    let Some(errno) = reply.errno() else {
        assert_eq!(reply.used_len, 0, "an unanswered chain has nothing in it");
        return None;
    };
    assert!((0..=511).contains(&errno), "errno {errno} does not exist");
    if errno != 0 {
        assert_eq!(reply.used_len, 16, "an error reply is its header");
    }
    Some(errno)
}
