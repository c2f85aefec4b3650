//! What a case is made of: a [`Share`] on the host, a [`Daemon`] serving it, and
//! a [`Guest`] that mounts it and runs a shell script.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Exit status of the preparing scripts that means "not possible here".
const SKIP: i32 = 77;

/// How long a guest may take: boot and work, under emulation on a busy machine.
const GUEST_TIMEOUT: Duration = Duration::from_secs(300);

/// How long a daemon may take to listen, and to end after the guest did.
const DAEMON_TIMEOUT: Duration = Duration::from_secs(10);

/// Lines of a log that a failure message shows.
const TAIL_LINES: usize = 40;

/// What the preparing scripts could provide on this machine.
pub struct Lab {
    /// Directory with kernel and initramfs.
    pub kernel: Option<PathBuf>,
    /// Root file system with compiler, git and SQLite.
    pub programs: Option<PathBuf>,
}

impl Lab {
    /// Prepares what is asked for; prints the reason where that is not possible.
    pub fn new(kernel: bool, programs: bool) -> Self {
        let kernel = kernel.then(|| prepare("prepare")).flatten();
        let programs = (programs && kernel.is_some())
            .then(|| prepare("prepare-root"))
            .flatten();
        Self { kernel, programs }
    }

    /// A static busybox, the one in the guest's initramfs.
    pub fn busybox(&self) -> PathBuf {
        self.kernel
            .as_ref()
            .expect("a kernel")
            .join("stage/bin/busybox")
    }

    /// An empty directory to share. The name is the case's.
    pub fn share(&self, name: &str) -> Share {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join("guest")
            .join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("create the shared directory");
        Share { path }
    }

    /// A directory to share that is a root file system with compiler, git and SQLite.
    pub fn share_with_programs(&self, name: &str) -> Share {
        let share = self.share(name);
        let programs = self.programs.as_ref().expect("programs");
        host(
            Command::new("cp")
                .args(["-a", "--reflink=auto"])
                .arg(programs.join("."))
                .arg(&share.path),
        );
        share
    }

    /// A program of the guest's root file system, to be run on the host.
    pub fn program(&self, path: &str) -> Command {
        let root = self.programs.as_ref().expect("programs");
        self.run_with_libraries_of(root, &root.join(path))
    }

    /// A program linked in the guest, to be run on the host: with the guest's C library.
    pub fn run_with_libraries_of(&self, root: &Path, program: &Path) -> Command {
        let mut command = Command::new(root.join("lib64/ld-linux-x86-64.so.2"));
        command
            .arg("--library-path")
            .arg(root.join("usr/lib/x86_64-linux-gnu"))
            .arg(program);
        command
    }
}

/// Runs one of the preparing scripts and returns the directory that it prints.
fn prepare(script: &str) -> Option<PathBuf> {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("guest");
    let output = guest_script(script)
        .env("GUEST_CACHE", cache)
        .stderr(Stdio::inherit())
        .output()
        .expect("run the preparing script");
    if output.status.code() == Some(SKIP) {
        return None;
    }
    assert!(
        output.status.success(),
        "tests/guest/{script} failed: {}",
        output.status
    );
    let stdout = String::from_utf8(output.stdout).expect("UTF-8");
    stdout.lines().last().map(PathBuf::from)
}

fn guest_script(name: &str) -> Command {
    Command::new(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/guest")
            .join(name),
    )
}

/// Runs a command on the host and returns its stdout; it has to succeed.
#[track_caller]
pub fn host(command: &mut Command) -> String {
    let output = command.stderr(Stdio::piped()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{stdout}{stderr}",
        output.status
    );
    stdout
}

/// A directory of the host that a daemon shares; kept when the case fails.
pub struct Share {
    pub path: PathBuf,
}

impl Share {
    pub fn write(&self, name: &str, content: &str) {
        fs::write(self.path.join(name), content).expect("write into the share");
    }

    pub fn read(&self, name: &str) -> String {
        let path = self.path.join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// A running daemon. It is killed when dropped, unless it has ended itself.
pub struct Daemon {
    process: Child,
    socket: PathBuf,
    log: PathBuf,
}

impl Daemon {
    /// Started as users do: `--socket-path=S --shared-dir=D`.
    pub fn start(share: &Share) -> Self {
        Self::start_with(share, &[])
    }

    /// The same with further options.
    pub fn start_with(share: &Share, options: &[&str]) -> Self {
        let socket = socket_path(share);
        let mut option = std::ffi::OsString::from("--socket-path=");
        option.push(&socket);
        Self::spawn(share, socket, option, options)
    }

    /// Started as libvirt does: a listening socket is inherited as `--fd=N`.
    pub fn start_with_fd(share: &Share) -> Self {
        let socket = socket_path(share);
        let listener = UnixListener::bind(&socket).expect("listen");
        nix::fcntl::fcntl(&listener, nix::fcntl::F_SETFD(nix::fcntl::FdFlag::empty()))
            .expect("let the descriptor be inherited");
        let option = format!("--fd={}", listener.as_raw_fd());
        Self::spawn(share, socket, option.into(), &[])
    }

    fn spawn(
        share: &Share,
        socket: PathBuf,
        socket_option: std::ffi::OsString,
        options: &[&str],
    ) -> Self {
        let log = share.path.with_extension("daemon.log");
        let binary =
            std::env::var_os("VIRTIOFSD_BIN").unwrap_or(env!("CARGO_BIN_EXE_virtiofsd").into());
        let mut shared_dir = std::ffi::OsString::from("--shared-dir=");
        shared_dir.push(&share.path);
        let process = Command::new(&binary)
            .args([socket_option, shared_dir])
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).expect("create the daemon's log"))
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", binary.display()));
        let mut daemon = Self {
            process,
            socket,
            log,
        };
        daemon.wait_until_ready();
        daemon
    }

