//! Signals, exit status and what is left behind: the supervisor and its child.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use frontend::process::Process;
use frontend::{Daemon, ROOT_ID};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::environment::{self, Environment};

const PATIENCE: Duration = Duration::from_secs(5);

fn send(process: Process, signal: Signal) {
    kill(Pid::from_raw(process.0 as i32), signal).expect("the process is there");
}

fn pid_file(daemon: &Daemon) -> PathBuf {
    let mut path = daemon.socket_path().as_os_str().to_owned();
    path.push(".pid");
    path.into()
}

/// Waits for what happens soon.
fn soon(what: &str, happened: impl Fn() -> bool) {
    let begin = Instant::now();
    while !happened() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The exit status as a shell shows it.
fn status(daemon: &mut Daemon) -> i32 {
    let status = daemon.wait(PATIENCE).expect("it ends");
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().expect("a signal"))
}

fn assert_clean(socket: &Path, pid_file: &Path, context: &str) {
    assert!(!socket.exists(), "{context}: the socket is left");
    assert!(!pid_file.exists(), "{context}: the pid file is left");
}

#[test]
fn g11_signals_to_the_process_that_was_started_stop_it_in_order() {
    for environment in environment::all() {
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            let place = environment.prepare();
            let mut daemon = place.daemon().start().expect("it starts");
            let (socket, pid_file) = (daemon.socket_path().to_owned(), pid_file(&daemon));
            let worker = daemon.worker();
            let context = format!("{}: {signal}", environment.name);
            let pid = fs::read_to_string(&pid_file).expect("a pid file");
            assert_eq!(pid.trim(), daemon.process().0.to_string(), "{context}");

            send(daemon.process(), signal);

            assert_eq!(status(&mut daemon), 0, "{context}");
            assert!(!worker.is_alive(), "{context}");
            assert_clean(&socket, &pid_file, &context);
        }
    }
}

/// The supervisor of another user namespace removes what is in somebody else's directory, as anybody
/// may there with what is his own.
#[test]
fn g11_a_stop_is_orderly_in_a_directory_that_belongs_to_no_mapped_user() {
    let everybody = tempfile::TempDir::with_prefix("everybody-").unwrap();
    fs::set_permissions(
        everybody.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o1777),
    )
    .unwrap();
    for environment in environment::all() {
        let place = environment.prepare();
        let socket = everybody.path().join("socket");
        let pid_file = everybody.path().join("socket.pid");
        let mut started = place.by_hand(&socket);
        while !socket.exists() {
            assert!(
                started.try_wait().unwrap().is_none(),
                "{}",
                environment.name
            );
            std::thread::sleep(Duration::from_millis(5));
        }

        let pid = fs::read_to_string(&pid_file).expect("a pid file");
        let pid = Pid::from_raw(pid.trim().parse().unwrap());
        kill(pid, Signal::SIGTERM).unwrap();

        assert_eq!(
            started.wait().unwrap().code(),
            Some(0),
            "{}",
            environment.name
        );
        assert_clean(&socket, &pid_file, &environment.name);
    }
}

#[test]
fn g11_a_stop_while_a_guest_is_served_is_orderly_too() {
    for environment in environment::all() {
        let place = environment.prepare();
        let mut vm = place.vm().start();
        vm.client().getattr(ROOT_ID).unwrap();
        let (socket, pid_file) = (vm.daemon.socket_path().to_owned(), pid_file(&vm.daemon));

        send(vm.daemon.process(), Signal::SIGTERM);

        assert_eq!(status(&mut vm.daemon), 0, "{}", environment.name);
        assert_clean(&socket, &pid_file, &environment.name);
    }
}

#[test]
fn g11_the_child_can_be_stopped_by_itself() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let place = Environment::root("root", &[]).prepare();
        let mut daemon = place.daemon().start().unwrap();
        let (socket, pid_file) = (daemon.socket_path().to_owned(), pid_file(&daemon));

        send(daemon.worker(), signal);

        assert_eq!(status(&mut daemon), 0, "{signal}");
        assert_clean(&socket, &pid_file, signal.as_str());
    }
}

