//! Ranges of user and group ids as written on the command line.

/// One line of a user-namespace map: `count` ids from `inside` on are the
/// host's ids from `outside` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdMapping {
    /// First id inside the namespace.
    pub inside: u32,
    /// First id on the host.
    pub outside: u32,
    /// How many ids, at least 1.
    pub count: u32,
}

/// One rule of the in-daemon translation between guest and host ids. Ranges
/// are never empty and never go past the highest id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdTranslation {
    /// `guest`: `count` guest ids from `guest` on become host ids from `host` on.
    Guest {
        /// First guest id.
        guest: u32,
        /// First host id.
        host: u32,
        /// How many ids.
        count: u32,
    },
    /// `host`: `count` host ids from `host` on become guest ids from `guest` on.
    Host {
        /// First host id.
        host: u32,
        /// First guest id.
        guest: u32,
        /// How many ids.
        count: u32,
    },
    /// `squash-guest`: `count` guest ids from `guest` on all become host id `host`.
    SquashGuest {
        /// First guest id.
        guest: u32,
        /// The one host id.
        host: u32,
        /// How many guest ids.
        count: u32,
    },
    /// `squash-host`: `count` host ids from `host` on all become guest id `guest`.
    SquashHost {
        /// First host id.
        host: u32,
        /// The one guest id.
        guest: u32,
        /// How many host ids.
        count: u32,
    },
    /// `forbid-guest`: the guest may not use `count` ids from `guest` on.
    ForbidGuest {
        /// First guest id.
        guest: u32,
        /// How many guest ids.
        count: u32,
    },
    /// `map`: `count` guest ids from `guest` on are host ids from `host` on, both ways.
    Map {
        /// First guest id.
        guest: u32,
        /// First host id.
        host: u32,
        /// How many ids.
        count: u32,
    },
}
