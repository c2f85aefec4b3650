//! Who runs a request: a worker thread for every started queue, and the pool.
//!
//! A worker takes chains from its queue until there are none, serves each at once or hands it to
//! the pool, interrupts the driver once for many, and sleeps until the next kick.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::Exchange;
use super::chain::{AvailRing, Broken, DescriptorTable, Memory};
use super::pool::Pool;
use super::queue::{Queue, QueueSetup, Signals};

/// Serves one request.
pub type Serve = Box<dyn FnMut(Exchange)>;
/// Makes a [`Serve`] for one thread.
pub type MakeServe = Arc<dyn Fn() -> Serve + Send + Sync>;

/// Index of the hiprio queue.
const HIPRIO: usize = 0;
/// Replies between two interrupts, so that the first of a long batch does not wait for the last.
const MAX_BATCH: u32 = 8;
/// How long a ring may stay empty after a kick before it looks as if memory were not shared.
const SILENCE_MS: u16 = 2000;

/// Starts workers.
pub struct Engine {
    make_serve: MakeServe,
    pool: Option<Arc<Pool>>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine whose workers serve requests themselves, or hand them to a pool of `pool_size`
    /// threads if there are any.
    pub fn new(make_serve: MakeServe, pool_size: usize) -> std::io::Result<Self> {
        let pool = match pool_size {
            0 => None,
            size => Some(Arc::new(Pool::start(size, &make_serve)?)),
        };
        Ok(Self { make_serve, pool })
    }

    /// Starts the worker of queue `index`.
    pub fn start(
        &self,
        index: usize,
        memory: &Arc<Memory>,
        setup: &QueueSetup,
        kick: &File,
        signals: &Arc<Signals>,
    ) -> Result<RunningQueue, StartError> {
        let (queue, available, table) = Queue::new(Arc::clone(memory), setup, Arc::clone(signals))?;
        let stop = Arc::new(Stop::new()?);
        let wake = Wake::new(kick, &stop)?;
        let make_serve = Arc::clone(&self.make_serve);
        // FORGETs never block and must not queue up behind what does.
        let pool = if index == HIPRIO {
            None
        } else {
            self.pool.clone()
        };
        let worker_stop = Arc::clone(&stop);
        let thread = Builder::new()
            .name(format!("queue {index}"))
            .spawn(move || {
                let stop = worker_stop;
                Worker {
                    index,
                    queue,
                    available,
                    table,
                    pool,
                    wake,
                    stop,
                }
                .run(&mut make_serve())
            })?;
        Ok(RunningQueue { stop, thread })
    }
}

/// Why a queue cannot start.
#[derive(Debug)]
pub enum StartError {
    /// Its rings are unusable.
    Rings(Broken),
    /// The kick descriptor cannot be waited for, or there is no thread or descriptor left.
    System(std::io::Error),
}

impl From<Broken> for StartError {
    fn from(broken: Broken) -> Self {
        Self::Rings(broken)
    }
}

impl From<std::io::Error> for StartError {
    fn from(error: std::io::Error) -> Self {
        Self::System(error)
    }
}

impl From<Errno> for StartError {
    fn from(errno: Errno) -> Self {
        Self::System(errno.into())
    }
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rings(broken) => broken.fmt(f),
            Self::System(error) => error.fmt(f),
        }
    }
}

/// A queue with its worker.
#[derive(Debug)]
pub struct RunningQueue {
    stop: Arc<Stop>,
    thread: JoinHandle<u16>,
}

impl RunningQueue {
    /// Stops the worker once every chain it took has been returned, and gives the available index
    /// to go on from.
    pub fn stop(self) -> u16 {
        self.stop.request();
        self.thread.join().expect("a worker does not panic")
    }
}

/// The wish that a worker stops.
#[derive(Debug)]
struct Stop {
    wanted: AtomicBool,
    event: EventFd,
}

impl Stop {
    fn new() -> Result<Self, Errno> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self {
            wanted: AtomicBool::new(false),
            event: EventFd::from_flags(flags)?,
        })
    }

    fn request(&self) {
        self.wanted.store(true, Ordering::Release);
        self.event.write(1).expect("an empty counter takes one");
    }

    fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Acquire)
    }
}

/// What a worker sleeps on. Edge-triggered, so the kick's counter is never read: one system call a
/// wake-up, and a descriptor that is always readable wakes nobody twice.
#[derive(Debug)]
struct Wake {
    epoll: Epoll,
    _kick: OwnedFd,
}

