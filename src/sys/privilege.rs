//! Giving up for good: `prctl(2)` and its like.
//!
//! What is given up here cannot be taken back by this process or any it starts.

use super::Errno;
use super::errno::check;

fn prctl(option: i32, arguments: [libc::c_ulong; 4]) -> Result<i32, Errno> {
    let [a, b, c, d] = arguments;
    // SAFETY: the options used below take integers only.
    check(unsafe { libc::prctl(option, a, b, c, d) })
}

/// No program this process starts gets more rights than it has (`PR_SET_NO_NEW_PRIVS`).
pub fn forgo_new_privileges() -> Result<(), Errno> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, [1, 0, 0, 0]).map(drop)
}

/// Whether [`forgo_new_privileges`] is in force already, by whoever started us.
pub fn has_forgone_new_privileges() -> bool {
    prctl(libc::PR_GET_NO_NEW_PRIVS, [0; 4]) == Ok(1)
}

/// No other process of the same user may trace this one or read its memory, and a crash leaves no
/// core (`PR_SET_DUMPABLE`). A later change of effective ids puts the sysctl `fs.suid_dumpable` in its
/// place, which says the same unless it is 1.
pub fn forbid_dumps() -> Result<(), Errno> {
    prctl(libc::PR_SET_DUMPABLE, [0; 4]).map(drop)
}

/// Uid 0 means nothing when a program is executed, for good (`SECBIT_NOROOT`, `capabilities(7)`).
/// Needs `CAP_SETPCAP`.
pub fn make_root_ordinary() -> Result<(), Errno> {
    const NOROOT: libc::c_ulong = 1 << 0;
    const NOROOT_LOCKED: libc::c_ulong = 1 << 1;
    prctl(libc::PR_SET_SECUREBITS, [NOROOT | NOROOT_LOCKED, 0, 0, 0]).map(drop)
}

/// Takes `capability` (its number) out of the bounding set. `Ok(false)` when the kernel has no
/// such capability. Needs `CAP_SETPCAP`.
pub fn drop_from_bounding_set(capability: u32) -> Result<bool, Errno> {
    let number = libc::c_ulong::from(capability);
    match prctl(libc::PR_CAPBSET_READ, [number, 0, 0, 0]) {
        Err(_) => Ok(false),
        Ok(0) => Ok(true),
        Ok(_) => prctl(libc::PR_CAPBSET_DROP, [number, 0, 0, 0]).map(|_| true),
    }
}

/// Empties the ambient set: nothing is handed to programs (`capabilities(7)`, Linux 4.3).
pub fn clear_ambient_set() -> Result<(), Errno> {
    let clear = libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong;
    prctl(libc::PR_CAP_AMBIENT, [clear, 0, 0, 0]).map(drop)
}

/// Has the kernel send SIGKILL to this process when the thread that forked it ends.
pub fn die_with_parent() -> Result<(), Errno> {
    prctl(
        libc::PR_SET_PDEATHSIG,
        [libc::SIGKILL as libc::c_ulong, 0, 0, 0],
    )
    .map(drop)
}

/// Leaves the session keyring of whoever started us for an empty one (`keyctl(2)`).
pub fn leave_session_keyring() -> Result<(), Errno> {
    let join = libc::c_long::from(libc::KEYCTL_JOIN_SESSION_KEYRING);
    let anonymous: *const libc::c_char = std::ptr::null();
    // SAFETY: a null name asks for an anonymous keyring; nothing is read from memory.
    check(unsafe { libc::syscall(libc::SYS_keyctl, join, anonymous) }).map(drop)
}
