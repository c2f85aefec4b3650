//! Where log lines go.

use std::os::fd::{AsRawFd, RawFd};

use env_logger::{Builder, Env, Target};
use log::LevelFilter;
use syslog::{BasicLogger, Facility, Formatter3164, LoggerBackend};

use super::DaemonError;
use crate::cli::{LogConfig, Note};

/// Starts logging to standard error, or to syslog. `RUST_LOG` goes before the command line.
/// Returns the descriptor that lines leave through, unless it is standard error.
pub fn start(config: &LogConfig) -> Result<Option<RawFd>, DaemonError> {
    let default = match (config.debug, config.level) {
        (true, _) => LevelFilter::Debug,
        (false, Some(level)) => level.into(),
        (false, None) => LevelFilter::Info,
    };
    if config.syslog {
        start_syslog(default)
    } else {
        start_stderr(default).map(|()| None)
    }
}

/// Logs remarks that were made before logging worked.
pub fn repeat(notes: &[Note]) {
    for note in notes {
        log::log!(note.level, "{}", note.text);
    }
}

fn start_stderr(default: LevelFilter) -> Result<(), DaemonError> {
    Builder::from_env(Env::default().default_filter_or(default.as_str()))
        .target(Target::Stderr)
        .try_init()
        .map_err(|error| DaemonError::new("logging", error, "this is a bug: please report it"))
}

fn start_syslog(default: LevelFilter) -> Result<Option<RawFd>, DaemonError> {
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
    let fd = match &logger.backend {
        LoggerBackend::Unix(socket) => Some(socket.as_raw_fd()),
        LoggerBackend::UnixStream(stream) => Some(stream.get_ref().as_raw_fd()),
        _ => None,
    };
    log::set_boxed_logger(Box::new(BasicLogger::new(logger))).map_err(|error| failed(&error))?;
    let wanted = std::env::var("RUST_LOG")
        .ok()
        .and_then(|level| level.parse().ok());
    log::set_max_level(wanted.unwrap_or(default));
    Ok(fd)
}
