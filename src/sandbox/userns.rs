//! User namespaces: making one, and knowing which ids it has.
//!
//! Ids are mapped in one of three ways. One id, our own: the process may write that map itself
//! once it has given up `setgroups` (`user_namespaces(7)`, "Defining user and group ID mappings").
//! Any map, by a process privileged outside: [`Writer::Privileged`]. Any ids that `/etc/subuid` and
//! `/etc/subgid` delegate to the user: newuidmap(1) and newgidmap(1). The last two must run
//! outside of the new namespace, in a helper that is forked before it is made: afterwards the
//! first child would become init of the pid namespace.

mod helper;

use std::fs;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, setresgid, setresuid};

use crate::cli::{IdMapping, SandboxConfig};
use crate::error::DaemonError;
use crate::sys::{self, Capabilities};
use helper::Helper;

/// Extents that a map can have (Linux 4.15).
const MAX_EXTENTS: usize = 340;

/// How many ids this process can stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IdScope {
    /// All of the host's: the initial user namespace.
    Host,
    /// Several, of a user namespace.
    Many,
    /// One user or one group: no request can run as anybody else.
    Single,
}

impl IdScope {
    /// From the maps of the user namespace this process is in. Where they cannot be read it is not
    /// taken for the initial one.
    pub(super) fn of_this_process() -> Self {
        match (read_map(Axis::User), read_map(Axis::Group)) {
            (Ok(uids), Ok(gids)) => Self::of_maps(&uids, &gids),
            (Err(error), _) | (_, Err(error)) => {
                log::warn!("/proc/self/uid_map: {error}: guests cannot make device nodes");
                Self::Many
            }
        }
    }

    fn of_maps(uids: &[IdMapping], gids: &[IdMapping]) -> Self {
        let ids = |map: &[IdMapping]| map.iter().map(|line| u64::from(line.count)).sum::<u64>();
        if *uids == [everything()] {
            Self::Host
        } else if ids(uids).min(ids(gids)) > 1 {
            Self::Many
        } else {
            Self::Single
        }
    }
}

/// The one line of the initial namespace's map.
fn everything() -> IdMapping {
    IdMapping {
        inside: 0,
        outside: 0,
        count: u32::MAX,
    }
}

/// Users or groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Axis {
    User,
    Group,
}

impl Axis {
    const BOTH: [Self; 2] = [Self::User, Self::Group];

    /// The file of `/proc/PID` with the map.
    fn file(self) -> &'static str {
        match self {
            Self::User => "uid_map",
            Self::Group => "gid_map",
        }
    }

    /// The option that asks for a map.
    fn option(self) -> &'static str {
        match self {
            Self::User => "--uid-map",
            Self::Group => "--gid-map",
        }
    }

    /// The program that writes it.
    fn program(self) -> &'static str {
        match self {
            Self::User => "newuidmap",
            Self::Group => "newgidmap",
        }
    }

    /// The file that delegates ids to users.
    fn delegation(self) -> &'static str {
        match self {
            Self::User => "/etc/subuid",
            Self::Group => "/etc/subgid",
        }
    }
}

/// Who writes the maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writer {
    /// This process: its own ids only.
    Itself,
    /// A helper with `CAP_SETUID` and `CAP_SETGID` outside.
    Privileged,
    /// A helper, through newuidmap and newgidmap.
    Delegated,
}

/// A user namespace to be made.
#[derive(Debug)]
pub(super) struct UserNamespace {
    uids: Vec<IdMapping>,
    gids: Vec<IdMapping>,
    /// Whoever starts us, outside.
    uid: u32,
    gid: u32,
}

impl UserNamespace {
    /// The one that mode `namespace` needs: as asked for; for an ordinary user one with its own
    /// ids; for a privileged one none.
    pub(super) fn wanted(config: &SandboxConfig) -> Result<Option<Self>, DaemonError> {
        let (uid, gid) = sys::effective_ids();
        let privileged = uid == 0 || has(Capabilities::SYS_ADMIN);
        if privileged && config.uid_map.is_empty() && config.gid_map.is_empty() {
            return Ok(None);
        }
        let wanted = Self {
            uids: or_own(&config.uid_map, uid),
            gids: or_own(&config.gid_map, gid),
            uid,
            gid,
        };
        wanted.check().map(|()| Some(wanted))
    }

