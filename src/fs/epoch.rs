//! When may a slot be used again and its descriptor be closed?
//!
//! Nodes and open files are resolved without a lock, so one thread may still use what another just
//! removed. Every worker announces that it is inside a request ([`Reader::enter`]); what is
//! removed meanwhile is retired and given back once every worker that could have seen it has left.
//! With nobody else inside, that is at once when the request ends: a FORGET or RELEASE leaves no
//! descriptor behind.
//!
//! The order that makes it right (see `tests` for the race it excludes): a reader stores its
//! announcement, then looks up; a remover makes the object unreachable, then looks for
//! announcements. With a sequentially consistent fence between the two steps on both sides, at
//! least one of them sees the other.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Not inside a request.
const OUTSIDE: u64 = 0;

/// The announcements of all workers, and what waits for them.
#[derive(Debug)]
pub struct Epochs<T> {
    /// Counts retirements; starts above [`OUTSIDE`].
    clock: AtomicU64,
    announcements: Box<[Announcement]>,
    /// Places that were ever taken: none behind them announces anything.
    used_places: AtomicUsize,
    /// With the clock's time of retirement, which only grows.
    retired: Mutex<VecDeque<(u64, T)>>,
    /// `retired.len()`, to be read without the lock.
    waiting: AtomicUsize,
}

/// On a cache line of its own, since its worker writes it twice a request.
#[repr(align(64))]
#[derive(Debug, Default)]
struct Announcement {
    entered_at: AtomicU64,
    taken: AtomicBool,
}

/// One worker's place among the announcements.
#[derive(Debug)]
pub struct Reader<T> {
    epochs: Arc<Epochs<T>>,
    index: usize,
}

impl<T> Epochs<T> {
    /// With room for `workers` at a time.
    pub fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self {
            clock: AtomicU64::new(OUTSIDE + 1),
            announcements: (0..workers).map(|_| Announcement::default()).collect(),
            used_places: AtomicUsize::new(0),
            retired: Mutex::default(),
            waiting: AtomicUsize::new(0),
        })
    }

    /// Takes a place.
    ///
    /// # Panics
    /// When more workers join than there is room for: the number of threads is the daemon's own
    /// choice, never a guest's.
    pub fn join(self: &Arc<Self>) -> Reader<T> {
        let free = |place: &Announcement| !place.taken.swap(true, Ordering::AcqRel);
        let index = self
            .announcements
            .iter()
            .position(free)
            .expect("a place for every worker");
        self.used_places.fetch_max(index + 1, Ordering::AcqRel);
        Reader {
            epochs: Arc::clone(self),
            index,
        }
    }

    /// Hands over what nobody can find any more but some worker may still use.
    pub fn retire(&self, item: T) {
        let mut retired = self.lock();
        let stamp = self.clock.fetch_add(1, Ordering::AcqRel) + 1;
        retired.push_back((stamp, item));
        self.waiting.store(retired.len(), Ordering::Release);
    }

    /// Takes out one item that no worker inside a request can still use.
    fn reclaim(&self) -> Option<T> {
        let mut retired = self.lock();
        fence(Ordering::SeqCst);
        let stamp = retired.front()?.0;
        let places = &self.announcements[..self.used_places.load(Ordering::Acquire)];
        let may_see_it = |place: &Announcement| {
            let entered = place.entered_at.load(Ordering::Acquire);
            entered != OUTSIDE && entered < stamp
        };
        if places.iter().any(may_see_it) {
            return None;
        }
        let (_, item) = retired.pop_front()?;
        self.waiting.store(retired.len(), Ordering::Release);
        Some(item)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(u64, T)>> {
        self.retired.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Reader<T> {
    /// Announces that the worker is inside a request: whatever it finds from now on stays usable
    /// until [`Reader::leave`].
    pub fn enter(&self) {
        let now = self.epochs.clock.load(Ordering::Acquire);
        self.place().entered_at.store(now, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Announces that the request is over and calls `give_back` on all that nobody uses any more.
    pub fn leave(&self, mut give_back: impl FnMut(T)) {
        self.place().entered_at.store(OUTSIDE, Ordering::Release);
        // Of two workers that leave together at least one must see both gone.
        fence(Ordering::SeqCst);
        while self.epochs.waiting.load(Ordering::Acquire) > 0 {
            match self.epochs.reclaim() {
                Some(item) => give_back(item),
                None => return,
            }
        }
    }

    fn place(&self) -> &Announcement {
        &self.epochs.announcements[self.index]
    }
}

impl<T> Drop for Reader<T> {
    fn drop(&mut self) {
        self.place().entered_at.store(OUTSIDE, Ordering::Release);
        self.place().taken.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leave(reader: &Reader<u32>) -> Vec<u32> {
        let mut given = Vec::new();
        reader.leave(|item| given.push(item));
        given
    }

    #[test]
    fn a_retired_item_comes_back_when_its_own_request_ends() {
        let epochs = Epochs::<u32>::new(1);
        let reader = epochs.join();

        reader.enter();
        epochs.retire(7);

        assert_eq!(leave(&reader), [7]);
    }

    #[test]
    fn it_waits_for_every_worker_that_was_inside() {
        let epochs = Epochs::<u32>::new(3);
        let (early, remover, late) = (epochs.join(), epochs.join(), epochs.join());
        early.enter();
        remover.enter();

        epochs.retire(7);
        late.enter();

        assert!(leave(&remover).is_empty());
        assert_eq!(leave(&early), [7], "the late one cannot have seen it");
        assert!(leave(&late).is_empty());
    }

    #[test]
    fn a_place_is_free_again_when_its_worker_ends() {
        let epochs = Epochs::<u32>::new(1);
        drop(epochs.join());
        epochs.join();
    }

    #[test]
    fn nothing_is_given_back_while_a_worker_can_see_it() {
        // Each round publishes an object and lets one thread use it while another removes it.
        const GONE: u64 = u64::MAX;
        let epochs = Epochs::new(2);
        let published = AtomicU64::new(GONE);
        let freed: Vec<AtomicBool> = (0..20_000).map(|_| AtomicBool::new(false)).collect();
        let (user, remover) = (epochs.join(), epochs.join());

        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..freed.len() as u64 {
                    published.store(round, Ordering::Release);
                    remover.enter();
                    published.store(GONE, Ordering::Release);
                    epochs.retire(round);
                    remover.leave(|old| freed[old as usize].store(true, Ordering::SeqCst));
                }
            });
            for _ in 0..freed.len() {
                user.enter();
                let found = published.load(Ordering::Acquire);
                if found != GONE {
                    std::hint::spin_loop();
                    assert!(
                        !freed[found as usize].load(Ordering::SeqCst),
                        "object {found}"
                    );
                }
                user.leave(|old| freed[old as usize].store(true, Ordering::SeqCst));
            }
        });
    }
}
