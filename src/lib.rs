//! virtiofsd: a vhost-user daemon that shares a host directory with a virtual machine.
//!
//! The modules in the order in which a reader (and a request) meets them; `docs/architecture.md`
//! draws the picture. Each may use only what stands below it.

pub mod cli;
pub mod daemon;
pub mod device;
pub mod fs;
pub mod fuse;
pub mod sandbox;
pub mod server;
pub mod sys;

pub mod error;
pub mod limit;
