//! Guest memory for the requests in flight.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use frontend::fuse::{InHeader, OutHeader, WriteIn, opcode};
use frontend::memory::{Buffer, GuestMemory, PAGE_SIZE};
use frontend::queue::Segment;
use frontend::wire::Wire;
use nix::errno::Errno;

use crate::request::Route;

/// A request starts here in its buffer, so that the data of a WRITE start at a page boundary.
const REQUEST_START: usize = PAGE_SIZE - InHeader::SIZE - WriteIn::SIZE;
/// A reply starts here in its buffer, so that the data of a READ start at a page boundary.
const REPLY_START: usize = PAGE_SIZE - OutHeader::SIZE;

/// Memory of one request and its reply, and the chain that describes them.
#[derive(Debug)]
pub struct Slot {
    request: Buffer,
    reply: Buffer,
    /// Length of data descriptors in bytes.
    step: usize,
    readable: Vec<Segment>,
    writable: Vec<Segment>,
    header: InHeader,
    expects_reply: bool,
}

impl Slot {
    /// Room for `transfer` bytes of data each way, described in pieces of `step` bytes.
    pub fn new(memory: &GuestMemory, transfer: usize, step: usize) -> Slot {
        // A page for the headers before the data, and one behind them, as READ's size is not rounded.
        let len = 2 * PAGE_SIZE + transfer;
        Slot {
            request: memory.allocate(len, PAGE_SIZE),
            reply: memory.allocate(len, PAGE_SIZE),
            step,
            readable: Vec::new(),
            writable: Vec::new(),
            header: InHeader::default(),
            expects_reply: false,
        }
    }

    /// Reads one request from /dev/fuse straight into guest memory, and describes it.
    pub fn read_request(&mut self, device: &File) -> io::Result<Route> {
        let room = self.request.len() - REQUEST_START;
        let len = self
            .request
            .read_from(device.as_fd(), REQUEST_START, room)?;
        self.describe(len)
    }

    /// Writes a request of this program's own making.
    pub fn write_request(&mut self, header: InHeader) -> io::Result<Route> {
        self.request.write(REQUEST_START, &header.encode());
        self.describe(InHeader::SIZE)
    }