#[test]
fn g11_a_child_that_dies_is_reported_and_tidied_up_after() {
    for environment in environment::all() {
        let place = environment.prepare();
        let mut daemon = place.daemon().start().unwrap();
        assert!(daemon.wait_for_stderr("Waiting for vhost-user", PATIENCE));
        let (socket, pid_file) = (daemon.socket_path().to_owned(), pid_file(&daemon));

        send(daemon.worker(), Signal::SIGKILL);

        assert_eq!(status(&mut daemon), 137, "{}", environment.name);
        let says = "is the system out of memory?";
        assert!(
            daemon.wait_for_stderr(says, PATIENCE),
            "{}",
            environment.name
        );
        assert_clean(&socket, &pid_file, &environment.name);
    }
}

#[test]
fn g11_no_child_outlives_a_killed_supervisor() {
    for environment in environment::all() {
        let place = environment.prepare();
        let mut daemon = place.daemon().start().unwrap();
        assert!(daemon.wait_for_stderr("Waiting for vhost-user", PATIENCE));
        let worker = daemon.worker();
        assert_ne!(worker, daemon.process(), "{}", environment.name);

        send(daemon.process(), Signal::SIGKILL);

        assert_eq!(status(&mut daemon), 137);
        soon(&environment.name, || !worker.is_alive());
    }
}

#[test]
fn g11_both_processes_can_be_stopped_and_continued() {
    let place = Environment::root("root", &[]).prepare();
    let mut vm = place.vm().start();
    for process in [vm.daemon.process(), vm.daemon.worker()] {
        send(process, Signal::SIGSTOP);
        std::thread::sleep(Duration::from_millis(20));
        send(process, Signal::SIGCONT);

        vm.client().getattr(ROOT_ID).expect("it serves");
    }

    assert_eq!(vm.daemon.stop().code(), Some(0));
}

#[test]
fn everything_stays_in_the_launchers_process_group() {
    for environment in environment::all() {
        let place = environment.prepare();
        let daemon = place.daemon().start().unwrap();
        for process in daemon.process().tree() {
            let group = nix::unistd::getpgid(Some(Pid::from_raw(process.0 as i32)));
            let expected = Pid::from_raw(daemon.process().0 as i32);
            assert_eq!(group, Ok(expected), "{}", environment.name);
        }
    }
}

#[test]
fn g21_a_crash_leaves_no_core_and_nobody_may_read_the_memory() {
    for environment in environment::all() {
        let place = environment.prepare();
        let daemon = place.daemon().start().unwrap();
        assert!(daemon.wait_for_stderr("Waiting for vhost-user", PATIENCE));
        for process in [daemon.process(), daemon.worker()] {
            let limits = fs::read_to_string(format!("/proc/{}/limits", process.0)).unwrap();
            let core = limits
                .lines()
                .find(|line| line.starts_with("Max core file size"));
            let fields: Vec<_> = core.unwrap().split_whitespace().collect();
            // With 0 they could still be piped to a program.
            assert_eq!(fields[4..6], ["1", "1"], "{}", environment.name);
            // What is not dumpable belongs to root in /proc: the root of the user namespace it was
            // started in, and the user who made that may do anything in it.
            if environment.name.starts_with("D unshare") {
                continue;
            }
            let environ = fs::metadata(format!("/proc/{}/environ", process.0)).unwrap();
            let owner = std::os::unix::fs::MetadataExt::uid(&environ);
            assert_eq!(owner, 0, "{}", environment.name);
        }
    }
}

#[test]
fn g21_guest_memory_is_left_out_of_dumps() {
    let place = Environment::root("root", &[]).prepare();
    let vm = place.vm().start();

    let smaps = fs::read_to_string(format!("/proc/{}/smaps", vm.daemon.worker().0)).unwrap();

    let flags: Vec<_> = smaps
        .split_inclusive("VmFlags:")
        .zip(smaps.split("VmFlags:").skip(1))
        .filter(|(mapping, _)| mapping.contains("/memfd:"))
        .map(|(_, rest)| rest.lines().next().unwrap())
        .collect();
    assert!(!flags.is_empty(), "{smaps}");
    for flags in flags {
        assert!(flags.split(' ').any(|flag| flag == "dd"), "{flags}");
    }
}

