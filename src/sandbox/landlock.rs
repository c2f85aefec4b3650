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

/// The newest version with rights that the daemon can do without.
const NEWEST: ABI = ABI::V6;

/// Confines this process to what is beneath `root`. Kernels without Landlock, or with its first
/// version, under which no file could be moved to another directory, leave it as it is.
pub(super) fn confine_to(root: &OwnedFd) {
    match restrict(root) {
        Ok(status) if status.ruleset != RulesetStatus::NotEnforced => {
            log::debug!("Landlock: {:?}", status.ruleset);
        }
        Ok(_) => log::debug!("the kernel has no Landlock"),
        Err(error) => log::debug!("no Landlock: {error}"),
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
