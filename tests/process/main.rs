//! The process boundary: start-up, files, signals, exit status and log of the built daemon.

mod endings;
mod logs;
mod refusals;
mod run;
mod start;
mod user;
