//! What is wrong with a command line, said to a person.

use std::fmt;

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
        write!(f, "error: {}: {}\n{}", self.what, self.cause, self.hint)
    }
}

impl std::error::Error for UsageError {}
