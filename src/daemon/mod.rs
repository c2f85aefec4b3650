//! The daemon from start to end: [`run`] reads as the list of steps.

mod limits;
mod logging;
mod panics;
mod pidfile;
mod policy;
mod serve;
mod signals;
mod socket;

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use crate::cli::Config;
use crate::device::{Backend, DeviceConfig, Engine, MAX_DESCRIPTORS, MAX_QUEUES, MakeServe};
use crate::fs::{FsConfig, PassthroughFs};
use crate::sandbox::{Place, Sandbox, Side};
use crate::server::{Server, Worker};
use crate::sys;
use signals::StopRequests;
use socket::Socket;

pub use crate::error::DaemonError;

/// Serves one front-end from start to end. Returns the exit status of the process.
pub fn run(config: &Config) -> Result<ExitCode, DaemonError> {
    sys::close_inherited_directories();
    panics::end_the_process();
    let log_fd = logging::start(&config.log)?;
    logging::repeat(&config.notes);
    signals::block()?;
    let fd_limit = limits::set(config.rlimit_nofile)?;
    let (socket, traces) = Socket::listen(&config.listener)?;
    let share = open_share(&config.shared_dir)?;
    let sandbox = sandbox(config);
    let stop = match sandbox.separate()? {
        Side::Supervisor(supervisor) => {
            drop((socket, share));
            let files_of = traces.as_ref().and_then(|traces| traces.directory_owner());
            // The traces are removed when this process ends.
            return supervisor.supervise(files_of);
        }
        Side::Child(lifeline) => {
            if let Some(traces) = traces {
                traces.leave_to_the_supervisor();
            }
            let ours = [socket.as_fd(), share.as_fd(), lifeline.as_fd()];
            close_all_but(ours.iter().map(AsRawFd::as_raw_fd).chain(log_fd))?;
            replace_standard_streams()?;
            StopRequests::listen(lifeline)?
        }
    };
    let place = sandbox.enter(share)?;
    let backend = build_device(config, place, fd_limit)?;
    // Launchers wait for this line.
    log::info!("Waiting for vhost-user socket connection...");
    serve::one_front_end(&socket, &stop, backend).map(|()| ExitCode::SUCCESS)
}

/// The shared directory as a path descriptor: from here on its path does not matter.
fn open_share(path: &Path) -> Result<OwnedFd, DaemonError> {
    sys::open_root(path).map_err(|errno| {
        let hint = "--shared-dir must name a directory that can be entered";
        DaemonError::new(path.display().to_string(), errno, hint)
    })
}

fn sandbox(config: &Config) -> Sandbox<'_> {
    Sandbox {
        config: &config.sandbox,
        readonly: config.features.readonly,
        xattr: config.features.xattr,
        syslog: config.log.syslog,
    }
}

fn close_all_but(keep: impl Iterator<Item = i32>) -> Result<(), DaemonError> {
    sys::close_all_but(keep.collect()).map_err(|errno| {
        let hint = "this is a bug: please report it";
        DaemonError::new("closing inherited files", errno, hint)
    })
}

fn replace_standard_streams() -> Result<(), DaemonError> {
    sys::replace_standard_streams().map_err(|errno| {
        let hint = "the daemon needs it in place of its standard input";
        DaemonError::new("/dev/null", errno, hint)
    })
}

/// The device, with the share behind it.
fn build_device(config: &Config, place: Place, fd_limit: u64) -> Result<Backend, DaemonError> {
    /// Descriptors that one request holds at a time besides those it keeps.
    const FDS_IN_REQUEST: u64 = 3;
    let workers = MAX_QUEUES + config.thread_pool_size;
    let fs_config = FsConfig {
        cache: policy::cache(&config.cache),
        allow_direct_io: config.features.allow_direct_io,
        fd_limit,
        fd_reserve: MAX_DESCRIPTORS + FDS_IN_REQUEST * workers as u64,
        workers,
        strip_sgid: place.groups_retained,
    };
    let fs = PassthroughFs::new(place.root, place.proc, fs_config).map_err(|errno| {
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
