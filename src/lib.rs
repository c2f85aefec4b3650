//! virtiofsd: a vhost-user daemon that shares a host directory with a virtual machine.

pub mod cli;
