//! The sandbox at the process boundary: what the daemon is left with, and what it can reach.
//!
//! Needs root, an ordinary user with delegated ids (made when missing) and the programs that
//! `environment` puts before the daemon; a test that misses one of them says so and fails.

mod environment;
mod escape;
mod inside;
mod lifecycle;
mod refusals;
mod seccomp;
mod status;
mod workload;
