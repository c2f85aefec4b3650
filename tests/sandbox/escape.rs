//! D: a guest that tries to leave the share, in every environment.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use frontend::{Client, ROOT_ID, Vm};

use crate::environment::{self, Environment, Place};

/// Runs `attack` in every environment, and checks that nothing outside was touched and the same
/// process still serves.
fn in_every_environment(attack: impl Fn(&mut Vm, &Place)) {
    in_each_of(environment::all(), attack);
}

/// As `in_every_environment`, in these.
fn in_each_of(environments: Vec<Environment>, attack: impl Fn(&mut Vm, &Place)) {
    for environment in environments {
        let place = environment.prepare();
        let before = place.sentinel();
        let mut vm = place.vm().request_queues(2).start();
        let worker = vm.daemon.worker();
        eprintln!("{}", environment.name);

        attack(&mut vm, &place);

        assert_eq!(place.sentinel(), before, "{}", environment.name);
        assert_eq!(vm.daemon.worker(), worker, "{}", environment.name);
        vm.client().getattr(ROOT_ID).expect("it still serves");
    }
}

/// What an operation on a name gave.
type Outcome = Result<(), i32>;
/// An operation on a name in the root.
type Operation = (&'static str, fn(&mut Client, &str) -> Outcome);

/// Every operation that takes a name.
const BY_NAME: &[Operation] = &[
    ("lookup", |c, name| c.lookup(ROOT_ID, name).map(drop)),
    ("mkdir", |c, name| c.mkdir(ROOT_ID, name, 0o755).map(drop)),
    ("mknod", |c, name| {
        c.mknod(ROOT_ID, name, libc::S_IFREG | 0o644, 0).map(drop)
    }),
    ("symlink", |c, name| c.symlink(ROOT_ID, name, "x").map(drop)),
    ("create", |c, name| {
        c.create(ROOT_ID, name, libc::O_RDWR, 0o644).map(drop)
    }),
    ("unlink", |c, name| c.unlink(ROOT_ID, name)),
    ("rmdir", |c, name| c.rmdir(ROOT_ID, name)),
    ("rename from", |c, name| {
        c.rename(ROOT_ID, name, ROOT_ID, "x")
    }),
    ("rename to", |c, name| {
        c.rename(ROOT_ID, "file", ROOT_ID, name)
    }),
    ("exchange", |c, name| {
        c.rename2(ROOT_ID, "file", ROOT_ID, name, libc::RENAME_EXCHANGE)
    }),
    ("link", |c, name| {
        let file = c.lookup(ROOT_ID, "file")?.nodeid;
        c.link(file, ROOT_ID, name).map(drop)
    }),
];

#[test]
fn d1_d2_d3_d4_a_name_is_one_component() {
    in_every_environment(try_names);
}

fn try_names(vm: &mut Vm, place: &Place) {
    let names = [
        "..",
        ".",
        "../secret",
        "../../secret",
        "a/b",
        "/etc/passwd",
        "./x",
        "x/",
        "//",
        "/",
        "dir/..",
    ];
    fs::write(place.share().join("file"), "").unwrap();
    fs::create_dir(place.share().join("dir")).unwrap();
    for (operation, run) in BY_NAME {
        for name in names {
            let outcome = run(vm.client(), name);
            assert_eq!(outcome, Err(libc::EINVAL), "{operation} {name}");
        }
    }
    assert_eq!(list(&place.share()), ["dir", "file"]);
}

fn list(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap().flatten();
    let mut names: Vec<_> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Without openat2(2) and what else newer kernels have, the daemon does with what there is.
#[test]
fn d5_g18_an_old_kernel_is_no_way_out_either() {
    for attack in [try_names, try_symlinks, try_special_files] {
        in_each_of(environment::old_kernels(), attack);
    }
}

#[test]
fn d10_d11_symlinks_are_never_followed() {
    in_every_environment(try_symlinks);
}

fn try_symlinks(vm: &mut Vm, place: &Place) {
    let targets = [
        "/etc/passwd",
        "../secret",
        "..",
        "/proc/self/root",
        "/proc/1/root",
        "/proc/self/fd/3",
        "loop",
        "../new",
    ];
    let client = vm.client();
    for target in targets {
        let _ = fs::remove_file(place.share().join("loop"));
        symlink(target, place.share().join("loop")).unwrap();

        let link = client.lookup(ROOT_ID, "loop").expect("the link itself");
        let node = link.nodeid;
        assert_eq!(link.attr.mode & libc::S_IFMT, libc::S_IFLNK, "{target}");
        assert_eq!(client.readlink(node).unwrap(), target.as_bytes());
        assert_eq!(client.open(node, libc::O_RDONLY).unwrap_err(), libc::ELOOP);
        assert!(client.opendir(node).is_err(), "{target}");
        assert_eq!(client.lookup(node, "x").unwrap_err(), libc::ENOTDIR);
        assert_eq!(client.mkdir(node, "x", 0o755).unwrap_err(), libc::ENOTDIR);
        assert!(client.truncate(node, 0).is_err(), "{target}");
        assert!(client.chmod(node, 0o777).is_err(), "{target}");
        for flags in [libc::O_RDWR, libc::O_RDWR | libc::O_EXCL] {
            let made = client.create(ROOT_ID, "loop", flags, 0o644);
            let errno = made.expect_err(target);
            assert!(
                [libc::EEXIST, libc::ELOOP].contains(&errno),
                "{target}: {errno}"
            );
        }
    }
}

#[test]
fn d6_d7_d8_what_is_no_file_is_never_opened() {
    in_every_environment(try_special_files);
}

fn try_special_files(vm: &mut Vm, place: &Place) {
    let client = vm.client();
    let kinds = [
        (libc::S_IFIFO, 0),
        (libc::S_IFSOCK, 0),
        (libc::S_IFCHR, 0x0101),
        (libc::S_IFBLK, 0x0700),
    ];
    for (number, (kind, device)) in kinds.into_iter().enumerate() {
        let name = format!("special{number}");
        // A user namespace has no right to make devices: nothing to open then.
        let Ok(made) = client.mknod(ROOT_ID, &name, kind | 0o666, device) else {
            assert!(kind != libc::S_IFIFO && kind != libc::S_IFSOCK);
            continue;
        };
        let begin = Instant::now();
        for flags in [
            libc::O_RDONLY,
            libc::O_WRONLY,
            libc::O_RDWR | libc::O_NONBLOCK,
        ] {
            assert!(client.open(made.nodeid, flags).is_err(), "{kind:o}");
        }
        assert!(client.truncate(made.nodeid, 0).is_err(), "{kind:o}");
        assert!(client.create(ROOT_ID, &name, libc::O_RDWR, 0o644).is_err());
        assert!(begin.elapsed() < Duration::from_secs(1), "it waited");
        client.chmod(made.nodeid, 0o600).expect("chmod");
        let path = place.share().join(&name);
        let found = path.symlink_metadata().unwrap();
        assert!(!found.file_type().is_file(), "{name}");
        client.unlink(ROOT_ID, &name).expect("unlink");
    }
}

#[test]
fn d9_a_file_that_turns_into_something_else_is_not_opened() {
    in_every_environment(|vm, place| {
        let path = place.share().join("shifty");
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| shift(&path, &stop));
            for _ in 0..300 {
                let Ok(entry) = vm.client().lookup(ROOT_ID, "shifty") else {
                    continue;
                };
                let regular = entry.attr.mode & libc::S_IFMT == libc::S_IFREG;
                // The node is what was looked up, whatever has the name by now.
                if let Ok(open) = vm.client().open(entry.nodeid, libc::O_RDONLY) {
                    assert!(regular, "mode {:o}", entry.attr.mode);
                    vm.client().release(entry.nodeid, open.fh).unwrap();
                }
                vm.client().forget(entry.nodeid, 1);
            }
            stop.store(true, Ordering::Relaxed);
        });
    });
}

