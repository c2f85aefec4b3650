//! virtiofsd: a vhost-user daemon that shares a host directory with a virtual machine.
//!
//! The modules in the order in which a reader (and a request) meets them; `docs/architecture.md`
//! draws the picture. Each may use only what stands below it.

#[cfg(target_endian = "big")]
compile_error!("virtqueues and FUSE messages are read and written little-endian");

pub mod cli;
pub mod daemon;

pub mod sandbox;

pub mod server;

pub mod device;

pub mod fs;

pub mod fuse;

pub mod sys;

pub mod error;
pub mod limit;
