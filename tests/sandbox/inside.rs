//! G6: what there is to be seen and reached from within the sandbox.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use frontend::{Caller, Daemon, ROOT_ID};

use crate::environment::{self, DOCKER, Environment, run, user};

const PATIENCE: Duration = Duration::from_secs(5);

fn started(environment: &Environment) -> (crate::environment::Place, Daemon) {
    let place = environment.prepare();
    let daemon = place.daemon().start().unwrap();
    assert!(daemon.wait_for_stderr("Waiting for vhost-user", PATIENCE));
    (place, daemon)
}

fn proc(daemon: &Daemon, entry: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{}/{entry}", daemon.worker().0))
}

fn namespace(process: &str, kind: &str) -> PathBuf {
    fs::read_link(format!("/proc/{process}/ns/{kind}")).unwrap()
}

/// Environments whose daemon has a mount tree of its own.
fn with_own_mounts() -> Vec<Environment> {
    let all = environment::all().into_iter();
    all.filter(|environment| !environment.name.starts_with("F"))
        .filter(|environment| !environment.name.contains("container"))
        .collect()
}

#[test]
fn g6_the_root_is_the_share() {
    for environment in environment::all() {
        if environment.name.starts_with('F') {
            continue;
        }
        let (place, daemon) = started(&environment);
        fs::write(place.share().join("only this"), "").unwrap();

        let names: Vec<_> = fs::read_dir(proc(&daemon, "root/"))
            .unwrap()
            .flatten()
            .map(|entry| entry.file_name())
            .collect();

        assert_eq!(names, ["only this"], "{}", environment.name);
    }
}

#[test]
fn g6_there_is_one_mount_with_every_restriction() {
    for environment in with_own_mounts() {
        let (_place, daemon) = started(&environment);

        let mounts = fs::read_to_string(proc(&daemon, "mountinfo")).unwrap();

        let context = format!("{}: {mounts}", environment.name);
        let roots = mounts
            .lines()
            .filter(|line| line.split(' ').nth(4) == Some("/"));
        let options: Vec<_> = roots.map(|line| line.split(' ').nth(5).unwrap()).collect();
        for option in ["nosuid", "nodev", "noexec", "nosymfollow", "rw"] {
            assert!(
                options[0].split(',').any(|found| found == option),
                "{context}"
            );
        }
        // chroot leaves the others where they were, out of reach.
        if !environment.name.contains("chroot") {
            assert_eq!(mounts.lines().count(), 1, "{context}");
        }
    }
}

#[test]
fn g18_an_old_kernel_restricts_the_mount_as_well() {
    for mut environment in environment::old_kernels() {
        if environment.name.ends_with("none") {
            continue;
        }
        environment.args.push("--readonly".to_owned());
        let (_place, daemon) = started(&environment);

        let mounts = fs::read_to_string(proc(&daemon, "mountinfo")).unwrap();

        let context = format!("{}: {mounts}", environment.name);
        let root = mounts
            .lines()
            .find(|line| line.split(' ').nth(4) == Some("/"))
            .expect(&context);
        let options: Vec<_> = root.split(' ').nth(5).unwrap().split(',').collect();
        for option in ["ro", "nosuid", "nodev", "noexec", "nosymfollow"] {
            assert!(options.contains(&option), "{option}: {context}");
        }
    }
}

#[test]
fn g18_nor_does_the_way_to_descriptors_lead_to_proc_there() {
    for environment in environment::old_kernels() {
        if environment.name.ends_with("none") {
            continue;
        }
        let (_place, daemon) = started(&environment);

        let said = daemon.stderr();

        assert!(said.contains("mount_setattr"), "{said}");
        assert!(
            !said.contains("no Landlock"),
            "{}: {said}",
            environment.name
        );
    }
}

#[test]
fn a_missing_landlock_is_a_warning_where_nothing_else_stands() {
    let without = |args: &[&str]| {
        let call = "landlock_create_ruleset";
        let strace =
            format!("strace -f -qq -o /dev/null -e trace={call} -e inject={call}:error=ENOSYS");
        let args = [args, &["--seccomp=none"]].concat();
        Environment::root("no Landlock", &args).outside(&strace)
    };
    let table = [
        (without(&[]), false),
        (without(&["--sandbox=none"]), true),
        (without(&["--sandbox=chroot"]).within(DOCKER), true),
    ];
    for (environment, warns) in table {
        let (_place, daemon) = started(&environment);

        let said = daemon.stderr();

        assert_eq!(said.contains("no Landlock"), warns, "{said}");
    }
}

