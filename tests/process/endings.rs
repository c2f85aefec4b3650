//! What ends the daemon, with which status, and what it leaves.

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use frontend::fuse::{ReadIn, opcode};
use frontend::message::{self, request};
use frontend::process::Process;
use frontend::vm::VmBuilder;
use frontend::{ClientOptions, Connection, ROOT_ID, Request, Vm};
use nix::sys::signal::Signal;

use crate::run::{Place, READY, SOON};

const SIGNALS: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];

fn vm(place: &Place) -> VmBuilder {
    Vm::builder(env!("CARGO_BIN_EXE_virtiofsd"))
        .share(place.path("share"))
        .arg("--sandbox=none")
}

/// Exit status 0, socket and pid file gone.
#[track_caller]
fn assert_orderly_end(vm: &mut Vm) {
    let status = vm.daemon.wait(SOON).expect("it ends");
    assert_eq!(status.code(), Some(0), "{}", vm.daemon.stderr());
    let socket = vm.daemon.socket_path();
    assert!(!socket.exists() && !socket.with_extension("pid").exists());
}

#[test]
fn g11_signals_before_anybody_connects() {
    for signal in SIGNALS {
        let place = Place::new();
        let running = place.serve();
        running.signal(signal);
        let ended = running.end();
        assert_eq!(ended.code, Some(0), "{signal}");
        assert!(
            ended.stderr.contains(signal.as_str()),
            "the log names it: {}",
            ended.stderr
        );
        place.assert_clean();
    }
}

#[test]
fn g11_signals_during_a_connection() {
    for signal in SIGNALS {
        let place = Place::new();
        let mut vm = vm(&place).start();
        vm.daemon.signal(signal).unwrap();
        assert_orderly_end(&mut vm);
    }
}

#[test]
fn g11_signals_during_the_set_up_of_a_connection() {
    let place = Place::new();
    let running = place.serve();
    let connection = Connection::connect(&place.socket()).unwrap();
    connection.get_features().unwrap();

    running.signal(Signal::SIGTERM);

    assert_eq!(running.end().code, Some(0));
    place.assert_clean();
}

#[test]
fn g11_signals_with_requests_in_flight() {
    for (signal, pool) in SIGNALS.iter().zip(["0", "1", "8"]) {
        let place = Place::new();
        std::fs::write(place.path("share/file"), vec![7; 1 << 20]).unwrap();
        let options = ClientOptions {
            depth: 32,
            ..ClientOptions::default()
        };
        let pool = format!("--thread-pool-size={pool}");
        let mut vm = vm(&place).arg(pool).client(options).start();
        let client = vm.client();
        let node = client.lookup(ROOT_ID, "file").unwrap().nodeid;
        let fh = client.open(node, libc::O_RDONLY).unwrap().fh;
        let arguments = ReadIn {
            fh,
            size: 1 << 20,
            ..ReadIn::default()
        }
        .encode();
        let args = [&arguments[..]];
        let read = Request::new(opcode::READ, node, &args).reply_data(1 << 20);
        (0..32).for_each(|_| assert!(client.submit(&read).is_some()));
        client.kick();

        vm.daemon.signal(*signal).unwrap();

        assert_orderly_end(&mut vm);
    }
}

#[test]
fn a_second_signal_changes_nothing() {
    let place = Place::new();
    let running = place.serve();
    running.signal(Signal::SIGTERM);
    running.signal(Signal::SIGTERM);
    assert_eq!(running.end().code, Some(0));
    place.assert_clean();
}

#[test]
fn other_signals_do_not_end_it() {
    let place = Place::new();
    let running = place.serve();
    running.signal(Signal::SIGPIPE);
    running.signal(Signal::SIGXFSZ);
    running.signal(Signal::SIGSTOP);
    running.signal(Signal::SIGCONT);

    let connection = Connection::connect(&place.socket()).unwrap();
    assert!(connection.get_features().is_ok());
    drop(connection);

    assert_eq!(running.end().code, Some(0));
}

#[test]
fn h11_a_daemon_that_was_stopped_for_a_while_goes_on() {
    let place = Place::new();
    let mut vm = vm(&place).request_queues(2).start();
    for _ in 0..20 {
        vm.daemon.signal(Signal::SIGSTOP).unwrap();
        let body = [0; 16];
        let args = [&body[..]];
        let request = Request::new(opcode::GETATTR, ROOT_ID, &args).reply_args(104);
        let client = vm.client();
        client.submit(&request).unwrap();
        client.kick();
        vm.daemon.signal(Signal::SIGCONT).unwrap();
        let done = vm.client().wait_complete(SOON).expect("an answer");
        assert_eq!(done.error, 0);
        vm.client().recycle(done);
    }
    assert!(vm.device.connection.get_features().is_ok());
    vm.daemon.signal(Signal::SIGTERM).unwrap();
    assert_orderly_end(&mut vm);
}