#[test]
fn g5_only_what_is_needed_stays_open() {
    let outside = fs::File::open("/etc").unwrap();
    let lock = tempfile::tempfile().unwrap();
    let (outside, lock) = (outside.as_raw_fd(), lock.as_raw_fd());
    for environment in [
        Environment::root("namespace", &[]),
        Environment::root("chroot", &["--sandbox=chroot"]),
    ] {
        let mut environment = environment;
        let pid = std::process::id();
        environment.before =
            format!("exec 7</proc/{pid}/fd/{outside} 8</proc/{pid}/fd/{lock}; cd /usr");
        let place = environment.prepare();
        let daemon = place.daemon().start().unwrap();
        assert!(daemon.wait_for_stderr("Waiting for vhost-user", PATIENCE));

        let supervisor = open_files(daemon.process());
        let mut child = open_files(daemon.worker());

        // A launcher's lock is kept by the process it started, a directory by neither.
        assert!(
            supervisor
                .iter()
                .any(|file| file.contains("/.tmp") || file.contains("deleted"))
        );
        assert!(
            !supervisor.iter().any(|file| file == "/etc"),
            "{supervisor:?}"
        );
        // What /proc shows of the root depends on where its reader is.
        let shown = place.share().display().to_string();
        for file in child.iter_mut().filter(|file| **file == shown) {
            "/".clone_into(file);
        }
        let expected = [
            "/",
            "/",
            "anon_inode:[eventpoll]",
            "anon_inode:[signalfd]",
            "pipe",
            "socket",
        ];
        assert_eq!(child, expected, "{}", environment.name);
        let cwd = fs::read_link(format!("/proc/{}/cwd", daemon.worker().0)).unwrap();
        let root = fs::read_link(format!("/proc/{}/root", daemon.worker().0)).unwrap();
        assert_eq!(cwd, root, "{}", environment.name);
    }
}

#[test]
fn g5_no_standard_stream_leads_out() {
    for mut environment in environment::all() {
        environment.before = "exec 0</ 1</".to_owned();
        let place = environment.prepare();
        let daemon = place.daemon().start().unwrap();
        assert!(daemon.wait_for_stderr("Waiting for vhost-user", PATIENCE));

        for number in [0, 1] {
            let file = fs::read_link(format!("/proc/{}/fd/{number}", daemon.worker().0)).unwrap();
            assert_eq!(file, Path::new("/dev/null"), "{}", environment.name);
        }
    }
}

#[test]
fn g5_nor_with_an_inherited_socket_does_anything_else_stay_open() {
    for mode in ["namespace", "pivot_root", "chroot", "none"] {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("socket")).unwrap();
        let lock = tempfile::tempfile().unwrap();
        for fd in [listener.as_fd(), lock.as_fd()] {
            fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
        }
        let mut started = Command::new(env!("CARGO_BIN_EXE_virtiofsd"))
            .arg(format!("--fd={}", listener.as_raw_fd()))
            .arg(format!("--sandbox={mode}"))
            .arg("--shared-dir")
            .arg(directory.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(started.stderr.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("Waiting for vhost-user")));

        let process = Process(started.id());
        let worker = *process.tree().last().unwrap();
        let deleted = |process| open_files(process).iter().any(|f| f.contains("deleted"));

        assert_ne!(worker, process, "{mode}");
        assert!(deleted(process), "{mode}: the launcher's lock is kept");
        assert!(!deleted(worker), "{mode}: {:?}", open_files(worker));
        send(process, Signal::SIGTERM);
        assert_eq!(started.wait().unwrap().code(), Some(0), "{mode}");
    }
}

/// What the descriptors from 3 on lead to, sorted, without numbers that differ.
fn open_files(process: Process) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{}/fd", process.0)).unwrap();
    let mut files: Vec<_> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().unwrap() > 2)
        .map(|entry| fs::read_link(entry.path()).unwrap())
        .map(|link| link.to_string_lossy().into_owned())
        .map(|link| match link.split_once(':') {
            Some((kind @ ("pipe" | "socket"), _)) => kind.to_owned(),
            _ => link,
        })
        .collect();
    files.sort();
    files
}

#[test]
fn it_listens_within_20_ms() {
    let place = Environment::root("root", &[]).prepare();
    let best = (0..5)
        .map(|_| place.daemon().start().unwrap().started_in())
        .min()
        .unwrap();

    assert!(best < Duration::from_millis(20), "{best:?}");
}
