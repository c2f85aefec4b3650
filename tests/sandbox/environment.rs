//! Who starts the daemon, in which surroundings, with which options.
//!
//! The daemon is started through a small shell script, so that any of setpriv(1), unshare(1),
//! capsh(1) or strace(1) can stand before it; the front-end library does not notice.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use frontend::Vm;
use frontend::daemon::{Daemon, DaemonBuilder};
use frontend::vm::VmBuilder;
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_virtiofsd");

/// One way to run the daemon.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// What to call it when a test fails.
    pub name: String,
    /// The words before the daemon's own, which end by starting it.
    pub prefix: String,
    /// Shell commands before that.
    pub before: String,
    /// The daemon's options.
    pub args: Vec<String>,
    /// The share must belong to the ordinary user.
    pub as_user: bool,
    /// The daemon is found without `/proc`.
    pub by_path: bool,
}

/// A share with a tree beside it that nothing may touch, and the script that starts the daemon.
#[derive(Debug)]
pub struct Place {
    pub directory: TempDir,
    script: PathBuf,
    args: Vec<String>,
}

impl Environment {
    /// Root with these options.
    pub fn root(name: &str, args: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            ..Self::default()
        }
    }

    /// The ordinary user with these options.
    pub fn user(name: &str, args: &[&str]) -> Self {
        let user = user();
        Self {
            prefix: format!(
                "setpriv --reuid={0} --regid={1} --clear-groups --inh-caps=-all",
                user.uid, user.gid
            ),
            as_user: true,
            ..Self::root(name, args)
        }
    }

    /// With these words before the daemon, behind those that are there already.
    pub fn within(mut self, prefix: &str) -> Self {
        self.prefix = format!("{} {prefix}", self.prefix);
        self
    }

    /// With these words before all others.
    pub fn outside(mut self, prefix: &str) -> Self {
        self.prefix = format!("{prefix} {}", self.prefix);
        self
    }

    /// Makes the share and the script.
    pub fn prepare(&self) -> Place {
        let directory = TempDir::with_prefix("sandbox-").expect("a temporary directory");
        let share = directory.path().join("outside/share");
        fs::create_dir_all(&share).expect("the share");
        fs::write(directory.path().join("outside/secret"), "secret").expect("the sentinel");
        for path in [directory.path(), share.parent().expect("outside")] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("chmod");
        }
        let mut before = self.before.clone();
        if self.as_user {
            let user = user();
            std::os::unix::fs::chown(&share, Some(user.uid), Some(user.gid)).expect("chown");
            // The front-end gives the socket's path as the first argument.
            before += &format!(
                "\ncase $1 in --socket-path=*) chown {}:{} \"$(dirname \"${{1#*=}}\")\";; esac",
                user.uid, user.gid
            );
        }
        let script = directory.path().join("start");
        // By descriptor, because the user may not be let into the build directory.
        let binary = match self.by_path {
            true => copy_of_binary(directory.path()),
            false => "/proc/self/fd/9".to_owned(),
        };
        let text = format!(
            "#!/bin/sh\n{before}\nexec {} {binary} \"$@\" 9<{BINARY}\n",
            self.prefix
        );
        fs::write(&script, text).expect("the script");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("chmod");
        Place {
            directory,
            script,
            args: self.args.clone(),
        }
    }
}

fn copy_of_binary(directory: &Path) -> String {
    let copy = directory.join("virtiofsd");
    fs::copy(BINARY, &copy).expect("a copy of the daemon");
    copy.display().to_string()
}

impl Place {
    /// The shared directory.
    pub fn share(&self) -> PathBuf {
        self.directory.path().join("outside/share")
    }

    /// The directory the share is in.
    pub fn outside(&self) -> PathBuf {
        self.directory.path().join("outside")
    }

    /// Starts the daemon with a guest.
    pub fn vm(&self) -> VmBuilder {
        self.vm_sharing(&self.share())
    }

    /// As `vm`, with another share.
    pub fn vm_sharing(&self, share: &Path) -> VmBuilder {
        Vm::builder(&self.script).share(share).args(&self.args)
    }

    /// Starts the daemon alone.
    pub fn daemon(&self) -> DaemonBuilder {
        self.daemon_sharing(&self.share())
    }

    /// As `daemon`, with another share.
    pub fn daemon_sharing(&self, share: &Path) -> DaemonBuilder {
        Daemon::builder(&self.script).share(share).args(&self.args)
    }

    /// Starts the daemon on this socket, with nobody's help.
    pub fn by_hand(&self, socket: &Path) -> std::process::Child {
        let mut command = Command::new(&self.script);
        command.arg("--socket-path").arg(socket);
        command.arg("--shared-dir").arg(self.share());
        command.args(&self.args).stderr(std::process::Stdio::null());
        command.spawn().expect("it starts")
    }

    /// What the outside holds, for comparison: paths, modes, contents; the share left out.
    pub fn sentinel(&self) -> Vec<(PathBuf, u32, String)> {
        let mut found = Vec::new();
        collect(&self.outside(), &self.share(), &mut found);
        found.sort();
        found
    }
}

