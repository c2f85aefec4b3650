//! One request on its way.

use std::sync::Arc;

use super::chain::Chain;
use super::queue::Queue;
use crate::fuse::{self, Reply};
use crate::sys::GuestBuffers;

/// One chain taken from a queue: what the driver wrote, where it wants the reply, and the duty to
/// return it.
///
/// It may be completed on any thread and in any order. It cannot be lost: dropped without
/// completion it answers `EIO`.
#[derive(Debug)]
pub struct Exchange {
    queue: Arc<Queue>,
    head: u16,
    /// Taken out when it is returned.
    chain: Option<Chain>,
    /// Whoever completes it interrupts the driver too; else its worker does, once for many.
    interrupts: bool,
}

impl Exchange {
    pub(super) fn new(queue: Arc<Queue>, head: u16, chain: Chain) -> Self {
        Self {
            queue,
            head,
            chain: Some(chain),
            interrupts: false,
        }
    }

    /// Lets it go to another thread than its queue's worker.
    pub(super) fn detach(mut self) -> Self {
        self.interrupts = true;
        self
    }

    /// What the driver wrote, and where it wants the reply.
    pub fn buffers(&mut self) -> (GuestBuffers<'_>, GuestBuffers<'_>) {
        self.chain
            .as_mut()
            .expect("not returned yet")
            .buffers(self.queue.memory())
    }

    /// Returns the chain with `len` bytes of reply in it.
    pub fn complete(mut self, len: usize) {
        self.give_back(len);
    }

    fn give_back(&mut self, len: usize) {
        let Some(chain) = self.chain.take() else {
            return;
        };
        self.queue.complete(self.head, len as u32, chain);
        if self.interrupts {
            self.queue.interrupt();
        }
    }

    /// Writes the reply "failed for reasons of our own" and returns its length.
    fn answer_eio(&mut self) -> usize {
        let (readable, mut writable) = self.buffers();
        let mut header = [0; fuse::abi::IN_HEADER_LEN];
        if readable.copy_to(0, &mut header) < header.len() {
            return 0;
        }
        let header = fuse::operation::header(&header);
        let mut reply = Reply::new();
        reply.fail(header.unique, libc::EIO);
        let silent = fuse::operation::is_silent(header.opcode);
        if silent || writable.len() < reply.as_bytes().len() {
            return 0;
        }
        writable.copy_from(0, reply.as_bytes())
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.chain.is_some() {
            log::error!("a request was dropped unanswered: the guest gets EIO");
            let len = self.answer_eio();
            self.give_back(len);
        }
    }
}
