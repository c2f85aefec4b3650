//! What is wrong with a command line, said to a person.

use std::fmt;

/// What to do about an option that nobody knows.
pub(super) const SEE_HELP: &str = "`virtiofsd --help` lists all options";

/// A command line that cannot be served. Ends the process with
/// [`UsageError::EXIT_STATUS`].
///
/// Shown as two lines: `error: what: cause`, and below it what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError {
    /// The option, as typed.
    pub what: String,
    /// What is wrong with it.
    pub cause: String,
    /// What to do about it.
    pub hint: String,
}

impl UsageError {
    /// The exit status for every usage error, "not supported yet" included.
    pub const EXIT_STATUS: u8 = 2;

    pub(super) fn new(
        what: impl Into<String>,
        cause: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            what: what.into(),
            cause: cause.into(),
            hint: hint.into(),
        }
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, cause, hint } = self;
        let first = one_line(&format!("error: {what}: {cause}"));
        write!(f, "{first}\n{}", one_line(hint))
    }
}

/// Escapes what a terminal or a log would not show as typed.
fn one_line(text: &str) -> String {
    text.chars().fold(String::new(), |mut line, c| {
        match c.is_control() {
            true => line.extend(c.escape_default()),
            false => line.push(c),
        }
        line
    })
}

impl std::error::Error for UsageError {}
