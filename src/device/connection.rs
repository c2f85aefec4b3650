//! One front-end's connection, from its first message to its end.

use std::fmt;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

use vhost::vhost_user::message::FrontendReq;
use vhost::vhost_user::{BackendReqHandler, Error};

use super::Backend;
use crate::sys;

/// How to share guest memory, for the user whose front-end does not.
pub const SHARE_MEMORY_HINT: &str = "\
  guest memory must be shared with virtiofsd. In QEMU:
    -object memory-backend-memfd,id=mem,size=...,share=on -machine ...,memory-backend=mem
  in libvirt: <memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>
  in cloud-hypervisor: --memory size=...,shared=on";

/// Bits of a message header's flags.
const NEED_REPLY: u32 = 1 << 3;
const HEADER_LEN: usize = 12;

/// How a connection ended.
#[derive(Debug)]
pub enum ConnectionEnd {
    /// The front-end closed it.
    Closed,
    /// The front-end closed it without ever sharing guest memory.
    NoSharedMemory,
    /// The front-end broke the protocol: with which message, if it was a whole one, and how.
    Broken(Option<Message>, Error),
}

/// Obeys the front-end on `stream` until it is gone. Gives the device back, its queues still running.
pub fn serve_connection(stream: UnixStream, backend: Backend) -> (ConnectionEnd, Backend) {
    let backend = Arc::new(Mutex::new(backend));
    let peek = stream.try_clone().ok();
    let mut handler = BackendReqHandler::from_stream(stream, Arc::clone(&backend));
    let end = loop {
        let message = peek.as_ref().and_then(Message::peek);
        match handler.handle_request() {
            Ok(()) => {}
            Err(Error::Disconnected | Error::SocketBroken(_)) => break ConnectionEnd::Closed,
            // Half a message, then nothing: it died while it spoke.
            Err(Error::PartialMessage) if message.is_none() => break ConnectionEnd::Closed,
            Err(error) => match message {
                // It was told, so both sides can go on.
                Some(message) if is_refusal(&error) && message.is_acknowledged(&backend) => {
                    crate::limited!(Warn, "refused {message}: {error}");
                }
                _ => break ConnectionEnd::Broken(message, error),
            },
        }
    };
    drop(handler);
    let backend = Arc::into_inner(backend).expect("the handler is gone");
    let backend = backend.into_inner().unwrap_or_else(PoisonError::into_inner);
    let progress = backend.progress();
    // Whatever it failed at in the end, this is why.
    let end = match progress.negotiated && !progress.shared_memory {
        true => ConnectionEnd::NoSharedMemory,
        false => end,
    };
    (end, backend)
}

/// Whether the device refused a request that was well-formed.
fn is_refusal(error: &Error) -> bool {
    matches!(error, Error::ReqHandlerError(_))
}

/// The header of a message.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    request: u32,
    flags: u32,
}

impl Message {
    /// Waits for the header of the next message without taking it.
    fn peek(stream: &UnixStream) -> Option<Self> {
        let mut header = [0; HEADER_LEN];
        if sys::peek(stream, &mut header).ok()? < HEADER_LEN {
            return None;
        }
        let word = |at: usize| u32::from_ne_bytes(header[at..at + 4].try_into().expect("4 bytes"));
        Some(Self {
            request: word(0),
            flags: word(4),
        })
    }

    /// The front-end has been told whether its request succeeded.
    fn is_acknowledged(self, backend: &Mutex<Backend>) -> bool {
        let backend = backend.lock().unwrap_or_else(PoisonError::into_inner);
        self.flags & NEED_REPLY != 0 && backend.progress().hears_refusals
    }

    fn known(self) -> Option<FrontendReq> {
        FrontendReq::try_from(self.request).ok()
    }

    fn concerns_memory(self) -> bool {
        use FrontendReq::{ADD_MEM_REG, SET_MEM_TABLE};
        matches!(self.known(), Some(SET_MEM_TABLE | ADD_MEM_REG))
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.known() {
            Some(request) => write!(f, "{request:?}"),
            None => write!(f, "unknown request {}", self.request),
        }
    }
}

impl ConnectionEnd {
    /// Whether it failed at guest memory.
    pub fn concerns_memory(&self) -> bool {
        match self {
            Self::NoSharedMemory => true,
            Self::Broken(message, _) => message.is_some_and(Message::concerns_memory),
            Self::Closed => false,
        }
    }
}
