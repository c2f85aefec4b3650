//! The life of a request: read, decode, gate, dispatch, reply.
//!
//! Knows the wire (`fuse`) and the file system (`fs`) and translates between their values; knows
//! neither rings nor system calls. Nothing a guest sends makes it panic or end.

mod dispatch;
mod encode;
mod session;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::device::Exchange;
use crate::fs::{FsWorker, PassthroughFs};
use crate::fuse::abi::{self, IN_HEADER_LEN, InHeader, OUT_HEADER_LEN, WRITE_IN_LEN, opcode};
use crate::fuse::{self, Reply, Request, WireError, operation};
use crate::limited;
use crate::sys::{Errno, GuestBuffers};
use session::SessionCell;

pub use session::Offer;

/// Longest request without its data: the longest is SETXATTR with a name and 64 KiB of value.
const MAX_BODY: usize = 128 * 1024;
/// Bytes of directory entries read from the host at a time.
const LISTING_LEN: usize = 64 * 1024;

/// What all workers share.
#[derive(Debug)]
pub struct Server {
    fs: Arc<PassthroughFs>,
    offer: Offer,
    session: SessionCell,
    /// Requests that could not be decoded.
    malformed: AtomicU64,
}

impl Server {
    /// Serves `fs`.
    pub fn new(fs: Arc<PassthroughFs>, offer: Offer) -> Arc<Self> {
        Arc::new(Self {
            fs,
            offer,
            session: SessionCell::default(),
            malformed: AtomicU64::new(0),
        })
    }

    /// How many requests could not be decoded so far.
    pub fn malformed(&self) -> u64 {
        self.malformed.load(Ordering::Relaxed)
    }
}

/// One thread's part of the server, with the memory it uses for every request.
#[derive(Debug)]
pub struct Worker {
    server: Arc<Server>,
    fs: FsWorker,
    body: Vec<u8>,
    reply: Reply,
    listing: Vec<u8>,
}

/// Nothing can answer the request: its chain goes back empty.
struct Dropped;

impl Worker {
    /// A worker of `server`.
    pub fn new(server: &Arc<Server>) -> Self {
        Self {
            server: Arc::clone(server),
            fs: FsWorker::new(&server.fs),
            body: Vec::with_capacity(IN_HEADER_LEN + 4096),
            reply: Reply::new(),
            listing: vec![0; LISTING_LEN],
        }
    }

    /// Serves one request, from the bytes the driver wrote to the reply it reads.
    pub fn serve(&mut self, mut exchange: Exchange) {
        let (request, reply) = exchange.buffers();
        let len = self.answer(request, reply).unwrap_or(0);
        exchange.complete(len);
    }

    /// Reads, decodes and runs the request and writes its reply. Returns the reply's length; a
    /// silent request has none.
    fn answer(
        &mut self,
        mut request: GuestBuffers<'_>,
        mut reply: GuestBuffers<'_>,
    ) -> Result<usize, Dropped> {
        let header = read_header(&request, &reply).inspect_err(|_| self.count_malformed())?;
        self.reply.begin(reply.len());
        let outcome = match self.read_body(&header, &request) {
            Ok(()) => self.run(&header, &mut request, &mut reply),
            Err(error) => Err(self.refuse(&header, error)),
        };
        if operation::is_silent(header.opcode) {
            return Ok(0);
        }
        let in_place = match outcome {
            Ok(in_place) => {
                self.reply.seal(header.unique, in_place);
                in_place
            }
            Err(errno) => {
                self.reply.fail(header.unique, errno.raw());
                0
            }
        };
        Ok(reply.copy_from(0, self.reply.as_bytes()) + in_place)
    }

