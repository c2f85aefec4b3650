//! The table of options: the one place that knows them all.
//!
//! Parsing of both dialects, help, man page, completions and docs/options.md
//! are made from it. The order is the order of the help.

use super::option::{Id, Kind, Opt, Repeat, words};
use super::values::{
    CacheMode, InodeFileHandles, LogLevel, MigrationMode, MigrationOnError, NegotiationMode,
    SandboxMode, SeccompAction,
};

/// A heading of the help and the options below it.
pub(super) struct Section {
    pub heading: &'static str,
    pub options: &'static [Opt],
}

/// Every option, in order.
pub(super) fn options() -> impl Iterator<Item = &'static Opt> {
    SECTIONS.iter().flat_map(|section| section.options)
}

/// The row named `id`.
pub(super) fn option(id: Id) -> &'static Opt {
    options()
        .find(|option| option.id == id)
        .expect("every id has a row")
}

pub(super) const SECTIONS: &[Section] = &[
    Section {
        heading: "What to share, and where",
        options: SHARE,
    },
    Section {
        heading: "Sandbox and privileges",
        options: SANDBOX,
    },
    Section {
        heading: "Caching",
        options: CACHING,
    },
    Section {
        heading: "File-system features",
        options: FEATURES,
    },
    Section {
        heading: "User and group ids",
        options: IDS,
    },
    Section {
        heading: "Resources",
        options: RESOURCES,
    },
    Section {
        heading: "Log and process",
        options: PROCESS,
    },
    Section {
        heading: "Migration",
        options: MIGRATION,
    },
    Section {
        heading: "Accepted without effect",
        options: IGNORED,
    },
];

const SHARE: &[Opt] = &[
    Opt::new(
        Id::SharedDir,
        "shared-dir",
        Kind::Text("DIR"),
        "Share this directory",
    )
    .words(&["source"])
    .repeat(Repeat::SameOnly)
    .more("Required. In `-o source=DIR`, write a comma in the path as `,,` or `\\,`."),
    Opt::new(
        Id::SocketPath,
        "socket-path",
        Kind::Text("PATH"),
        "Create a vhost-user socket here and wait for the front-end",
    )
    .aliases(&["socket"])
    .words(&["socket", "vhost_user_socket"])
    .repeat(Repeat::SameOnly)
    .more("Either this or --fd is required. The process id is written to `PATH.pid`."),
    Opt::new(
        Id::SocketGroup,
        "socket-group",
        Kind::Text("GROUP"),
        "Let this group connect to the socket",
    )
    .repeat(Repeat::SameOnly)
    .more("The socket then has mode 0660 instead of 0600."),
    Opt::new(
        Id::Fd,
        "fd",
        Kind::Text("N"),
        "Use this inherited socket, which already listens",
    )
    .repeat(Repeat::SameOnly),
    Opt::new(
        Id::Tag,
        "tag",
        Kind::Text("TAG"),
        "Offer this tag to the front-end, 1 to 36 bytes",
    )
    .more("Not needed with QEMU and libvirt, which set the tag themselves."),
    Opt::off(Id::Readonly, "readonly", "Refuse every change by the guest").repeat(Repeat::SameOnly),
];

