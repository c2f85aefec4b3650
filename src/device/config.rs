//! What the device offers.

use bits::{EVENT_IDX, INDIRECT_DESC, VERSION_1};
use vhost::vhost_user::message::{VhostUserProtocolFeatures, VhostUserVirtioFeatures};

/// Queues a front-end may set up: the hiprio queue and 64 request queues.
pub const MAX_QUEUES: usize = 1 + 64;
/// Most entries of a queue (virtio 1.3, section 2.7).
pub const MAX_QUEUE_SIZE: u32 = 32_768;
/// Most regions of guest memory, as many as KVM once had slots for.
pub const MAX_MEMORY_REGIONS: usize = 509;

/// Most descriptors the device holds: of each queue kick, its duplicate, call, error, epoll and stop;
/// of each memory region its file; and some for sockets, signals and the log.
pub const MAX_DESCRIPTORS: u64 = 6 * MAX_QUEUES as u64 + MAX_MEMORY_REGIONS as u64 + 32;

/// Bytes of the tag in the device's configuration space.
const TAG_LEN: usize = 36;

/// Feature bits of virtio 1.3, section 6.
mod bits {
    /// `VIRTIO_F_INDIRECT_DESC`.
    pub const INDIRECT_DESC: u64 = 1 << 28;
    /// `VIRTIO_F_EVENT_IDX`.
    pub const EVENT_IDX: u64 = 1 << 29;
    /// `VIRTIO_F_VERSION_1`.
    pub const VERSION_1: u64 = 1 << 32;
}

/// A set of virtio feature bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VirtioFeatures(pub u64);

impl VirtioFeatures {
    /// All the device has.
    pub const OFFERED: Self = Self(
        VERSION_1 | EVENT_IDX | INDIRECT_DESC | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits(),
    );

    /// Event indices instead of flags.
    pub fn event_idx(self) -> bool {
        self.0 & EVENT_IDX != 0
    }

    /// Indirect descriptor tables.
    pub fn indirect(self) -> bool {
        self.0 & INDIRECT_DESC != 0
    }

    /// The front-end negotiates protocol features and enables queues itself.
    pub fn protocol_features(self) -> bool {
        self.0 & VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits() != 0
    }
}

/// What the command line says about the device.
#[derive(Clone, Debug, Default)]
pub struct DeviceConfig {
    /// The tag, when the front-end shall have it from us.
    pub tag: Option<String>,
}

impl DeviceConfig {
    /// The vhost-user features on offer.
    pub fn protocol_features(&self) -> VhostUserProtocolFeatures {
        let always = VhostUserProtocolFeatures::MQ
            | VhostUserProtocolFeatures::REPLY_ACK
            | VhostUserProtocolFeatures::BACKEND_REQ
            | VhostUserProtocolFeatures::CONFIGURE_MEM_SLOTS
            | VhostUserProtocolFeatures::RESET_DEVICE;
        match self.tag {
            Some(_) => always | VhostUserProtocolFeatures::CONFIG,
            None => always,
        }
    }

    /// `size` bytes of the configuration space (virtio 1.3, section 5.11.4) from `offset` on; none
    /// when it does not hold them all or we have no tag to say.
    pub fn space(&self, offset: u32, size: u32) -> Option<Vec<u8>> {
        let tag = self.tag.as_deref()?.as_bytes();
        let mut space = [0; TAG_LEN + 4];
        space[..tag.len()].copy_from_slice(tag);
        // The front-end decides how many request queues there are; every device has one.
        space[TAG_LEN..].copy_from_slice(&1u32.to_le_bytes());
        let start = offset as usize;
        Some(
            space
                .get(start..start.checked_add(size as usize)?)?
                .to_vec(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a22_the_configuration_space_is_bounded() {
        let config = DeviceConfig {
            tag: Some("share".to_owned()),
        };
        let whole = config.space(0, 40).unwrap();
        assert_eq!(
            (&whole[..6], &whole[36..]),
            (&b"share\0"[..], &[1, 0, 0, 0][..])
        );
        for (offset, size) in [(0, 41), (40, 1), (u32::MAX, u32::MAX), (36, 5)] {
            assert!(config.space(offset, size).is_none(), "{offset}+{size}");
        }
    }

    #[test]
    fn without_a_tag_there_is_no_configuration_space() {
        let config = DeviceConfig::default();
        assert!(config.space(0, 1).is_none());
        assert!(
            !config
                .protocol_features()
                .contains(VhostUserProtocolFeatures::CONFIG)
        );
    }
}
