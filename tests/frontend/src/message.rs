//! vhost-user messages: numbers, header and bodies (QEMU's `docs/interop/vhost-user.rst`). Pure: no socket.

use crate::wire::{Wire, wire_struct};

/// Bits of a message header's `flags`.
pub mod flag {
    /// Protocol version 1, in the lowest two bits.
    pub const VERSION: u32 = 1;
    /// The message is a reply.
    pub const REPLY: u32 = 1 << 2;
    /// The sender asks for a reply (with REPLY_ACK negotiated, of any request).
    pub const NEED_REPLY: u32 = 1 << 3;
}

/// Numbers of the requests a front-end sends.
#[allow(missing_docs, reason = "named as in the specification")]
pub mod request {
    pub const GET_FEATURES: u32 = 1;
    pub const SET_FEATURES: u32 = 2;
    pub const SET_OWNER: u32 = 3;
    pub const RESET_OWNER: u32 = 4;
    pub const SET_MEM_TABLE: u32 = 5;
    pub const SET_LOG_BASE: u32 = 6;
    pub const SET_LOG_FD: u32 = 7;
    pub const SET_VRING_NUM: u32 = 8;
    pub const SET_VRING_ADDR: u32 = 9;
    pub const SET_VRING_BASE: u32 = 10;
    pub const GET_VRING_BASE: u32 = 11;
    pub const SET_VRING_KICK: u32 = 12;
    pub const SET_VRING_CALL: u32 = 13;
    pub const SET_VRING_ERR: u32 = 14;
    pub const GET_PROTOCOL_FEATURES: u32 = 15;
    pub const SET_PROTOCOL_FEATURES: u32 = 16;
    pub const GET_QUEUE_NUM: u32 = 17;
    pub const SET_VRING_ENABLE: u32 = 18;
    pub const SET_BACKEND_REQ_FD: u32 = 21;
    pub const GET_CONFIG: u32 = 24;
    pub const SET_CONFIG: u32 = 25;
    pub const GET_INFLIGHT_FD: u32 = 31;
    pub const SET_INFLIGHT_FD: u32 = 32;
    pub const RESET_DEVICE: u32 = 34;
    pub const GET_MAX_MEM_SLOTS: u32 = 36;
    pub const ADD_MEM_REG: u32 = 37;
    pub const REM_MEM_REG: u32 = 38;
    pub const SET_STATUS: u32 = 39;
    pub const GET_STATUS: u32 = 40;
    pub const SET_DEVICE_STATE_FD: u32 = 42;
    pub const CHECK_DEVICE_STATE: u32 = 43;
}

/// Virtio feature bits (as masks) that a virtio-fs device deals with.
pub mod feature {
    /// All writes are logged while this bit is acknowledged (migration).
    pub const LOG_ALL: u64 = 1 << 26;
    /// Descriptors may point to tables of descriptors.
    pub const INDIRECT_DESC: u64 = 1 << 28;
    /// Both sides say at which index they want the next signal.
    pub const EVENT_IDX: u64 = 1 << 29;
    /// vhost-user's own bit: protocol features exist, queues start disabled.
    pub const PROTOCOL_FEATURES: u64 = 1 << 30;
    /// The device follows virtio 1.x.
    pub const VERSION_1: u64 = 1 << 32;
}

/// vhost-user protocol feature bits, as masks.
#[allow(missing_docs, reason = "named as in the specification")]
pub mod protocol {
    pub const MQ: u64 = 1 << 0;
    pub const LOG_SHMFD: u64 = 1 << 1;
    pub const REPLY_ACK: u64 = 1 << 3;
    pub const BACKEND_REQ: u64 = 1 << 5;
    pub const CONFIG: u64 = 1 << 9;
    pub const BACKEND_SEND_FD: u64 = 1 << 10;
    pub const INFLIGHT_SHMFD: u64 = 1 << 12;
    pub const RESET_DEVICE: u64 = 1 << 13;
    pub const CONFIGURE_MEM_SLOTS: u64 = 1 << 15;
    pub const STATUS: u64 = 1 << 16;
    pub const DEVICE_STATE: u64 = 1 << 19;
}

