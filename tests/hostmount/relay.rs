//! The relay: one reader a request queue takes requests from /dev/fuse, one completer a queue writes replies back.
//!
//! A slot belongs to the pool, to the reader that fills it, to the lane while its chain is in flight, and to the completer,
//! in turn. Locks are held for ring access only, never during a system call that can block.

use std::fs::File;
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use frontend::eventfd::EventFd;
use frontend::fuse::{InHeader, opcode};
use frontend::queue::Queue;
use frontend::wire::Wire;

use crate::pool::{Pool, Slot};
use crate::request::Route;

/// A queue and the slots in flight on it.
#[derive(Debug)]
pub struct Lane {
    ring: Mutex<Ring>,
    /// Descriptors have become free.
    room: Condvar,
    call: EventFd,
}

#[derive(Debug)]
struct Ring {
    queue: Queue,
    /// By the chain's head.
    in_flight: Vec<Option<Slot>>,
}

impl Lane {
    /// Uses `queue`.
    pub fn new(queue: Queue) -> Lane {
        let call = queue.call_event().clone();
        let in_flight = (0..queue.size()).map(|_| None).collect();
        Lane {
            ring: Mutex::new(Ring { queue, in_flight }),
            room: Condvar::new(),
            call,
        }
    }

    /// Makes a slot's chain available and kicks, waiting for free descriptors first.
    pub fn push(&self, slot: Slot) {
        let mut ring = self.lock();
        let head = loop {
            let (readable, writable) = slot.segments();
            match ring.queue.push(readable, writable) {
                Ok(head) => break head,
                Err(_) => ring = self.room.wait(ring).unwrap_or_else(PoisonError::into_inner),
            }
        };
        ring.in_flight[usize::from(head)] = Some(slot);
        ring.queue.kick();
    }

    /// Moves everything used to `completed`; false, and the call event is armed, when there is nothing.
    fn take_used(&self, completed: &mut Vec<(Slot, u32)>) -> bool {
        let mut ring = self.lock();
        loop {
            while let Some(used) = ring.queue.pop() {
                let slot = ring.in_flight[usize::from(used.head)].take();
                completed.push((slot.expect("every chain in flight has its slot"), used.len));
            }
            if !completed.is_empty() {
                self.room.notify_all();
                return true;
            }
            if !ring.queue.arm() {
                return false;
            }
        }
    }

    /// Sends one request while no completer runs; the slot comes back with the reply's length.
    pub fn exchange(&self, slot: Slot, timeout: Duration) -> Option<(Slot, u32)> {
        self.push(slot);
        let mut ring = self.lock();
        let used = ring.queue.wait(timeout)?;
        let slot = ring.in_flight[usize::from(used.head)].take()?;
        Some((slot, used.len))
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What all threads share.
#[derive(Debug)]
pub struct Relay {
    /// /dev/fuse, a duplicate.
    pub device: File,
    /// Lane 0 is hiprio.
    pub lanes: Vec<Lane>,
    /// Slots at rest.
    pub pool: Pool,
    /// Signalled when a thread has ended, by whatever cause.
    pub ended: EventFd,
}

impl Relay {
    /// Relays requests from /dev/fuse to request lane `index` until the mount ends.
    pub fn read_requests(&self, index: usize) -> io::Result<()> {
        let _ended = SignalOnDrop(&self.ended);
        loop {
            let mut slot = self.pool.take();
            match read_request(&mut slot, &self.device)? {
                Some(Route::Hiprio) => self.lanes[0].push(slot),
                Some(_) => self.lanes[index].push(slot),
                None => {
                    self.pool.put(slot);
                    return Ok(());
                }
            }
        }
    }

    /// Sends DESTROY, as virtio_fs does after the unmount, once everything else has been answered.
    pub fn say_goodbye(&self, patience: Duration) {
        self.pool.wait_idle(patience);
        let mut slot = self.pool.take();
        // A header of our own making cannot be malformed.
        if slot.write_request(destroy_header()).is_ok() {
            self.lanes[1].push(slot);
            self.pool.wait_idle(patience);
        }
    }

    /// Writes the replies of lane `index` back, for ever.
    pub fn write_replies(&self, index: usize) {
        let _ended = SignalOnDrop(&self.ended);
        let lane = &self.lanes[index];
        let mut completed = Vec::new();
        loop {
            if !lane.take_used(&mut completed) {
                lane.call.wait(None);
                lane.call.take();
            }
            for (slot, len) in completed.drain(..) {
                if let Err(complaint) = slot.write_reply(&self.device, len) {
                    eprintln!("warning: {complaint}");
                }
                self.pool.put(slot);
            }
        }
    }
}

/// Reads the next request; `None` when the mount has ended.
pub fn read_request(slot: &mut Slot, device: &File) -> io::Result<Option<Route>> {
    loop {
        match slot.read_request(device) {
            Ok(route) => return Ok(Some(route)),
            Err(error) => match error.raw_os_error() {
                // ECONNABORTED: the mount ended while this thread was taking a request.
                Some(libc::ENODEV | libc::ECONNABORTED) => return Ok(None),
                // ENOENT: the request was taken back before it was read.
                Some(libc::ENOENT | libc::EINTR | libc::EAGAIN) => {}
                _ => return Err(error),
            },
        }
    }
}

/// The header of a DESTROY, which /dev/fuse never brings.
fn destroy_header() -> InHeader {
    // No request of the kernel has this number: it counts up from 2.
    let unique = u64::MAX - 1;
    InHeader {
        len: InHeader::SIZE as u32,
        opcode: opcode::DESTROY,
        unique,
        ..InHeader::default()
    }
}

struct SignalOnDrop<'a>(&'a EventFd);

impl Drop for SignalOnDrop<'_> {
    fn drop(&mut self) {
        self.0.signal();
    }
}
