//! Starts that cannot be.

use std::fs::{self, File, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::run::{Place, Running, virtiofsd};

#[test]
fn d24_a_share_must_be_a_directory() {
    let place = Place::new();
    fs::write(place.path("file"), "").unwrap();
    symlink("nowhere", place.path("dangling")).unwrap();
    for (name, cause) in [
        ("missing", "No such file"),
        ("file", "Not a directory"),
        ("file/below", "Not a directory"),
        ("dangling", "No such file"),
    ] {
        let mut command = virtiofsd(&place.path(name));
        command.arg("--socket-path").arg(place.socket());

        let ended = Running::start(&mut command).end();

        ended.assert_failed(&[name]);
        assert!(
            ended.stderr.contains(cause) || ended.stderr.contains("ENO"),
            "{}",
            ended.stderr
        );
        assert!(ended.stderr.contains("--shared-dir"), "{}", ended.stderr);
        assert!(
            !place.socket().exists() && !place.pid_file().exists(),
            "nothing is left"
        );
    }
}

#[test]
fn d24_a_symlink_to_a_directory_may_be_shared() {
    let place = Place::new();
    symlink("share", place.path("link")).unwrap();
    let mut command = virtiofsd(&place.path("link"));
    let running = Running::ready(command.arg("--socket-path").arg(place.socket()));
    running.signal(Signal::SIGTERM);
    assert_eq!(running.end().code, Some(0));
}

#[test]
fn d24_a_share_that_cannot_be_entered_is_refused() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can become the user who may not enter");
        return;
    }
    let place = Place::new();
    fs::set_permissions(place.path(""), Permissions::from_mode(0o777)).unwrap();
    let binary = File::open(env!("CARGO_BIN_EXE_virtiofsd")).unwrap();
    for mode in [0o000, 0o444, 0o111] {
        fs::set_permissions(place.path("share"), Permissions::from_mode(mode)).unwrap();
        // Through the descriptor, because others may not be let into the build directory.
        let mut command = Command::new(format!("/proc/self/fd/{}", binary.as_raw_fd()));
        command
            .args(["--sandbox=none", "--shared-dir"])
            .arg(place.path("share"));
        command.arg("--socket-path").arg(place.socket());

        let ended = Running::start(command.uid(1234).gid(1234)).end();

        ended.assert_failed(&["share"]);
        assert!(
            ended.stderr.contains("--shared-dir"),
            "{mode:o}: {}",
            ended.stderr
        );
        assert!(!place.socket().exists() && !place.pid_file().exists());
    }
}

#[test]
fn a_socket_needs_a_directory() {
    let place = Place::new();
    fs::write(place.path("file"), "").unwrap();
    for path in ["missing/socket", "file/socket"] {
        let mut command = virtiofsd(&place.path("share"));
        let ended = Running::start(command.arg("--socket-path").arg(place.path(path))).end();
        ended.assert_failed(&[path]);
    }
}

#[test]
fn a_limit_of_files_that_nothing_can_be_done_with_is_refused() {
    let place = Place::new();
    for limit in ["1", "5", "63"] {
        let option = format!("--rlimit-nofile={limit}");
        let ended = Running::start(place.command().arg(option)).end();
        ended.assert_failed(&["--rlimit-nofile", "too few"]);
    }
    place.assert_clean();
}

#[test]
fn an_unknown_socket_group_is_named() {
    let place = Place::new();
    let ended = Running::start(place.command().arg("--socket-group=no-such-group")).end();
    ended.assert_failed(&["--socket-group=no-such-group"]);
    assert!(!place.socket().exists() && !place.pid_file().exists());
}

#[test]
fn a_missing_syslog_is_named() {
    if Path::new("/dev/log").exists() {
        println!("skipped: this machine has a syslog service");
        return;
    }
    let place = Place::new();
    let ended = Running::start(place.command().arg("--syslog")).end();
    ended.assert_failed(&["--syslog"]);
    assert!(!place.socket().exists() && !place.pid_file().exists());
}
