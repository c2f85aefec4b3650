//! One front-end's connection, from its first message to its end.

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
    /// The front-end broke the protocol: what it sent, and what was wrong with it.
    Broken(String, Error),
}

/// Obeys the front-end on `stream` until it is gone.
pub fn serve_connection(stream: UnixStream, backend: Backend) -> ConnectionEnd {
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
            Err(error @ Error::ReqHandlerError(_)) if message.is_some_and(Message::was_nacked) => {
                log::warn!("refused {}: {error}", Message::name(message));
            }
            Err(error) => break ConnectionEnd::Broken(Message::name(message), error),
        }
    };
    let mut backend = backend.lock().unwrap_or_else(PoisonError::into_inner);
    backend.stop();
    let progress = backend.progress();
    if progress.negotiated && !progress.shared_memory {
        // Whatever it failed at in the end, this is why.
        return ConnectionEnd::NoSharedMemory;
    }
    end
}

/// The header of the message that comes next.
#[derive(Clone, Copy, Debug)]
struct Message {
    request: u32,
    flags: u32,
}

impl Message {
    /// Waits for a whole header without taking it.
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

    /// The front-end was told that its request failed, so both sides can go on.
    fn was_nacked(self) -> bool {
        self.flags & NEED_REPLY != 0
    }

    fn name(message: Option<Self>) -> String {
        let Some(Self { request, .. }) = message else {
            return "half a message".to_owned();
        };
        match FrontendReq::try_from(request) {
            Ok(known) => format!("{known:?}"),
            Err(_) => format!("unknown request {request}"),
        }
    }
}

impl ConnectionEnd {
    /// Whether the failed message was about memory.
    pub fn concerns_memory(&self) -> bool {
        match self {
            Self::NoSharedMemory => true,
            Self::Broken(message, _) => message.contains("MEM_"),
            Self::Closed => false,
        }
    }
}
