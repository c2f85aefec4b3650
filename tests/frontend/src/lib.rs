//! Embedded vhost-user front-end: what a virtual machine is to a virtio-fs daemon, without the virtual machine.
//!
//! It plays the VMM (vhost-user messages over the UNIX socket, guest memory) and the guest's driver (split virtqueues,
//! FUSE requests in the shape that Linux's virtio_fs gives them). Everything is written down here a second time,
//! independently of the daemon, so that an error in one of the two shows.
//!
//! ```no_run
//! use frontend::{ROOT_ID, Vm};
//!
//! let share = tempfile::tempdir().unwrap();
//! std::fs::write(share.path().join("greeting"), "hello").unwrap();
//! // A test gives env!("CARGO_BIN_EXE_virtiofsd").
//! let mut vm = Vm::builder("virtiofsd").share(share.path()).arg("--sandbox=none").start();
//!
//! let client = vm.client();
//! let file = client.lookup(ROOT_ID, "greeting").unwrap();
//! let open = client.open(file.nodeid, libc::O_RDONLY).unwrap();
//! assert_eq!(client.read(file.nodeid, open.fh, 0, 4096).unwrap(), b"hello");
//! assert_eq!(client.lookup(ROOT_ID, "nothing").unwrap_err(), libc::ENOENT);
//! ```
//!
//! The layers, from the top; each can be used without those above it:
//!
//! | module | what it is |
//! |---|---|
//! | [`vm`] | daemon + device + one client a request queue, INIT done; reboot |
//! | [`client`] | FUSE requests on one queue: typed, raw, or many in flight |
//! | [`device`] | a device's set-up: features, memory, queues |
//! | [`queue`] | a split virtqueue, driven well or raw |
//! | [`connection`] | vhost-user requests, or raw bytes |
//! | [`memory`] | guest memory in memfd regions |
//! | [`daemon`], [`process`] | the daemon's process, and what /proc says about it |
//! | [`fuse`], [`message`], [`ring`], [`wire`] | layouts and numbers, pure |
//!
//! Many requests in flight, for load: [`client::Client::submit`] each, [`client::Client::kick`] once, then
//! [`client::Client::wait_complete`] (or `spin_complete`), [`client::Client::recycle`] each; none of these allocates.
//!
//! Hostile input: [`connection::Connection::send`] for messages, [`queue::Queue::write_descriptor`] and its
//! neighbours for queues (get one with `vm.client().queue()`), [`client::Client::raw_bytes`] for requests.
//!
//! A misbehaving daemon (a reply that is too short, a chain returned twice, a request that never returns) makes the helpers
//! panic: in a test, that is the failure.

mod allocator;
pub mod client;
pub mod connection;
pub mod daemon;
pub mod device;
pub mod eventfd;
pub mod fuse;
pub mod memory;
pub mod message;
pub mod process;
pub mod queue;
pub mod ring;
pub mod vm;
pub mod wire;

pub use client::{Caller, Client, ClientOptions, Payload, Request};
pub use connection::Connection;
pub use daemon::Daemon;
pub use device::{Device, DeviceOptions};
pub use fuse::ROOT_ID;
pub use memory::{GuestMemory, RegionLayout};
pub use queue::{Queue, QueueOptions, Segment};
pub use vm::Vm;
