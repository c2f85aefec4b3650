//! Resource limits.

use super::DaemonError;
use crate::cli::NofileLimit;
use crate::sys::{self, NofileWish};

/// Forbids core files and raises the limit of open files. Returns how many files may be open now.
pub fn set(nofile: NofileLimit) -> Result<u64, DaemonError> {
    /// What the daemon cannot even start without.
    const FEWEST: u64 = 64;
    sys::forbid_core_files().map_err(|errno| {
        DaemonError::new("RLIMIT_CORE", errno, "this is a bug: please report it")
    })?;
    let wish = match nofile {
        NofileLimit::Default => NofileWish::Default,
        NofileLimit::Unchanged => NofileWish::Unchanged,
        NofileLimit::Fds(limit) => NofileWish::Exactly(limit),
    };
    if let NofileWish::Exactly(0..FEWEST) = wish {
        let hint = format!("ask for {FEWEST} at least; 1000000 is the default");
        return Err(DaemonError::new(
            "--rlimit-nofile",
            "too few for the daemon itself",
            hint,
        ));
    }
    let limit = sys::raise_nofile_limit(wish).map_err(|errno| {
        let hint = "ask for less, or raise the hard limit (ulimit -Hn; LimitNOFILE= of systemd)";
        DaemonError::new("--rlimit-nofile", errno, hint)
    })?;
    if limit.files < limit.wanted {
        log::info!(
            "at most {} files can be open, not {}: the hard limit is lower (ulimit -Hn; \
             LimitNOFILE= of systemd)",
            limit.files,
            limit.wanted
        );
    }
    Ok(limit.files)
}
