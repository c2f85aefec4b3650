//! The daemon on the other side: somebody else's or our own.

use std::time::Duration;

use frontend::connection::Connection;
use frontend::device::{Device, DeviceOptions};
use frontend::memory::RegionLayout;
use frontend::message::protocol;
use frontend::queue::QueueOptions;
use frontend::{Daemon, connection};

use crate::args::Args;
use crate::failure::{Context, Failure};

/// Guest memory in bytes. Only what requests in flight touch becomes real.
pub const MEMORY_SIZE: u64 = 1 << 30;

/// A daemon, connected, with guest memory shared and no queue yet.
#[derive(Debug)]
pub struct Peer {
    /// The device that it serves.
    pub device: Device,
    /// How messages call it: its tag, or its socket.
    pub name: String,
    /// The daemon, when it is ours.
    daemon: Option<Daemon>,
}

impl Peer {
    /// Starts the daemon if so wished, connects, and sets the device up.
    pub fn connect(args: &Args) -> Result<Peer, Failure> {
        let daemon = start_daemon(args)?;
        let path = match (&daemon, &args.socket_path) {
            (Some(daemon), _) => daemon.socket_path(),
            (None, Some(path)) => path,
            (None, None) => unreachable!("clap requires --socket-path or --daemon"),
        };
        let connection = Connection::connect(path)
            .context(format!("connect to {}", path.display()))
            .map_err(|failure| {
                failure.advise("start the daemon on this socket first, or let --daemon start one")
            })?;
        let device = set_up(connection, args)?;
        let config = device.config().context("read the device's configuration")?;
        let tag = config
            .map(|config| config.tag)
            .filter(|tag| !tag.is_empty());
        let name = tag.unwrap_or_else(|| path.display().to_string());
        Ok(Peer {
            device,
            name,
            daemon,
        })
    }

    /// Closes the connection, and waits for our own daemon to end.
    pub fn close(self) -> Result<(), Failure> {
        let Peer { device, daemon, .. } = self;
        drop(device);
        let Some(mut daemon) = daemon else {
            return Ok(());
        };
        let status = daemon
            .wait(Duration::from_secs(5))
            .unwrap_or_else(|| daemon.stop());
        if status.success() {
            Ok(())
        } else {
            Err(Failure::new("the daemon ended badly", status))
        }
    }
}

fn start_daemon(args: &Args) -> Result<Option<Daemon>, Failure> {
    let start = |binary| {
        Daemon::builder(binary)
            .args(&args.daemon_args)
            .show_stderr()
            .start()
    };
    args.daemon
        .as_ref()
        .map(start)
        .transpose()
        .context("start the daemon")
}

fn set_up(connection: Connection, args: &Args) -> Result<Device, Failure> {
    let defaults = DeviceOptions::default();
    let options = DeviceOptions {
        request_queues: args.queues,
        queue: QueueOptions {
            size: args.queue_size,
            indirect: !args.no_indirect,
            event_idx: !args.no_event_idx,
        },
        memory: vec![RegionLayout::new(0, MEMORY_SIZE)],
        // Nobody here would answer the daemon's own requests.
        protocol_features: defaults.protocol_features & !protocol::BACKEND_REQ,
    };
    let device = Device::new(connection, options).context("set the device up")?;
    check_queues(&device, args.queues).map(|()| device)
}

fn check_queues(device: &Device, wanted: u32) -> Result<(), Failure> {
    if !device.has_protocol(protocol::MQ) {
        return Ok(());
    }
    let offered: connection::Result<u64> = device.connection.get_queue_num();
    let offered = offered
        .context("ask for the number of queues")?
        .saturating_sub(1);
    if u64::from(wanted) > offered {
        let cause = format!("the daemon serves only {offered}");
        return Err(Failure::new(format!("{wanted} request queues"), cause)
            .advise("give a smaller --queues"));
    }
    Ok(())
}