fn shift(path: &Path, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        fs::write(path, "data").unwrap();
        fs::remove_file(path).unwrap();
        symlink("../secret", path).unwrap();
        fs::remove_file(path).unwrap();
        nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(path.symlink_metadata().unwrap().file_type().is_fifo());
        fs::remove_file(path).unwrap();
    }
}

/// Swaps the directory `d` with the symlink `l`, which leads outside.
fn swap(client: &mut Client) {
    let swapped = client.rename2(ROOT_ID, "d", ROOT_ID, "l", libc::RENAME_EXCHANGE);
    swapped.expect("swap");
}

/// Changes the directory that `node` was looked up as; the name means something else half the time.
fn change(client: &mut Client, node: u64) {
    let (file, open) = client
        .create(node, "secret", libc::O_RDWR, 0o644)
        .expect("create");
    client
        .write(node_of(&file), open.fh, 0, b"changed")
        .expect("write");
    client.release(node_of(&file), open.fh).expect("release");
    client.mkdir(node, "sub", 0o755).expect("mkdir");
    client.unlink(node, "secret").expect("unlink");
    client.rmdir(node, "sub").expect("rmdir");
    client.forget(node_of(&file), 1);
}

fn node_of(entry: &frontend::fuse::EntryOut) -> u64 {
    entry.nodeid
}

