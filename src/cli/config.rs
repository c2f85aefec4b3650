//! What the daemon is asked to do: every option, typed and with its default
//! filled in.
//!
//! [`Config`] is data only. Nothing here looks at the host, so that the same
//! command line always gives the same `Config`.

use std::os::fd::RawFd;
use std::path::PathBuf;
use std::time::Duration;

use super::ids::{IdMapping, IdTranslation};
use super::modcaps::CapabilityChange;
use super::values::{
    CacheMode, InodeFileHandles, LogLevel, MigrationMode, MigrationOnError, NegotiationMode,
    SandboxMode, SeccompAction,
};

/// A complete, consistent request to serve one directory.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where the front-end connects. Required.
    pub listener: Listener,
    /// The directory to share. Required; not looked at here.
    pub shared_dir: PathBuf,
    /// The tag to offer in the device's config space, 1 to 36 bytes.
    /// Default: none, the front-end has its own.
    pub tag: Option<String>,
    /// Threads for requests that may block. Default 0: no pool.
    pub thread_pool_size: usize,
    /// The limit of open file descriptors.
    pub rlimit_nofile: NofileLimit,
    /// Where and how much to log.
    pub log: LogConfig,
    /// What the guest may cache.
    pub cache: CacheConfig,
    /// Which file-system features the guest is offered.
    pub features: FeatureConfig,
    /// How the daemon isolates itself from the host.
    pub sandbox: SandboxConfig,
    /// In-daemon translation of user ids, in the order given. Default: none.
    pub translate_uid: Vec<IdTranslation>,
    /// In-daemon translation of group ids, in the order given. Default: none.
    pub translate_gid: Vec<IdTranslation>,
    /// How to migrate to another daemon.
    pub migration: MigrationConfig,
    /// Go to the background once the socket listens. Default: no.
    pub daemonize: bool,
    /// Remarks on the command line, to be logged once logging works.
    pub notes: Vec<Note>,
}

/// Where the front-end connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listener {
    /// A UNIX socket to create.
    Socket {
        /// Its path.
        path: PathBuf,
        /// The group (a name or a number) that may connect. Default: only the daemon's own user.
        group: Option<String>,
    },
    /// An inherited socket that already listens.
    Fd(RawFd),
}

/// What to do about RLIMIT_NOFILE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NofileLimit {
    /// The smaller of 1,000,000 and fs.nr_open (the default).
    Default,
    /// Leave it as inherited (`--rlimit-nofile=0`).
    Unchanged,
    /// This many file descriptors.
    Fds(u64),
}

/// Where and how much to log. The environment variable RUST_LOG, read by the
/// daemon, goes before both `level` and `debug`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// `--log-level`. Default: none given, which means info.
    pub level: Option<LogLevel>,
    /// `-d` or `-o debug` was given. Default: no.
    pub debug: bool,
    /// Log to syslog instead of stderr. Default: no.
    pub syslog: bool,
}

/// What the guest may cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// The policy. Default: auto.
    pub mode: CacheMode,
    /// How long names and attributes are valid, instead of the policy's own time.
    pub timeout: Option<Duration>,
    /// Let the guest collect writes. Default: no.
    pub writeback: bool,
    /// Let the guest mmap shared files although the policy caches no data. Default: no.
    pub allow_mmap: bool,
    /// Send attributes along with directory entries. Default: yes, except with cache mode never.
    pub readdirplus: bool,
}

/// Which file-system features the guest is offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureConfig {
    /// Refuse every change. Default: no.
    pub readonly: bool,
    /// Extended attributes. Default: no, unless `xattrmap`, `posix_acl` or `security_label` need them.
    pub xattr: bool,
    /// The rules that map names of extended attributes, as given. Default: none.
    pub xattrmap: Option<String>,
    /// POSIX access control lists. Default: never.
    pub posix_acl: NegotiationMode,
    /// The security context of new files. Default: never.
    pub security_label: NegotiationMode,
    /// Let the guest leave the clearing of setuid and setgid bits to the host. Default: no.
    pub killpriv_v2: bool,
    /// Take flock(2) locks on the host. Default: no.
    pub flock: bool,
    /// Take fcntl(2) locks on the host. Default: no.
    pub posix_lock: bool,
    /// Tell the guest which directories are mount points. Default: yes.
    pub announce_submounts: bool,
    /// Honour the guest's O_DIRECT. Default: no.
    pub allow_direct_io: bool,
    /// Honour the guest's O_NOATIME. Default: no.
    pub preserve_noatime: bool,
    /// How inodes are kept. Default: prefer.
    pub inode_file_handles: InodeFileHandles,
}

/// How the daemon isolates itself from the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxConfig {
    /// The mode, if one was asked for. Default: none given, which means namespace.
    pub mode: Option<SandboxMode>,
    /// The seccomp action, if one was asked for. Default: none given, which means kill.
    pub seccomp: Option<SeccompAction>,
    /// Changes to the set of capabilities kept, in the order given. Default: none.
    pub modcaps: Vec<CapabilityChange>,
    /// User ids of the user namespace, in the order given. Default: none, own id to itself.
    pub uid_map: Vec<IdMapping>,
    /// Group ids of the user namespace, in the order given. Default: none, own id to itself.
    pub gid_map: Vec<IdMapping>,
    /// End start-up when supplementary groups cannot be dropped. Default: yes.
    pub fail_setgroups: bool,
}

/// How to migrate to another daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MigrationConfig {
    /// How inodes are described. Default: find-paths.
    pub mode: MigrationMode,
    /// What to do about an inode that cannot be opened. Default: abort.
    pub on_error: MigrationOnError,
    /// Send a file handle along with each path, for the destination to compare. Default: no.
    pub verify_handles: bool,
    /// Check each path again when switching over. Default: no.
    pub confirm_paths: bool,
}

/// A remark on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// How important it is.
    pub level: log::Level,
    /// One sentence, starting with the option.
    pub text: String,
}