const SANDBOX: &[Opt] = &[
    Opt::new(
        Id::Sandbox,
        "sandbox",
        Kind::Choice("MODE", words::<SandboxMode>),
        "How to isolate the daemon from the host",
    )
    .default("namespace")
    .repeat(Repeat::SameOnly),
    Opt::new(
        Id::Seccomp,
        "seccomp",
        Kind::Choice("ACTION", words::<SeccompAction>),
        "What happens on a system call outside the filter",
    )
    .default("kill")
    .repeat(Repeat::SameOnly),
    Opt::new(
        Id::Modcaps,
        "modcaps",
        Kind::Text("LIST"),
        "Change the set of capabilities kept, such as `+sys_admin:-mknod`",
    )
    .repeat(Repeat::SameOnly),
    Opt::new(
        Id::UidMap,
        "uid-map",
        Kind::Text("MAP"),
        "Map user ids of the user namespace to the host's, such as `:0:100000:65536:`",
    )
    .repeat(Repeat::Adds)
    .more(
        "The form is `:INSIDE:OUTSIDE:COUNT:`, where any other character can take the place of the \
         colon. Give it once for each range. Only with --sandbox=namespace.",
    ),
    Opt::new(
        Id::GidMap,
        "gid-map",
        Kind::Text("MAP"),
        "Map group ids of the user namespace to the host's, such as `:0:100000:65536:`",
    )
    .repeat(Repeat::Adds)
    .more("As --uid-map."),
    Opt::on(
        Id::FailSetgroups,
        "fail-setgroups",
        "Go on when supplementary groups cannot be dropped",
    )
    .repeat(Repeat::SameOnly)
    .more("Files these groups may use can then be used by every user of the guest."),
];

const CACHING: &[Opt] = &[
    Opt::new(
        Id::Cache,
        "cache",
        Kind::Choice("MODE", words::<CacheMode>),
        "What the guest may cache",
    )
    .default("auto")
    .more("`none` is accepted for `never`."),
    Opt::new(
        Id::Timeout,
        "timeout",
        Kind::Text("SECS"),
        "How long cached names and attributes are valid, such as `0.5`",
    )
    .more("Default: depends on --cache."),
    Opt::off(
        Id::Writeback,
        "writeback",
        "Let the guest collect writes before it sends them",
    ),
    Opt::off(
        Id::AllowMmap,
        "allow-mmap",
        "Let the guest mmap shared files although no data is cached",
    )
    .more("Matters with --cache=never and --cache=metadata. Use it only for a directory nobody else writes to."),
    Opt::on(
        Id::Readdirplus,
        "readdirplus",
        "Do not send attributes along with directory entries",
    )
    .more("With --cache=never they are not sent unless --readdirplus asks for it."),
    Opt::off(
        Id::AllowDirectIo,
        "allow-direct-io",
        "Honour O_DIRECT of the guest's applications",
    ),
];

const FEATURES: &[Opt] = &[
    Opt::off(Id::Xattr, "xattr", "Offer extended attributes"),
    Opt::new(
        Id::Xattrmap,
        "xattrmap",
        Kind::Text("RULES"),
        "Map the names of extended attributes, such as `:map::user.virtiofs.:`",
    )
    .repeat(Repeat::SameOnly)
    .more("Implies --xattr."),
    Opt::new(
        Id::PosixAcl,
        "posix-acl",
        Kind::Mode(words::<NegotiationMode>),
        "Offer POSIX access control lists",
    )
    .default("never")
    .more("The name alone means `always`. Any but `never` implies --xattr."),
    Opt::new(
        Id::SecurityLabel,
        "security-label",
        Kind::Mode(words::<NegotiationMode>),
        "Store the security context the guest sends for new files",
    )
    .default("never")
    .more("The name alone means `always`. Any but `never` implies --xattr."),
    Opt::off(
        Id::KillprivV2,
        "killpriv-v2",
        "Clear setuid and setgid bits on the host when a file changes",
    ),
    Opt::off(
        Id::Flock,
        "flock",
        "Take the guest's flock(2) locks on the host",
    ),
    Opt::off(
        Id::PosixLock,
        "posix-lock",
        "Take the guest's fcntl(2) locks on the host",
    ),
    Opt::on(
        Id::AnnounceSubmounts,
        "announce-submounts",
        "Do not tell the guest which directories are mount points",
    ),
    Opt::new(
        Id::InodeFileHandles,
        "inode-file-handles",
        Kind::Choice("WHEN", words::<InodeFileHandles>),
        "When to keep inodes as file handles instead of file descriptors",
    )
    .default("prefer")
    .more("`fallback` is accepted for `prefer`."),
    Opt::off(
        Id::PreserveNoatime,
        "preserve-noatime",
        "Honour O_NOATIME of the guest's applications",
    ),
];