#[test]
fn a_front_end_that_goes_ends_it_in_peace() {
    let place = Place::new();
    let running = place.serve();
    drop(UnixStream::connect(place.socket()).unwrap());
    assert_eq!(running.end().code, Some(0), "without a word");
    place.assert_clean();

    let mut vm = vm(&place).start();
    vm.client().lookup(ROOT_ID, "nothing").unwrap_err();
    vm.device
        .connection
        .stream()
        .shutdown(std::net::Shutdown::Both)
        .unwrap();
    assert_orderly_end(&mut vm);
}

#[test]
fn a_front_end_that_dies_in_the_middle_of_a_header_ends_it_in_peace() {
    let place = Place::new();
    let running = place.serve();
    let connection = Connection::connect(&place.socket()).unwrap();
    connection.send(&[1, 0, 0, 0, 1], &[]).unwrap();
    drop(connection);
    assert_eq!(running.end().code, Some(0));
    place.assert_clean();
}

#[test]
fn a_protocol_error_is_said_once_and_clearly() {
    let place = Place::new();
    let running = place.serve();
    let connection = Connection::connect(&place.socket()).unwrap();
    let bad = message::encode(request::SET_FEATURES, 0, &u64::MAX.to_le_bytes());
    connection.send(&bad, &[]).unwrap();

    running
        .end()
        .assert_failed(&["vhost-user protocol", "SET_FEATURES"]);
    place.assert_clean();
}

#[test]
fn a_front_end_that_shares_no_memory_is_told_how_to() {
    let place = Place::new();
    let running = place.serve();
    let connection = Connection::connect(&place.socket()).unwrap();
    let features = connection.get_features().unwrap();
    connection.set_features(features).unwrap();
    drop(connection);

    let ended = running.end();

    ended.assert_failed(&["guest memory"]);
    for words in [
        "memory-backend-memfd",
        "share=on",
        "<memoryBacking>",
        "--memory",
        "shared=on",
    ] {
        assert!(ended.stderr.contains(words), "{words}: {}", ended.stderr);
    }
    place.assert_clean();
}

#[test]
fn memory_that_cannot_be_mapped_is_told_how_to_be_shared() {
    let place = Place::new();
    let running = place.serve();
    let connection = Connection::connect(&place.socket()).unwrap();
    let table = message::memory_table(&[message::MemoryRegion {
        guest_addr: 0,
        size: 1 << 20,
        user_addr: 1 << 40,
        mmap_offset: 0,
    }]);
    // QEMU without shared memory has no descriptors to send.
    let bytes = message::encode(request::SET_MEM_TABLE, 0, &table);
    connection.send(&bytes, &[]).unwrap();

    let ended = running.end();

    ended.assert_failed(&["SET_MEM_TABLE"]);
    assert!(
        ended.stderr.contains("memory-backend-memfd"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_log_that_nobody_reads_any_more_changes_no_exit_status() {
    let (connection_errs, orderly) = (1, 0);
    for expected in [connection_errs, orderly] {
        let place = Place::new();
        let (reader, writer) = std::io::pipe().unwrap();
        let mut child = place.command().stderr(writer).spawn().unwrap();
        let mut log = BufReader::new(reader).lines();
        assert!(log.any(|line| line.unwrap().contains(READY)));
        drop(log);

        let connection = Connection::connect(&place.socket()).unwrap();
        if expected == connection_errs {
            let bad = message::encode(request::SET_FEATURES, 0, &u64::MAX.to_le_bytes());
            connection.send(&bad, &[]).unwrap();
        }
        drop(connection);

        assert_eq!(child.wait().unwrap().code(), Some(expected));
        place.assert_clean();
    }
}

/// Lowers the daemon's limit so far that it gets no descriptor any more.
fn take_descriptors_away(pid: u32) {
    let taken = |number: &u32| Path::new(&format!("/proc/{pid}/fd/{number}")).exists();
    let free = (0..).find(|number| !taken(number)).unwrap();
    let status = Command::new("prlimit")
        .args(["--pid", &pid.to_string(), &format!("--nofile={free}:")])
        .status()
        .expect("prlimit is part of util-linux");
    assert!(status.success());
}

#[test]
fn f4_a_front_end_too_many_costs_nothing_when_descriptors_are_used_up() {
    let place = Place::new();
    let running = place.serve();
    let connection = Connection::connect(&place.socket()).unwrap();
    assert!(connection.get_features().is_ok());
    // The one that serves, if a supervisor has it do so.
    let process = *Process(running.pid()).tree().last().unwrap();
    take_descriptors_away(process.0);

    let _others: Vec<_> = (0..3)
        .map(|_| UnixStream::connect(place.socket()).unwrap())
        .collect();

    let before = process.cpu_time().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let busy = process.cpu_time().unwrap() - before;
    assert!(busy < Duration::from_millis(15), "busy for {busy:?}");
    assert!(connection.get_features().is_ok());
    running.signal(Signal::SIGTERM);
    let ended = running.end();
    assert_eq!(ended.code, Some(0));
    assert!(
        ended.stderr.contains("turned away"),
        "they were used up: {}",
        ended.stderr
    );
    place.assert_clean();
}
