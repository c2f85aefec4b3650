//! Packing directory entries into replies.

use super::abi::{self, EntryOut};
use super::reply::Reply;

/// One entry of a listing.
#[derive(Clone, Copy, Debug)]
pub struct Dirent<'a> {
    /// Inode number shown to the guest.
    pub ino: u64,
    /// Where the listing goes on after this entry.
    pub next_offset: u64,
    /// `DT_*`.
    pub kind: u32,
    /// The name, without a NUL.
    pub name: &'a [u8],
}

impl Dirent<'_> {
    /// Whether the entry, with its attributes when `plus`, still fits within `limit` bytes of
    /// payload.
    pub fn fits(&self, reply: &Reply, limit: usize, plus: bool) -> bool {
        let attributes = if plus { size_of::<EntryOut>() } else { 0 };
        let len = attributes + size_of::<abi::Dirent>() + self.name.len();
        reply.payload_len() + len.next_multiple_of(8) <= limit.min(reply.payload_room())
    }

    /// Appends the entry.
    pub fn pack(&self, reply: &mut Reply) {
        reply.put(&abi::Dirent {
            ino: self.ino,
            off: self.next_offset,
            namelen: self.name.len() as u32,
            type_: self.kind,
        });
        reply.put_bytes(self.name);
        reply.pad();
    }

    /// Appends the entry behind its attributes; without any the guest looks it up itself.
    pub fn pack_plus(&self, reply: &mut Reply, entry: Option<&EntryOut>) {
        reply.put(entry.unwrap_or(&EntryOut::default()));
        self.pack(reply);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_padded_and_counted_exactly() {
        let dirent = Dirent {
            ino: 1,
            next_offset: 2,
            kind: 4,
            name: b"name",
        };
        let mut reply = Reply::new();
        reply.begin(16 + 32);

        assert!(dirent.fits(&reply, 32, false) && !dirent.fits(&reply, 31, false));
        assert!(!dirent.fits(&reply, 160, true));
        dirent.pack(&mut reply);

        assert_eq!(reply.payload_len(), 32);
        assert!(!dirent.fits(&reply, 1000, false));
    }
}
