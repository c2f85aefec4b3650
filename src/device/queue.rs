//! One started queue: what its worker and the exchanges on their way share.

use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::chain::{AvailRing, Broken, Chain, DescriptorTable, Memory, RingAddresses, UsedRing};
use super::config::VirtioFeatures;

/// How the device signals the driver. Outlives a queue's stops and starts, and the front-end may
/// replace a descriptor at any time.
#[derive(Debug, Default)]
pub struct Signals {
    call: Mutex<Option<File>>,
    error: Mutex<Option<File>>,
}

impl Signals {
    /// The eventfd that interrupts the driver; it must not block.
    pub fn set_call(&self, file: Option<File>) {
        *lock(&self.call) = file;
    }

    /// The eventfd that says the queue is broken; it must not block.
    pub fn set_error(&self, file: Option<File>) {
        *lock(&self.error) = file;
    }

    fn signal(target: &Mutex<Option<File>>) {
        if let Some(mut file) = lock(target).as_ref() {
            // A full counter (EAGAIN) is a signal that is still pending.
            let _ = file.write(&1u64.to_ne_bytes());
        }
    }
}

/// Chains kept to be used again.
const MAX_SPARE: usize = 64;

/// A started queue, except for its available ring, which its worker has for itself.
#[derive(Debug)]
pub struct Queue {
    memory: Arc<Memory>,
    returned: Mutex<Returned>,
    /// No exchange is on its way any more.
    drained: Condvar,
    /// Which heads are on their way.
    in_flight: Box<[AtomicBool]>,
    signals: Arc<Signals>,
}

#[derive(Debug)]
struct Returned {
    ring: UsedRing,
    /// Exchanges on their way.
    outstanding: usize,
    /// Chains to use again.
    spare: Vec<Chain>,
}

/// How a queue is set up.
#[derive(Clone, Copy, Debug)]
pub struct QueueSetup {
    /// Where its parts are.
    pub addresses: RingAddresses,
    /// What was negotiated.
    pub features: VirtioFeatures,
    /// The first available index to take.
    pub base: u16,
}

impl Queue {
    /// A queue in `memory`, and the parts of it that its worker has for itself.
    pub fn new(
        memory: Arc<Memory>,
        setup: &QueueSetup,
        signals: Arc<Signals>,
    ) -> Result<(Arc<Self>, AvailRing, DescriptorTable), Broken> {
        let (addresses, event_idx) = (&setup.addresses, setup.features.event_idx());
        let ring = UsedRing::new(&memory, addresses, event_idx)?;
        let available = AvailRing::new(&memory, addresses, event_idx, setup.base)?;
        let table = DescriptorTable::new(&memory, addresses, setup.features.indirect())?;
        let queue = Self {
            memory,
            returned: Mutex::new(Returned {
                ring,
                outstanding: 0,
                spare: Vec::new(),
            }),
            drained: Condvar::new(),
            in_flight: (0..addresses.size)
                .map(|_| AtomicBool::new(false))
                .collect(),
            signals,
        };
        Ok((Arc::new(queue), available, table))
    }

    /// The guest's memory.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Takes the chain at `head` on its way: gives a [`Chain`] to read it into.
    pub fn take(&self, head: u16) -> Result<Chain, Broken> {
        if self.in_flight[usize::from(head)].swap(true, Ordering::AcqRel) {
            return Err(Broken::HeadInFlight);
        }
        let mut returned = lock(&self.returned);
        returned.outstanding += 1;
        Ok(returned.spare.pop().unwrap_or_default())
    }

    /// Returns the chain at `head` to the driver with `len` bytes written.
    pub fn complete(&self, head: u16, len: u32, chain: Chain) {
        self.in_flight[usize::from(head)].store(false, Ordering::Release);
        let mut returned = lock(&self.returned);
        returned.ring.put(head, len);
        if returned.spare.len() < MAX_SPARE && chain.is_small() {
            returned.spare.push(chain);
        }
        returned.outstanding -= 1;
        if returned.outstanding == 0 {
            self.drained.notify_all();
        }
    }

    /// Interrupts the driver if it wants to know of what was returned.
    pub fn interrupt(&self) {
        if lock(&self.returned).ring.wants_interrupt() {
            Signals::signal(&self.signals.call);
        }
    }

    /// Tells the front-end that the queue is broken.
    pub fn signal_broken(&self) {
        Signals::signal(&self.signals.error);
    }

    /// Waits until every exchange has been returned.
    pub fn drain(&self) {
        let mut returned = lock(&self.returned);
        while returned.outstanding > 0 {
            returned = self
                .drained
                .wait(returned)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
