//! Start-up, and the files that are there meanwhile.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use frontend::{Connection, Daemon};
use nix::fcntl::{FcntlArg, FdFlag, Flock, FlockArg, fcntl};
use nix::sys::signal::Signal;

use crate::run::{Place, READY, Running, virtiofsd};

#[test]
fn the_socket_listens_within_20_ms() {
    let place = Place::new();
    let measure = || {
        let daemon = Daemon::builder(env!("CARGO_BIN_EXE_virtiofsd"))
            .share(place.path("share"))
            .arg("--sandbox=none")
            .start()
            .expect("it starts");
        daemon.started_in()
    };
    let median = || {
        let mut times: Vec<_> = (0..9).map(|_| measure()).collect();
        times.sort();
        times[4]
    };
    // Other tests run at the same time: the quietest of a few moments counts.
    let times: Vec<_> = (0..5).map(|_| median()).collect();
    let best = times.iter().min().unwrap();
    assert!(*best < Duration::from_millis(20), "{times:?}");
}

#[test]
fn the_line_that_launchers_wait_for_comes_when_the_socket_listens() {
    for args in [
        &[][..],
        &["--log-level=info"],
        &["--log-level=debug"],
        &["-d"],
    ] {
        let place = Place::new();
        let running = Running::ready(place.command().args(args));
        let connection = Connection::connect(&place.socket()).expect("it listens");
        assert!(connection.get_features().is_ok(), "{args:?}");
        drop(connection);
        assert_eq!(running.end().code, Some(0));
    }
}

#[test]
fn the_socket_is_for_its_owner_alone_or_for_a_group() {
    let place = Place::new();
    let running = place.serve();
    let metadata = fs::symlink_metadata(place.socket()).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.mode() & 0o777, 0o600);
    drop(running);

    // By number, as there is no group that every machine has but root's.
    let place = Place::new();
    let running = Running::ready(place.command().arg("--socket-group=54321"));
    let metadata = fs::symlink_metadata(place.socket()).unwrap();
    assert_eq!((metadata.mode() & 0o777, metadata.gid()), (0o660, 54_321));
    drop(running);
}

#[test]
fn the_pid_file_has_our_pid_and_is_locked() {
    let place = Place::new();
    let running = place.serve();

    let text = fs::read_to_string(place.pid_file()).unwrap();
    assert_eq!(text.trim().parse(), Ok(running.pid()));
    let file = File::open(place.pid_file()).unwrap();
    let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock);
    assert!(lock.is_err(), "somebody holds the lock");
    assert_eq!(
        fs::metadata(place.pid_file()).unwrap().mode() & 0o777,
        0o600
    );
}

#[test]
fn g9_a_stale_socket_is_replaced() {
    let place = Place::new();
    drop(UnixListener::bind(place.socket()).unwrap());
    assert!(UnixStream::connect(place.socket()).is_err());

    let running = place.serve();

    assert!(UnixStream::connect(place.socket()).is_ok());
    assert_eq!(running.end().code, Some(0));
    place.assert_clean();
}

#[test]
fn g9_what_a_killed_daemon_leaves_is_no_obstacle() {
    let place = Place::new();
    for _ in 0..3 {
        let running = place.serve();
        running.signal(Signal::SIGKILL);
        assert_eq!(running.end().code, None);
        assert!(place.socket().exists() && place.pid_file().exists());
    }
    let running = place.serve();
    running.signal(Signal::SIGTERM);
    assert_eq!(running.end().code, Some(0));
    place.assert_clean();
}

#[test]
fn g9_a_live_socket_is_left_alone() {
    let place = Place::new();
    let listener = UnixListener::bind(place.socket()).unwrap();

    Running::start(&mut place.command())
        .end()
        .assert_failed(&["socket", "listens"]);

    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "nobody even connected");
    assert!(UnixStream::connect(place.socket()).is_ok());
    assert!(!place.pid_file().exists());
}

#[test]
fn g9_a_live_socket_is_left_alone_by_whatever_path_it_is_reached() {
    let place = Place::new();
    fs::create_dir(place.path("run time")).unwrap();
    symlink("run time", place.path("link")).unwrap();
    let _listener = UnixListener::bind(place.path("link/live socket")).unwrap();
    for directory in ["run time", "link"] {
        let mut command = virtiofsd(&place.path("share"));
        let socket = place.path(directory).join("live socket");
        command.arg("--socket-path").arg(&socket);

        let ended = Running::start(&mut command).end();

        ended.assert_failed(&["live socket", "listens"]);
        assert!(UnixStream::connect(&socket).is_ok(), "{directory}");
    }
}