    fn check(&self) -> Result<(), DaemonError> {
        for axis in Axis::BOTH {
            let extents = self.map(axis).len();
            if extents > MAX_EXTENTS {
                return Err(DaemonError::new(
                    axis.option(),
                    format!("{extents} ranges are given"),
                    format!("the kernel takes {MAX_EXTENTS}: join neighbouring ranges"),
                ));
            }
        }
        Ok(())
    }

    fn map(&self, axis: Axis) -> &[IdMapping] {
        match axis {
            Axis::User => &self.uids,
            Axis::Group => &self.gids,
        }
    }

    fn own_id(&self, axis: Axis) -> u32 {
        match axis {
            Axis::User => self.uid,
            Axis::Group => self.gid,
        }
    }

    /// Makes it, and the pid namespace of the next child, which it owns; maps its ids.
    pub(super) fn unshare_with_pids(&self) -> Result<(), DaemonError> {
        let helper = match self.writer() {
            Writer::Itself => None,
            writer => Some(Helper::start(self, writer)?),
        };
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWPID).map_err(refused)?;
        match helper {
            Some(helper) => helper.map_ids()?,
            None => self.map_own_ids()?,
        }
        self.compare()
    }

    fn writer(&self) -> Writer {
        let own = |axis| {
            let id = self.own_id(axis);
            matches!(self.map(axis), [line] if line.count == 1 && line.outside == id)
        };
        let both = Capabilities::SETUID | Capabilities::SETGID;
        if own(Axis::User) && own(Axis::Group) {
            Writer::Itself
        } else if has(both) {
            Writer::Privileged
        } else {
            Writer::Delegated
        }
    }

    fn map_own_ids(&self) -> Result<(), DaemonError> {
        let write = |file: &str, text: &str| {
            fs::write(format!("/proc/self/{file}"), text).map_err(|error| {
                DaemonError::new(format!("the user namespace's {file}"), error, denied())
            })
        };
        write("uid_map", &to_text(&self.uids))?;
        // Without this a process could drop a group that denies it something.
        write("setgroups", "deny")?;
        write("gid_map", &to_text(&self.gids))
    }

    /// The kernel's word on what the maps are now.
    fn compare(&self) -> Result<(), DaemonError> {
        for axis in Axis::BOTH {
            let failed = |cause: &dyn std::fmt::Display| {
                let hint = "the map that was asked for is not the one in force";
                DaemonError::new(format!("/proc/self/{}", axis.file()), cause, hint)
            };
            let mut found = read_map(axis).map_err(|error| failed(&error))?;
            let mut wanted = self.map(axis).to_vec();
            // The kernel sorts long ones.
            found.sort_unstable_by_key(|line| line.inside);
            wanted.sort_unstable_by_key(|line| line.inside);
            if found != wanted {
                return Err(failed(&format!("it says `{}`", to_text(&found).trim_end())));
            }
        }
        Ok(())
    }

    /// Takes an id that the namespace has: 0, which owns what the daemon itself makes; where 0 is
    /// not mapped, the process's own; where that is not either, the first.
    pub(super) fn become_inside_id(&self) -> Result<(), DaemonError> {
        let id = |axis| inside_id(self.map(axis), self.own_id(axis));
        let (uid, gid) = (id(Axis::User), id(Axis::Group));
        let failed = |errno| {
            let hint = "this is a bug: please report it";
            DaemonError::new(
                format!("becoming {uid}:{gid} in the user namespace"),
                errno,
                hint,
            )
        };
        if (uid, gid) == sys::effective_ids() {
            return Ok(());
        }
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        setresgid(gid, gid, gid).map_err(failed)?;
        setresuid(uid, uid, uid).map_err(failed)
    }
}

/// `map`, or `id` as itself.
fn or_own(map: &[IdMapping], id: u32) -> Vec<IdMapping> {
    match map {
        [] => vec![IdMapping {
            inside: id,
            outside: id,
            count: 1,
        }],
        given => given.to_vec(),
    }
}

