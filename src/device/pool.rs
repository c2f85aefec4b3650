//! Threads for requests that may block.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use super::{Exchange, MakeServe};

/// Exchanges that wait for a thread, for each thread: more wait in their queues, where a guest cannot
/// make us hold memory for them.
const BACKLOG: usize = 4;

/// A fixed number of threads that complete exchanges in any order.
#[derive(Debug)]
pub struct Pool {
    /// Taken when the pool ends.
    sender: Option<SyncSender<Exchange>>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// Starts `size` threads.
    pub fn start(size: usize, make_serve: &MakeServe) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(BACKLOG * size);
        let receiver = Arc::new(Mutex::new(receiver));
        let threads = (0..size).map(|n| {
            let (receiver, make_serve) = (Arc::clone(&receiver), Arc::clone(make_serve));
            Builder::new()
                .name(format!("pool {n}"))
                .spawn(move || run(&receiver, &make_serve))
        });
        Ok(Self {
            sender: Some(sender),
            threads: threads.collect::<Result<_, _>>()?,
        })
    }

    /// Hands an exchange over, once there is room for it.
    pub fn submit(&self, exchange: Exchange) {
        // Should all threads be gone, the exchange comes back in the error and answers EIO.
        let _ = self.sender.as_ref().map(|sender| sender.send(exchange));
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.sender = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn run(receiver: &Mutex<Receiver<Exchange>>, make_serve: &MakeServe) {
    let mut serve = make_serve();
    loop {
        // One thread waits within the lock, the others for it.
        let next = receiver
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv();
        match next {
            Ok(exchange) => serve(exchange),
            Err(_) => return,
        }
    }
}
