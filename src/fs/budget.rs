//! How many descriptors guests may make us hold.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::sys::Errno;

/// Counts descriptors held for the guest, so that it meets `ENFILE` before the daemon meets
/// `EMFILE` and what the daemon itself needs (sockets, epoll, a request's own) is always there.
#[derive(Debug)]
pub struct FdBudget {
    left: AtomicU64,
}

impl FdBudget {
    /// Descriptors the daemon keeps for itself.
    pub const RESERVE: u64 = 300;

    /// What is left of `limit` (`RLIMIT_NOFILE`) for the guest.
    pub fn new(limit: u64) -> Self {
        Self {
            left: AtomicU64::new(limit.saturating_sub(Self::RESERVE).max(limit / 4)),
        }
    }

    /// Takes one, or says `ENFILE`.
    pub fn take(&self) -> Result<Permit<'_>, Errno> {
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            })
            .map(|_| Permit(self))
            .map_err(|_| Errno::ENFILE)
    }

    /// Gives one back that a [`Permit`] had been kept for.
    pub fn give_back(&self) {
        self.left.fetch_add(1, Ordering::Relaxed);
    }
}

/// One descriptor's place in the budget, given back unless kept.
#[must_use]
#[derive(Debug)]
pub struct Permit<'a>(&'a FdBudget);

impl Permit<'_> {
    /// The descriptor lives on in a table; whoever closes it calls [`FdBudget::give_back`].
    pub fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f1_the_guest_meets_enfile_and_recovers() {
        let budget = FdBudget::new(FdBudget::RESERVE + 1);
        // A quarter of the limit is always the guest's.
        let held: Vec<_> = std::iter::from_fn(|| budget.take().ok()).collect();

        assert_eq!(held.len() as u64, (FdBudget::RESERVE + 1) / 4);
        assert_eq!(budget.take().unwrap_err(), Errno::ENFILE);
        drop(held);
        assert!(budget.take().is_ok());
    }
}
