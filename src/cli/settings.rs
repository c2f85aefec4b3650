//! Everything that was typed, in order, and what of it counts.

use std::ffi::OsStr;

use clap::ValueEnum;

use super::error::UsageError;
use super::option::{Id, Kind, Repeat};
use super::setting::{BadValue, Setting, choice};
use super::table;

/// Everything that was typed, in order, free of contradictions within one option.
#[derive(Debug)]
pub(super) struct Settings(Vec<Setting>);

impl Settings {
    /// Refuses two different values of an option that may only say the same again.
    pub fn new(settings: Vec<Setting>) -> Result<Self, UsageError> {
        for (index, later) in settings.iter().enumerate() {
            let earlier = settings[..index]
                .iter()
                .find(|earlier| earlier.option.id == later.option.id);
            match earlier {
                Some(earlier) if contradicts(earlier, later) => {
                    return Err(contradiction(earlier, later));
                }
                _ => {}
            }
        }
        Ok(Self(settings))
    }

    /// The settings without any effect.
    pub fn ignored(&self) -> impl Iterator<Item = &Setting> {
        self.0.iter().filter(|setting| setting.option.ignored)
    }

    /// The settings that count: all of a list, the last one of every other option.
    pub fn in_force(&self) -> impl Iterator<Item = &Setting> {
        self.0.iter().enumerate().filter_map(|(index, setting)| {
            let id = setting.option.id;
            let repeated = self.0[index + 1..]
                .iter()
                .any(|later| later.option.id == id);
            (!repeated || setting.option.repeat == Repeat::Adds).then_some(setting)
        })
    }

    /// How `id` was last given, if it was.
    pub fn last(&self, id: Id) -> Option<&Setting> {
        self.0.iter().rfind(|setting| setting.option.id == id)
    }

    /// Whether a switch is on, by the command line or by its default.
    pub fn switch(&self, id: Id) -> bool {
        self.switch_given(id)
            .unwrap_or(matches!(table::option(id).kind, Kind::Switch { default } if default))
    }

    /// What a switch was set to, if it was.
    pub fn switch_given(&self, id: Id) -> Option<bool> {
        self.last(id).map(Setting::is_on)
    }

    /// The text of an option as the operating system gave it.
    pub fn os_text(&self, id: Id) -> Option<&OsStr> {
        self.last(id).map(Setting::os_text)
    }

    /// The value of an option, made by `parse`.
    pub fn parsed<T>(
        &self,
        id: Id,
        parse: impl Fn(&str) -> Result<T, BadValue>,
    ) -> Result<Option<T>, UsageError> {
        self.last(id)
            .map(|setting| setting.parse(parse))
            .transpose()
    }

    /// Every value of an option that adds to a list.
    pub fn list<T>(
        &self,
        id: Id,
        parse: impl Fn(&str) -> Result<T, BadValue>,
    ) -> Result<Vec<T>, UsageError> {
        self.0
            .iter()
            .filter(|setting| setting.option.id == id)
            .map(|setting| setting.parse(&parse))
            .collect()
    }

    /// The word chosen for an option, if one was.
    pub fn choice_given<T: ValueEnum>(&self, id: Id) -> Result<Option<T>, UsageError> {
        self.parsed(id, choice)
    }

    /// The word chosen for an option, by the command line or by its default.
    pub fn choice<T: ValueEnum>(&self, id: Id) -> Result<T, UsageError> {
        let given = self.choice_given(id)?;
        let default = table::option(id).default;
        Ok(given.unwrap_or_else(|| choice(default).expect("the default is one of the choices")))
    }
}

fn contradicts(earlier: &Setting, later: &Setting) -> bool {
    later.option.repeat == Repeat::SameOnly && earlier.value != later.value
}

fn contradiction(earlier: &Setting, later: &Setting) -> UsageError {
    UsageError::new(
        later.shown(),
        format!("contradicts {} given before it", earlier.shown()),
        "keep one of the two",
    )
}
