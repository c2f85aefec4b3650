//! A FUSE client on one request queue: what the guest's kernel is to the daemon.
//!
//! One `Client` belongs to one thread. The typed helpers (`lookup`, `read`, ...) send one request and wait for its
//! reply; `submit`, `kick` and `complete` keep many in flight, without an allocation per request.
//! Chains have the shape that Linux's virtio_fs driver gives them: header and arguments each in one descriptor, data in
//! page-sized ones.

mod attributes;
mod directories;
mod files;
mod hiprio;
mod locks;
mod names;
mod slot;
mod xattrs;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::fuse::{InHeader, InitIn, InitOut, MAJOR, MINOR, OutHeader, init_flag, opcode};
use crate::memory::GuestMemory;
use crate::queue::{Queue, Used};
use crate::wire::Wire;

pub use hiprio::Hiprio;
pub use locks::LockRequest;
use slot::Slot;

/// A positive errno.
pub type Errno = i32;
/// The outcome of a request.
pub type Result<T> = std::result::Result<T, Errno>;

/// On whose behalf requests are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// File-system user id.
    pub uid: u32,
    /// File-system group id.
    pub gid: u32,
    /// Process id in the guest.
    pub pid: u32,
}

impl Caller {
    /// The guest's root.
    pub const ROOT: Caller = Caller {
        uid: 0,
        gid: 0,
        pid: 1,
    };
}

/// Data sent behind the arguments, in page-sized descriptors.
#[derive(Clone, Copy, Debug)]
pub enum Payload<'a> {
    /// No data.
    None,
    /// These bytes, copied to guest memory.
    Bytes(&'a [u8]),
    /// So many bytes of whatever lies in the guest memory: the copy is not what a benchmark measures.
    Stale(usize),
}

impl Payload<'_> {
    fn len(&self) -> usize {
        match self {
            Payload::None => 0,
            Payload::Bytes(bytes) => bytes.len(),
            Payload::Stale(len) => *len,
        }
    }
}

/// A request as its parts.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What to do.
    pub opcode: u32,
    /// To which node.
    pub nodeid: u64,
    /// Arguments, sent one behind the other in one descriptor.
    pub args: &'a [&'a [u8]],
    /// Extensions, sent behind the arguments; a multiple of 8 bytes.
    pub extensions: &'a [u8],
    /// Data, sent behind the arguments.
    pub data: Payload<'a>,
    /// Room for the reply's structures in bytes, in one descriptor.
    pub reply_args: usize,
    /// Room for the reply's data in bytes, in page-sized descriptors.
    pub reply_data: usize,
}

impl<'a> Request<'a> {
    /// A request with arguments and nothing else; its reply is a bare header.
    pub fn new(opcode: u32, nodeid: u64, args: &'a [&'a [u8]]) -> Request<'a> {
        let (extensions, data) = (&[][..], Payload::None);
        Request {
            opcode,
            nodeid,
            args,
            extensions,
            data,
            reply_args: 0,
            reply_data: 0,
        }
    }

    /// With room for `reply_args` bytes of structures in the reply.
    pub fn reply_args(self, reply_args: usize) -> Request<'a> {
        Request { reply_args, ..self }
    }

    /// With room for `reply_data` bytes of data in the reply.
    pub fn reply_data(self, reply_data: usize) -> Request<'a> {
        Request { reply_data, ..self }
    }

    /// With data.
    pub fn data(self, data: Payload<'a>) -> Request<'a> {
        Request { data, ..self }
    }
}

/// A request that the daemon has returned. Its reply stays in guest memory until `Client::recycle`.
#[derive(Clone, Copy, Debug)]
#[must_use = "recycle it, or its slot is lost"]
pub struct Completion {
    /// The request's number, as `submit` returned it.
    pub unique: u64,
    /// 0, or the errno. `EIO` when there is no reply: see `used_len`.
    pub error: Errno,
    /// How many bytes the daemon says to have written; less than 16 is no reply.
    pub used_len: u32,
    slot: u16,
}

/// A reply to raw bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawReply {
    /// How many bytes the daemon says to have written.
    pub used_len: u32,
    /// The reply's header; `None` when the daemon dropped the request.
    pub header: Option<OutHeader>,
    /// The bytes behind the header.
    pub body: Vec<u8>,
}

