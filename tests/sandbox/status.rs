//! G1: what the kernel says of every thread.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use frontend::Caller;
use frontend::process::Process;

use crate::environment::{self, Environment};
use crate::workload;

/// The lines of interest of `/proc/PID/task/TID/status`.
const KEYS: &[&str] = &[
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
    "Seccomp",
    "Groups",
    "Umask",
];

fn threads(process: Process) -> Vec<BTreeMap<String, String>> {
    let tasks = fs::read_dir(format!("/proc/{}/task", process.0)).expect("it runs");
    tasks
        .map(|task| parse(&task.expect("a thread").path().join("status")))
        .collect()
}

/// The main thread's.
fn read_status(process: Process) -> BTreeMap<String, String> {
    parse(Path::new(&format!("/proc/{}/status", process.0)))
}

fn parse(status: &Path) -> BTreeMap<String, String> {
    let status = fs::read_to_string(status).expect("it runs");
    let pairs = status.lines().filter_map(|line| line.split_once(':'));
    pairs
        .filter(|(key, _)| KEYS.contains(key))
        .map(|(key, value)| (key.to_owned(), value.trim().to_owned()))
        .collect()
}

/// What is promised of every thread that has `capabilities` (their hexadecimal set) and no more.
fn promised(capabilities: &str, bounding: &str, umask: &str) -> BTreeMap<String, String> {
    let set = |set: &str| format!("{set:0>16}");
    let none = set("0");
    [
        ("CapInh", none.clone()),
        ("CapPrm", set(capabilities)),
        ("CapEff", set(capabilities)),
        ("CapBnd", set(bounding)),
        ("CapAmb", none),
        ("NoNewPrivs", "1".to_owned()),
        ("Seccomp", "2".to_owned()),
        ("Groups", String::new()),
        ("Umask", umask.to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

/// CHOWN DAC_OVERRIDE FOWNER FSETID SETGID SETUID
const MANY_IDS: &str = "db";
/// The same and MKNOD.
const HOST: &str = "80000db";
/// DAC_OVERRIDE
const ONE_ID: &str = "2";
const NONE: &str = "0";

/// The capabilities of each environment's daemon, as docs/sandbox.md has them.
fn documented(name: &str) -> &'static str {
    match name {
        "B user" | "D unshare -r, pivot_root" => ONE_ID,
        "C user with maps" | "D unshare --map-auto, pivot_root" => MANY_IDS,
        "F user, none" => NONE,
        _ => HOST,
    }
}

#[test]
fn g1_every_thread_has_what_is_promised_and_no_more() {
    for environment in environment::all() {
        let place = environment.prepare();
        let mut vm = place.vm().arg("--thread-pool-size=2").start();
        workload::every_operation(vm.client(), Caller::ROOT);
        let name = &environment.name;
        // Only CAP_SETPCAP can empty the bounding set, and an ordinary user has it not.
        let bounding = match name.starts_with("F user") {
            true => read_status(Process(std::process::id()))["CapBnd"].clone(),
            false => NONE.to_owned(),
        };

        let child = threads(vm.daemon.worker());
        let supervisor = threads(vm.daemon.process());

        // The main thread, the connection, two queues, the pool.
        assert_eq!(child.len(), 6, "{name}");
        let expected = promised(documented(name), &bounding, "0000");
        child
            .iter()
            .for_each(|found| assert_eq!(*found, expected, "{name}"));
        assert_eq!(supervisor.len(), 1, "{name}");
        let expected = promised(NONE, &bounding, &supervisor[0]["Umask"]);
        assert_eq!(supervisor[0], expected, "{name}: supervisor");
    }
}

#[test]
fn readonly_and_modcaps_change_what_is_kept() {
    let table = [
        ("--readonly", "4"),
        ("--modcaps=-mknod:-setuid", "5b"),
        ("--modcaps=+net_raw", "80020db"),
    ];

    for (option, capabilities) in table {
        let place = Environment::root(option, &[option]).prepare();
        let vm = place.vm().start();

        let expected = promised(capabilities, NONE, "0000");
        let found = read_status(vm.daemon.worker());
        assert_eq!(found, expected, "{option}");
    }
}
