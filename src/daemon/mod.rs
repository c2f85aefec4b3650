//! The daemon from start to end: [`run`] reads as the list of steps.

mod error;
mod logging;
mod pidfile;
mod policy;
mod serve;
mod signals;
mod socket;

use std::sync::Arc;

use crate::cli::{Config, NofileLimit, SandboxMode};
use crate::device::{Backend, DeviceConfig, Engine, MAX_DESCRIPTORS, MAX_QUEUES, MakeServe};
use crate::fs::{FsConfig, PassthroughFs};
use crate::server::{Server, Worker};
use crate::sys::{self, NofileWish};
use signals::Signals;
use socket::Socket;

pub use error::DaemonError;

/// Serves one front-end from start to end.
pub fn run(config: &Config) -> Result<(), DaemonError> {
    logging::start(&config.log)?;
    config
        .notes
        .iter()
        .for_each(|note| log::log!(note.level, "{}", note.text));
    let signals = Signals::take_over()?;
    let fd_limit = raise_limits(config.rlimit_nofile)?;
    let socket = Socket::listen(&config.listener)?;
    warn_of_missing_sandbox(config);
    sys::clear_umask();
    let backend = build_device(config, fd_limit)?;
    // Launchers wait for this line.
    log::info!("Waiting for vhost-user socket connection...");
    serve::one_front_end(&socket, &signals, backend)
}

/// Returns how many files may be open now.
fn raise_limits(wanted: NofileLimit) -> Result<u64, DaemonError> {
    let wish = match wanted {
        NofileLimit::Default => NofileWish::Default,
        NofileLimit::Unchanged => NofileWish::Unchanged,
        NofileLimit::Fds(limit) => NofileWish::Exactly(limit),
    };
    let limit = sys::raise_nofile_limit(wish).map_err(|errno| {
        let hint = "ask for less, or raise the hard limit (ulimit -Hn; LimitNOFILE= of systemd)";
        DaemonError::new("--rlimit-nofile", errno, hint)
    })?;
    log::debug!("at most {limit} open files");
    Ok(limit)
}

fn warn_of_missing_sandbox(config: &Config) {
    match config.sandbox.mode {
        None => log::warn!("running without a sandbox: its modes are not supported yet"),
        Some(SandboxMode::None) if sys::effective_ids().0 == 0 => {
            log::warn!("running as root without a sandbox: a flaw here is a flaw of the host");
        }
        Some(_) => {}
    }
}

/// The device, with the share behind it.
fn build_device(config: &Config, fd_limit: u64) -> Result<Backend, DaemonError> {
    /// Descriptors that one request holds at a time besides those it keeps.
    const FDS_IN_REQUEST: u64 = 3;
    let workers = MAX_QUEUES + config.thread_pool_size;
    let fs_config = FsConfig {
        cache: policy::cache(&config.cache),
        allow_direct_io: config.features.allow_direct_io,
        fd_limit,
        fd_reserve: MAX_DESCRIPTORS + FDS_IN_REQUEST * workers as u64,
        workers,
    };
    let fs = PassthroughFs::new(&config.shared_dir, fs_config).map_err(|errno| {
        let what = config.shared_dir.display().to_string();
        DaemonError::new(
            what,
            errno,
            "--shared-dir must name a directory that the daemon's user may read and enter",
        )
    })?;
    let server = Server::new(Arc::new(fs), policy::offer(config));
    let make_serve: MakeServe = Arc::new(move || {
        let mut worker = Worker::new(&server);
        Box::new(move |exchange| worker.serve(exchange))
    });
    let engine = Engine::new(make_serve, config.thread_pool_size)
        .map_err(|error| DaemonError::new("--thread-pool-size", error, "ask for fewer threads"))?;
    Ok(Backend::new(
        DeviceConfig {
            tag: config.tag.clone(),
        },
        engine,
    ))
}
