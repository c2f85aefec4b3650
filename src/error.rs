//! Why the daemon could not start or go on, said to a person.

use std::fmt;

/// Shown as `error: what: cause`, and on the lines below what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonError {
    what: String,
    cause: String,
    hint: String,
}

impl DaemonError {
    /// `what` could not be done because of `cause`; `hint` is what to do about it.
    pub fn new(what: impl Into<String>, cause: impl ToString, hint: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            cause: cause.to_string(),
            hint: hint.into(),
        }
    }

    /// What could not be done.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Why.
    pub fn cause(&self) -> &str {
        &self.cause
    }

    /// What to do about it.
    pub fn hint(&self) -> &str {
        &self.hint
    }
}

impl fmt::Display for DaemonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}: {}\n{}", self.what, self.cause, self.hint)
    }
}

impl std::error::Error for DaemonError {}
