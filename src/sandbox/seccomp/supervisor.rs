//! The process that waits for the daemon's end.

use libc as c;

#[cfg(debug_assertions)]
use super::Argument::Is;
use super::{NO_ADDRESS, NOT_EXECUTABLE, Row, always, rarely, when};

/// Its calls.
#[rustfmt::skip]
pub const SUPERVISOR: &[Row] = &[
    always("read", c::SYS_read, "the next signal"),
    always("wait4", c::SYS_wait4, "the child's exit status"),
    always("write", c::SYS_write, "a log line"),

    // In the end.
    always("newfstatat", c::SYS_newfstatat, "are the socket and the pid file still ours?"),
    always("statx", c::SYS_statx, "which file is our pid file?"),
    always("unlinkat", c::SYS_unlinkat, "the socket and the pid file"),
    always("flock", c::SYS_flock, "the pid file's lock"),
    always("close", c::SYS_close, "the lifeline; everything in the end"),
    #[cfg(debug_assertions)]
    when("fcntl", c::SYS_fcntl, &[Is(1, c::F_GETFD as u64)], "Rust's debug build: is it open?"),
    always("sigaltstack", c::SYS_sigaltstack, "Rust ends the main thread"),
    always("munmap", c::SYS_munmap, "Rust ends the main thread"),
    always("exit_group", c::SYS_exit_group, "the process ends"),

    // What depends on the machine, or on luck.
    when("mmap", c::SYS_mmap, NOT_EXECUTABLE, "an allocation").is_rare(),
    rarely("brk", c::SYS_brk, "an allocation"),
    rarely("clock_gettime", c::SYS_clock_gettime, "the time, where the clock is no vDSO's"),
    rarely("restart_syscall", c::SYS_restart_syscall, "the kernel goes on after SIGCONT"),
    when("sendto", c::SYS_sendto, NO_ADDRESS, "a log line to a syslog that listens on a stream").is_rare(),
];
