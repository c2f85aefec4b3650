//! Supplementary groups: a guest's users must not profit from those of whoever started us.

use nix::unistd::{Gid, getgroups, setgroups};

use super::userns::IdScope;
use crate::error::DaemonError;
use crate::sys::Capabilities;

/// What became of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Groups {
    /// There are none, or no caller can profit from them.
    Harmless,
    /// They are still there while requests run as their callers.
    Retained,
}

/// What `/proc/self/setgroups` says (`user_namespaces(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setgroups {
    Allow,
    Deny,
    Unreadable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    /// Drop them; not being able to is fatal.
    Drop,
    /// Try; if that fails go on, or not, as the administrator says.
    Try,
    /// Leave them: nothing here runs as anybody else.
    Leave,
}

/// The decision, from what the process sees in its final user namespace.
fn decide(setgroups: Setgroups, ids: IdScope, may_change: bool, any: bool) -> Action {
    match (setgroups, ids) {
        // Without the right to change ids requests cannot run as their callers.
        _ if !any || !may_change => Action::Leave,
        // One id for everybody: requests never change ids.
        (Setgroups::Deny, IdScope::Single) => Action::Leave,
        (Setgroups::Allow, _) => Action::Drop,
        (Setgroups::Deny | Setgroups::Unreadable, _) => Action::Try,
    }
}

/// Drops the supplementary groups, where that is possible and matters.
pub(super) fn leave(ids: IdScope, fail: bool) -> Result<Groups, DaemonError> {
    let groups = getgroups().map_err(|errno| DaemonError::new("getgroups", errno, HINT))?;
    match decide(setgroups_file(), ids, may_change(), !groups.is_empty()) {
        Action::Leave => {
            if !groups.is_empty() {
                log::info!(
                    "supplementary groups are kept, as this user cannot drop them (start with \
                     `setpriv --clear-groups`): {}",
                    list(&groups)
                );
            }
            Ok(Groups::Harmless)
        }
        Action::Drop => drop_all().map(|()| Groups::Harmless),
        Action::Try if fail => drop_all().map(|()| Groups::Harmless),
        Action::Try => Ok(try_to_drop(&groups)),
    }
}

const HINT: &str = "start the daemon without supplementary groups (setpriv --clear-groups ...), \
                    or with --no-fail-setgroups to let every user of the guest have what they may";

fn drop_all() -> Result<(), DaemonError> {
    setgroups(&[]).map_err(|errno| DaemonError::new("dropping supplementary groups", errno, HINT))
}

fn try_to_drop(groups: &[Gid]) -> Groups {
    match setgroups(&[]) {
        Ok(()) => Groups::Harmless,
        Err(errno) => {
            log::warn!(
                "supplementary groups are kept ({errno}): every user of the guest may use what \
                 these groups may: {}",
                list(groups)
            );
            Groups::Retained
        }
    }
}

fn list(groups: &[Gid]) -> String {
    let gids: Vec<_> = groups.iter().map(Gid::to_string).collect();
    match gids.len() {
        0 => "none".to_owned(),
        _ => gids.join(" "),
    }
}

fn may_change() -> bool {
    Capabilities::current().is_ok_and(|now| now.effective & Capabilities::SETGID != 0)
}

fn setgroups_file() -> Setgroups {
    match std::fs::read_to_string("/proc/self/setgroups") {
        Ok(text) if text.trim() == "allow" => Setgroups::Allow,
        Ok(text) if text.trim() == "deny" => Setgroups::Deny,
        _ => Setgroups::Unreadable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g2_every_row_of_the_table() {
        use IdScope::{Host, Many, Single};
        use Setgroups::{Allow, Deny, Unreadable};
        let table = [
            (Allow, Host, true, true, Action::Drop),
            (Allow, Many, true, true, Action::Drop),
            (Allow, Host, false, true, Action::Leave),
            (Deny, Single, true, true, Action::Leave),
            (Deny, Many, true, false, Action::Leave),
            (Deny, Many, true, true, Action::Try),
            (Unreadable, Host, true, true, Action::Try),
            (Unreadable, Host, false, true, Action::Leave),
            (Deny, Many, false, true, Action::Leave),
            (Allow, Host, true, false, Action::Leave),
        ];

        for (file, ids, may_change, any, expected) in table {
            let action = decide(file, ids, may_change, any);

            assert_eq!(action, expected, "{file:?} {ids:?} {may_change} {any}");
        }
    }
}