impl RawReply {
    /// 0 or the positive errno of the reply; `None` when the daemon dropped the request.
    pub fn errno(&self) -> Option<Errno> {
        self.header.map(|header| -header.error)
    }

    /// Whether the daemon returned the chain without an answer.
    pub fn is_dropped(&self) -> bool {
        self.header.is_none()
    }
}

/// What a client is made with.
#[derive(Clone, Copy, Debug)]
pub struct ClientOptions {
    /// How many requests can be in flight.
    pub depth: u16,
    /// Largest data of one request or reply in bytes.
    pub max_data: usize,
    /// Length of data descriptors in bytes; the guest's page size, as Linux has it, or more.
    pub data_segment: usize,
}

impl Default for ClientOptions {
    fn default() -> Self {
        ClientOptions {
            depth: 8,
            max_data: 1 << 20,
            data_segment: crate::memory::PAGE_SIZE,
        }
    }
}

/// A FUSE client on one request queue.
#[derive(Debug)]
pub struct Client {
    /// On whose behalf the next requests are made.
    pub caller: Caller,
    /// The umask that requests which make files carry.
    pub umask: u32,
    /// Extensions (group, security context) that requests which make files carry; a multiple of 8 bytes.
    pub extensions: Vec<u8>,
    /// How long a typed helper waits before it panics.
    pub timeout: Duration,
    queue: Queue,
    hiprio: Arc<Hiprio>,
    uniques: Arc<AtomicU64>,
    negotiated: InitOut,
    slots: Vec<Slot>,
    free: Vec<u16>,
    /// The slot of each chain in flight, by its head.
    slot_of_head: Vec<u16>,
    /// Completions that a typed helper took while it waited for its own.
    taken: VecDeque<Completion>,
}

impl Client {
    /// A client on `queue`, sharing the hiprio queue and the sequence of uniques with others of the same device.
    pub fn new(
        memory: &GuestMemory,
        queue: Queue,
        hiprio: Arc<Hiprio>,
        uniques: Arc<AtomicU64>,
        options: ClientOptions,
    ) -> Client {
        Client {
            caller: Caller::ROOT,
            umask: 0o022,
            extensions: Vec::new(),
            timeout: Duration::from_secs(10),
            slot_of_head: vec![0; queue.size().into()],
            queue,
            hiprio,
            uniques,
            negotiated: InitOut::default(),
            slots: (0..options.depth)
                .map(|_| Slot::new(memory, options))
                .collect(),
            free: (0..options.depth).rev().collect(),
            taken: VecDeque::new(),
        }
    }

    /// The queue underneath, for raw access.
    pub fn queue(&mut self) -> &mut Queue {
        &mut self.queue
    }

    /// The queue for FORGET and INTERRUPT.
    pub fn hiprio(&self) -> &Hiprio {
        &self.hiprio
    }

    /// The reply to INIT; all zero before.
    pub fn negotiated(&self) -> &InitOut {
        &self.negotiated
    }

    /// Takes over what another client of the same device negotiated.
    pub fn set_negotiated(&mut self, negotiated: InitOut) {
        self.negotiated = negotiated;
    }

    /// Whether INIT's reply has all of these `init_flag`s.
    pub fn has_flag(&self, flags: u64) -> bool {
        self.negotiated.all_flags() & flags == flags
    }

    // ---- many in flight ----

    /// Makes a request available without kicking; returns its unique. `None` when as many as possible are in flight.
    ///
    /// # Panics
    /// When the request is larger than the options of this client allow.
    pub fn submit(&mut self, request: &Request) -> Option<u64> {
        let index = *self.free.last()?;
        let unique = self.uniques.fetch_add(2, Ordering::Relaxed);
        let header = self.header(request, unique);
        let slot = &mut self.slots[usize::from(index)];
        slot.prepare(request, &header);
        let (readable, writable) = slot.segments();
        let head = self.queue.push(readable, writable).ok()?;
        self.free.pop();
        self.slot_of_head[usize::from(head)] = index;
        Some(unique)
    }

    fn header(&self, request: &Request, unique: u64) -> InHeader {
        let args: usize = request.args.iter().map(|arg| arg.len()).sum();
        let len = InHeader::SIZE + args + request.extensions.len() + request.data.len();
        InHeader {
            len: len as u32,
            opcode: request.opcode,
            unique,
            nodeid: request.nodeid,
            uid: self.caller.uid,
            gid: self.caller.gid,
            pid: self.caller.pid,
            total_extlen: (request.extensions.len() / 8) as u16,
            padding: 0,
        }
    }

