//! The process that waits for the daemon's end.

use libc as c;

use super::{Row, always};

/// Its calls.
#[rustfmt::skip]
pub const SUPERVISOR: &[Row] = &[
    always("read", c::SYS_read, "the next signal"),
    always("wait4", c::SYS_wait4, "the child's exit status"),
    always("close", c::SYS_close, "the lifeline; everything in the end"),
    always("write", c::SYS_write, "a log line"),
];
