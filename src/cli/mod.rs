//! The command line: what the user typed, turned into a [`Config`].
//!
//! Both dialects, `--cache=never` and `-o cache=never`, are one thing here:
//! they become the same list of settings, in the order they were typed, and
//! the list becomes a `Config`. Nothing in this module looks at the host.

mod args;
mod clap_error;
mod compat;
mod config;
#[cfg(test)]
mod docs;
mod error;
mod features;
mod ids;
mod modcaps;
mod option;
mod print;
mod resolve;
mod setting;
mod settings;
mod table;
#[cfg(test)]
mod tests;
mod values;

use std::ffi::OsString;

use args::Parsed;
use settings::Settings;

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

/// Reads a command line, program name included.
///
/// # Errors
/// When it cannot be served; "not supported yet" is among the reasons.
pub fn parse(argv: impl IntoIterator<Item = OsString>) -> Result<Command, UsageError> {
    let settings = match args::parse(argv)? {
        Parsed::Settings(settings) => Settings::new(settings)?,
        Parsed::Text(text) => return Ok(Command::Print(text)),
        Parsed::Capabilities => return Ok(Command::Print(print::capabilities())),
        Parsed::Completions(shell) => return Ok(Command::Print(print::completions(shell))),
        Parsed::Man => return Ok(Command::Print(print::man())),
    };
    let config = resolve::resolve(&settings)?;
    features::check(&settings)?;
    Ok(Command::Serve(Box::new(config)))
}