    /// Kicks the daemon if it wants that.
    pub fn kick(&mut self) {
        self.queue.kick();
    }

    /// Takes one completed request, if there is one.
    pub fn complete(&mut self) -> Option<Completion> {
        self.taken
            .pop_front()
            .or_else(|| self.queue.pop().map(|used| self.completion(used)))
    }

    /// Takes one completed request, sleeping until there is one or the time is over.
    pub fn wait_complete(&mut self, timeout: Duration) -> Option<Completion> {
        let taken = self.taken.pop_front();
        taken.or_else(|| self.queue.wait(timeout).map(|used| self.completion(used)))
    }

    /// Takes one completed request, polling the queue until there is one or the time is over.
    pub fn spin_complete(&mut self, timeout: Duration) -> Option<Completion> {
        let taken = self.taken.pop_front();
        taken.or_else(|| self.queue.spin(timeout).map(|used| self.completion(used)))
    }

    fn completion(&self, used: Used) -> Completion {
        let slot = self.slot_of_head[usize::from(used.head)];
        let place = &self.slots[usize::from(slot)];
        let error = place
            .reply_header(used.len)
            .map_or(libc::EIO, |header| -header.error);
        Completion {
            unique: place.unique(),
            error,
            used_len: used.len,
            slot,
        }
    }

    /// The reply's structures as one; `None` when they are shorter than `T`.
    pub fn reply<T: Wire>(&self, completion: &Completion) -> Option<T> {
        let place = &self.slots[usize::from(completion.slot)];
        place.reply_struct(completion.used_len)
    }

    /// Copies the reply's data to `bytes`; returns how many there were.
    pub fn reply_data(&self, completion: &Completion, bytes: &mut [u8]) -> usize {
        let place = &self.slots[usize::from(completion.slot)];
        place.read_reply_data(completion.used_len, bytes)
    }

    /// Gives a completed request's slot back for the next `submit`.
    pub fn recycle(&mut self, completion: Completion) {
        self.free.push(completion.slot);
    }

    // ---- one at a time ----

    /// Sends one request and waits for it; the others in flight may complete meanwhile.
    ///
    /// # Panics
    /// When the daemon does not return it in time.
    pub fn call(&mut self, request: &Request) -> Completion {
        let unique = self
            .submit(request)
            .expect("a free slot and room in the queue");
        self.kick();
        loop {
            let used = self.queue.wait(self.timeout).unwrap_or_else(|| {
                let (opcode, index) = (request.opcode, self.queue.index());
                panic!(
                    "no answer to opcode {opcode} on queue {index} within {:?}",
                    self.timeout
                )
            });
            let completion = self.completion(used);
            if completion.unique == unique {
                return completion;
            }
            self.taken.push_back(completion);
        }
    }

    /// Sends one request, waits for it and reads its reply.
    fn transact<T>(&mut self, request: &Request, read: impl FnOnce(&Slot, u32) -> T) -> Result<T> {
        let completion = self.call(request);
        let used_len = completion.used_len;
        assert!(
            used_len >= 16,
            "the daemon dropped opcode {} (used length {used_len})",
            request.opcode
        );
        let slot = &self.slots[usize::from(completion.slot)];
        let outcome = match completion.error {
            0 => Ok(read(slot, used_len)),
            errno => Err(errno),
        };
        self.recycle(completion);
        outcome
    }

    /// A request whose reply is one structure.
    ///
    /// # Panics
    /// When the reply is shorter.
    fn ask<T: Wire>(&mut self, request: Request) -> Result<T> {
        let opcode = request.opcode;
        self.transact(&request.reply_args(T::SIZE), |slot, used_len| {
            let reply = slot.reply_struct(used_len);
            reply.unwrap_or_else(|| panic!("reply to opcode {opcode} has only {used_len} bytes"))
        })
    }

    /// A request whose reply is a bare header.
    fn tell(&mut self, request: Request) -> Result<()> {
        self.transact(&request, |_, _| ())
    }

