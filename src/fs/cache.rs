//! What the guest may remember, and for how long.

use std::time::Duration;

/// How the guest may cache the bytes of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataCache {
    /// Not at all: every read and write is a request.
    Bypass,
    /// Until the next open, and while size and modification time say that nothing changed.
    Revalidate,
    /// For as long as it likes.
    Keep,
}

/// The cache policy of a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachePolicy {
    /// How long names and attributes are good.
    pub timeout: Duration,
    /// What happens to the bytes of files.
    pub data: DataCache,
    /// Listings may be kept.
    pub keep_listings: bool,
}
