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
    /// What is left of `limit` (`RLIMIT_NOFILE`) for the guest when the daemon keeps `reserve` for
    /// itself, or a quarter of it where that is more.
    pub fn new(limit: u64, reserve: u64) -> Self {
        let left = limit.saturating_sub(reserve).max(limit / 4);
        Self {
            left: AtomicU64::new(left),
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
        let budget = FdBudget::new(100, 90);
        let held: Vec<_> = std::iter::from_fn(|| budget.take().ok()).collect();

        assert_eq!(
            held.len(),
            25,
            "a quarter of the limit is always the guest's"
        );
        assert_eq!(budget.take().unwrap_err(), Errno::ENFILE);
        drop(held);
        assert!(budget.take().is_ok());
    }
}