    /// A request whose reply is up to `size` bytes in one piece, in the descriptor for structures.
    fn fetch_args(&mut self, request: Request, size: usize) -> Result<Vec<u8>> {
        self.transact(&request.reply_args(size), |slot, used_len| {
            slot.reply_args(used_len)
        })
    }

    /// A request whose reply is up to `size` bytes of data.
    fn fetch_data(&mut self, request: Request, size: usize) -> Result<Vec<u8>> {
        self.transact(&request.reply_data(size), |slot, used_len| {
            let mut bytes = vec![0; size];
            let len = slot.read_reply_data(used_len, &mut bytes);
            bytes.truncate(len);
            bytes
        })
    }

    // ---- raw ----

    /// Sends any opcode with any body, and `writable_len` writable bytes, header included.
    pub fn raw(&mut self, opcode: u32, nodeid: u64, body: &[u8], writable_len: usize) -> RawReply {
        let request = Request::new(opcode, nodeid, &[]);
        let unique = self.uniques.fetch_add(2, Ordering::Relaxed);
        let mut header = self.header(&request, unique);
        header.len += body.len() as u32;
        self.raw_bytes(&[&header.encode(), body].concat(), writable_len)
    }

    /// Sends any bytes as the readable part of a chain, and waits for the chain to return.
    ///
    /// # Panics
    /// When the chain does not return in time, or is empty on both sides.
    pub fn raw_bytes(&mut self, bytes: &[u8], writable_len: usize) -> RawReply {
        self.try_raw_bytes(bytes, writable_len, self.timeout)
            .expect("the daemon returns the chain")
    }

    /// As `raw_bytes`; `None` when the chain does not return in time (its slot is lost then).
    pub fn try_raw_bytes(
        &mut self,
        bytes: &[u8],
        writable_len: usize,
        timeout: Duration,
    ) -> Option<RawReply> {
        let index = self.free.pop().expect("a free slot");
        let slot = &mut self.slots[usize::from(index)];
        slot.prepare_raw(bytes, writable_len);
        let (readable, writable) = slot.segments();
        let head = self
            .queue
            .push(readable, writable)
            .expect("room in the queue");
        self.slot_of_head[usize::from(head)] = index;
        self.queue.kick();
        let used = loop {
            let used = self.queue.wait(timeout)?;
            if used.head == head {
                break used;
            }
            let other = self.completion(used);
            self.taken.push_back(other);
        };
        let reply = self.slots[usize::from(index)].raw_reply(used.len);
        self.free.push(index);
        Some(reply)
    }

    // ---- the session ----

    /// INIT as a current Linux guest sends it.
    pub fn init(&mut self) -> Result<InitOut> {
        self.init_with(MINOR, init_flag::LINUX)
    }

    /// INIT with a minor version and flags.
    pub fn init_with(&mut self, minor: u32, flags: u64) -> Result<InitOut> {
        let arguments = InitIn {
            major: MAJOR,
            minor,
            max_readahead: 128 * 1024,
            flags: flags as u32,
            flags2: (flags >> 32) as u32,
            unused: [0; 11],
        };
        self.negotiated = self.ask(Request::new(opcode::INIT, 0, &[&arguments.encode()]))?;
        Ok(self.negotiated)
    }

    /// DESTROY: the guest unmounts.
    pub fn destroy(&mut self) -> Result<()> {
        self.tell(Request::new(opcode::DESTROY, 0, &[]))
    }

    /// FORGET through the hiprio queue; returns when the daemon has done it.
    pub fn forget(&self, node: u64, lookups: u64) {
        self.hiprio.forget(self.next_unique(), node, lookups);
    }

    /// BATCH_FORGET of (node, lookups) pairs through the hiprio queue; returns when the daemon has done it.
    pub fn batch_forget(&self, nodes: &[(u64, u64)]) {
        self.hiprio.batch_forget(self.next_unique(), nodes);
    }

    /// INTERRUPT of a request in flight through the hiprio queue.
    pub fn interrupt(&self, unique: u64) {
        self.hiprio.interrupt(unique);
    }

    fn next_unique(&self) -> u64 {
        self.uniques.fetch_add(2, Ordering::Relaxed)
    }
}

/// A name as it travels: its bytes and a NUL.
fn c_name(name: impl AsRef<[u8]>) -> Vec<u8> {
    [name.as_ref(), b"\0"].concat()
}
