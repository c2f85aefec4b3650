//! The vhost-user connection: one method per request for a well-behaved front-end, and raw bytes below them for any other.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

use crate::message::{
    self, ConfigHeader, Header, Inflight, Log, MemoryRegion, TransferState, VRING_NO_FD,
    VringAddress, VringState, flag, protocol, request,
};
use crate::wire::Wire;

/// Most file descriptors that one message can bring (Linux's `SCM_MAX_FD`).
pub const MAX_FDS: usize = 253;

/// Longest body that this side accepts, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// Why a request failed.
#[derive(Debug)]
pub enum Error {
    /// The daemon closed the connection.
    Closed,
    /// The daemon answered NEED_REPLY with a non-zero code.
    Refused {
        /// The request's number.
        request: u32,
        /// The daemon's code.
        code: u64,
    },
    /// The reply does not belong to the request, or has the wrong length.
    Unexpected(Message),
    /// The socket failed; `WouldBlock` is a time-out.
    Io(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Closed => write!(f, "the daemon closed the vhost-user connection"),
            Error::Refused { request, code } => {
                write!(f, "the daemon refused request {request} with code {code}")
            }
            Error::Unexpected(message) => write!(f, "unexpected reply: {:?}", message.header),
            Error::Io(error) if error.kind() == io::ErrorKind::WouldBlock => {
                write!(f, "no reply from the daemon in time")
            }
            Error::Io(error) => write!(f, "vhost-user socket: {error}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::UnexpectedEof => Error::Closed,
            _ => Error::Io(error),
        }
    }
}

/// The outcome of a request.
pub type Result<T> = std::result::Result<T, Error>;

/// A received message.
#[derive(Debug)]
pub struct Message {
    /// Number, flags and length.
    pub header: Header,
    /// The bytes behind the header.
    pub body: Vec<u8>,
    /// The descriptors that came along.
    pub fds: Vec<OwnedFd>,
}

/// One end of a vhost-user socket.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    /// What SET_PROTOCOL_FEATURES acknowledged: decides whether requests are acknowledged in turn.
    acked: u64,
}

impl Connection {
    /// Connects to a daemon's listening socket.
    pub fn connect(path: &Path) -> io::Result<Connection> {
        Connection::from_stream(UnixStream::connect(path)?)
    }

    /// Takes over a connected socket. Replies are awaited for 10 s.
    pub fn from_stream(stream: UnixStream) -> io::Result<Connection> {
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.set_write_timeout(Some(Duration::from_secs(10)))?;
        Ok(Connection { stream, acked: 0 })
    }