    /// Waits for the line that launchers wait for.
    fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + DAEMON_TIMEOUT;
        while !self
            .log()
            .contains("Waiting for vhost-user socket connection")
        {
            let ended = self.process.try_wait().expect("wait for the daemon");
            assert!(
                ended.is_none(),
                "the daemon ended at start ({ended:?}):\n{}",
                self.log()
            );
            assert!(
                Instant::now() < deadline,
                "the daemon is not ready:\n{}",
                self.log()
            );
            sleep(Duration::from_millis(2));
        }
    }

    /// Asserts that the daemon ends with success after QEMU has disconnected.
    #[track_caller]
    pub fn ends(mut self) {
        let status = wait(&mut self.process, DAEMON_TIMEOUT);
        assert!(
            status.is_some_and(|status| status.success()),
            "after the guest ended, the daemon has {status:?}:\n{}",
            self.log()
        );
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_file(&self.socket);
    }
}

/// A short path: a socket's address holds 107 bytes.
fn socket_path(share: &Share) -> PathBuf {
    let name = share.path.file_name().expect("a name").to_string_lossy();
    let path = std::env::temp_dir().join(format!("guest-{}-{name}.sock", std::process::id()));
    let _ = fs::remove_file(&path);
    path
}

/// Waits for a process up to a time limit.
fn wait(process: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + limit;
    loop {
        let status = process.try_wait().expect("wait for a process");
        if status.is_some() || Instant::now() >= deadline {
            return status;
        }
        sleep(Duration::from_millis(10));
    }
}

/// A virtual machine to be booted once.
pub struct Guest<'a> {
    boot: Command,
    daemons: Vec<&'a Daemon>,
    console: PathBuf,
}

impl<'a> Guest<'a> {
    /// The name is the case's.
    pub fn new(lab: &Lab, name: &str) -> Self {
        let mut boot = guest_script("boot");
        boot.arg("-k").arg(lab.kernel.as_ref().expect("a kernel"));
        let console = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join("guest")
            .join(format!("{name}.console"));
        Self {
            boot,
            daemons: Vec::new(),
            console,
        }
    }

    /// Adds a virtio-fs device.
    pub fn tag(mut self, tag: &str, daemon: &'a Daemon) -> Self {
        self.boot
            .arg("-f")
            .arg(format!("{tag}={}", daemon.socket.display()));
        self.daemons.push(daemon);
        self
    }

    /// Sets the number of processors, and of request queues of each device.
    pub fn request_queues(mut self, count: usize) -> Self {
        self.boot.args(["-q", &count.to_string()]);
        self
    }

    /// Adds words to the kernel command line.
    pub fn kernel_words(mut self, words: &str) -> Self {
        self.boot.args(["-a", words]);
        self
    }

    /// Lets the guest reboot; the script then runs again.
    pub fn may_reboot(mut self) -> Self {
        self.boot.arg("-r");
        self
    }

    /// Boots, runs the script (`sh -eu`), powers off; returns what was written to
    /// the console. The script has to succeed.
    #[track_caller]
    pub fn run(mut self, script: &str) -> String {
        let file = self.console.with_extension("script");
        fs::write(&file, script).expect("write the guest's script");
        self.boot.arg("-c").arg(&file);
        self.run_init()
    }

    /// Boots with the root file system's own `/sbin/init` in the script's place.
    #[track_caller]
    pub fn run_init(mut self) -> String {
        let output = File::create(&self.console).expect("create the console's log");
        self.boot
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("share the console's log"))
            .stderr(output);
        let mut qemu = self.boot.spawn().expect("start QEMU");
        let status = wait(&mut qemu, GUEST_TIMEOUT);
        let _ = qemu.kill();
        let _ = qemu.wait();
        match status {
            None => self.fail(&format!("the guest has not ended after {GUEST_TIMEOUT:?}")),
            Some(status) if !status.success() => self.fail(&format!("QEMU: {status}")),
            Some(_) => self.require_success(),
        }
    }

    #[track_caller]
    fn require_success(&self) -> String {
        let console = self.console();
        if !console.lines().any(|line| line == "guest: exit status 0") {
            self.fail("the guest's script failed");
        }
        let complaint = |line: &&str| line.starts_with("qemu-system") && !line.contains("warning:");
        if let Some(line) = console.lines().find(complaint) {
            self.fail(&format!("QEMU complains: {line}"));
        }
        console
    }

    fn console(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.console).unwrap_or_default()).replace('\r', "")
    }

    #[track_caller]
    fn fail(&self, reason: &str) -> ! {
        let logs: Vec<String> = self
            .daemons
            .iter()
            .map(|daemon| tail(&daemon.log()))
            .collect();
        panic!(
            "{reason}\n--- console\n{}\n--- daemon\n{}",
            tail(&self.console()),
            logs.join("\n---\n")
        );
    }
}

/// The last lines of a log.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}
