//! The seccomp tables against what the daemon really calls.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use frontend::{Caller, Daemon, Vm};
use virtiofsd::sandbox::seccomp::{DAEMON, Row, SUPERVISOR};

use crate::environment::{self, Environment};
use crate::workload;

/// The names of the calls made under a filter, as strace(1) saw them.
#[derive(Debug, Default)]
struct Calls {
    supervisor: BTreeSet<String>,
    daemon: BTreeSet<String>,
}

/// What ends a session.
#[derive(Clone, Copy, Debug)]
enum End {
    Disconnect,
    Signal,
}

const ARGS: &[&str] = &["--seccomp=log", "--thread-pool-size=2"];

impl Calls {
    /// Serves a whole session in `environment` and adds what is called meanwhile.
    fn add(&mut self, environment: &Environment, end: End) {
        let trace = tempfile::tempdir().expect("a directory");
        let strace = format!("strace -ff -qq -o {}/trace", trace.path().display());
        let place = environment.clone().outside(&strace).prepare();
        let mut vm = place.vm().args(ARGS).start();
        let caller = Caller {
            uid: 1000,
            gid: 1000,
            pid: 1,
        };
        workload::every_operation(vm.client(), caller);
        let channel = vm.device.connection.open_backend_channel();
        vm.device.connection.get_features().expect("it took it");
        let (supervisor, threads) = processes(&vm.daemon);
        let Vm {
            clients,
            device,
            mut daemon,
            ..
        } = vm;
        match end {
            End::Disconnect => drop((clients, device)),
            End::Signal => kill(Pid::from_raw(supervisor as i32), Signal::SIGTERM).unwrap(),
        }
        drop(channel);
        let status = daemon.wait(Duration::from_secs(5));
        assert!(status.is_some_and(|status| status.success()), "{status:?}");
        let calls = |id| filtered_calls(&trace.path().join(format!("trace.{id}")));
        self.supervisor.extend(calls(supervisor));
        self.daemon.extend(threads.into_iter().flat_map(calls));
    }
}

/// The supervisor and the threads of its child.
fn processes(daemon: &Daemon) -> (u32, Vec<u32>) {
    let [.., supervisor, child] = daemon.process().tree()[..] else {
        panic!("strace, the supervisor and its child");
    };
    let tasks = fs::read_dir(format!("/proc/{}/task", child.0)).expect("it runs");
    let names = tasks.flatten().map(|task| task.file_name());
    let ids = names.filter_map(|name| name.to_str()?.parse().ok());
    (supervisor.0, ids.collect())
}

/// The calls behind the last seccomp(2) of a trace; all, when there is none: a thread's.
fn filtered_calls(trace: &Path) -> Vec<String> {
    let text = fs::read_to_string(trace).expect("a trace");
    let lines: Vec<&str> = text.lines().collect();
    let filter = lines.iter().rposition(|line| line.starts_with("seccomp("));
    lines[filter.map_or(0, |line| line + 1)..]
        .iter()
        .filter_map(|line| line.split_once('('))
        .map(|(name, _)| name.to_owned())
        .collect()
}

fn compare(what: &str, table: &[Row], called: &BTreeSet<String>) {
    let names = |rows: &mut dyn Iterator<Item = &Row>| -> BTreeSet<String> {
        rows.map(|row| row.name.to_owned()).collect()
    };
    let allowed = names(&mut table.iter());
    let insisted_on = names(&mut table.iter().filter(|row| !row.rare));
    let missing: Vec<_> = called.difference(&allowed).collect();
    let redundant: Vec<_> = insisted_on.difference(called).collect();
    assert!(missing.is_empty(), "{what}: missing {missing:?}");
    assert!(redundant.is_empty(), "{what}: redundant {redundant:?}");
}

#[test]
fn every_row_is_used_and_none_is_missing() {
    let mut calls = Calls::default();
    for environment in environment::all() {
        calls.add(&environment, End::Disconnect);
    }
    calls.add(&Environment::root("A root", &[]), End::Signal);

    compare("daemon", DAEMON, &calls.daemon);
    compare("supervisor", SUPERVISOR, &calls.supervisor);
}