fn inside_id(map: &[IdMapping], own: u32) -> u32 {
    let own = map
        .iter()
        .find(|line| (line.outside..=line.outside + (line.count - 1)).contains(&own))
        .map(|line| line.inside + (own - line.outside));
    match map.iter().any(|line| line.inside == 0) {
        true => 0,
        false => own.or(map.first().map(|line| line.inside)).unwrap_or(0),
    }
}

fn has(capabilities: u64) -> bool {
    Capabilities::current().is_ok_and(|now| now.effective & capabilities == capabilities)
}

fn to_text(map: &[IdMapping]) -> String {
    map.iter()
        .map(|line| format!("{} {} {}\n", line.inside, line.outside, line.count))
        .collect()
}

fn read_map(axis: Axis) -> Result<Vec<IdMapping>, std::io::Error> {
    Ok(parse(&fs::read_to_string(format!(
        "/proc/self/{}",
        axis.file()
    ))?))
}

fn parse(text: &str) -> Vec<IdMapping> {
    text.lines()
        .filter_map(|line| {
            let mut numbers = line.split_whitespace().map(str::parse);
            let mut number = || numbers.next()?.ok();
            Some(IdMapping {
                inside: number()?,
                outside: number()?,
                count: number()?,
            })
        })
        .collect()
}

const DENIED: &str = "the kernel, or the filter of a container, does not let ordinary users make \
                      user namespaces";

/// What to do where there can be no user namespace, or less of it: `cure` first.
fn or_without(cure: &str) -> String {
    let other = match sys::effective_ids().0 {
        0 => "--sandbox=chroot",
        // Anything else needs more rights yet.
        _ => "--sandbox=none",
    };
    format!("{cure}, or use {other}")
}

fn denied() -> String {
    restrictions().unwrap_or_else(|| or_without(&format!("{DENIED}: lift that restriction")))
}

fn refused(errno: Errno) -> DaemonError {
    let hint = match errno {
        Errno::ENOSPC => or_without(
            "the limit of user namespaces is reached: raise the sysctl user.max_user_namespaces",
        ),
        Errno::EUSERS => "user namespaces are nested too deep: use --sandbox=pivot_root".to_owned(),
        _ => denied(),
    };
    DaemonError::new("a user namespace", errno, hint)
}

/// Which of the switches that forbid user namespaces is set.
fn restrictions() -> Option<String> {
    const SWITCHES: &[(&str, &str, &str)] = &[
        ("kernel/unprivileged_userns_clone", "0", "set it to 1"),
        ("user/max_user_namespaces", "0", "raise it"),
        (
            "kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "set it to 0, or give the daemon an AppArmor profile that allows userns",
        ),
    ];
    SWITCHES.iter().find_map(|(path, forbidding, cure)| {
        let value = fs::read_to_string(format!("/proc/sys/{path}")).ok()?;
        let name = path.replace('/', ".");
        (value.trim() == *forbidding)
            .then(|| or_without(&format!("the sysctl {name} is {forbidding}: {cure}")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scope_is_what_the_maps_hold() {
        let table = [
            ("0 0 4294967295", "0 0 4294967295", IdScope::Host),
            ("1000 1000 1", "1000 1000 1", IdScope::Single),
            ("0 100000 65536", "0 100000 65536", IdScope::Many),
            ("0 1000 1\n1 100000 65536", "0 1000 1", IdScope::Single),
            ("0 1000 1\n1 100000 1", "0 1000 1\n1 7 1", IdScope::Many),
        ];

        for (uids, gids, expected) in table {
            let scope = IdScope::of_maps(&parse(uids), &parse(gids));

            assert_eq!(scope, expected, "{uids} / {gids}");
        }
    }

    #[test]
    fn root_inside_if_there_is_one_else_oneself_else_the_first() {
        let table = [
            ("0 100000 65536", 0),
            ("1 100000 10\n0 1000 1", 0),
            ("5 1000 1\n6 100000 10", 5),
            ("6 990 20", 16),
            ("7 100000 10", 7),
        ];

        for (map, expected) in table {
            assert_eq!(inside_id(&parse(map), 1000), expected, "{map}");
        }
    }
}