/// A mount namespace can be had, but no mount.
#[test]
fn chroot_does_where_mounting_is_denied() {
    for errno in ["EPERM", "EACCES", "EINVAL"] {
        let strace =
            format!("strace -f -qq -o /dev/null -e trace=mount -e inject=mount:error={errno}");
        let environment =
            Environment::root(errno, &["--sandbox=chroot", "--seccomp=none"]).outside(&strace);
        let (place, daemon) = started(&environment);

        let said = daemon.stderr();
        let root = fs::read_link(proc(&daemon, "root")).unwrap();

        assert!(said.contains("no mounts of our own"), "{said}");
        assert_eq!(root, place.share());
    }
}

#[test]
fn readonly_is_a_matter_of_the_mount_too() {
    let (_place, daemon) = started(&Environment::root("readonly", &["--readonly"]));

    let mounts = fs::read_to_string(proc(&daemon, "mountinfo")).unwrap();

    assert!(mounts.contains(" / ro,"), "{mounts}");
}

#[test]
fn g6_mode_namespace_shares_no_namespace_with_the_host() {
    for environment in [
        Environment::root("root", &[]),
        Environment::user("user", &[]),
    ] {
        let (_place, daemon) = started(&environment);
        let worker = daemon.worker().0.to_string();
        for kind in ["mnt", "pid", "net", "ipc", "uts"] {
            let (inside, outside) = (namespace(&worker, kind), namespace("self", kind));
            assert_ne!(inside, outside, "{}: {kind}", environment.name);
        }
        let net = fs::read_to_string(proc(&daemon, "net/dev")).unwrap();
        let interfaces: Vec<_> = net.lines().skip(2).collect();
        // Every network namespace has a loopback interface; this one is down.
        assert_eq!(interfaces.len(), 1, "{net}");
        let routes = fs::read_to_string(proc(&daemon, "net/route")).unwrap();
        assert!(routes.lines().count() <= 1, "{routes}");
        let status = fs::read_to_string(proc(&daemon, "status")).unwrap();
        let pids = status
            .lines()
            .find(|line| line.starts_with("NSpid:"))
            .unwrap();
        assert!(pids.ends_with("\t1"), "{pids}");
    }
}

#[test]
fn mode_c_writes_with_the_mapped_ids() {
    let environment = environment::all().into_iter().nth(2).unwrap();
    assert_eq!(environment.name, "C user with maps");
    let place = environment.prepare();
    let mut vm = place.vm().start();
    let client = vm.client();
    let first = user().subids.0;
    let table = [
        (0, user().uid),
        (1, first),
        (1000, first + 999),
        (65536, first + 65535),
    ];
    for (inside, outside) in table {
        client.caller = Caller {
            uid: inside,
            gid: inside,
            pid: 1,
        };
        let name = format!("by{inside}");

        let (entry, open) = client.create(ROOT_ID, &name, libc::O_RDWR, 0o644).unwrap();
        client.release(entry.nodeid, open.fh).unwrap();

        let found = fs::metadata(place.share().join(&name)).unwrap();
        let ids = (std::os::unix::fs::MetadataExt::uid(&found), entry.attr.uid);
        assert_eq!(ids, (outside, inside));
    }
}

#[test]
fn e7_an_id_that_is_not_mapped_fails_its_request_only() {
    let environment = environment::all().into_iter().nth(2).unwrap();
    let place = environment.prepare();
    let mut vm = place.vm().start();
    let client = vm.client();
    for (uid, gid) in [(70_000, 0), (0, 70_000), (70_000, 70_000), (u32::MAX, 0)] {
        client.caller = Caller { uid, gid, pid: 1 };
        let made = client.create(ROOT_ID, "nobody's", libc::O_RDWR, 0o644);
        assert_eq!(made.unwrap_err(), libc::EINVAL, "{uid}:{gid}");
        client.caller = Caller::ROOT;
        assert!(client.mkdir(ROOT_ID, "d", 0o755).is_ok());
        client.rmdir(ROOT_ID, "d").unwrap();
    }
    assert_eq!(fs::read_dir(place.share()).unwrap().count(), 0);
}

#[test]
fn mode_b_does_everything_as_its_one_user() {
    let place = Environment::user("B user", &[]).prepare();
    let mut vm = place.vm().start();
    let client = vm.client();
    for uid in [0, 1000, user().uid] {
        client.caller = Caller {
            uid,
            gid: uid,
            pid: 1,
        };
        let name = format!("by{uid}");

        let (entry, _) = client.create(ROOT_ID, &name, libc::O_RDWR, 0o644).unwrap();

        assert_eq!((entry.attr.uid, entry.attr.gid), (user().uid, user().gid));
        let chown = client.chown(entry.nodeid, 0, 0);
        assert_eq!(chown.unwrap_err(), libc::EINVAL);
    }
}

