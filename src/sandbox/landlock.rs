//! Landlock: a second lock on files, and the main one where there is no other.
//!
//! The kernel refuses to open, create, remove, rename or truncate anything that is not beneath the
//! shared directory, whatever descriptor the way starts from. It does not cover path descriptors,
//! `stat`, `chmod` or extended attributes (`landlock(7)`, "Current limitations"). The crate knows
//! which of these rights the running kernel has.

use std::os::fd::{AsFd, OwnedFd};

use ::landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, RestrictionStatus,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

use crate::sys::ProcFds;

/// The newest version with rights that the daemon can do without.
const NEWEST: ABI = ABI::V6;

/// Confines this process to what is beneath `root`. Kernels without Landlock, or with its first
/// version, under which no file could be moved to another directory, leave it as it is.
/// That is worth a warning where `proc` leads to the host's files: nothing but Landlock stands
/// before them.
pub(super) fn confine_to(root: &OwnedFd, proc: &ProcFds) {
    let missing = match restrict(root) {
        Ok(status) if status.ruleset != RulesetStatus::NotEnforced => {
            return log::debug!("Landlock: {:?}", status.ruleset);
        }
        Ok(_) => "the kernel has none".to_owned(),
        Err(error) => error.to_string(),
    };
    match proc.is_jailed() {
        true => log::debug!("no Landlock: {missing}"),
        false => log::warn!(
            "no Landlock: {missing}: should the daemon be taken over, it can reach the host's files"
        ),
    }
}

fn restrict(root: &OwnedFd) -> Result<RestrictionStatus, RulesetError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::Refer)?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .add_rule(PathBeneath::new(root.as_fd(), AccessFs::from_all(NEWEST)))?
        .restrict_self()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn d26_nothing_outside_can_be_opened_by_any_path() {
        let share = tempfile::tempdir().unwrap();
        fs::write(share.path().join("file"), "").unwrap();
        let outside = File::open("/etc").unwrap();
        let by_descriptor = format!("/proc/self/fd/{}/passwd", outside.as_fd().as_raw_fd());
        let inside = share.path().join("file");
        let root = OwnedFd::from(File::open(share.path()).unwrap());
        let errno = |path: &str| File::open(path).unwrap_err().raw_os_error();

        // Landlock confines the thread that asks for it.
        let confined = std::thread::spawn(move || {
            let enforced = restrict(&root).is_ok_and(|s| s.ruleset != RulesetStatus::NotEnforced);
            let refused = [errno("/etc/passwd"), errno(&by_descriptor)];
            (enforced, refused, File::open(inside).is_ok())
        });

        let (enforced, refused, inside) = confined.join().unwrap();
        if !enforced {
            eprintln!("skipped: the kernel has no Landlock");
            return;
        }
        assert_eq!(refused, [Some(libc::EACCES); 2]);
        assert!(inside);
    }
}
