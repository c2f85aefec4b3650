//! Names of directory entries.

use std::ffi::CStr;

use super::WireError;

/// Longest component in bytes (`NAME_MAX`).
const MAX_LEN: usize = 255;

/// One path component: not empty, no slash, not `.` or `..`, at most 255 bytes, any encoding.
///
/// Holding one is the proof that a name cannot lead out of its directory; no guest name reaches a
/// system call in any other type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a>(&'a CStr);

impl<'a> Name<'a> {
    /// Checks `name`.
    pub fn new(name: &'a CStr) -> Result<Self, WireError> {
        let bytes = name.to_bytes();
        if bytes.len() > MAX_LEN {
            return Err(WireError::NameTooLong);
        }
        if bytes.is_empty() || bytes.contains(&b'/') || matches!(bytes, b"." | b"..") {
            return Err(WireError::BadName);
        }
        Ok(Self(name))
    }

    /// The component, NUL-terminated.
    pub fn as_c_str(self) -> &'a CStr {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_component_of_any_bytes_is_a_name() {
        for name in [c"a", c"...", c"..a", c"\xff\n", c"-rf", c"self", c"0"] {
            assert_eq!(Name::new(name).unwrap().as_c_str(), name);
        }
    }

    #[test]
    fn what_could_lead_elsewhere_is_none() {
        for name in [
            c"", c".", c"..", c"/", c"a/b", c"../x", c"x/", c"./x", c"/etc",
        ] {
            assert_eq!(Name::new(name), Err(WireError::BadName), "{name:?}");
        }
    }

    #[test]
    fn the_limit_is_255_bytes() {
        let long = |len| std::ffi::CString::new(vec![b'n'; len]).unwrap();
        assert!(Name::new(&long(255)).is_ok());
        assert_eq!(Name::new(&long(256)), Err(WireError::NameTooLong));
    }
}