    fn describe(&mut self, len: usize) -> io::Result<Route> {
        let front: [u8; InHeader::SIZE + WriteIn::SIZE] = self.request.array(REQUEST_START);
        let (header, body) = front[..front.len().min(len)].split_at(InHeader::SIZE.min(len));
        self.header = InHeader::decode(header)
            .filter(|header| header.len as usize == len)
            .ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the kernel's request has a wrong length",
                )
            })?;
        let route = Route::of(self.header.opcode, body);
        if REPLY_START + OutHeader::SIZE + route.reply_len() > self.reply.len() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the kernel wants a larger reply than negotiated",
            ));
        }
        self.describe_request(len);
        self.describe_reply(route);
        Ok(route)
    }

    fn describe_request(&mut self, len: usize) {
        let args_end = match self.header.opcode {
            opcode::WRITE => PAGE_SIZE,
            _ => REQUEST_START + len,
        };
        let ends = [
            REQUEST_START,
            REQUEST_START + InHeader::SIZE,
            args_end,
            REQUEST_START + len,
        ];
        describe(&mut self.readable, &self.request, ends, self.step);
    }

    fn describe_reply(&mut self, route: Route) {
        self.expects_reply = route != Route::Hiprio;
        self.writable.clear();
        if !self.expects_reply {
            return;
        }
        let end = PAGE_SIZE + route.reply_len();
        let args_end = if matches!(route, Route::Data(_)) {
            PAGE_SIZE
        } else {
            end
        };
        describe(
            &mut self.writable,
            &self.reply,
            [REPLY_START, PAGE_SIZE, args_end, end],
            self.step,
        );
    }

    /// The chain: readable and writable segments.
    pub fn segments(&self) -> (&[Segment], &[Segment]) {
        (&self.readable, &self.writable)
    }

    /// The structure in a reply of `len` bytes.
    ///
    /// # Errors
    /// The reply's errno, or `EIO` when there is none, or when it is too short.
    pub fn reply<T: Wire>(&self, len: u32) -> Result<T, Errno> {
        let bytes = self
            .reply
            .to_vec(REPLY_START, (len as usize).min(PAGE_SIZE));
        let header = OutHeader::decode(&bytes).ok_or(Errno::EIO)?;
        match header.error {
            0 => T::decode(&bytes[OutHeader::SIZE..]).ok_or(Errno::EIO),
            error => Err(Errno::from_raw(-error)),
        }
    }

    /// Writes the reply, `len` bytes by the daemon's word, to /dev/fuse straight from guest memory.
    ///
    /// # Errors
    /// A request without an acceptable reply fails with `EIO` for its caller; the error says what was wrong.
    pub fn write_reply(&self, device: &File, len: u32) -> Result<(), String> {
        // DESTROY is this program's own: nobody reads its reply.
        if !self.expects_reply || self.header.opcode == opcode::DESTROY {
            return Ok(());
        }
        let (opcode, unique) = (self.header.opcode, self.header.unique);
        let room = self.reply.len() - REPLY_START;
        if (OutHeader::SIZE..=room).contains(&(len as usize)) {
            match self
                .reply
                .write_to(device.as_fd(), REPLY_START, len as usize)
            {
                Ok(_) => return Ok(()),
                // The request is gone: its caller was killed, or the mount.
                Err(error) if is_gone(&error) => return Ok(()),
                Err(_) => {}
            }
        }
        let header = OutHeader {
            len: OutHeader::SIZE as u32,
            error: -libc::EIO,
            unique,
        };
        self.reply.write(REPLY_START, &header.encode());
        // Nobody is left to tell when this fails too.
        let _ = self
            .reply
            .write_to(device.as_fd(), REPLY_START, OutHeader::SIZE);
        Err(format!(
            "bad reply of {len} bytes to opcode {opcode}, unique {unique}"
        ))
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOENT | libc::ENODEV | libc::EPERM | libc::ECONNABORTED)
    )
}

/// Describes one side of a chain, contiguous in `buffer`: header, structures, then data in pieces of `step` bytes.
fn describe(segments: &mut Vec<Segment>, buffer: &Buffer, ends: [usize; 4], step: usize) {
    let base = buffer.guest_addr();
    let segment = |start: usize, end: usize| Segment {
        addr: base + start as u64,
        len: (end - start) as u32,
    };
    segments.clear();
    segments.push(segment(ends[0], ends[1]));
    segments.push(segment(ends[1], ends[2]));
    segments.retain(|segment| segment.len > 0);
    let data = (ends[2]..ends[3]).step_by(step);
    segments.extend(data.map(|start| segment(start, ends[3].min(start + step))));
}

/// Slots that no request uses. The last one returned is the first taken: its memory is warm.
#[derive(Debug)]
pub struct Pool {
    total: usize,
    free: Mutex<Vec<Slot>>,
    returned: Condvar,
}

impl Pool {
    /// All slots are free.
    pub fn new(slots: Vec<Slot>) -> Pool {
        Pool {
            total: slots.len(),
            free: Mutex::new(slots),
            returned: Condvar::new(),
        }
    }

    /// Takes a slot, waiting until there is one.
    pub fn take(&self) -> Slot {
        let mut free = self.lock();
        loop {
            match free.pop() {
                Some(slot) => return slot,
                None => {
                    free = self
                        .returned
                        .wait(free)
                        .unwrap_or_else(PoisonError::into_inner)
                }
            }
        }
    }

    /// Gives a slot back.
    pub fn put(&self, slot: Slot) {
        self.lock().push(slot);
        self.returned.notify_all();
    }

    /// Waits until all slots are free, or the time is over; true when they are.
    pub fn wait_idle(&self, timeout: Duration) -> bool {
        let busy = |free: &mut Vec<Slot>| free.len() < self.total;
        let outcome = self.returned.wait_timeout_while(self.lock(), timeout, busy);
        !outcome
            .unwrap_or_else(PoisonError::into_inner)
            .1
            .timed_out()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
