//! Errors for people: what failed, why, and what to do about it.

use std::fmt;

/// Prints as `error: what: cause`, with the advice on a line below.
#[derive(Debug)]
pub struct Failure {
    what: String,
    cause: String,
    advice: Option<&'static str>,
}

impl Failure {
    /// `what` failed because of `cause`.
    pub fn new(what: impl Into<String>, cause: impl fmt::Display) -> Failure {
        Failure {
            what: what.into(),
            cause: cause.to_string(),
            advice: None,
        }
    }

    /// Adds what to do about it.
    pub fn advise(self, advice: &'static str) -> Failure {
        Failure {
            advice: Some(advice),
            ..self
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}: {}", self.what, self.cause)?;
        self.advice.map_or(Ok(()), |advice| write!(f, "\n{advice}"))
    }
}

/// Says what was attempted when a step fails.
pub trait Context<T> {
    /// `what` names the step.
    fn context(self, what: impl Into<String>) -> Result<T, Failure>;
}

impl<T, E: fmt::Display> Context<T> for Result<T, E> {
    fn context(self, what: impl Into<String>) -> Result<T, Failure> {
        self.map_err(|cause| Failure::new(what, cause))
    }
}
