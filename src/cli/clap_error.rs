//! What clap says about a command line, in this project's words.

use clap::Error;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::error::{SEE_HELP, UsageError};

/// Says what clap found wrong.
pub(super) fn usage_error(error: &Error) -> UsageError {
    let option = context(error, ContextKind::InvalidArg).unwrap_or_else(|| "virtiofsd".to_owned());
    // clap names an option together with its value: `--fd <N>`.
    let (name, metavar) = option.split_once([' ', '[']).unwrap_or((&option, ""));
    match error.kind() {
        ErrorKind::UnknownArgument => unknown(error, &option),
        ErrorKind::TooManyValues => {
            UsageError::new(name, "takes no value", format!("write `{name}` alone"))
        }
        ErrorKind::InvalidValue => invalid_value(error, name, metavar),
        _ => UsageError::new(name, first_line(error), SEE_HELP),
    }
}

fn unknown(error: &Error, typed: &str) -> UsageError {
    let cause = match typed.starts_with('-') {
        true => "unknown option",
        false => "unexpected argument",
    };
    let hint = match context(error, ContextKind::SuggestedArg) {
        Some(known) => format!("did you mean `{known}`? {SEE_HELP}"),
        None => SEE_HELP.to_owned(),
    };
    UsageError::new(typed, cause, hint)
}

fn invalid_value(error: &Error, name: &str, metavar: &str) -> UsageError {
    let choices = context(error, ContextKind::ValidValue).unwrap_or_default();
    match context(error, ContextKind::InvalidValue).unwrap_or_default() {
        missing if missing.is_empty() => {
            let metavar = metavar.trim_matches(['<', '>']);
            let between = if name.starts_with("--") { '=' } else { ' ' };
            let choices = match choices.as_str() {
                "" => String::new(),
                list => format!(" with one of: {list}"),
            };
            UsageError::new(
                name,
                "needs a value",
                format!("write `{name}{between}{metavar}`{choices}"),
            )
        }
        value => UsageError::new(
            format!("{name}={value}"),
            "no such choice",
            format!("use one of: {choices}"),
        ),
    }
}

fn first_line(error: &Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}

fn context(error: &Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => Some(texts.join(", ")),
        _ => None,
    }
}
