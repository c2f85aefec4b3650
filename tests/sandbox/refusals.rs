//! What cannot be is refused, with its cause and its cure: maps, groups, switches, missing rights.

use std::time::Duration;

use frontend::ROOT_ID;

use crate::environment::{DOCKER, Environment, user};

/// Starts the daemon, which must refuse to; returns what it said. Its socket may listen before it
/// knows that it cannot go on; nothing of it is left.
fn refusal(environment: &Environment) -> String {
    let place = environment.prepare();
    let (said, code) = match place.daemon().start() {
        Err(error) => (error.to_string(), Some(1)),
        Ok(mut daemon) => {
            let status = daemon
                .wait(Duration::from_secs(5))
                .expect(&environment.name);
            assert!(!daemon.socket_path().exists(), "{}", environment.name);
            // The last words may still be on their way.
            daemon.wait_for_stderr("error: ", Duration::from_secs(1));
            (daemon.stderr(), status.code())
        }
    };
    assert_eq!(code, Some(1), "{}: {said}", environment.name);
    said
}

fn assert_says(environment: &Environment, words: &[&str]) {
    let said = refusal(environment);
    for word in words {
        assert!(
            said.contains(word),
            "{}: no `{word}` in: {said}",
            environment.name
        );
    }
}

#[test]
fn g3_ids_that_are_not_delegated_name_the_line_to_add() {
    let line = format!("`{}:4000000:10`", user().name);
    let delegated = user().subids.0;
    for (option, other, file) in [
        ("--uid-map", "--gid-map", "/etc/subuid"),
        ("--gid-map", "--uid-map", "/etc/subgid"),
    ] {
        let map = format!("{option}=:0:4000000:10:");
        let other = format!("{other}=:0:{delegated}:10:");
        let environment = Environment::user("not delegated", &[&map, &other]);
        assert_says(&environment, &[file, &line]);
    }
}

#[test]
fn g3_maps_of_a_user_that_overlap_are_refused() {
    let first = user().subids.0;
    let maps = [
        format!("--uid-map=:0:{first}:10:"),
        format!("--uid-map=:5:{}:10:", first + 20),
        format!("--gid-map=:0:{first}:10:"),
    ];
    let environment = Environment::user("overlap", &[&maps[0], &maps[1], &maps[2]]);

    assert_says(&environment, &["newuidmap", "ranges must not overlap"]);
}

#[test]
fn g3_a_privileged_daemon_maps_ids_itself() {
    let maps = ["--uid-map=:0:5000:10:", "--gid-map=:0:6000:10:"];
    let place = Environment::root("privileged", &maps).prepare();
    std::os::unix::fs::chown(place.share(), Some(5000), Some(6000)).unwrap();
    let mut vm = place.vm().start();

    let made = vm.client().mkdir(ROOT_ID, "d", 0o755).unwrap().attr;

    assert_eq!((made.uid, made.gid), (0, 0));
    let found = std::fs::metadata(place.share().join("d")).unwrap();
    use std::os::unix::fs::MetadataExt;
    assert_eq!((found.uid(), found.gid()), (5000, 6000));
    let overlap = [
        "--uid-map=:0:5000:10:",
        "--uid-map=:5:7000:10:",
        "--gid-map=:0:6000:10:",
    ];
    assert_says(
        &Environment::root("overlap", &overlap),
        &["--uid-map", "must not overlap"],
    );
}

#[test]
fn g3_more_ranges_than_the_kernel_takes_are_counted() {
    let maps: Vec<String> = (0..341)
        .map(|n| format!("--uid-map=:{}:{}:1:", n * 2, n * 2))
        .collect();
    let mut maps: Vec<&str> = maps.iter().map(String::as_str).collect();
    maps.push("--gid-map=:0:1:1:");

    let environment = Environment::user("341", &maps);

    assert_says(&environment, &["--uid-map: 341 ranges", "340"]);
}

#[test]
fn g3_newuidmap_must_be_able_to_do_its_work() {
    let maps = ["--uid-map", "--gid-map"].map(|map| format!("{map}=:0:{}:10:", user().subids.0));
    let maps = maps.each_ref().map(String::as_str);
    let no_new_privs = Environment::user("no_new_privs", &maps).within("setpriv --no-new-privs");
    assert_says(&no_new_privs, &["newuidmap", "NoNewPrivileges="]);

    // In its own mounts, another program takes the place of newuidmap(1).
    let instead = |name: &str, command: &str| Environment {
        before: format!("set -e; {command}"),
        ..Environment::user(name, &maps).outside("")
    };
    let own_mounts = "[ -n \"$OWN\" ] || OWN=1 exec unshare --mount \"$0\" \"$@\"";
    let unprivileged = instead(
        "not set-user-id",
        &format!(
            "{own_mounts}; d=$(mktemp -d); mount -t tmpfs none $d; chmod 755 $d; \
                  cp /usr/bin/newuidmap $d/n; chmod 755 $d/n; mount --bind $d/n /usr/bin/newuidmap"
        ),
    );
    assert_says(&unprivileged, &["newuidmap", "must be set-user-id root"]);
    let lying = instead(
        "does nothing",
        &format!(
            "{own_mounts}; mount --bind /bin/true /usr/bin/newuidmap; \
                  mount --bind /bin/true /usr/bin/newgidmap"
        ),
    );
    assert_says(&lying, &["/proc/self/uid_map", "not the one in force"]);
}