    /// How long a reply is awaited; `None` waits for ever.
    pub fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream.set_read_timeout(timeout)
    }

    /// The socket itself.
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// The protocol features acknowledged so far.
    pub fn acked_protocol_features(&self) -> u64 {
        self.acked
    }

    // ---- raw ----

    /// Sends any bytes with any descriptors in one sendmsg(2); returns the number of bytes sent.
    pub fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        let raw: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let rights = if raw.is_empty() { &[] } else { &rights[..] };
        let slices = [IoSlice::new(bytes)];
        Ok(sendmsg::<()>(
            self.stream.as_raw_fd(),
            &slices,
            rights,
            MsgFlags::MSG_NOSIGNAL,
            None,
        )?)
    }

    /// Receives up to `bytes.len()` bytes and the descriptors with them; 0 bytes means that the daemon closed.
    pub fn recv(&self, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        let mut space = nix::cmsg_space!([i32; MAX_FDS]);
        let mut slices = [IoSliceMut::new(bytes)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let received = recvmsg::<()>(
            self.stream.as_raw_fd(),
            &mut slices,
            Some(&mut space),
            flags,
        )?;
        let mut fds = Vec::new();
        for control in received.cmsgs()? {
            if let ControlMessageOwned::ScmRights(raw) = control {
                fds.extend(raw.into_iter().map(own));
            }
        }
        Ok((received.bytes, fds))
    }

    /// Receives one whole message, whatever it is.
    pub fn recv_message(&self) -> Result<Message> {
        let mut fds = Vec::new();
        let mut header = [0; Header::SIZE];
        self.recv_exact(&mut header, &mut fds)?;
        let header = Header::get(&mut &header[..]);
        let mut body = vec![0; (header.size as usize).min(MAX_BODY)];
        self.recv_exact(&mut body, &mut fds)?;
        Ok(Message { header, body, fds })
    }

    fn recv_exact(&self, mut bytes: &mut [u8], fds: &mut Vec<OwnedFd>) -> Result<()> {
        while !bytes.is_empty() {
            let (count, more) = self.recv(bytes)?;
            fds.extend(more);
            if count == 0 {
                return Err(Error::Closed);
            }
            bytes = &mut bytes[count..];
        }
        Ok(())
    }

    // ---- one request ----

    /// Sends a request that is answered with a message, and returns that.
    pub fn ask(&self, request: u32, body: &[u8], fds: &[BorrowedFd<'_>]) -> Result<Message> {
        self.send(&message::encode(request, 0, body), fds)?;
        self.reply_to(request)
    }

    /// Sends a request that has no answer of its own; asks for an acknowledgement when REPLY_ACK allows it.
    pub fn tell(&self, request: u32, body: &[u8], fds: &[BorrowedFd<'_>]) -> Result<()> {
        if self.acked & protocol::REPLY_ACK == 0 {
            self.send(&message::encode(request, 0, body), fds)?;
            return Ok(());
        }
        self.send(&message::encode(request, flag::NEED_REPLY, body), fds)?;
        let reply = self.reply_to(request)?;
        match u64::decode(&reply.body) {
            Some(0) => Ok(()),
            Some(code) => Err(Error::Refused { request, code }),
            None => Err(Error::Unexpected(reply)),
        }
    }

    fn reply_to(&self, request: u32) -> Result<Message> {
        let reply = self.recv_message()?;
        let is_reply = reply.header.flags & flag::REPLY != 0;
        if is_reply && reply.header.request == request {
            Ok(reply)
        } else {
            Err(Error::Unexpected(reply))
        }
    }

    fn ask_for<T: Wire>(&self, request: u32, body: &[u8]) -> Result<T> {
        let reply = self.ask(request, body, &[])?;
        T::decode(&reply.body).ok_or(Error::Unexpected(reply))
    }

    fn tell_u64(&self, request: u32, value: u64, fds: &[BorrowedFd<'_>]) -> Result<()> {
        self.tell(request, &value.to_le_bytes(), fds)
    }

    // ---- negotiation ----

    /// GET_FEATURES: the virtio features on offer.
    pub fn get_features(&self) -> Result<u64> {
        self.ask_for(request::GET_FEATURES, &[])
    }

    /// SET_FEATURES: the virtio features that are used.
    pub fn set_features(&self, features: u64) -> Result<()> {
        self.tell_u64(request::SET_FEATURES, features, &[])
    }

    /// GET_PROTOCOL_FEATURES: the vhost-user features on offer.
    pub fn get_protocol_features(&self) -> Result<u64> {
        self.ask_for(request::GET_PROTOCOL_FEATURES, &[])
    }

    /// SET_PROTOCOL_FEATURES: the vhost-user features that are used; REPLY_ACK among them holds from the next request on.
    pub fn set_protocol_features(&mut self, features: u64) -> Result<()> {
        self.send(
            &message::encode(request::SET_PROTOCOL_FEATURES, 0, &features.to_le_bytes()),
            &[],
        )?;
        self.acked = features;
        Ok(())
    }

    /// SET_OWNER: this front-end owns the session.
    pub fn set_owner(&self) -> Result<()> {
        self.tell(request::SET_OWNER, &[], &[])
    }

    /// RESET_OWNER (deprecated).
    pub fn reset_owner(&self) -> Result<()> {
        self.tell(request::RESET_OWNER, &[], &[])
    }

    /// RESET_DEVICE: back to the state after start-up.
    pub fn reset_device(&self) -> Result<()> {
        self.tell(request::RESET_DEVICE, &[], &[])
    }

    /// GET_QUEUE_NUM: how many queues the daemon can serve.
    pub fn get_queue_num(&self) -> Result<u64> {
        self.ask_for(request::GET_QUEUE_NUM, &[])
    }

    // ---- memory ----

    /// SET_MEM_TABLE: all guest memory at once, one descriptor a region.
    pub fn set_mem_table(&self, regions: &[(MemoryRegion, BorrowedFd<'_>)]) -> Result<()> {
        let (regions, fds): (Vec<_>, Vec<_>) = regions.iter().copied().unzip();
        self.tell(
            request::SET_MEM_TABLE,
            &message::memory_table(&regions),
            &fds,
        )
    }

    /// GET_MAX_MEM_SLOTS: how many regions the daemon can hold.
    pub fn get_max_mem_slots(&self) -> Result<u64> {
        self.ask_for(request::GET_MAX_MEM_SLOTS, &[])
    }

    /// ADD_MEM_REG: one more region.
    pub fn add_mem_reg(&self, region: MemoryRegion, fd: BorrowedFd<'_>) -> Result<()> {
        self.tell(request::ADD_MEM_REG, &message::single_region(region), &[fd])
    }

    /// REM_MEM_REG: one region less.
    pub fn rem_mem_reg(&self, region: MemoryRegion) -> Result<()> {
        self.tell(request::REM_MEM_REG, &message::single_region(region), &[])
    }

    /// SET_LOG_BASE: where to log dirty pages.
    pub fn set_log_base(&self, log: Log, fd: BorrowedFd<'_>) -> Result<()> {
        self.ask(request::SET_LOG_BASE, &log.encode(), &[fd])
            .map(drop)
    }

    // ---- queues ----

    /// SET_VRING_NUM: the queue's size in descriptors.
    pub fn set_vring_num(&self, index: u32, num: u32) -> Result<()> {
        self.tell(
            request::SET_VRING_NUM,
            &VringState { index, num }.encode(),
            &[],
        )
    }

    /// SET_VRING_BASE: the avail index to go on from.
    pub fn set_vring_base(&self, index: u32, num: u32) -> Result<()> {
        self.tell(
            request::SET_VRING_BASE,
            &VringState { index, num }.encode(),
            &[],
        )
    }

    /// GET_VRING_BASE: stops the queue; returns the avail index that it would have gone on from.
    pub fn get_vring_base(&self, index: u32) -> Result<u32> {
        let state: VringState = self.ask_for(
            request::GET_VRING_BASE,
            &VringState { index, num: 0 }.encode(),
        )?;
        Ok(state.num)
    }

    /// SET_VRING_ADDR: where the rings lie.
    pub fn set_vring_addr(&self, address: VringAddress) -> Result<()> {
        self.tell(request::SET_VRING_ADDR, &address.encode(), &[])
    }

    /// SET_VRING_KICK: the driver's signal; starts the queue.
    pub fn set_vring_kick(&self, index: u32, fd: Option<BorrowedFd<'_>>) -> Result<()> {
        self.set_vring_fd(request::SET_VRING_KICK, index, fd)
    }

    /// SET_VRING_CALL: the device's signal.
    pub fn set_vring_call(&self, index: u32, fd: Option<BorrowedFd<'_>>) -> Result<()> {
        self.set_vring_fd(request::SET_VRING_CALL, index, fd)
    }

    /// SET_VRING_ERR: the signal that the queue is broken.
    pub fn set_vring_err(&self, index: u32, fd: Option<BorrowedFd<'_>>) -> Result<()> {
        self.set_vring_fd(request::SET_VRING_ERR, index, fd)
    }

    fn set_vring_fd(&self, request: u32, index: u32, fd: Option<BorrowedFd<'_>>) -> Result<()> {
        match fd {
            Some(fd) => self.tell_u64(request, index.into(), &[fd]),
            None => self.tell_u64(request, u64::from(index) | VRING_NO_FD, &[]),
        }
    }

    /// SET_VRING_ENABLE: lets the queue be served, or not.
    pub fn set_vring_enable(&self, index: u32, enable: bool) -> Result<()> {
        self.tell(
            request::SET_VRING_ENABLE,
            &VringState {
                index,
                num: enable.into(),
            }
            .encode(),
            &[],
        )
    }

    // ---- configuration, state ----

    /// GET_CONFIG: `size` bytes of the device's configuration space; empty when the daemon says that it cannot.
    pub fn get_config(&self, offset: u32, size: u32) -> Result<Vec<u8>> {
        let header = ConfigHeader {
            offset,
            size,
            flags: 0,
        }
        .encode();
        let mut reply = self.ask(
            request::GET_CONFIG,
            &[&header[..], &vec![0; size as usize]].concat(),
            &[],
        )?;
        Ok(reply
            .body
            .split_off(ConfigHeader::SIZE.min(reply.body.len())))
    }

    /// SET_CONFIG: writes to the device's configuration space.
    pub fn set_config(&self, offset: u32, bytes: &[u8]) -> Result<()> {
        let header = ConfigHeader {
            offset,
            size: bytes.len() as u32,
            flags: 0,
        }
        .encode();
        self.tell(request::SET_CONFIG, &[&header[..], bytes].concat(), &[])
    }

    /// SET_BACKEND_REQ_FD: opens the channel for the daemon's own requests; returns this side's end.
    pub fn open_backend_channel(&self) -> Result<Connection> {
        let (ours, theirs) = UnixStream::pair()?;
        self.tell(request::SET_BACKEND_REQ_FD, &[], &[theirs.as_fd()])?;
        Ok(Connection::from_stream(ours)?)
    }

    /// GET_INFLIGHT_FD: the daemon's buffer for requests in flight.
    pub fn get_inflight_fd(&self, num_queues: u16, queue_size: u16) -> Result<(Inflight, OwnedFd)> {
        let wanted = Inflight {
            num_queues,
            queue_size,
            ..Inflight::default()
        };
        let mut reply = self.ask(request::GET_INFLIGHT_FD, &wanted.encode(), &[])?;
        match (Inflight::decode(&reply.body), reply.fds.pop()) {
            (Some(inflight), Some(fd)) => Ok((inflight, fd)),
            _ => Err(Error::Unexpected(reply)),
        }
    }

    /// SET_INFLIGHT_FD: gives the buffer for requests in flight (back) to a daemon.
    pub fn set_inflight_fd(&self, inflight: Inflight, fd: BorrowedFd<'_>) -> Result<()> {
        self.tell(request::SET_INFLIGHT_FD, &inflight.encode(), &[fd])
    }

    /// SET_DEVICE_STATE_FD: starts to save (direction 0) or load (1) the daemon's state through a pipe.
    ///
    /// Returns the daemon's own descriptor when it prefers one to ours.
    pub fn set_device_state_fd(
        &self,
        direction: u32,
        fd: BorrowedFd<'_>,
    ) -> Result<Option<OwnedFd>> {
        let transfer = TransferState {
            direction,
            phase: 0,
        };
        let request = request::SET_DEVICE_STATE_FD;
        let mut reply = self.ask(request, &transfer.encode(), &[fd])?;
        match u64::decode(&reply.body) {
            Some(code) if code & 0xff == 0 => Ok(reply.fds.pop()),
            Some(code) => Err(Error::Refused { request, code }),
            None => Err(Error::Unexpected(reply)),
        }
    }

    /// CHECK_DEVICE_STATE: whether the transfer succeeded.
    pub fn check_device_state(&self) -> Result<()> {
        match self.ask_for(request::CHECK_DEVICE_STATE, &[])? {
            0u64 => Ok(()),
            code => Err(Error::Refused {
                request: request::CHECK_DEVICE_STATE,
                code,
            }),
        }
    }
}

/// Takes ownership of a descriptor that has just arrived.
#[allow(
    unsafe_code,
    reason = "nix hands received descriptors over as bare numbers"
)]
fn own(raw: i32) -> OwnedFd {
    // SAFETY: recvmsg has just put this descriptor into our table, and nobody else knows its number.
    unsafe { OwnedFd::from_raw_fd(raw) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eventfd::EventFd;

    fn pair() -> (Connection, Connection) {
        let (a, b) = UnixStream::pair().unwrap();
        (
            Connection::from_stream(a).unwrap(),
            Connection::from_stream(b).unwrap(),
        )
    }

    #[test]
    fn a_descriptor_travels_with_its_message() {
        let (front, back) = pair();
        let event = EventFd::new().unwrap();

        front.set_vring_kick(1, Some(event.as_fd())).unwrap();

        let message = back.recv_message().unwrap();
        assert_eq!(message.header.request, request::SET_VRING_KICK);
        assert_eq!(message.body, 1u64.to_le_bytes());
        assert_eq!(message.fds.len(), 1);
    }

    #[test]
    fn a_non_zero_acknowledgement_is_a_refusal() {
        let (mut front, back) = pair();
        front.set_protocol_features(protocol::REPLY_ACK).unwrap();
        let reply = message::encode(request::SET_OWNER, flag::REPLY, &5u64.to_le_bytes());
        back.send(&reply, &[]).unwrap();

        let outcome = front.set_owner();

        assert!(matches!(
            outcome,
            Err(Error::Refused {
                request: request::SET_OWNER,
                code: 5
            })
        ));
    }

    #[test]
    fn a_closed_socket_is_closed() {
        let (front, back) = pair();
        drop(back);

        assert!(matches!(front.get_features(), Err(Error::Closed)));
    }
}
