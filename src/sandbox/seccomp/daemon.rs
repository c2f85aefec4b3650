//! The process that serves the guest.

use libc as c;

use super::Argument::{Bits, Is, OwnProcess};
use super::{NO_ADDRESS, NOT_EXECUTABLE, Row, always, missing, rarely, when};

/// What pthread_create(3) asks for: a thread of this process.
const THREAD: u64 =
    (c::CLONE_VM | c::CLONE_FS | c::CLONE_FILES | c::CLONE_SIGHAND | c::CLONE_THREAD) as u64;
/// What no thread needs: namespaces.
const NAMESPACES: u64 = (c::CLONE_NEWNS
    | c::CLONE_NEWUSER
    | c::CLONE_NEWPID
    | c::CLONE_NEWNET
    | c::CLONE_NEWIPC
    | c::CLONE_NEWUTS
    | c::CLONE_NEWCGROUP) as u64;

/// Its calls, by what needs them. `tests/sandbox` shows that each is used.
#[rustfmt::skip]
pub const DAEMON: &[Row] = &[
    // Waiting, kicks and interrupts: every request.
    #[cfg(target_arch = "x86_64")]
    always("epoll_wait", c::SYS_epoll_wait, "a queue's worker sleeps until a kick"),
    #[cfg(all(target_arch = "x86_64", target_env = "musl"))]
    rarely("epoll_pwait", c::SYS_epoll_pwait, "what musl takes for epoll_wait"),
    #[cfg(not(target_arch = "x86_64"))]
    always("epoll_pwait", c::SYS_epoll_pwait, "a queue's worker sleeps until a kick"),
    always("write", c::SYS_write, "an interrupt; a log line"),
    always("futex", c::SYS_futex, "locks, and waiting for a thread to end"),

    // The front-end's connection.
    always("accept4", c::SYS_accept4, "the front-end; others are turned away"),
    always("recvfrom", c::SYS_recvfrom, "the header of the next message, left in place"),
    always("recvmsg", c::SYS_recvmsg, "a message, with descriptors"),
    always("sendmsg", c::SYS_sendmsg, "a reply"),
    when("getsockopt", c::SYS_getsockopt, &[
        Is(2, c::SO_DOMAIN as u64),
        Is(2, c::SO_TYPE as u64),
    ], "is the channel for our own requests a socket?"),
    always("shutdown", c::SYS_shutdown, "an orderly stop"),
    always("read", c::SYS_read, "which signal came"),
    #[cfg(target_arch = "x86_64")]
    always("poll", c::SYS_poll, "the main thread waits for front-ends and signals"),
    #[cfg(not(target_arch = "x86_64"))]
    always("ppoll", c::SYS_ppoll, "the main thread waits for front-ends and signals"),
    always("pipe2", c::SYS_pipe2, "tells the main thread that the connection's has ended"),
    always("epoll_create1", c::SYS_epoll_create1, "a queue starts"),
    always("epoll_ctl", c::SYS_epoll_ctl, "a queue starts"),
    always("eventfd2", c::SYS_eventfd2, "a queue starts: how it will be stopped"),
    when("fcntl", c::SYS_fcntl, &[
        Is(1, c::F_DUPFD_CLOEXEC as u64),
        Is(1, c::F_GETFL as u64),
        Is(1, c::F_SETFL as u64),
        // Before it closes a descriptor, Rust's debug build checks that it is open.
        Is(1, c::F_GETFD as u64),
    ], "duplicating a kick; not waiting for a driver's interrupt"),
    when("ioctl", c::SYS_ioctl, &[Is(1, c::FIONBIO)], "the connection waits for its messages"),

    always("newfstatat", c::SYS_newfstatat, "is a kick, a call or an error descriptor an eventfd?"),

    // Threads.
    when("clone", c::SYS_clone, &[Bits(0, THREAD | NAMESPACES, THREAD)], "a thread"),
    missing("clone3", c::SYS_clone3, "its flags cannot be looked at: libc takes clone instead"),
    always("set_robust_list", c::SYS_set_robust_list, "libc starts a thread"),
    always("rseq", c::SYS_rseq, "libc starts a thread"),
    always("rt_sigprocmask", c::SYS_rt_sigprocmask, "libc starts and ends threads"),
    always("rt_sigaction", c::SYS_rt_sigaction, "libc starts the first thread"),
    always("sigaltstack", c::SYS_sigaltstack, "Rust notices when a stack overflows"),
    always("sched_getaffinity", c::SYS_sched_getaffinity, "Rust asks libc where a stack ends"),
    always("gettid", c::SYS_gettid, "Rust starts a thread"),
    when("prctl", c::SYS_prctl, &[Is(0, c::PR_SET_NAME as u64)], "a thread's name"),
    always("exit", c::SYS_exit, "a thread ends"),
    always("exit_group", c::SYS_exit_group, "the process ends"),

    // Memory: nothing of it can be executed.
    when("mmap", c::SYS_mmap, NOT_EXECUTABLE, "guest memory, stacks, allocations"),
    when("mprotect", c::SYS_mprotect, NOT_EXECUTABLE, "a stack's guard; growing an arena"),
    always("munmap", c::SYS_munmap, "guest memory, stacks, allocations"),
    always("madvise", c::SYS_madvise, "the stack of a thread that ended"),
    rarely("brk", c::SYS_brk, "the main thread allocates"),
    rarely("mremap", c::SYS_mremap, "a large allocation grows"),

    // What depends on the machine, or on luck.
    rarely("clock_nanosleep", c::SYS_clock_nanosleep, "no descriptor is left to turn a peer away"),
    rarely("clock_gettime", c::SYS_clock_gettime, "the time, where the clock is no vDSO's"),
    rarely("getrandom", c::SYS_getrandom, "the seed of a hash table"),
    rarely("restart_syscall", c::SYS_restart_syscall, "the kernel goes on after SIGCONT"),
    rarely("sched_yield", c::SYS_sched_yield, "waiting for another thread's few instructions"),
    rarely("rt_sigreturn", c::SYS_rt_sigreturn, "Rust looks at a SIGSEGV or SIGBUS before it ends us"),
    rarely("getpid", c::SYS_getpid, "abort"),
    when("tgkill", c::SYS_tgkill, &[OwnProcess(0)], "abort").is_rare(),
    #[cfg(target_arch = "riscv64")]
    rarely("riscv_hwprobe", 258, "libc looks for a faster memcpy"),

    // Files: every request.
    always("statx", c::SYS_statx, "attributes"),
    always("openat", c::SYS_openat, "reopening a file through /proc/self/fd"),
    always("openat2", c::SYS_openat2, "looking a name up; creating a file"),
    always("close", c::SYS_close, "a file that is forgotten or released"),
    always("preadv", c::SYS_preadv, "READ"),
    always("pwritev2", c::SYS_pwritev2, "WRITE, which may append"),
    always("getdents64", c::SYS_getdents64, "READDIR"),
    always("lseek", c::SYS_lseek, "LSEEK; READDIR from another offset"),
    always("readlinkat", c::SYS_readlinkat, "READLINK"),
    always("mkdirat", c::SYS_mkdirat, "MKDIR"),
    always("mknodat", c::SYS_mknodat, "MKNOD"),
    always("symlinkat", c::SYS_symlinkat, "SYMLINK"),
    always("linkat", c::SYS_linkat, "LINK"),
    always("unlinkat", c::SYS_unlinkat, "UNLINK, RMDIR"),
    always("renameat2", c::SYS_renameat2, "RENAME, RENAME2"),
    always("fchmodat", c::SYS_fchmodat, "SETATTR: mode"),
    always("fchownat", c::SYS_fchownat, "SETATTR: owner"),
    always("ftruncate", c::SYS_ftruncate, "SETATTR: size"),
    always("utimensat", c::SYS_utimensat, "SETATTR: times"),
    always("fallocate", c::SYS_fallocate, "FALLOCATE"),
    always("copy_file_range", c::SYS_copy_file_range, "COPY_FILE_RANGE"),
    always("fsync", c::SYS_fsync, "FSYNC, FSYNCDIR"),
    always("fdatasync", c::SYS_fdatasync, "FSYNC of the data alone"),
    always("syncfs", c::SYS_syncfs, "SYNCFS"),
    always("fstatfs", c::SYS_fstatfs, "STATFS"),

    always("geteuid", c::SYS_geteuid, "the daemon's own identity"),
    always("getegid", c::SYS_getegid, "the daemon's own identity"),
    always("capget", c::SYS_capget, "the daemon's own capabilities"),

    // Acting as the caller: every request that creates something.
    always("setresuid", c::SYS_setresuid, "becoming the caller and back"),
    always("setresgid", c::SYS_setresgid, "becoming the caller and back"),
    always("capset", c::SYS_capset, "a caller has no capability of the daemon's but one"),
];

/// What it calls besides with `--syslog`.
pub const SYSLOG: &[Row] = &[when(
    "sendto",
    c::SYS_sendto,
    NO_ADDRESS,
    "a log line to a syslog that listens on a stream",
)
.is_rare()];
