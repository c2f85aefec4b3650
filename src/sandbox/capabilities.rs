//! What the daemon may do that an ordinary process may not.

use caps::Capability;

use super::userns::IdScope;
use crate::cli::CapabilityChange;
use crate::error::DaemonError;
use crate::sys::{self, Capabilities};

/// What decides which capabilities are needed.
#[derive(Debug)]
pub(super) struct Needed<'a> {
    pub(super) ids: IdScope,
    pub(super) readonly: bool,
    pub(super) xattr: bool,
    /// `--modcaps`
    pub(super) changes: &'a [CapabilityChange],
}

/// To read all there is.
const READ: &[Capability] = &[Capability::CAP_DAC_READ_SEARCH];
/// To read and write all there is.
const WRITE: &[Capability] = &[Capability::CAP_DAC_OVERRIDE];
/// To act as the guest's users, and for its root on files of theirs.
const MANY_IDS: &[Capability] = &[
    Capability::CAP_CHOWN,
    Capability::CAP_FOWNER,
    Capability::CAP_FSETID,
    Capability::CAP_SETGID,
    Capability::CAP_SETUID,
];
/// To make device nodes for the guest's root; the host's user namespace only.
const DEVICES: &[Capability] = &[Capability::CAP_MKNOD];
/// To set capabilities of files, which are an extended attribute.
const FILE_CAPABILITIES: &[Capability] = &[Capability::CAP_SETFCAP];

impl Needed<'_> {
    /// The set, one bit a capability.
    fn set(&self) -> u64 {
        let by_use = self.by_use();
        let wanted = by_use.iter().flat_map(|list| list.iter());
        let wanted = wanted.fold(0, |set, capability| set | capability.bitmask());
        self.changes
            .iter()
            .fold(wanted, |set, change| match change.keep {
                true => set | change.capability.bitmask(),
                false => set & !change.capability.bitmask(),
            })
    }

    fn by_use(&self) -> Vec<&'static [Capability]> {
        if self.readonly {
            // No request changes anything, so none runs as its caller.
            return match self.ids {
                IdScope::Single => vec![],
                IdScope::Host | IdScope::Many => vec![READ],
            };
        }
        let mut lists = vec![WRITE];
        if self.ids != IdScope::Single {
            lists.push(MANY_IDS);
        }
        if self.ids == IdScope::Host {
            lists.push(DEVICES);
        }
        if self.xattr {
            lists.push(FILE_CAPABILITIES);
        }
        lists
    }

    fn wished_for(&self) -> u64 {
        let kept = self.changes.iter().filter(|change| change.keep);
        kept.fold(0, |set, change| set | change.capability.bitmask())
    }
}

/// Gives up every capability but the needed ones, in all five sets. What whoever started us
/// withheld is missed without an error: requests that need it get theirs.
pub(super) fn keep_only(needed: &Needed<'_>) -> Result<(), DaemonError> {
    let now = Capabilities::current().map_err(failed)?;
    let missing = needed.wished_for() & !now.permitted;
    if missing != 0 {
        log::warn!(
            "--modcaps: not ours to keep: {}",
            names(missing).join(" ").to_lowercase()
        );
    }
    let kept = needed.set() & now.permitted;
    log::debug!("capabilities kept: {}", names(kept).join(" "));
    reduce_to(kept)
}

/// Gives up every capability.
pub(super) fn keep_none() -> Result<(), DaemonError> {
    reduce_to(0)
}

fn reduce_to(kept: u64) -> Result<(), DaemonError> {
    // The first two need CAP_SETPCAP, which the last gives up.
    if let Err(errno) = clear_bounding_set() {
        log::debug!("the bounding set stays: {errno}");
    }
    if let Err(errno) = sys::make_root_ordinary() {
        log::debug!("securebits stay: {errno}");
    }
    sys::clear_ambient_set().map_err(failed)?;
    Capabilities::only(kept).apply().map_err(failed)
}

fn clear_bounding_set() -> Result<(), sys::Errno> {
    let mut capability = 0;
    while sys::drop_from_bounding_set(capability)? {
        capability += 1;
    }
    Ok(())
}

/// Gives up what no capability covers: more rights through programs, being traced or dumped, and
/// the keyring of whoever started us.
pub(super) fn forgo_the_rest() -> Result<(), DaemonError> {
    if let Err(errno) = sys::leave_session_keyring() {
        log::debug!("the session keyring stays: {errno}");
    }
    sys::forgo_new_privileges().map_err(failed)?;
    sys::forbid_dumps().map_err(failed)
}

fn failed(errno: sys::Errno) -> DaemonError {
    DaemonError::new(
        "giving up privileges",
        errno,
        "this is a bug: please report it",
    )
}

fn names(set: u64) -> Vec<String> {
    let mut all: Vec<_> = caps::all().into_iter().collect();
    all.sort_unstable_by_key(Capability::index);
    let in_set = all.into_iter().filter(|one| set & one.bitmask() != 0);
    in_set.map(|one| one.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ids: IdScope, readonly: bool, xattr: bool, changes: &[CapabilityChange]) -> String {
        let needed = Needed {
            ids,
            readonly,
            xattr,
            changes,
        };
        names(needed.set()).join(" ").replace("CAP_", "")
    }

    #[test]
    fn each_use_keeps_what_it_needs() {
        use IdScope::{Host, Many, Single};
        let many = "CHOWN DAC_OVERRIDE FOWNER FSETID SETGID SETUID";
        let table = [
            (Host, false, true, format!("{many} MKNOD SETFCAP")),
            (Host, false, false, format!("{many} MKNOD")),
            (Many, false, true, format!("{many} SETFCAP")),
            (Single, false, true, "DAC_OVERRIDE SETFCAP".to_owned()),
            (Single, false, false, "DAC_OVERRIDE".to_owned()),
            (Host, true, true, "DAC_READ_SEARCH".to_owned()),
            (Single, true, false, String::new()),
        ];

        for (ids, readonly, xattr, expected) in table {
            assert_eq!(set(ids, readonly, xattr, &[]), expected, "{ids:?}");
        }
    }

    #[test]
    fn modcaps_edits_the_set_in_order() {
        let change = |capability, keep| CapabilityChange { capability, keep };
        let changes = [
            change(Capability::CAP_MKNOD, false),
            change(Capability::CAP_SYS_ADMIN, true),
            change(Capability::CAP_LEASE, true),
            change(Capability::CAP_LEASE, false),
        ];

        let set = set(IdScope::Host, false, false, &changes);

        assert_eq!(
            set,
            "CHOWN DAC_OVERRIDE FOWNER FSETID SETGID SETUID SYS_ADMIN"
        );
    }
}
