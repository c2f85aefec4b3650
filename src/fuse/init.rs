//! INIT: what both sides can do.

use super::abi::{self, InitIn, InitOut, init_flag as flag};
use super::cursor::Cursor;
use super::{WireError, operation};

/// Most bytes of one WRITE.
const MAX_WRITE: u32 = 1 << 20;
/// The same in pages of 4 KiB. The guest counts it in pages of its own, which may be larger: READs
/// then ask for more, and get it.
const MAX_PAGES: u16 = (MAX_WRITE / 4096) as u16;

/// A guest's INIT.
#[derive(Clone, Copy, Debug)]
pub struct InitRequest {
    major: u32,
    minor: u32,
    max_readahead: u32,
    flags: u64,
}

impl InitRequest {
    pub(super) fn decode(mut body: Cursor<'_>) -> Result<Self, WireError> {
        let args: InitIn = body.take()?;
        // The second word of flags came with 7.36; before, the message ends here.
        let high: u32 = match u64::from(args.flags) & flag::INIT_EXT {
            0 => 0,
            _ => operation::word(&mut body)?,
        };
        Ok(Self {
            major: args.major,
            minor: args.minor,
            max_readahead: args.max_readahead,
            flags: u64::from(args.flags) | u64::from(high) << 32,
        })
    }
}

/// A set of feature bits ([`init_flag`](abi::init_flag)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features(pub u64);

impl Features {
    /// What every session of ours can do.
    pub const ALWAYS: Self = Self(
        flag::ASYNC_READ
            | flag::BIG_WRITES
            | flag::ASYNC_DIO
            | flag::PARALLEL_DIROPS
            | flag::MAX_PAGES
            | flag::INIT_EXT,
    );

    /// Whether all bits of `other` are in it.
    pub fn has(self, other: u64) -> bool {
        self.0 & other == other
    }

    /// With `bits` too when `condition`.
    #[must_use]
    pub fn with(self, bits: u64, condition: bool) -> Self {
        if condition { Self(self.0 | bits) } else { self }
    }
}

/// What was agreed.
#[derive(Clone, Copy, Debug)]
pub struct Session {
    /// The protocol's minor version.
    pub minor: u32,
    /// The features both sides have.
    pub features: Features,
}

/// How INIT ends.
#[derive(Debug)]
pub enum Negotiation {
    /// The session starts.
    Agreed(Session, InitOut),
    /// The guest speaks a newer major version: it is told ours and asks again.
    AskAgain(InitOut),
    /// The guest's protocol is too old.
    TooOld,
}

/// Answers `request` with what it shares with `offered`.
pub fn negotiate(request: &InitRequest, offered: Features) -> Negotiation {
    let mut reply = InitOut {
        major: abi::MAJOR,
        minor: abi::MINOR,
        ..Default::default()
    };
    if request.major > abi::MAJOR {
        return Negotiation::AskAgain(reply);
    }
    if request.major < abi::MAJOR || request.minor < abi::MINOR_MIN {
        return Negotiation::TooOld;
    }
    let features = Features(offered.0 & request.flags);
    reply.minor = abi::MINOR.min(request.minor);
    reply.max_readahead = request.max_readahead;
    reply.flags = features.0 as u32;
    reply.flags2 = (features.0 >> 32) as u32;
    reply.max_background = u16::MAX;
    reply.congestion_threshold = u16::MAX / 4 * 3;
    reply.max_write = MAX_WRITE;
    reply.time_gran = 1;
    reply.max_pages = MAX_PAGES;
    Negotiation::Agreed(
        Session {
            minor: reply.minor,
            features,
        },
        reply,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(major: u32, minor: u32, flags: u64) -> InitRequest {
        InitRequest {
            major,
            minor,
            max_readahead: 1 << 17,
            flags,
        }
    }

    #[test]
    fn only_what_both_have_is_agreed() {
        let offered = Features::ALWAYS.with(flag::SUBMOUNTS, true);

        let asked = request(7, 40, flag::BIG_WRITES | flag::SUBMOUNTS | 1 << 63);
        let Negotiation::Agreed(session, reply) = negotiate(&asked, offered) else {
            panic!()
        };

        assert_eq!(
            session.features,
            Features(flag::BIG_WRITES | flag::SUBMOUNTS)
        );
        assert_eq!(
            (reply.minor, reply.max_write, reply.flags2),
            (40, MAX_WRITE, 0)
        );
    }

    #[test]
    fn c9_versions_are_bounded_on_both_sides() {
        let try_version =
            |major, minor| negotiate(&request(major, minor, u64::MAX), Features::ALWAYS);
        assert!(matches!(try_version(8, 0), Negotiation::AskAgain(out) if out.major == 7));
        assert!(matches!(try_version(u32::MAX, 0), Negotiation::AskAgain(_)));
        for (major, minor) in [(6, 99), (7, 0), (7, 26)] {
            assert!(
                matches!(try_version(major, minor), Negotiation::TooOld),
                "{major}.{minor}"
            );
        }
        assert!(matches!(try_version(7, 99), Negotiation::Agreed(s, _) if s.minor == abi::MINOR));
    }

    #[test]
    fn the_second_word_of_flags_is_read_when_announced() {
        let mut body = [7u32, 36, 0, flag::INIT_EXT as u32, 1 << 4]
            .map(u32::to_ne_bytes)
            .concat();
        let decoded = InitRequest::decode(Cursor::new(&body)).unwrap();
        assert!(Features(decoded.flags).has(flag::DIRECT_IO_ALLOW_MMAP));

        body.truncate(16);
        assert!(InitRequest::decode(Cursor::new(&body)).is_err());
    }
}