#[test]
fn names_that_are_no_text_have_pid_files_of_their_own() {
    let place = Place::new();
    let names = [b"\xff", b"\xfe"].map(|name| OsStr::from_bytes(name));
    let daemons = names.map(|name| {
        let mut command = virtiofsd(&place.path("share"));
        command.arg("--socket-path").arg(place.path("").join(name));
        Running::ready(&mut command)
    });
    for (name, daemon) in names.iter().zip(&daemons) {
        let mut pid_file = name.to_os_string();
        pid_file.push(".pid");
        let pid = fs::read_to_string(place.path("").join(pid_file)).unwrap();
        assert_eq!(pid.trim(), daemon.pid().to_string());
    }
    for daemon in daemons {
        daemon.signal(Signal::SIGTERM);
        assert_eq!(daemon.end().code, Some(0));
    }
    place.assert_clean();
}

/// What it is, and how it comes to be in the way.
type Obstacle = (&'static str, fn(&Place));

#[test]
fn g9_what_is_no_socket_is_left_alone() {
    let cases: [Obstacle; 5] = [
        ("file", |place| {
            fs::write(place.socket(), "precious").unwrap()
        }),
        ("directory", |place| fs::create_dir(place.socket()).unwrap()),
        ("dangling symlink", |place| {
            symlink("nowhere", place.socket()).unwrap()
        }),
        ("symlink to a stale socket", |place| {
            drop(UnixListener::bind(place.path("other")).unwrap());
            symlink("other", place.socket()).unwrap();
        }),
        ("FIFO", |place| {
            nix::unistd::mkfifo(&place.socket(), nix::sys::stat::Mode::S_IRWXU).unwrap();
        }),
    ];
    for (what, put) in cases {
        let place = Place::new();
        put(&place);
        let before = fs::symlink_metadata(place.socket()).unwrap();

        Running::start(&mut place.command())
            .end()
            .assert_failed(&["socket", "not a socket"]);

        let after = fs::symlink_metadata(place.socket()).unwrap();
        assert_eq!(
            (before.ino(), before.mode()),
            (after.ino(), after.mode()),
            "{what}"
        );
        assert!(!place.path("nowhere").exists() && !place.pid_file().exists());
    }
}

#[test]
fn g9_a_path_may_be_longer_than_a_socket_address() {
    let place = Place::new();
    let long = place.path(&"d".repeat(200));
    fs::create_dir(&long).unwrap();
    let socket = long.join("s".repeat(50));
    // Clients need a shorter way.
    symlink(&long, place.path("short")).unwrap();
    let short = place.path("short").join("s".repeat(50));

    let mut command = virtiofsd(&place.path("share"));
    let running = Running::ready(command.arg("--socket-path").arg(&socket));

    assert_eq!(fs::symlink_metadata(&socket).unwrap().mode() & 0o777, 0o600);
    let mut again = virtiofsd(&place.path("share"));
    let second = Running::start(again.arg("--socket-path").arg(&socket));
    second.end().assert_failed(&["another daemon"]);
    assert!(UnixStream::connect(&short).is_ok());
    assert_eq!(running.end().code, Some(0));
    assert_eq!(fs::read_dir(&long).unwrap().count(), 0);
}

#[test]
fn a_relative_path_is_one_from_the_current_directory() {
    let place = Place::new();
    for path in ["socket", "./socket"] {
        let mut command = virtiofsd(&place.path("share"));
        command
            .current_dir(place.path(""))
            .arg("--socket-path")
            .arg(path);
        let running = Running::ready(&mut command);
        running.signal(Signal::SIGTERM);
        assert_eq!(running.end().code, Some(0));
        place.assert_clean();
    }
}

#[test]
fn g8_a_pid_file_that_is_not_ours_is_refused_and_untouched() {
    let cases: [Obstacle; 5] = [
        ("symlink", |place| {
            symlink("victim", place.pid_file()).unwrap()
        }),
        ("hard link", |place| {
            fs::hard_link(place.path("victim"), place.pid_file()).unwrap()
        }),
        ("FIFO", |place| {
            nix::unistd::mkfifo(&place.pid_file(), nix::sys::stat::Mode::S_IRWXU).unwrap();
        }),
        ("directory", |place| {
            fs::create_dir(place.pid_file()).unwrap()
        }),
        ("another owner's", |place| {
            fs::write(place.pid_file(), "theirs").unwrap();
            std::os::unix::fs::chown(place.pid_file(), Some(1234), None).unwrap();
        }),
    ];
    for (what, put) in cases {
        let place = Place::new();
        fs::write(place.path("victim"), "untouched").unwrap();
        put(&place);

        let ended = Running::start(&mut place.command()).end();

        ended.assert_failed(&["socket.pid"]);
        assert_eq!(
            fs::read(place.path("victim")).unwrap(),
            b"untouched",
            "{what}"
        );
        assert!(
            fs::symlink_metadata(place.pid_file()).is_ok(),
            "{what} stays"
        );
        assert!(!place.socket().exists());
    }
}

#[test]
fn g10_of_two_daemons_on_one_socket_exactly_one_serves() {
    let place = Place::new();
    for round in 0..25 {
        let mut both = [
            Running::start(&mut place.command()),
            Running::start(&mut place.command()),
        ];
        let ready = both.each_mut().map(|running| running.has_line(READY));
        assert_eq!(
            ready.iter().filter(|ready| **ready).count(),
            1,
            "round {round}"
        );

        let [first, second] = both;
        let (winner, loser) = if ready[0] {
            (first, second)
        } else {
            (second, first)
        };
        loser.end().assert_failed(&["socket"]);
        let text = fs::read_to_string(place.pid_file()).unwrap();
        assert_eq!(text.trim().parse(), Ok(winner.pid()));
        assert!(
            Connection::connect(&place.socket())
                .unwrap()
                .get_features()
                .is_ok()
        );
        assert_eq!(winner.end().code, Some(0));
        place.assert_clean();
    }
}

/// A command that inherits `fd`, and the option that says so.
fn with_fd(place: &Place, fd: &OwnedFd) -> std::process::Command {
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    let mut command = virtiofsd(&place.path("share"));
    command.arg(format!("--fd={}", fd.as_raw_fd()));
    command
}

#[test]
fn an_inherited_listening_socket_is_served_and_stays() {
    let place = Place::new();
    let listener = OwnedFd::from(UnixListener::bind(place.socket()).unwrap());
    let mut running = Running::start(&mut with_fd(&place, &listener));
    running.await_line(READY);

    let connection = Connection::connect(&place.socket()).unwrap();
    assert!(connection.get_features().is_ok());
    drop(connection);

    assert_eq!(running.end().code, Some(0));
    assert!(place.socket().exists(), "it is the launcher's");
    assert!(!place.pid_file().exists());
}

#[test]
fn an_inherited_descriptor_must_be_a_listening_stream_socket() {
    let place = Place::new();
    let (connected, _peer) = UnixStream::pair().unwrap();
    let datagram = std::os::unix::net::UnixDatagram::bind(place.path("datagram")).unwrap();
    let file = File::create(place.path("file")).unwrap();
    let (reader, _writer) = std::io::pipe().unwrap();
    let fds = [
        connected.into(),
        datagram.into(),
        file.into(),
        OwnedFd::from(reader),
    ];
    for fd in &fds {
        Running::start(&mut with_fd(&place, fd))
            .end()
            .assert_failed(&["--fd=", "not a listening"]);
    }
    for number in [9999, 1_000_000] {
        let mut command = virtiofsd(&place.path("share"));
        let ended = Running::start(command.arg(format!("--fd={number}"))).end();
        ended.assert_failed(&[&format!("--fd={number}")]);
    }
}

#[test]
fn only_one_front_end_is_served() {
    let place = Place::new();
    let running = place.serve();
    let first = Connection::connect(&place.socket()).unwrap();
    assert!(first.get_features().is_ok());

    let mut second = UnixStream::connect(place.socket()).unwrap();
    assert_eq!(second.read(&mut [0]).unwrap_or(0), 0, "turned away");

    assert!(first.get_features().is_ok(), "the first is served on");
    drop(first);
    assert_eq!(running.end().code, Some(0));
    place.assert_clean();
}