#[test]
fn g4_a_switch_that_forbids_user_namespaces_is_named() {
    // A user namespace has its own limit of namespaces, so this machine keeps its.
    let limited = "unshare --user --map-user=1000 --map-group=1000 --keep-caps sh -c \
        'echo 0 > /proc/sys/user/max_user_namespaces; \
         exec setpriv --ambient-caps=-all --inh-caps=-all \"$@\"' --";

    let environment = Environment::root("limited", &[]).within(limited);

    assert_says(
        &environment,
        &[
            "a user namespace",
            "user.max_user_namespaces",
            "--sandbox=none",
        ],
    );
}

#[test]
fn a_mode_that_needs_a_right_names_it_and_the_way_out() {
    let table = [
        (
            Environment::root("container", &[]).within(DOCKER),
            "CAP_SYS_ADMIN",
            "--sandbox=chroot",
        ),
        (
            Environment::root("container, pivot_root", &["--sandbox=pivot_root"]).within(DOCKER),
            "CAP_SYS_ADMIN",
            "--sandbox=chroot",
        ),
        (
            Environment::user("user, chroot", &["--sandbox=chroot"]),
            "CAP_SYS_CHROOT",
            "--sandbox=namespace",
        ),
        (
            Environment::user("user, pivot_root", &["--sandbox=pivot_root"]),
            "CAP_SYS_ADMIN",
            "--sandbox=namespace",
        ),
    ];

    for (environment, right, way_out) in table {
        assert_says(&environment, &[right, way_out]);
    }
}

#[test]
fn where_the_root_is_no_mount_point_the_way_out_is_chroot() {
    // What mount(2) says of one; to make a real one takes a whole system.
    let strace = "strace -f -qq -o /dev/null -e trace=mount -e inject=mount:error=EINVAL";
    for mode in ["namespace", "pivot_root"] {
        let sandbox = format!("--sandbox={mode}");
        let args = [&sandbox[..], "--seccomp=none"];
        let environment = Environment::root(mode, &args).outside(strace);
        assert_says(&environment, &["no mount point", "--sandbox=chroot"]);
    }
}

#[test]
fn the_groups_an_ordinary_user_keeps_are_listed() {
    let mut environment = Environment::user("groups", &[]);
    environment.prefix = environment.prefix.replace("--clear-groups", "--groups=100");
    let place = environment.prepare();
    let daemon = place.daemon().start().unwrap();

    let says = "supplementary groups are kept";
    assert!(daemon.wait_for_stderr(says, Duration::from_secs(5)));
    assert!(daemon.stderr().contains("setpriv --clear-groups"));
}

/// A user namespace with many ids in which setgroups(2) is denied, and a process in it that has
/// the supplementary group 100 ("users" on most systems).
fn groups_that_stay(args: &[&str]) -> Environment {
    let (user, dir) = (user(), "$(dirname \"$0\")");
    let maps = |own: u32| format!("0 {own} 1\\n1 {} {}\\n", user.subids.0, user.subids.1);
    let mut environment = Environment::user("groups that stay", &["--sandbox=pivot_root"]);
    environment
        .args
        .extend(args.iter().map(|arg| (*arg).to_owned()));
    environment.before = format!(
        "mkfifo -m 666 {dir}/ready {dir}/go; DIR={dir}; export DIR\n\
         ( read pid < $DIR/ready; echo deny > /proc/$pid/setgroups\n\
         printf '{}' > /proc/$pid/uid_map; printf '{}' > /proc/$pid/gid_map; echo > $DIR/go ) &",
        maps(user.uid),
        maps(user.gid)
    );
    environment.prefix = format!(
        "setpriv --reuid={} --regid={} --groups=100 unshare --user --mount \
         sh -c 'echo $$ > $DIR/ready; read go < $DIR/go; exec \"$@\"' --",
        user.uid, user.gid
    );
    environment
}

#[test]
fn g2_groups_that_cannot_be_dropped_need_consent() {
    let words = [
        "dropping supplementary groups",
        "--no-fail-setgroups",
        "setpriv --clear-groups",
    ];
    assert_says(&groups_that_stay(&[]), &words);
}

#[test]
fn e3_with_consent_they_make_no_set_group_id_file() {
    let place = groups_that_stay(&["--no-fail-setgroups"]).prepare();
    let directory = place.share().join("d");
    std::fs::create_dir(&directory).unwrap();
    std::os::unix::fs::chown(&directory, Some(user().uid), Some(100)).unwrap();
    let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o2777);
    std::fs::set_permissions(&directory, mode).unwrap();
    let mut vm = place.vm().start();
    assert!(vm.daemon.stderr().contains("supplementary groups are kept"));
    assert!(
        vm.daemon.stderr().contains("group"),
        "{}",
        vm.daemon.stderr()
    );
    let client = vm.client();
    client.caller = frontend::Caller {
        uid: 1000,
        gid: 1000,
        pid: 1,
    };
    let dir = client.lookup(ROOT_ID, "d").unwrap().nodeid;

    let (file, _) = client.create(dir, "file", libc::O_RDWR, 0o2755).unwrap();
    let node = client
        .mknod(dir, "node", libc::S_IFREG | 0o2755, 0)
        .unwrap();

    assert_eq!(file.attr.mode & 0o7777, 0o755);
    assert_eq!(node.attr.mode & 0o7777, 0o755);
}
