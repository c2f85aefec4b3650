//! The values that options take from a fixed list.
//!
//! Each enum is at once the type in [`Config`](super::Config), the list of
//! accepted words, and (through its doc comments) the help text of each word.

use clap::ValueEnum;

/// What the guest may keep in its caches, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CacheMode {
    /// Keep names, attributes and data for a short time; check data when a file is opened
    Auto,
    /// Keep everything until the guest itself changes it; for directories nobody else writes to
    Always,
    /// Keep names and attributes, never data
    Metadata,
    /// Ask the host every time
    #[value(alias = "none")]
    Never,
}

/// When to offer a feature that changes how the guest checks permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NegotiationMode {
    /// Do not offer it
    Never,
    /// Offer it; go on without where the guest does not take it
    Auto,
    /// Insist on it; refuse a guest that does not take it
    Always,
}

/// How the daemon locks itself into the shared directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SandboxMode {
    /// Own mount, pid and network namespaces (and a user namespace unless root)
    Namespace,
    /// The caller made the namespaces; make the directory the root of a private mount tree
    #[value(name = "pivot_root", alias = "pivot-root")]
    PivotRoot,
    /// chroot(2) only; for containers without CAP_SYS_ADMIN
    Chroot,
    /// No isolation; for debugging, or where the caller isolates the daemon
    None,
}

/// What the kernel does when the daemon calls a system call it should not need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SeccompAction {
    /// No filter
    None,
    /// End the whole process
    Kill,
    /// Allow it and write an audit record
    Log,
    /// Send SIGSYS
    Trap,
}

/// How inodes the guest knows are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum InodeFileHandles {
    /// Keep one open file descriptor for each inode
    Never,
    /// Keep file handles where the file system has them
    #[value(alias = "fallback")]
    Prefer,
    /// Keep file handles; refuse to start where the file system has none
    Mandatory,
}

/// How much to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Nothing
    Off,
    /// What made the daemon stop or a request fail for good
    #[value(alias = "err")]
    Error,
    /// What works less well than it should
    #[value(alias = "warning")]
    Warn,
    /// What happens once per start or connection
    Info,
    /// Decisions, for finding out why
    Debug,
    /// Every request
    Trace,
}

impl From<LogLevel> for log::LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Off => Self::Off,
            LogLevel::Error => Self::Error,
            LogLevel::Warn => Self::Warn,
            LogLevel::Info => Self::Info,
            LogLevel::Debug => Self::Debug,
            LogLevel::Trace => Self::Trace,
        }
    }
}

/// How the source of a migration describes inodes to the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MigrationMode {
    /// As paths below the shared directory
    FindPaths,
    /// As file handles; both sides must share the same directory of the same file system
    FileHandles,
}

/// What the destination of a migration does about an inode it cannot open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MigrationOnError {
    /// Refuse the migration
    Abort,
    /// Go on; the guest gets errors for that inode
    GuestError,
}
