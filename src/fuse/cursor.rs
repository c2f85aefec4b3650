//! Reading a request's bytes in order.

use std::ffi::CStr;

use super::abi::ByteValued;
use super::{Name, WireError};

/// Longest link target in bytes (`PATH_MAX` less its NUL).
const TARGET_MAX: usize = 4095;

/// What is left of a request's body.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    /// Starts at the body's first byte.
    pub fn new(body: &'a [u8]) -> Self {
        Self(body)
    }

    /// The next structure.
    pub fn take<T: ByteValued + Default>(&mut self) -> Result<T, WireError> {
        let mut value = T::default();
        value
            .as_mut_slice()
            .copy_from_slice(self.bytes(size_of::<T>())?);
        Ok(value)
    }

    /// The next `len` bytes.
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], WireError> {
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(WireError::Malformed)?;
        self.0 = rest;
        Ok(bytes)
    }

    /// The next string up to and including its NUL.
    fn c_str(&mut self) -> Result<&'a CStr, WireError> {
        let string = CStr::from_bytes_until_nul(self.0).map_err(|_| WireError::Malformed)?;
        self.0 = &self.0[string.to_bytes_with_nul().len()..];
        Ok(string)
    }

    /// The next name.
    pub fn name(&mut self) -> Result<Name<'a>, WireError> {
        Name::new(self.c_str()?)
    }

    /// The name that ends the body: nothing may follow its NUL.
    pub fn last_name(&mut self) -> Result<Name<'a>, WireError> {
        let name = self.name()?;
        self.end().map(|()| name)
    }

    /// The link target that ends the body.
    pub fn last_target(&mut self) -> Result<&'a CStr, WireError> {
        let target = self.c_str()?;
        match target.to_bytes().len() {
            0 => Err(WireError::BadName),
            1..=TARGET_MAX => self.end().map(|()| target),
            _ => Err(WireError::NameTooLong),
        }
    }

    fn end(&self) -> Result<(), WireError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(WireError::Malformed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuse::abi::MkdirIn;

    #[test]
    fn takes_structures_and_names_in_order() {
        let mut cursor = Cursor::new(b"\x01\0\0\0\x02\0\0\0one\0two\0");

        let mkdir: MkdirIn = cursor.take().unwrap();

        assert_eq!((mkdir.mode, mkdir.umask), (1, 2));
        assert_eq!(cursor.name().unwrap().as_c_str(), c"one");
        assert_eq!(cursor.last_name().unwrap().as_c_str(), c"two");
    }

    #[test]
    fn a_cut_body_is_malformed_at_every_length() {
        let body = b"\x01\0\0\0\x02\0\0\0one\0";
        for len in 0..body.len() {
            let mut cursor = Cursor::new(&body[..len]);
            let result = cursor.take::<MkdirIn>().and_then(|_| cursor.last_name());
            assert_eq!(result, Err(WireError::Malformed), "{len} bytes");
        }
    }

    #[test]
    fn nothing_may_follow_the_last_name() {
        assert_eq!(Cursor::new(b"a\0b").last_name(), Err(WireError::Malformed));
    }
}
