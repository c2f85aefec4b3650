//! Encoding replies.

use super::abi::{ByteValued, OUT_HEADER_LEN, OutHeader};

/// The bytes of one reply: the header, then what the operation puts. Made once per worker and used
/// again for every request, so encoding allocates nothing.
#[derive(Debug)]
pub struct Reply {
    bytes: Vec<u8>,
    /// The most bytes the guest has room for, header included.
    room: usize,
}

impl Reply {
    /// A reply of nothing yet.
    pub fn new() -> Self {
        Self {
            bytes: vec![0; OUT_HEADER_LEN],
            room: OUT_HEADER_LEN,
        }
    }

    /// Starts over for a request with room for `room` bytes of reply.
    pub fn begin(&mut self, room: usize) {
        self.bytes.truncate(OUT_HEADER_LEN);
        self.room = room;
    }

    /// Appends a structure.
    pub fn put<T: ByteValued>(&mut self, value: &T) {
        self.put_bytes(value.as_slice());
    }

    /// Appends bytes.
    pub fn put_bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends bytes if the guest has room for them all; says whether it had.
    pub fn put_fitting(&mut self, bytes: &[u8]) -> bool {
        let fits = self.payload_len() + bytes.len() <= self.payload_room();
        if fits {
            self.put_bytes(bytes);
        }
        fits
    }

    /// Appends zeroes up to a multiple of eight bytes.
    pub(super) fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
    }

    /// Bytes of payload so far.
    pub fn payload_len(&self) -> usize {
        self.bytes.len() - OUT_HEADER_LEN
    }

    /// Bytes of payload the guest has room for in all.
    pub fn payload_room(&self) -> usize {
        self.room.saturating_sub(OUT_HEADER_LEN)
    }

    /// Ends a successful reply: `in_place` more bytes of payload are in guest memory already.
    pub fn seal(&mut self, unique: u64, in_place: usize) {
        let len = self.bytes.len() + in_place;
        debug_assert!(
            len <= self.room,
            "a reply of {len} bytes for {} of room",
            self.room
        );
        let len = len as u32;
        self.set_header(OutHeader {
            len,
            error: 0,
            unique,
        });
    }

    /// Makes it an error reply, dropping any payload; `errno` is positive.
    pub fn fail(&mut self, unique: u64, errno: i32) {
        self.bytes.truncate(OUT_HEADER_LEN);
        self.set_header(OutHeader {
            len: OUT_HEADER_LEN as u32,
            error: -errno,
            unique,
        });
    }

    /// The encoded bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn set_header(&mut self, header: OutHeader) {
        self.bytes[..OUT_HEADER_LEN].copy_from_slice(header.as_slice());
    }
}

impl Default for Reply {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_counts_what_is_put_and_what_is_in_place() {
        let mut reply = Reply::new();
        reply.begin(100);
        reply.put_bytes(b"abc");

        reply.seal(9, 5);

        let header = [24u32.to_ne_bytes(), 0u32.to_ne_bytes()].concat();
        assert_eq!(
            reply.as_bytes(),
            [&header, &9u64.to_ne_bytes()[..], b"abc"].concat()
        );
    }

    #[test]
    fn a_failed_reply_has_no_payload() {
        let mut reply = Reply::new();
        reply.begin(100);
        reply.put_bytes(b"abc");

        reply.fail(9, libc::ENOENT);

        assert_eq!(reply.as_bytes().len(), OUT_HEADER_LEN);
        assert_eq!(reply.as_bytes()[4..8], (-libc::ENOENT).to_ne_bytes());
    }
}