/// In the payload of SET_VRING_KICK, CALL and ERR: no descriptor comes along.
pub const VRING_NO_FD: u64 = 1 << 8;

wire_struct! {
    /// What every message starts with; `size` counts the body only.
    Header { request: u32, flags: u32, size: u32 }
}

wire_struct! {
    /// A piece of guest memory, as in SET_MEM_TABLE and ADD_MEM_REG.
    MemoryRegion { guest_addr: u64, size: u64, user_addr: u64, mmap_offset: u64 }
}

wire_struct! {
    /// Body of SET_VRING_NUM, SET_VRING_BASE, SET_VRING_ENABLE and GET_VRING_BASE.
    VringState { index: u32, num: u32 }
}

wire_struct! {
    /// Body of SET_VRING_ADDR; the addresses are user addresses.
    VringAddress {
        index: u32, flags: u32,
        descriptor: u64, used: u64, available: u64,
        /// Guest-physical address of the used ring, for the dirty log.
        log: u64,
    }
}

wire_struct! {
    /// Start of the body of GET_CONFIG and SET_CONFIG; `size` bytes follow.
    ConfigHeader { offset: u32, size: u32, flags: u32 }
}

wire_struct! {
    /// Body of SET_LOG_BASE.
    Log { size: u64, offset: u64 }
}

wire_struct! {
    /// Body of GET_INFLIGHT_FD and SET_INFLIGHT_FD.
    Inflight { mmap_size: u64, mmap_offset: u64, num_queues: u16, queue_size: u16 }
}

wire_struct! {
    /// Body of SET_DEVICE_STATE_FD: direction 0 saves, 1 loads; phase 0 is "stopped", the only one there is.
    TransferState { direction: u32, phase: u32 }
}

/// A virtio-fs device's configuration space (virtio 1.2, section 5.11.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FsConfig {
    /// The tag, without the NULs that pad it to 36 bytes.
    pub tag: String,
    /// Number of request queues.
    pub num_request_queues: u32,
}

impl FsConfig {
    /// Length in bytes of the part every device has.
    pub const SIZE: usize = 40;

    /// Reads the configuration space; `None` when there are too few bytes.
    pub fn decode(bytes: &[u8]) -> Option<FsConfig> {
        let (tag, mut rest) = bytes.get(..Self::SIZE)?.split_at(36);
        let tag = tag.split(|byte| *byte == 0).next().unwrap_or_default();
        let tag = String::from_utf8_lossy(tag).into_owned();
        Some(FsConfig {
            tag,
            num_request_queues: u32::get(&mut rest),
        })
    }
}

/// A whole message: header of `request` with `flags` (the version is added), then `body`.
pub fn encode(request: u32, flags: u32, body: &[u8]) -> Vec<u8> {
    let header = Header {
        request,
        flags: flags | flag::VERSION,
        size: body.len() as u32,
    };
    [&header.encode(), body].concat()
}

/// Body of SET_MEM_TABLE.
pub fn memory_table(regions: &[MemoryRegion]) -> Vec<u8> {
    let mut body = (regions.len() as u64).to_le_bytes().to_vec();
    regions
        .iter()
        .for_each(|region| body.extend(region.encode()));
    body
}

/// Body of ADD_MEM_REG and REM_MEM_REG: eight bytes of padding, then the region.
pub fn single_region(region: MemoryRegion) -> Vec<u8> {
    [&[0; 8][..], &region.encode()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_its_header_and_its_body() {
        let bytes = encode(request::SET_OWNER, flag::NEED_REPLY, &[7; 3]);

        let header = Header {
            request: 3,
            flags: 0b1001,
            size: 3,
        };
        assert_eq!(Header::decode(&bytes), Some(header));
        assert_eq!(bytes[12..], [7; 3]);
    }

    #[test]
    fn bodies_have_the_lengths_of_the_specification() {
        assert_eq!(VringAddress::SIZE, 40);
        assert_eq!(Inflight::SIZE, 20);
        assert_eq!(
            memory_table(&[MemoryRegion::default(); 2]).len(),
            8 + 2 * 32
        );
        assert_eq!(single_region(MemoryRegion::default()).len(), 40);
    }
}
