//! The command line: what the user typed, turned into a [`Config`].
//!
//! Both dialects, `--cache=never` and `-o cache=never`, are one thing here:
//! they become the same list of settings, in the order they were typed, and
//! the list becomes a `Config`. Nothing in this module looks at the host.

mod config;
mod error;
mod ids;
mod modcaps;
mod values;

pub use config::{
    CacheConfig, Config, FeatureConfig, Listener, LogConfig, MigrationConfig, NofileLimit, Note,
    SandboxConfig,
};
pub use error::UsageError;
pub use ids::{IdMapping, IdTranslation};
pub use modcaps::CapabilityChange;
pub use values::{
    CacheMode, InodeFileHandles, LogLevel, MigrationMode, MigrationOnError, NegotiationMode,
    SandboxMode, SeccompAction,
};

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Serve a directory.
    Serve(Box<Config>),
    /// Print this text to stdout and exit with status 0.
    Print(String),
}
