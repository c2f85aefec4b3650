//! Where log lines go.

use env_logger::{Builder, Env, Target};
use log::LevelFilter;
use syslog::{BasicLogger, Facility, Formatter3164};

use super::DaemonError;
use crate::cli::LogConfig;

/// Starts logging to standard error, or to syslog. `RUST_LOG` goes before the command line.
pub fn start(config: &LogConfig) -> Result<(), DaemonError> {
    let default = match (config.debug, config.level) {
        (true, _) => LevelFilter::Debug,
        (false, Some(level)) => level.into(),
        (false, None) => LevelFilter::Info,
    };
    if config.syslog {
        start_syslog(default)
    } else {
        start_stderr(default)
    }
}

fn start_stderr(default: LevelFilter) -> Result<(), DaemonError> {
    Builder::from_env(Env::default().default_filter_or(default.as_str()))
        .target(Target::Stderr)
        .try_init()
        .map_err(|error| DaemonError::new("logging", error, "this is a bug: please report it"))
}

fn start_syslog(default: LevelFilter) -> Result<(), DaemonError> {
    let failed = |error: &dyn std::fmt::Display| {
        DaemonError::new(
            "--syslog",
            error,
            "is a syslog service listening on /dev/log?",
        )
    };
    let formatter = Formatter3164 {
        facility: Facility::LOG_DAEMON,
        hostname: None,
        process: "virtiofsd".to_owned(),
        pid: std::process::id(),
    };
    let logger = syslog::unix(formatter).map_err(|error| failed(&error))?;
    log::set_boxed_logger(Box::new(BasicLogger::new(logger))).map_err(|error| failed(&error))?;
    let wanted = std::env::var("RUST_LOG")
        .ok()
        .and_then(|level| level.parse().ok());
    log::set_max_level(wanted.unwrap_or(default));
    Ok(())
}
