//! The guest memory of one request in flight, reused from request to request.

use super::{ClientOptions, Payload, RawReply, Request};
use crate::fuse::{InHeader, OutHeader};
use crate::memory::{Buffer, GuestMemory, PAGE_SIZE};
use crate::queue::Segment;
use crate::wire::Wire;

/// Room for header and arguments on each side: the longest are SETXATTR's and GETXATTR's value of 64 KiB with names.
const ARGS_ROOM: usize = 128 * 1024;

/// Longest structure of a reply in bytes (STATX's has 288).
const LONGEST_STRUCT: usize = 512;

/// Buffers for a request and its reply: header and arguments first, then data at a page boundary.
#[derive(Debug)]
pub struct Slot {
    request: Buffer,
    reply: Buffer,
    data_segment: usize,
    readable: Vec<Segment>,
    writable: Vec<Segment>,
    /// Of the request in flight: its unique, and the room for its reply's structures.
    unique: u64,
    reply_args: usize,
}

impl Slot {
    /// Buffers with room for `options.max_data` each way.
    pub fn new(memory: &GuestMemory, options: ClientOptions) -> Slot {
        let len = ARGS_ROOM + options.max_data.next_multiple_of(PAGE_SIZE);
        Slot {
            request: memory.allocate(len, PAGE_SIZE),
            reply: memory.allocate(len, PAGE_SIZE),
            data_segment: options.data_segment,
            readable: Vec::new(),
            writable: Vec::new(),
            unique: 0,
            reply_args: 0,
        }
    }

    /// Writes a request to guest memory and describes the chain.
    pub fn prepare(&mut self, request: &Request, header: &InHeader) {
        self.unique = header.unique;
        self.reply_args = request.reply_args;
        self.request.write(0, &header.encode());
        let mut end = InHeader::SIZE;
        for part in request.args.iter().copied().chain([request.extensions]) {
            self.request.write(end, part);
            end += part.len();
        }
        assert!(end <= ARGS_ROOM && OutHeader::SIZE + request.reply_args <= ARGS_ROOM);
        if let Payload::Bytes(bytes) = request.data {
            self.request.write(ARGS_ROOM, bytes);
        }
        // What an earlier request left must not pass for a reply.
        self.reply.write(0, &[0; OutHeader::SIZE]);
        self.describe(end, request);
    }

    fn describe(&mut self, end: usize, request: &Request) {
        let step = self.data_segment;
        describe(
            &mut self.readable,
            &self.request,
            [InHeader::SIZE, end],
            request.data.len(),
            step,
        );
        let end = OutHeader::SIZE + request.reply_args;
        describe(
            &mut self.writable,
            &self.reply,
            [OutHeader::SIZE, end],
            request.reply_data,
            step,
        );
    }

    /// Writes any bytes to guest memory: one readable and one writable descriptor, none for nothing.
    pub fn prepare_raw(&mut self, bytes: &[u8], writable_len: usize) {
        self.unique = 0;
        self.reply_args = writable_len.saturating_sub(OutHeader::SIZE);
        self.request.write(0, bytes);
        self.reply.write(0, &[0; OutHeader::SIZE]);
        describe(
            &mut self.readable,
            &self.request,
            [bytes.len(); 2],
            0,
            PAGE_SIZE,
        );
        describe(
            &mut self.writable,
            &self.reply,
            [writable_len; 2],
            0,
            PAGE_SIZE,
        );
    }

    /// The chain: readable and writable segments.
    pub fn segments(&self) -> (&[Segment], &[Segment]) {
        (&self.readable, &self.writable)
    }

    /// The unique of the request in flight.
    pub fn unique(&self) -> u64 {
        self.unique
    }

    /// The reply's header; `None` when the daemon wrote less than one.
    ///
    /// # Panics
    /// When the header's length is not what the used ring says: that is the failure of a test.
    pub fn reply_header(&self, used_len: u32) -> Option<OutHeader> {
        if (used_len as usize) < OutHeader::SIZE {
            return None;
        }
        let header = OutHeader::get(&mut &self.reply.array::<{ OutHeader::SIZE }>(0)[..]);
        assert_eq!(
            header.len, used_len,
            "length in the reply's header and in the used ring"
        );
        Some(header)
    }

    /// The reply's bytes behind the header, up to the room for structures.
    pub fn reply_args(&self, used_len: u32) -> Vec<u8> {
        let len = (used_len as usize)
            .saturating_sub(OutHeader::SIZE)
            .min(self.reply_args);
        self.reply.to_vec(OutHeader::SIZE, len)
    }

    /// The reply's structure, without an allocation; `None` when the daemon wrote less.
    pub fn reply_struct<T: Wire>(&self, used_len: u32) -> Option<T> {
        let mut bytes = [0; LONGEST_STRUCT];
        let bytes = &mut bytes[..T::SIZE];
        if (used_len as usize) < OutHeader::SIZE + T::SIZE {
            return None;
        }
        self.reply.read(OutHeader::SIZE, bytes);
        T::decode(bytes)
    }

    /// Copies the reply's data to `bytes`; returns how many there were.
    pub fn read_reply_data(&self, used_len: u32, bytes: &mut [u8]) -> usize {
        let len = (used_len as usize).saturating_sub(OutHeader::SIZE + self.reply_args);
        let len = len.min(bytes.len());
        self.reply.read(ARGS_ROOM, &mut bytes[..len]);
        len
    }

    /// The reply to `prepare_raw`'s bytes.
    pub fn raw_reply(&self, used_len: u32) -> RawReply {
        let header = self.reply_header(used_len);
        RawReply {
            used_len,
            header,
            body: self.reply_args(used_len),
        }
    }
}

/// Describes one side of a chain: header and arguments (ending at `ends`), then `data` bytes in pieces of `step`.
fn describe(
    segments: &mut Vec<Segment>,
    buffer: &Buffer,
    ends: [usize; 2],
    data: usize,
    step: usize,
) {
    let base = buffer.guest_addr();
    let segment = |start: usize, end: usize| Segment {
        addr: base + start as u64,
        len: (end - start) as u32,
    };
    segments.clear();
    segments.push(segment(0, ends[0]));
    segments.push(segment(ends[0], ends[1]));
    segments.retain(|segment| segment.len > 0);
    let end = ARGS_ROOM + data;
    segments.extend(
        (ARGS_ROOM..end)
            .step_by(step)
            .map(|start| segment(start, end.min(start + step))),
    );
}
