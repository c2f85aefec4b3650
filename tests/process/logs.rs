//! What the log says, and how much of it.

use std::time::{Duration, Instant};

use frontend::{ROOT_ID, Vm};
use nix::sys::signal::Signal;

use crate::run::{Place, READY, Running};

/// What a start and an end by SIGTERM log.
fn log_of(args: &[&str], rust_log: Option<&str>) -> String {
    let place = Place::new();
    let mut command = place.command();
    command.args(args).env_remove("RUST_LOG");
    if let Some(level) = rust_log {
        command.env("RUST_LOG", level);
    }
    let running = Running::start(&mut command);
    // With little log there is no line to wait for, but the socket comes either way.
    while !place.socket().exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    running.signal(Signal::SIGTERM);
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.stderr
}

#[test]
fn the_default_level_is_info() {
    let log = log_of(&[], None);
    assert!(log.contains(READY) && !log.contains("DEBUG"), "{log}");
}

#[test]
fn levels_are_chosen_by_option() {
    assert_eq!(log_of(&["--log-level=off"], None), "");
    assert_eq!(log_of(&["--log-level=error"], None), "");
    let warn = log_of(&["--log-level", "warn"], None);
    assert!(!warn.contains("INFO"), "{warn}");
    for args in [&["-d"][..], &["--log-level=debug"], &["-o", "debug"]] {
        let log = log_of(args, None);
        assert!(
            log.contains("DEBUG") && log.contains(READY),
            "{args:?}: {log}"
        );
    }
}

#[test]
fn rust_log_goes_before_the_options() {
    for level in ["error", "ERROR"] {
        assert_eq!(log_of(&["--log-level=debug"], Some(level)), "");
    }
    let log = log_of(&["--log-level=error"], Some("debug"));
    assert!(log.contains("DEBUG"), "{log}");
}

#[test]
fn debug_logs_every_request() {
    let place = Place::new();
    let mut vm = Vm::builder(env!("CARGO_BIN_EXE_virtiofsd"))
        .share(place.path("share"))
        .args(["--sandbox=none", "-d"])
        .start();
    vm.client().lookup(ROOT_ID, "nothing").unwrap_err();
    vm.daemon.stop();
    let log = vm.daemon.last_stderr();
    assert!(
        log.lines()
            .any(|line| line.contains("LOOKUP") && line.contains("ENOENT")),
        "{log}"
    );
}

#[test]
fn f16_garbage_neither_ends_the_daemon_nor_floods_the_log() {
    let place = Place::new();
    let mut vm = Vm::builder(env!("CARGO_BIN_EXE_virtiofsd"))
        .share(place.path("share"))
        .arg("--sandbox=none")
        .start();
    let begin = Instant::now();
    // Long enough for a second batch of lines to be allowed.
    let mut numbers = 0..;
    while begin.elapsed() < Duration::from_millis(1200) {
        let n: u32 = numbers.next().expect("there is no last number");
        let garbage: Vec<u8> = (0..n % 100)
            .map(|byte| byte.wrapping_mul(n) as u8)
            .collect();
        if !garbage.is_empty() {
            vm.client().raw_bytes(&garbage, (n % 50) as usize);
        }
    }
    let _ = vm.client().init();
    assert!(vm.client().getattr(ROOT_ID).is_ok());
    let seconds = begin.elapsed().as_secs() as usize + 1;

    let status = vm.daemon.stop();

    assert_eq!(status.code(), Some(0));
    let log = vm.daemon.last_stderr();
    assert!(log.contains("suppressed"), "{log}");
    assert!(
        log.lines().count() < 10 * (seconds + 1),
        "{} lines in {seconds} s",
        log.lines().count()
    );
}
