//! A whole virtual machine for a test: daemon, device and one FUSE client a request queue, INIT done.

use std::ffi::OsStr;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::client::{Client, ClientOptions, Hiprio};
use crate::connection;
use crate::daemon::{Daemon, DaemonBuilder};
use crate::device::{Device, DeviceOptions};
use crate::fuse::{InitOut, MINOR, init_flag};
use crate::memory::RegionLayout;

/// How to start a virtual machine.
#[derive(Debug)]
pub struct VmBuilder {
    daemon: DaemonBuilder,
    guest: GuestOptions,
}

/// The guest's half of it.
#[derive(Clone, Debug)]
pub struct GuestOptions {
    /// The device.
    pub device: DeviceOptions,
    /// The clients.
    pub client: ClientOptions,
    /// The minor version and the flags of INIT.
    pub init: (u32, u64),
}

impl Default for GuestOptions {
    fn default() -> Self {
        GuestOptions {
            device: DeviceOptions::default(),
            client: ClientOptions::default(),
            init: (MINOR, init_flag::LINUX),
        }
    }
}

impl VmBuilder {
    /// Adds an argument of the daemon.
    pub fn arg(self, arg: impl AsRef<OsStr>) -> Self {
        VmBuilder {
            daemon: self.daemon.arg(arg),
            ..self
        }
    }

    /// Adds arguments of the daemon.
    pub fn args<S: AsRef<OsStr>>(self, args: impl IntoIterator<Item = S>) -> Self {
        VmBuilder {
            daemon: self.daemon.args(args),
            ..self
        }
    }

    /// The directory to share.
    pub fn share(self, directory: impl AsRef<Path>) -> Self {
        VmBuilder {
            daemon: self.daemon.share(directory),
            ..self
        }
    }

    /// Changes how the daemon is started.
    pub fn daemon(self, change: impl FnOnce(DaemonBuilder) -> DaemonBuilder) -> Self {
        VmBuilder {
            daemon: change(self.daemon),
            ..self
        }
    }

    /// Number of request queues.
    pub fn request_queues(mut self, count: u32) -> Self {
        self.guest.device.request_queues = count;
        self
    }

    /// Number of descriptors of each queue.
    pub fn queue_size(mut self, size: u16) -> Self {
        self.guest.device.queue.size = size;
        self
    }

    /// Whether chains use indirect tables (they do unless told otherwise).
    pub fn indirect(mut self, indirect: bool) -> Self {
        self.guest.device.queue.indirect = indirect;
        self
    }

    /// Whether signals are limited by EVENT_IDX (they are unless told otherwise).
    pub fn event_idx(mut self, event_idx: bool) -> Self {
        self.guest.device.queue.event_idx = event_idx;
        self
    }

    /// The guest's memory.
    pub fn memory(mut self, regions: &[RegionLayout]) -> Self {
        self.guest.device.memory = regions.to_vec();
        self
    }

    /// The protocol features to use of those on offer.
    pub fn protocol_features(mut self, features: u64) -> Self {
        self.guest.device.protocol_features = features;
        self
    }

    /// How many requests each client can have in flight, and the largest data of one in bytes.
    pub fn client(mut self, options: ClientOptions) -> Self {
        self.guest.client = options;
        self
    }

    /// Minor version and flags of INIT.
    pub fn init(mut self, minor: u32, flags: u64) -> Self {
        self.guest.init = (minor, flags);
        self
    }

    /// Starts the daemon, connects, sets the queues up, and sends INIT.
    ///
    /// # Panics
    /// When any of it fails, with the daemon's stderr: nothing can be tested then.
    pub fn start(self) -> Vm {
        let daemon = self
            .daemon
            .start()
            .unwrap_or_else(|error| panic!("{error}"));
        let connection = daemon
            .connect()
            .unwrap_or_else(|error| panic!("connect: {error}"));
        let device = Device::new(connection, self.guest.device.clone())
            .unwrap_or_else(|error| fail(&daemon, "set the device up", error));
        let clients = start_clients(&device, &self.guest)
            .unwrap_or_else(|error| fail(&daemon, "set the queues up and send INIT", error));
        Vm {
            clients,
            device,
            daemon,
            guest: self.guest,
        }
    }
}

fn fail(daemon: &Daemon, what: &str, error: impl fmt::Display) -> ! {
    panic!("{what}: {error}\nthe daemon's stderr:\n{}", daemon.stderr())
}

/// A virtual machine whose file system is mounted. The first client is the one most tests need.
#[derive(Debug)]
pub struct Vm {
    /// One client for each request queue. Take them out to use them on threads of their own.
    pub clients: Vec<Client>,
    /// The device.
    pub device: Device,
    /// The daemon.
    pub daemon: Daemon,
    guest: GuestOptions,
}

impl Vm {
    /// How to start a virtual machine with the daemon `binary`; tests give `env!("CARGO_BIN_EXE_virtiofsd")`.
    pub fn builder(binary: impl AsRef<Path>) -> VmBuilder {
        VmBuilder {
            daemon: Daemon::builder(binary),
            guest: GuestOptions::default(),
        }
    }

    /// The client on the first request queue.
    pub fn client(&mut self) -> &mut Client {
        &mut self.clients[0]
    }

    /// What INIT negotiated.
    pub fn negotiated(&self) -> &InitOut {
        self.clients[0].negotiated()
    }

    /// Stops all queues, as a VMM does when the driver resets the device; returns where each stopped.
    pub fn stop_queues(&self) -> connection::Result<Vec<u32>> {
        (0..self.device.queue_count())
            .map(|index| self.device.stop_queue(index))
            .collect()
    }

    /// The guest reboots: all queues are stopped and set up again, the file system is mounted anew.
    ///
    /// # Panics
    /// When the daemon does not take part.
    pub fn reboot(&mut self) {
        self.stop_queues()
            .unwrap_or_else(|error| fail(&self.daemon, "stop the queues", error));
        self.clients.clear();
        self.clients = start_clients(&self.device, &self.guest)
            .unwrap_or_else(|error| fail(&self.daemon, "set the queues up again", error));
    }
}

/// Sets all queues up, sends INIT on the first request queue, and tells the other clients what it negotiated.
pub fn start_clients(device: &Device, options: &GuestOptions) -> connection::Result<Vec<Client>> {
    let hiprio = Arc::new(Hiprio::new(&device.memory, device.start_queue(0)?));
    // Linux starts at 2 and counts in twos: bit 0 marks an interrupt.
    let uniques = Arc::new(AtomicU64::new(2));
    let mut clients = Vec::new();
    for index in 1..device.queue_count() {
        let (hiprio, uniques) = (Arc::clone(&hiprio), Arc::clone(&uniques));
        let queue = device.start_queue(index)?;
        clients.push(Client::new(
            &device.memory,
            queue,
            hiprio,
            uniques,
            options.client,
        ));
    }
    let (minor, flags) = options.init;
    let negotiated = clients[0]
        .init_with(minor, flags)
        .unwrap_or_else(|errno| panic!("INIT: errno {errno}"));
    clients
        .iter_mut()
        .for_each(|client| client.set_negotiated(negotiated));
    Ok(clients)
}
