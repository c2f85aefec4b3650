//! Malformed requests.

use std::fmt;

/// Why a request could not be decoded. It is answered, counted and, at a limited rate, logged; it
/// never ends anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// Fewer bytes than the request needs, or lengths that contradict each other.
    Malformed,
    /// A value outside its range.
    OutOfRange,
    /// Empty, with a slash or a NUL in it, or a dot name.
    BadName,
    /// Longer than 255 bytes, or a link target longer than a path may be.
    NameTooLong,
}

impl WireError {
    /// The errno that answers it.
    pub fn errno(self) -> i32 {
        match self {
            Self::Malformed | Self::OutOfRange | Self::BadName => libc::EINVAL,
            Self::NameTooLong => libc::ENAMETOOLONG,
        }
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "its lengths are wrong",
            Self::OutOfRange => "a value is out of range",
            Self::BadName => "a name is not a single component",
            Self::NameTooLong => "a name is too long",
        })
    }
}

impl std::error::Error for WireError {}
