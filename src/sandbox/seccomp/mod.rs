//! Which system calls the kernel still takes from this process.
//!
//! The rules are data: [`DAEMON`], [`SYSLOG`] and [`SUPERVISOR`]. What every request needs has no condition on
//! its arguments, because the kernel remembers calls that are allowed whatever their arguments are
//! and then runs no filter at all for them (`seccomp_cache_check_allow`, Linux 5.11).

mod daemon;
mod supervisor;

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, Error, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};

use crate::cli::SeccompAction;
use crate::error::DaemonError;
use crate::sys;

pub use daemon::{DAEMON, SYSLOG};
pub use supervisor::SUPERVISOR;

/// One system call that is allowed, or answered.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name, as `strace(1)` shows it.
    pub name: &'static str,
    /// Its number on this architecture.
    pub number: libc::c_long,
    /// When it is allowed.
    pub when: When,
    /// Whether it is needed depends on the machine or on luck: no test can insist on it.
    pub rare: bool,
    /// What needs it.
    pub reason: &'static str,
}

/// When a call is allowed.
#[derive(Clone, Copy, Debug)]
pub enum When {
    /// Whatever its arguments are.
    Always,
    /// One of these is the case.
    Any(&'static [Argument]),
    /// Never: it is answered with `ENOSYS`, upon which libc does without.
    Missing,
}

/// A condition on one argument.
#[derive(Clone, Copy, Debug)]
pub enum Argument {
    /// The argument of this index (from 0) is this 32-bit number.
    Is(u8, u64),
    /// Of the argument of this index, the bits of the first number are as in the second.
    Bits(u8, u64, u64),
    /// The argument of this index is the id of the process that installs the filter.
    OwnProcess(u8),
}

/// Memory that cannot be executed: the condition on `mmap` and `mprotect`.
const NOT_EXECUTABLE: &[Argument] = &[Argument::Bits(2, libc::PROT_EXEC as u64, 0)];

/// `sendto` on a connected socket: no address follows. (The length, because it has 32 bits.)
const NO_ADDRESS: &[Argument] = &[Argument::Is(5, 0)];

/// A call allowed whatever its arguments are.
const fn always(name: &'static str, number: libc::c_long, reason: &'static str) -> Row {
    Row {
        name,
        number,
        when: When::Always,
        rare: false,
        reason,
    }
}

/// As [`always`], not seen on every machine.
const fn rarely(name: &'static str, number: libc::c_long, reason: &'static str) -> Row {
    always(name, number, reason).is_rare()
}

/// A call allowed with some arguments only.
const fn when(
    name: &'static str,
    number: libc::c_long,
    any: &'static [Argument],
    reason: &'static str,
) -> Row {
    Row {
        when: When::Any(any),
        ..always(name, number, reason)
    }
}

/// A call that is answered with `ENOSYS`.
const fn missing(name: &'static str, number: libc::c_long, reason: &'static str) -> Row {
    Row {
        when: When::Missing,
        ..always(name, number, reason)
    }
}

impl Row {
    const fn is_rare(self) -> Self {
        Self { rare: true, ..self }
    }
}

/// Confines this thread, and all it starts, to `rows`; `action` is what happens on any other call.
pub(super) fn install(action: SeccompAction, rows: &[Row]) -> Result<(), DaemonError> {
    let action = match action {
        SeccompAction::None => return Ok(()),
        // Not the thread: what it had locked would stay locked, and the daemon look healthy.
        SeccompAction::Kill => seccompiler::SeccompAction::KillProcess,
        SeccompAction::Trap => {
            sys::report_trapped_calls().map_err(failed)?;
            seccompiler::SeccompAction::Trap
        }
        SeccompAction::Log => {
            log::warn!("--seccomp=log: no system call is refused, others are only logged");
            seccompiler::SeccompAction::Log
        }
    };
    let programs = compile(action, rows).map_err(failed)?;
    programs
        .iter()
        .try_for_each(|program| apply_filter(program).map_err(failed))
}

fn failed(error: impl ToString) -> DaemonError {
    let hint = "the kernel may lack seccomp filters: --seccomp=none starts without";
    DaemonError::new("the seccomp filter", error, hint)
}

/// Two programs: what is answered, and what is allowed at all. A filter has only one answer for
/// all its rules; of several filters the kernel takes the strictest answer. The second would not
/// let the first be installed after it.
fn compile(action: seccompiler::SeccompAction, rows: &[Row]) -> Result<Vec<BpfProgram>, Error> {
    let allowed = rules(rows, |_| true)?;
    let answered = rules(rows, |row| matches!(row.when, When::Missing))?;
    let enosys = seccompiler::SeccompAction::Errno(libc::ENOSYS as u32);
    let mut programs = Vec::new();
    if !answered.is_empty() {
        programs.push(program(
            answered,
            seccompiler::SeccompAction::Allow,
            enosys,
        )?);
    }
    programs.push(program(allowed, action, seccompiler::SeccompAction::Allow)?);
    Ok(programs)
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn program(
    rules: Rules,
    otherwise: seccompiler::SeccompAction,
    matched: seccompiler::SeccompAction,
) -> Result<BpfProgram, Error> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    Ok(SeccompFilter::new(rules, otherwise, matched, arch)?.try_into()?)
}

fn rules(rows: &[Row], wanted: impl Fn(&Row) -> bool) -> Result<Rules, Error> {
    let mut rules = Rules::new();
    for row in rows.iter().filter(|row| wanted(row)) {
        let conditions = match row.when {
            When::Always | When::Missing => vec![],
            When::Any(arguments) => arguments
                .iter()
                .map(|argument| Ok(SeccompRule::new(vec![condition(argument)?])?))
                .collect::<Result<_, Error>>()?,
        };
        rules.insert(row.number, conditions);
    }
    Ok(rules)
}

fn condition(argument: &Argument) -> Result<SeccompCondition, Error> {
    let (index, operator, value) = match *argument {
        Argument::Is(index, value) => (index, SeccompCmpOp::Eq, value),
        Argument::OwnProcess(index) => (index, SeccompCmpOp::Eq, u64::from(std::process::id())),
        Argument::Bits(index, mask, value) => (index, SeccompCmpOp::MaskedEq(mask), value),
    };
    Ok(SeccompCondition::new(
        index,
        SeccompCmpArgLen::Dword,
        operator,
        value,
    )?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use nix::errno::Errno;
    use nix::fcntl::{FcntlArg, fcntl};
    use nix::mount::{MntFlags, MsFlags, mount, umount2};
    use nix::sched::{CloneFlags, setns, unshare};
    use nix::sys::signal::kill;
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
    use nix::unistd::{chdir, chroot, execve, getppid, isatty, pivot_root, setpgid};

    use super::*;

    #[test]
    fn a_table_has_one_row_a_call() {
        for table in [&[DAEMON, SYSLOG].concat()[..], SUPERVISOR] {
            let mut numbers: Vec<_> = table.iter().map(|row| row.number).collect();
            numbers.sort_unstable();
            let total = numbers.len();
            numbers.dedup();

            assert_eq!(numbers.len(), total);
        }
    }

    /// Runs `act` in a thread that has the daemon's filter, except that a refused call gives an
    /// errno instead of ending the process.
    fn filtered<R: Send>(act: impl FnOnce() -> R + Send) -> R {
        filtered_by(DAEMON, act)
    }

    fn filtered_by<R: Send>(rows: &[Row], act: impl FnOnce() -> R + Send) -> R {
        let refuse = seccompiler::SeccompAction::Errno(REFUSED as u32);
        let programs = compile(refuse, rows).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                programs.iter().for_each(|one| apply_filter(one).unwrap());
                act()
            });
            thread.join().unwrap()
        })
    }

    /// What no system call gives by itself.
    const REFUSED: Errno = Errno::ENOTRECOVERABLE;

    #[test]
    fn g7_what_could_lead_out_is_refused() {
        type Call = (&'static str, fn() -> Result<(), Errno>);
        let calls: &[Call] = &[
            ("unshare", || unshare(CloneFlags::CLONE_NEWUSER)),
            ("setns", || setns(std::io::stdin(), CloneFlags::empty())),
            ("chroot", || chroot("/")),
            ("pivot_root", || pivot_root("/", "/")),
            ("umount2", || umount2("/nowhere", MntFlags::MNT_DETACH)),
            ("mount", || {
                mount(
                    None::<&str>,
                    "/nowhere",
                    None::<&str>,
                    MsFlags::MS_BIND,
                    None::<&str>,
                )
            }),
            ("execve", || {
                execve(c"/nowhere", &[c""; 0], &[c""; 0]).map(drop)
            }),
            ("kill", || kill(getppid(), None)),
            ("chdir", || chdir("/")),
            // Not setgroups: libc calls it in every thread, and aborts where only this one may not.
            ("setpgid", || setpgid(getppid(), getppid())),
            ("socket", || {
                let flags = SockFlag::empty();
                socket(AddressFamily::Unix, SockType::Stream, flags, None).map(drop)
            }),
            ("ioctl", || isatty(std::io::stdin()).map(drop)),
            ("fcntl", || {
                fcntl(std::io::stdin(), FcntlArg::F_GETPIPE_SZ).map(drop)
            }),
            ("prctl", || nix::sys::prctl::get_dumpable().map(drop)),
        ];
        for (name, call) in calls {
            assert_eq!(filtered(call), Err(REFUSED), "{name}");
        }
    }

    #[test]
    fn only_threads_of_its_own_can_be_signalled() {
        #[allow(unsafe_code)]
        fn signal_nothing(process: u32) -> Result<(), Errno> {
            // SAFETY: takes integers only; signal 0 is none.
            let result = unsafe { libc::syscall(libc::SYS_tgkill, process, process, 0) };
            Errno::result(result).map(drop)
        }
        let (own, parent) = (std::process::id(), std::os::unix::process::parent_id());

        assert_eq!(filtered(|| signal_nothing(own)), Ok(()));
        assert_eq!(filtered(|| signal_nothing(parent)), Err(REFUSED));
    }

    #[test]
    fn only_a_daemon_that_logs_to_syslog_may_send_to_it() {
        use std::io::Write;
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let send = || (&ours).write(b"line").map_err(|error| error.raw_os_error());

        assert_eq!(filtered(send), Err(Some(REFUSED as i32)));
        assert_eq!(filtered_by(&[DAEMON, SYSLOG].concat(), send), Ok(4));
    }

    #[test]
    fn the_daemon_may_start_threads() {
        let spawn = || std::thread::spawn(|| 7).join().unwrap();

        assert_eq!(filtered(spawn), 7);
    }

    /// Not a test: what `g7_a_refused_call_ends_the_whole_process` runs in a process of its own.
    #[test]
    #[ignore = "ends the process, on purpose"]
    fn makes_a_refused_call() {
        install(SeccompAction::Kill, DAEMON).unwrap();
        let _ = unshare(CloneFlags::CLONE_NEWUSER);
    }

    #[test]
    fn g7_a_refused_call_ends_the_whole_process() {
        let this = std::env::current_exe().unwrap();
        let arguments = [
            "--ignored",
            "--exact",
            concat!(module_path!(), "::makes_a_refused_call"),
        ];
        let arguments = arguments.map(|one| one.trim_start_matches("virtiofsd::"));

        let output = Command::new(this).args(arguments).output().unwrap();

        assert_eq!(output.status.signal(), Some(libc::SIGSYS), "{output:?}");
    }

    #[test]
    fn a_filter_is_no_longer_than_the_kernel_takes() {
        const BPF_MAXINSNS: usize = 4096;
        for table in [DAEMON, SUPERVISOR] {
            let programs = compile(seccompiler::SeccompAction::KillProcess, table).unwrap();

            assert!(programs.iter().all(|program| program.len() < BPF_MAXINSNS));
        }
    }
}
