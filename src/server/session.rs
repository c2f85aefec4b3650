//! What this guest and we agreed on.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::fuse::{Features, Session};

/// What the server is willing to agree on.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    /// The feature bits of INIT.
    pub features: Features,
    /// Nothing may change the share.
    pub readonly: bool,
}

/// The session, read by every request and written by INIT and DESTROY.
#[derive(Debug, Default)]
pub struct SessionCell(AtomicU64);

/// Says that a session is open; no feature of the protocol has this bit.
const OPEN: u64 = 1 << 63;

impl SessionCell {
    /// Starts a session.
    pub fn open(&self, session: &Session) {
        self.0.store(session.features.0 | OPEN, Ordering::Release);
    }

    /// Ends it.
    pub fn close(&self) {
        self.0.store(0, Ordering::Release);
    }

    /// Whether INIT has been agreed on.
    pub fn is_open(&self) -> bool {
        self.0.load(Ordering::Acquire) & OPEN != 0
    }

    /// The features of the session, none without one.
    pub fn features(&self) -> Features {
        Features(self.0.load(Ordering::Acquire) & !OPEN)
    }
}