    /// Copies the request without its header, and without a write's data, which stays in guest
    /// memory.
    fn read_body(
        &mut self,
        header: &InHeader,
        request: &GuestBuffers<'_>,
    ) -> Result<(), WireError> {
        let len = header.len as usize;
        let announced = len.checked_sub(IN_HEADER_LEN).ok_or(WireError::Malformed)?;
        if len > request.len() {
            return Err(WireError::Malformed);
        }
        let wanted = match header.opcode {
            opcode::WRITE => announced.min(WRITE_IN_LEN),
            _ if announced > MAX_BODY => return Err(WireError::Malformed),
            _ => announced,
        };
        self.body.resize(wanted, 0);
        request.copy_to(IN_HEADER_LEN, &mut self.body);
        Ok(())
    }

    /// Decodes the request, lets it pass the gate and runs it. Returns how many bytes of reply are
    /// in guest memory already.
    fn run(
        &mut self,
        header: &InHeader,
        data: &mut GuestBuffers<'_>,
        reply: &mut GuestBuffers<'_>,
    ) -> Result<usize, Errno> {
        let body = std::mem::take(&mut self.body);
        let result = match Request::decode(header, &body) {
            Ok(request) => self
                .server
                .gate(&request, &self.reply)
                .and_then(|()| self.dispatch(&request, header.len as usize, data, reply))
                .map_err(|errno| tell(&request.operation, errno)),
            Err(error) => Err(self.refuse(header, error)),
        };
        self.body = body;
        log::debug!(
            "{}: {} of node {:#x}: {}",
            header.unique,
            opcode::name(header.opcode),
            header.nodeid,
            result
                .err()
                .map_or("done".to_owned(), |errno| format!("{errno:?}")),
        );
        result
    }

    fn refuse(&self, header: &InHeader, error: WireError) -> Errno {
        // Any program of the guest may try a name that is too long, and its kernel passes it on.
        if error != WireError::NameTooLong {
            self.count_malformed();
            let name = opcode::name(header.opcode);
            limited!(Warn, "a malformed {name} request: {error}");
        }
        Errno::from_raw(error.errno())
    }

    fn count_malformed(&self) {
        self.server.malformed.fetch_add(1, Ordering::Relaxed);
    }
}

impl Server {
    /// What no request may pass: before INIT only INIT; on a read-only share nothing that changes
    /// it; and nothing whose reply has no room, since its effects could not be told.
    fn gate(&self, request: &Request<'_>, reply: &Reply) -> Result<(), Errno> {
        let operation = &request.operation;
        let starts_session = matches!(operation, fuse::Operation::Init(_));
        if !starts_session && !self.session.is_open() {
            return Err(Errno::EIO);
        }
        if self.offer.readonly && operation.mutates() {
            return Err(Errno::EROFS);
        }
        if reply.payload_room() < encode::payload_len(operation) {
            return Err(Errno::EIO);
        }
        Ok(())
    }
}

/// The errno to answer an operation with. `ENOSYS` means "never ask again" to the guest, which one
/// file of the host that cannot do it must not cause.
fn tell(operation: &fuse::Operation<'_>, errno: Errno) -> Errno {
    match operation {
        fuse::Operation::Unsupported(_) => errno,
        _ if errno == Errno::ENOSYS => Errno::EOPNOTSUPP,
        _ => errno,
    }
}

/// The request's header, if it has one and its reply has room for one.
fn read_header(request: &GuestBuffers<'_>, reply: &GuestBuffers<'_>) -> Result<InHeader, Dropped> {
    let mut bytes = [0; IN_HEADER_LEN];
    if request.copy_to(0, &mut bytes) < bytes.len() {
        limited!(
            Warn,
            "a request of {} bytes is dropped: it has no header",
            request.len()
        );
        return Err(Dropped);
    }
    let header = operation::header(&bytes);
    if !operation::is_silent(header.opcode) && reply.len() < OUT_HEADER_LEN {
        let name = abi::opcode::name(header.opcode);
        limited!(Warn, "a {name} request is dropped: its reply has no room");
        return Err(Dropped);
    }
    Ok(header)
}
