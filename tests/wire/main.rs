//! The socket boundary: the built daemon as a VMM and its guest see it.
//!
//! Names that begin with a letter and a number are cases of the list of hostile guests and faults.

mod attributes;
mod caching;
mod control;
mod directories;
mod exhaustion;
mod files;
mod guest;
mod hanging;
mod ids;
mod messages;
mod names;
mod protocol;
mod queues;
mod rings;
mod session;
