//! What the daemon cannot do yet.
//!
//! An option whose feature is not there ends start-up: silently ignoring it
//! would promise what is not kept. When a feature arrives, its line goes.

use log::Level;

use super::config::Note;
use super::error::UsageError;
use super::settings::Settings;

/// The spellings that are refused. A bare name stands for every way to ask
/// for the option, `name=word` for that word alone; asking for the opposite
/// or for `never` is fine, because that is what is the case.
const ABSENT: &[&str] = &[
    "daemonize",
    "flock",
    "inode-file-handles=mandatory",
    "killpriv-v2",
    "migration-confirm-paths",
    "migration-mode",
    "migration-on-error",
    "migration-verify-handles",
    "posix-acl",
    "posix-lock",
    "preserve-noatime",
    "security-label",
    "translate-gid",
    "translate-uid",
    "writeback",
    "xattr",
    "xattrmap",
];

/// What is asked for, is not there, and can be done without: said in the log.
const DEGRADED: &[(&str, &str)] = &[(
    "inode-file-handles=prefer",
    "file handles are not supported yet; inodes are kept as file descriptors",
)];

/// Refuses settings that ask for a feature that is not there.
pub(super) fn check(settings: &Settings) -> Result<(), UsageError> {
    let refused = settings
        .in_force()
        .find(|setting| setting.asks_for_any(ABSENT.iter().copied()));
    match refused {
        Some(setting) => Err(UsageError::new(
            setting.shown(),
            "not supported yet",
            "leave it out to start without it",
        )),
        None => Ok(()),
    }
}

/// What to say about settings that ask for a feature that can be done without.
pub(super) fn notes(settings: &Settings) -> Vec<Note> {
    let note = |text: String| Note {
        level: Level::Info,
        text,
    };
    settings
        .in_force()
        .flat_map(|setting| {
            DEGRADED
                .iter()
                .filter(|(asked, _)| setting.asks_for_any([*asked].into_iter()))
                .map(|(_, text)| note(format!("{}: {text}", setting.shown())))
        })
        .collect()
}

/// What is refused of the option named `name`: its own name, or `name=word` for some words.
pub(super) fn absent(name: &str) -> impl Iterator<Item = &'static str> {
    ABSENT
        .iter()
        .copied()
        .filter(move |absent| absent.split('=').next() == Some(name))
}

#[cfg(test)]
mod tests {
    use super::super::table;
    use super::*;

    #[test]
    fn every_line_names_an_option_and_one_of_its_words() {
        let degraded = DEGRADED.iter().map(|(asked, _)| *asked);
        for line in ABSENT.iter().copied().chain(degraded) {
            let (name, word) = line.split_once('=').unzip();
            let name = name.unwrap_or(line).trim_start_matches("no-");

            let option = table::options().find(|option| option.name == name);

            let option = option.unwrap_or_else(|| panic!("{line}: no such option"));
            let words = option.choices();
            let known = word.is_none_or(|word| words.iter().any(|w| w.get_name() == word));
            assert!(known, "{line}: no such word");
        }
    }
}
