//! One option as typed, without regard to the dialect.

use std::ffi::{OsStr, OsString};

use clap::ValueEnum;
use clap::builder::PossibleValue;

use super::error::UsageError;
use super::option::{Kind, Opt, words};

/// One option as typed.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub option: &'static Opt,
    /// How it was spelled, for messages: `--cache` or `-o cache`.
    pub spelling: String,
    pub value: Value,
}

/// What an option was set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    On,
    Off,
    Text(OsString),
}

impl Setting {
    /// Names `option` with what followed it: `typed`, or `on` when nothing did.
    pub fn new(
        option: &'static Opt,
        spelling: String,
        on: bool,
        typed: Option<&OsStr>,
    ) -> Result<Self, UsageError> {
        let value = match (option.kind, typed) {
            (Kind::Switch { .. } | Kind::Mode(_), Some(_)) if !on => {
                return Err(takes_no_value(spelling));
            }
            (Kind::Switch { .. }, Some(_)) => return Err(takes_no_value(spelling)),
            (Kind::Switch { .. }, None) if on => Value::On,
            (Kind::Switch { .. }, None) => Value::Off,
            (Kind::Mode(_), None) if on => Value::Text("always".into()),
            (Kind::Mode(_), None) => Value::Text("never".into()),
            (_, Some(text)) if !text.is_empty() => Value::Text(text.to_owned()),
            (_, _) => return Err(needs_value(option, spelling)),
        };
        Ok(Self {
            option,
            spelling,
            value,
        })
    }

    /// As typed, value included.
    pub fn shown(&self) -> String {
        match &self.value {
            Value::On | Value::Off => self.spelling.clone(),
            Value::Text(text) => format!("{}={}", self.spelling, text.display()),
        }
    }

    /// Whether it is one of `wishes`, each written `name`, `no-name` or `name=word`.
    pub fn asks_for_any<'a>(&self, mut wishes: impl Iterator<Item = &'a str>) -> bool {
        let name = self.option.name;
        let asked = match self.word().as_deref() {
            Some("never") if matches!(self.option.kind, Kind::Mode(_)) => return false,
            Some(word) => [name.to_owned(), format!("{name}={word}")],
            None if self.is_on() => [name.to_owned(), String::new()],
            None => [format!("no-{name}"), String::new()],
        };
        wishes.any(|wish| asked.iter().any(|asked| asked == wish))
    }

    /// The value, as the table spells it if it is a choice.
    fn word(&self) -> Option<String> {
        let Value::Text(text) = &self.value else {
            return None;
        };
        let text = text.to_string_lossy();
        let choices = self.option.choices();
        let choice = choices.iter().find(|choice| choice.matches(&text, true));
        Some(choice.map_or(text.into_owned(), |choice| choice.get_name().to_owned()))
    }

    /// Whether it turns a switch on.
    pub fn is_on(&self) -> bool {
        self.value != Value::Off
    }

    /// The value as the operating system gave it; empty for a switch.
    pub fn os_text(&self) -> &OsStr {
        match &self.value {
            Value::Text(text) => text,
            Value::On | Value::Off => OsStr::new(""),
        }
    }

    fn text(&self) -> Result<&str, UsageError> {
        self.os_text().to_str().ok_or_else(|| {
            UsageError::new(
                &self.spelling,
                "the value is not valid UTF-8",
                "write it in ASCII or UTF-8",
            )
        })
    }

    /// The value, made by `parse`.
    pub fn parse<T>(&self, parse: impl Fn(&str) -> Result<T, BadValue>) -> Result<T, UsageError> {
        let text = self.text()?;
        parse(text).map_err(|bad| bad.of(&self.spelling, text))
    }
}

fn takes_no_value(spelling: String) -> UsageError {
    let hint = format!("write `{spelling}` alone");
    UsageError::new(spelling, "takes no value", hint)
}

fn needs_value(option: &Opt, spelling: String) -> UsageError {
    let example = option.metavar().unwrap_or_default();
    let hint = format!("write `{spelling}={example}`{}", choices_after(option));
    UsageError::new(spelling, "needs a value", hint)
}

fn choices_after(option: &Opt) -> String {
    match option.choices() {
        choices if choices.is_empty() => String::new(),
        choices => format!(" with one of: {}", names(&choices)),
    }
}

fn names(choices: &[PossibleValue]) -> String {
    let names: Vec<_> = choices.iter().map(|value| value.get_name()).collect();
    names.join(", ")
}

/// Why a value cannot be used, and what could.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadValue {
    pub cause: String,
    pub hint: String,
}

impl BadValue {
    pub fn new(cause: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            cause: cause.into(),
            hint: hint.into(),
        }
    }

    fn of(self, spelling: &str, text: &str) -> UsageError {
        UsageError::new(format!("{spelling}={text}"), self.cause, self.hint)
    }
}

/// The one of `T` that `word` names.
pub(super) fn choice<T: ValueEnum>(word: &str) -> Result<T, BadValue> {
    T::from_str(word, true).map_err(|_| {
        let hint = format!("use one of: {}", names(&words::<T>()));
        BadValue::new("no such choice", hint)
    })
}