#[test]
fn g14_g15_what_the_host_mounts_later_appears_and_is_no_way_out() {
    for args in [&[][..], &["--sandbox=pivot_root"], &["--sandbox=chroot"]] {
        // The mounts of this machine may not propagate: the daemon's host is a namespace that does.
        let environment =
            Environment::root("late", args).within("unshare --mount --propagation shared");
        let place = environment.prepare();
        let late = place.share().join("late");
        fs::create_dir(&late).unwrap();
        let mut vm = place.vm().start();
        let host = vm.daemon.process().0.to_string();
        let on_host = |command: &str| {
            let (ok, said) = run("nsenter", &["-t", &host, "--mount", "sh", "-ec", command]);
            assert!(ok, "{command}: {said}");
        };
        let at = late.display();

        on_host(&format!(
            "mount -t tmpfs none {at}; mknod {at}/null c 1 3; ln -s /etc/passwd {at}/link; \
             echo late > {at}/file"
        ));

        let client = vm.client();
        let dir = client.lookup(ROOT_ID, "late").unwrap().nodeid;
        let file = client
            .lookup(dir, "file")
            .unwrap_or_else(|e| panic!("{args:?}: {e}"));
        let open = client.open(file.nodeid, libc::O_RDONLY).unwrap();
        assert_eq!(
            client.read(file.nodeid, open.fh, 0, 100).unwrap(),
            b"late\n"
        );
        client.release(file.nodeid, open.fh).unwrap();
        for name in ["null", "link"] {
            let node = client.lookup(dir, name).unwrap().nodeid;
            assert!(client.open(node, libc::O_RDONLY).is_err(), "{name}");
        }
        assert_eq!(client.lookup(dir, "..").unwrap_err(), libc::EINVAL);
    }
}

#[test]
fn e20_a_late_mount_is_read_only_too() {
    let environment =
        Environment::root("late", &["--readonly"]).within("unshare --mount --propagation shared");
    let place = environment.prepare();
    let late = place.share().join("late");
    fs::create_dir(&late).unwrap();
    let mut vm = place.vm().start();
    let host = vm.daemon.process().0.to_string();
    let mount = format!("mount -t tmpfs none {0}; echo x > {0}/file", late.display());
    assert!(run("nsenter", &["-t", &host, "--mount", "sh", "-ec", &mount]).0);

    let client = vm.client();
    let dir = client.lookup(ROOT_ID, "late").unwrap().nodeid;
    let file = client.lookup(dir, "file").unwrap().nodeid;

    assert_eq!(client.mkdir(dir, "d", 0o755).unwrap_err(), libc::EROFS);
    assert_eq!(client.open(file, libc::O_WRONLY).unwrap_err(), libc::EROFS);
    assert_eq!(client.unlink(dir, "file").unwrap_err(), libc::EROFS);
}

#[test]
fn g16_the_root_directory_can_be_shared() {
    for args in [&[][..], &["--sandbox=pivot_root"], &["--sandbox=chroot"]] {
        let place = Environment::root("root", args).prepare();
        let mut vm = place.vm_sharing(Path::new("/")).start();

        let etc = vm.client().lookup(ROOT_ID, "etc").unwrap().nodeid;
        let names = vm.client().list(etc).unwrap();

        assert!(
            names.iter().any(|entry| entry.name == b"passwd"),
            "{args:?}"
        );
    }
}

#[test]
fn g12_any_kind_of_proc_will_do() {
    let mounted = |what: &str| format!("unshare --mount sh -c '{what} /proc; exec \"$@\"' --");
    let covered = mounted("mount -t tmpfs none");
    let hidden = mounted("mount -t proc -o hidepid=invisible proc");
    let works = [
        Environment::root("covered", &[]).within(&covered),
        Environment::root("covered, pivot_root", &["--sandbox=pivot_root"]).within(&covered),
        Environment::root("hidden", &[]).within(&hidden),
        Environment::user("hidden, user", &[]).outside(&hidden),
    ];
    for environment in works {
        let mut environment = environment;
        // The script's own way to the binary leads through /proc.
        environment.by_path = true;
        let place = environment.prepare();
        let mut vm = place.vm().start();
        let made = vm.client().create(ROOT_ID, "file", libc::O_RDWR, 0o644);
        assert!(made.is_ok(), "{}", environment.name);
    }
}