#[test]
fn d12_a_guest_that_swaps_a_directory_for_a_symlink_gains_nothing() {
    in_every_environment(|vm, place| {
        fs::create_dir(place.share().join("d")).unwrap();
        owned_as_share(&place.share().join("d"), place);
        symlink("..", place.share().join("l")).unwrap();
        let node = vm.client().lookup(ROOT_ID, "d").unwrap().nodeid;
        let [first, second] = &mut vm.clients[..] else {
            panic!("two queues");
        };
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    swap(second);
                }
            });
            (0..200).for_each(|_| change(first, node));
            done.store(true, Ordering::Relaxed);
        });
    });
}

#[test]
fn d13_a_host_that_swaps_a_directory_for_a_symlink_changes_nothing() {
    in_every_environment(|vm, place| {
        let (d, l) = (place.share().join("d"), place.share().join("l"));
        fs::create_dir(&d).unwrap();
        owned_as_share(&d, place);
        symlink("..", &l).unwrap();
        let node = vm.client().lookup(ROOT_ID, "d").unwrap().nodeid;
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let flags = nix::fcntl::RenameFlags::RENAME_EXCHANGE;
                let cwd = nix::fcntl::AT_FDCWD;
                while !done.load(Ordering::Relaxed) {
                    nix::fcntl::renameat2(cwd, &d, cwd, &l, flags).unwrap();
                }
            });
            (0..200).for_each(|_| change(vm.client(), node));
            done.store(true, Ordering::Relaxed);
        });
    });
}

fn owned_as_share(path: &Path, place: &Place) {
    let share = place.share().metadata().unwrap();
    std::os::unix::fs::chown(path, Some(share.uid()), Some(share.gid())).unwrap();
}

#[test]
fn d14_a_directory_that_the_host_moves_out_is_no_way_out() {
    in_every_environment(|vm, place| {
        let inside = place.share().join("d");
        fs::create_dir(&inside).unwrap();
        owned_as_share(&inside, place);
        let client = vm.client();
        let node = client.lookup(ROOT_ID, "d").unwrap().nodeid;
        let outside = place.directory.path().join("moved");
        fs::rename(&inside, &outside).unwrap();

        for name in ["..", "../outside", "../outside/secret", "."] {
            assert_eq!(client.lookup(node, name).unwrap_err(), libc::EINVAL);
            let made = client.create(node, name, libc::O_RDWR, 0o644);
            assert_eq!(made.unwrap_err(), libc::EINVAL);
        }
        assert!(client.lookup(node, "outside").is_err());
    });
}

#[test]
fn d23_names_that_look_like_proc_are_ordinary() {
    in_every_environment(|vm, place| {
        let client = vm.client();
        for name in ["self", "fd", "0", "7", "root", "mem"] {
            let (entry, open) = client.create(ROOT_ID, name, libc::O_RDWR, 0o644).unwrap();
            client
                .write(entry.nodeid, open.fh, 0, name.as_bytes())
                .unwrap();
            client.release(entry.nodeid, open.fh).unwrap();
            assert_eq!(fs::read_to_string(place.share().join(name)).unwrap(), name);
        }
    });
}

#[test]
fn d24_what_cannot_be_shared_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    for (share, cause) in [
        (file, "Not a directory"),
        (directory.path().join("no"), "No such"),
    ] {
        let place = Environment::root("share", &[]).prepare();

        let error = place
            .daemon_sharing(&share)
            .start()
            .unwrap_err()
            .to_string();

        assert!(error.contains(cause), "{error}");
        assert!(
            error.contains("--shared-dir must name a directory"),
            "{error}"
        );
    }
}
