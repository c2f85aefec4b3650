//! Directory entries in the replies to READDIR and READDIRPLUS.

use super::{DirentHeader, EntryOut};
use crate::wire::Wire;

/// One entry of a READDIR reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dirent {
    /// Inode number.
    pub ino: u64,
    /// Offset at which the next entry starts.
    pub off: u64,
    /// `DT_...`
    pub typ: u32,
    /// The name's bytes.
    pub name: Vec<u8>,
}

/// One entry of a READDIRPLUS reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirentPlus {
    /// As a LOOKUP of the name would reply; `nodeid` 0 when there was none (`.` and `..`).
    pub entry: EntryOut,
    /// The entry itself.
    pub dirent: Dirent,
}

impl Dirent {
    /// All entries of a READDIR reply.
    ///
    /// # Panics
    /// When the bytes end within an entry.
    pub fn parse_all(mut bytes: &[u8]) -> Vec<Dirent> {
        std::iter::from_fn(|| (!bytes.is_empty()).then(|| Dirent::take(&mut bytes))).collect()
    }

    fn take(bytes: &mut &[u8]) -> Dirent {
        let header = DirentHeader::get(bytes);
        let (name, rest) = bytes.split_at(header.namelen as usize);
        let padding = header.namelen.next_multiple_of(8) - header.namelen;
        *bytes = &rest[padding as usize..];
        Dirent {
            ino: header.ino,
            off: header.off,
            typ: header.typ,
            name: name.to_vec(),
        }
    }
}

impl DirentPlus {
    /// All entries of a READDIRPLUS reply.
    ///
    /// # Panics
    /// When the bytes end within an entry.
    pub fn parse_all(mut bytes: &[u8]) -> Vec<DirentPlus> {
        let mut entries = Vec::new();
        while !bytes.is_empty() {
            let entry = EntryOut::get(&mut bytes);
            entries.push(DirentPlus {
                entry,
                dirent: Dirent::take(&mut bytes),
            });
        }
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_parsed_with_their_padding() {
        let entry = |name: &[u8], padding: usize| {
            let header = DirentHeader {
                ino: 5,
                off: 6,
                namelen: name.len() as u32,
                typ: 8,
            };
            [&header.encode(), name, &vec![0; padding]].concat()
        };

        let entries = Dirent::parse_all(&[entry(b"abc", 5), entry(b"12345678", 0)].concat());

        assert_eq!(entries[0].name, b"abc");
        assert_eq!(
            entries[1],
            Dirent {
                ino: 5,
                off: 6,
                typ: 8,
                name: b"12345678".to_vec()
            }
        );
    }
}