impl Wake {
    fn new(kick: &File, stop: &Stop) -> Result<Self, StartError> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let kick = kick.as_fd().try_clone_to_owned()?;
        let edge = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        epoll.add(&kick, EpollEvent::new(edge, 0))?;
        let wake = Self { epoll, _kick: kick };
        // QEMU's kick descriptors come with one kick in them. What was offered before the start is
        // found without.
        wake.wait(EpollTimeout::ZERO);
        wake.epoll
            .add(&stop.event, EpollEvent::new(EpollFlags::EPOLLIN, 1))?;
        Ok(wake)
    }

    /// Sleeps until a kick, a stop or `timeout`; `false` when it was the time-out.
    fn wait(&self, timeout: EpollTimeout) -> bool {
        let mut events = [EpollEvent::empty(); 2];
        match self.epoll.wait(&mut events, timeout) {
            Ok(0) => false,
            Ok(_) | Err(Errno::EINTR) => true,
            Err(errno) => unreachable!("an epoll of ours can be waited for: {errno}"),
        }
    }
}

/// The thread of one queue.
struct Worker {
    index: usize,
    queue: Arc<Queue>,
    available: AvailRing,
    table: DescriptorTable,
    pool: Option<Arc<Pool>>,
    wake: Wake,
    stop: Arc<Stop>,
}

impl Worker {
    /// Lives until it is told to stop. Returns the available index to go on from.
    fn run(mut self, serve: &mut Serve) -> u16 {
        if let Err(broken) = self.work(serve) {
            crate::limited!(Warn, "queue {} stops: {broken}", self.index);
            self.queue.signal_broken();
        }
        // A broken queue stays as it is until the front-end stops and sets it up again.
        while !self.stop.is_wanted() {
            self.wake.wait(EpollTimeout::NONE);
        }
        self.queue.drain();
        self.available.position()
    }

    fn work(&mut self, serve: &mut Serve) -> Result<(), Broken> {
        let start = self.available.position();
        // The first kick of a new driver comes with its first request.
        let mut kicked_in_vain = false;
        let mut doubted = start != 0;
        while !self.stop.is_wanted() {
            self.available.decline_kicks();
            self.empty(serve)?;
            if self.stop.is_wanted() || self.available.ask_for_kick() {
                continue;
            }
            doubted |= self.available.position() != start;
            let timeout = match kicked_in_vain && !doubted {
                true => SILENCE_MS.into(),
                false => EpollTimeout::NONE,
            };
            if self.wake.wait(timeout) {
                kicked_in_vain = true;
            } else {
                doubted = true;
                self.doubt_memory();
            }
        }
        Ok(())
    }

    /// Takes every chain there is, and interrupts the driver for all that were returned, also
    /// those before one that breaks the queue.
    fn empty(&mut self, serve: &mut Serve) -> Result<(), Broken> {
        let mut batch = 0;
        let end = loop {
            match self.next(serve) {
                Ok(true) => batch += 1,
                Ok(false) => break Ok(()),
                Err(broken) => break Err(broken),
            }
            if batch == MAX_BATCH {
                self.queue.interrupt();
                batch = 0;
            }
        };
        if batch > 0 {
            self.queue.interrupt();
        }
        end
    }

    /// Takes one chain and starts its exchange; `false` when there is none or it is time to stop.
    fn next(&mut self, serve: &mut Serve) -> Result<bool, Broken> {
        if self.stop.is_wanted() {
            return Ok(false);
        }
        match self.available.take()? {
            Some(head) => self.start(head, serve).map(|()| true),
            None => Ok(false),
        }
    }

    /// Starts the exchange of one chain.
    fn start(&mut self, head: u16, serve: &mut Serve) -> Result<(), Broken> {
        let mut chain = self.queue.take(head)?;
        if let Err(bad) = self.table.walk(head, self.queue.memory(), &mut chain) {
            crate::limited!(
                Warn,
                "queue {}: a chain is returned unread: {bad}",
                self.index
            );
            self.queue.complete(head, 0, chain);
            return Ok(());
        }
        let exchange = Exchange::new(Arc::clone(&self.queue), head, chain);
        match &self.pool {
            Some(pool) => pool.submit(exchange.detach()),
            None => serve(exchange),
        }
        Ok(())
    }

    /// The driver kicked, yet its ring is empty: most likely the front-end maps guest memory
    /// privately, and what we see of it is not what the guest writes.
    fn doubt_memory(&self) {
        crate::limited!(
            Error,
            "queue {} was kicked, but its ring in guest memory is empty\n{}",
            self.index,
            super::connection::SHARE_MEMORY_HINT
        );
    }
}