const IDS: &[Opt] = &[
    Opt::new(
        Id::TranslateUid,
        "translate-uid",
        Kind::Text("RULE"),
        "Translate user ids between guest and host, such as `map:0:100000:65536`",
    )
    .repeat(Repeat::Adds)
    .more(
        "Give it once for each rule: `guest:GUEST:HOST:COUNT`, `host:HOST:GUEST:COUNT`, \
         `squash-guest:GUEST:HOST:COUNT`, `squash-host:HOST:GUEST:COUNT`, \
         `forbid-guest:GUEST:COUNT` or `map:GUEST:HOST:COUNT`. Done by the daemon itself, without \
         a user namespace. Not together with --posix-acl.",
    ),
    Opt::new(
        Id::TranslateGid,
        "translate-gid",
        Kind::Text("RULE"),
        "Translate group ids between guest and host",
    )
    .repeat(Repeat::Adds)
    .more("As --translate-uid."),
];

const RESOURCES: &[Opt] = &[
    Opt::new(
        Id::ThreadPoolSize,
        "thread-pool-size",
        Kind::Text("N"),
        "Threads for requests that may block; 0 for none",
    )
    .default("0"),
    Opt::new(
        Id::RlimitNofile,
        "rlimit-nofile",
        Kind::Text("N"),
        "How many file descriptors to allow; 0 leaves the limit as it is",
    )
    .default("min(1000000, fs.nr_open)"),
];

const PROCESS: &[Opt] = &[
    Opt::new(
        Id::LogLevel,
        "log-level",
        Kind::Choice("LEVEL", words::<LogLevel>),
        "How much to log; the environment variable RUST_LOG overrides it",
    )
    .words(&["loglevel"])
    .default("info"),
    Opt::off(
        Id::Debug,
        "debug",
        "The same as --log-level=debug; RUST_LOG overrides it",
    )
    .short('d'),
    Opt::off(Id::Syslog, "syslog", "Log to syslog instead of stderr"),
    Opt::off(
        Id::Daemonize,
        "daemonize",
        "Go to the background once the socket listens",
    ),
];

const MIGRATION: &[Opt] = &[
    Opt::new(
        Id::MigrationMode,
        "migration-mode",
        Kind::Choice("MODE", words::<MigrationMode>),
        "How to describe inodes to the destination",
    )
    .default("find-paths"),
    Opt::new(
        Id::MigrationOnError,
        "migration-on-error",
        Kind::Choice("ACTION", words::<MigrationOnError>),
        "What to do about an inode that cannot be opened on arrival",
    )
    .default("abort"),
    Opt::off(
        Id::MigrationVerifyHandles,
        "migration-verify-handles",
        "Let the destination check that each path leads to the same inode",
    ),
    Opt::off(
        Id::MigrationConfirmPaths,
        "migration-confirm-paths",
        "Check all paths again when switching over",
    ),
];

const IGNORED: &[Opt] = &[
    Opt::off(
        Id::Foreground,
        "foreground",
        "Stay in the foreground, as is the default",
    )
    .short('f')
    .ignored(),
    Opt::off(Id::AllowRoot, "allow-root", "For old command lines")
        .word_only()
        .ignored(),
    Opt::new(
        Id::MaxIdleThreads,
        "max-idle-threads",
        Kind::Text("N"),
        "For old command lines",
    )
    .word_only()
    .ignored(),
    Opt::new(
        Id::Fsname,
        "fsname",
        Kind::Text("NAME"),
        "For old command lines",
    )
    .word_only()
    .ignored(),
    Opt::new(
        Id::Subtype,
        "subtype",
        Kind::Text("NAME"),
        "For old command lines",
    )
    .word_only()
    .ignored(),
];
