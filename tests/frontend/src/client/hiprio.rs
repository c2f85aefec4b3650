//! The hiprio queue: FORGET, BATCH_FORGET and INTERRUPT, which have no reply.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::fuse::{BatchForgetIn, ForgetIn, ForgetOne, InHeader, InterruptIn, opcode};
use crate::memory::{Buffer, GuestMemory, PAGE_SIZE};
use crate::queue::{Queue, Segment};
use crate::wire::Wire;

/// Room for one request in bytes: a BATCH_FORGET of 65,000 nodes.
const ROOM: usize = 1 << 20;

/// The hiprio queue, shared by all clients of a device.
#[derive(Debug)]
pub struct Hiprio {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    queue: Queue,
    buffer: Buffer,
}

impl Hiprio {
    /// Uses `queue`, number 0 of a device.
    pub fn new(memory: &GuestMemory, queue: Queue) -> Hiprio {
        let buffer = memory.allocate(ROOM, PAGE_SIZE);
        Hiprio {
            inner: Mutex::new(Inner { queue, buffer }),
        }
    }

    /// Runs `action` with the queue, for raw access.
    pub fn with_queue<T>(&self, action: impl FnOnce(&mut Queue) -> T) -> T {
        action(&mut self.lock().queue)
    }

    /// FORGET; returns when the daemon has returned it.
    pub fn forget(&self, unique: u64, node: u64, lookups: u64) {
        self.send(&message(
            opcode::FORGET,
            unique,
            node,
            &ForgetIn { nlookup: lookups }.encode(),
        ));
    }

    /// BATCH_FORGET of (node, lookups) pairs; returns when the daemon has returned it.
    ///
    /// # Panics
    /// When there are more than 65,000 of them.
    pub fn batch_forget(&self, unique: u64, nodes: &[(u64, u64)]) {
        let mut body = BatchForgetIn {
            count: nodes.len() as u32,
            dummy: 0,
        }
        .encode()
        .to_vec();
        let items = nodes
            .iter()
            .map(|&(nodeid, nlookup)| ForgetOne { nodeid, nlookup }.encode());
        items.for_each(|item| body.extend(item));
        self.send(&message(opcode::BATCH_FORGET, unique, 0, &body));
    }

    /// INTERRUPT of the request `unique`; returns when the daemon has returned it.
    pub fn interrupt(&self, unique: u64) {
        // An interrupt's own unique is its target's with the lowest bit set (FUSE_INT_REQ_BIT).
        self.send(&message(
            opcode::INTERRUPT,
            unique | 1,
            0,
            &InterruptIn { unique }.encode(),
        ));
    }

    /// Sends any bytes in one readable descriptor, as virtio_fs does with FORGET; returns the used length.
    ///
    /// # Panics
    /// When the daemon does not return the chain within 10 s.
    pub fn send(&self, bytes: &[u8]) -> u32 {
        let mut inner = self.lock();
        inner.buffer.write(0, bytes);
        let segment = Segment {
            addr: inner.buffer.guest_addr(),
            len: bytes.len() as u32,
        };
        inner
            .queue
            .push(&[segment], &[])
            .expect("room in the hiprio queue");
        inner.queue.kick();
        let used = inner.queue.wait(Duration::from_secs(10));
        used.expect("the daemon returns a hiprio request within 10 s")
            .len
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn message(opcode: u32, unique: u64, nodeid: u64, body: &[u8]) -> Vec<u8> {
    let len = (InHeader::SIZE + body.len()) as u32;
    let header = InHeader {
        len,
        opcode,
        unique,
        nodeid,
        ..InHeader::default()
    };
    [&header.encode(), body].concat()
}
