//! The virtio-fs device: vhost-user on one side, requests on the other.
//!
//! The only layer that knows virtio and vhost-user; it knows no files. [`backend`] obeys the
//! front-end's control messages, [`engine`] runs a worker for every started queue, [`chain`] reads
//! and writes the rings in guest memory, and an [`Exchange`] is one request on its way: whoever
//! holds it owes the guest an answer.

mod backend;
mod chain;
mod config;
mod connection;
mod engine;
mod exchange;
mod pool;
mod queue;

pub use backend::Backend;
pub use config::{DeviceConfig, MAX_DESCRIPTORS, MAX_QUEUES};
pub use connection::{ConnectionEnd, SHARE_MEMORY_HINT, serve_connection};
pub use engine::{Engine, MakeServe, Serve};
pub use exchange::Exchange;