fn collect(directory: &Path, except: &Path, found: &mut Vec<(PathBuf, u32, String)>) {
    for entry in fs::read_dir(directory).expect("a directory").flatten() {
        let path = entry.path();
        if path == except {
            continue;
        }
        let metadata = path.symlink_metadata().expect("metadata");
        let content = match metadata.is_file() {
            true => fs::read_to_string(&path).expect("a readable file"),
            false => String::new(),
        };
        if metadata.is_dir() {
            collect(&path, except, found);
        }
        found.push((path, metadata.permissions().mode(), content));
    }
}

/// The ordinary user that these tests make, with ids delegated to it.
#[derive(Debug)]
pub struct User {
    pub name: &'static str,
    pub uid: u32,
    pub gid: u32,
    /// First and number of delegated ids (users and groups have the same).
    pub subids: (u32, u32),
}

/// Makes the user, unless it is there.
pub fn user() -> &'static User {
    static USER: OnceLock<User> = OnceLock::new();
    USER.get_or_init(|| {
        const NAME: &str = "virtiofsd-test";
        if !run("id", &["-u", NAME]).0 {
            let made = run("useradd", &["--no-create-home", "--user-group", NAME]);
            assert!(made.0, "useradd {NAME}: {}", made.1);
        }
        let number = |option| {
            let (_, text) = run("id", &[option, NAME]);
            text.trim().parse().expect("an id")
        };
        let delegated = |file: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            text.lines().find_map(|line| {
                let rest = line.strip_prefix(NAME)?.strip_prefix(':')?;
                let (first, count) = rest.split_once(':')?;
                Some((first.parse().ok()?, count.parse().ok()?))
            })
        };
        let subids = delegated("/etc/subuid").expect("ids delegated in /etc/subuid");
        assert_eq!(delegated("/etc/subgid"), Some(subids), "/etc/subgid");
        User {
            name: NAME,
            uid: number("-u"),
            gid: number("-g"),
            subids,
        }
    })
}

/// Runs a program; whether it succeeded, and what it said.
pub fn run(program: &str, args: &[&str]) -> (bool, String) {
    let output = Command::new(program).args(args).output().expect(program);
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// The ways that every promise is checked in.
pub fn all() -> Vec<Environment> {
    let (first, count) = user().subids;
    let (uid, gid) = (user().uid, user().gid);
    let many = [
        format!("--uid-map=:0:{uid}:1:"),
        format!("--uid-map=:1:{first}:{count}:"),
        format!("--gid-map=:0:{gid}:1:"),
        format!("--gid-map=:1:{first}:{count}:"),
    ];
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    vec![
        Environment::root("A root", &[]),
        Environment::user("B user", &[]),
        Environment::user("C user with maps", &many),
        Environment::root("D root, pivot_root", &["--sandbox=pivot_root"]),
        Environment::user("D unshare -r, pivot_root", &["--sandbox=pivot_root"])
            .within("unshare --user --map-root-user --mount"),
        Environment::user(
            "D unshare --map-auto, pivot_root",
            &["--sandbox=pivot_root"],
        )
        .within("unshare --user --map-root-user --map-auto --mount"),
        Environment::root("E root, chroot", &["--sandbox=chroot"]),
        Environment::root("E container root, chroot", &["--sandbox=chroot"]).within(DOCKER),
        Environment::root("F root, none", &["--sandbox=none"]),
        Environment::user("F user, none", &["--sandbox=none"]),
    ]
}

/// Kernels that lack what newer ones have, in the modes that use it.
pub fn old_kernels() -> Vec<Environment> {
    // The tracer makes a call fail by turning it into none, which a seccomp filter would refuse.
    let modes = ["namespace", "pivot_root", "chroot", "none"].map(|mode| {
        let sandbox = format!("--sandbox={mode}");
        Environment::root(mode, &[&sandbox, "--seccomp=none"])
    });
    let lacking = [
        (
            "Linux 5.4",
            "openat2 mount_setattr close_range landlock_create_ruleset faccessat2",
        ),
        (
            "Linux 4.18",
            "openat2 mount_setattr close_range landlock_create_ruleset faccessat2 open_tree \
             move_mount clone3",
        ),
    ];
    let of = |mode: &Environment, (kernel, calls): (&str, &str)| {
        let calls = calls.split_whitespace().collect::<Vec<_>>().join(",");
        // Traced, and with every one of these calls made to fail as if it were unknown.
        let strace =
            format!("strace -f -qq -o /dev/null -e trace={calls} -e inject={calls}:error=ENOSYS");
        Environment {
            name: format!("{kernel}, {}", mode.name),
            ..mode.clone()
        }
        .outside(&strace)
    };
    lacking
        .into_iter()
        .flat_map(|kernel| modes.iter().map(move |mode| of(mode, kernel)))
        .collect()
}

/// The capabilities that Docker gives the root of a container.
pub const DOCKER: &str = "setpriv --bounding-set \
    -all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,+net_bind_service,\
+net_raw,+sys_chroot,+mknod,+audit_write,+setfcap --inh-caps=-all";
