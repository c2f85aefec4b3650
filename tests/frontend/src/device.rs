//! A virtio-fs device as its VMM sees it: connection, guest memory and queues, in the order of QEMU's set-up.
//! Knows no FUSE.

use std::os::fd::AsFd;
use std::time::Duration;

use crate::connection::{Connection, Result};
use crate::memory::{GuestMemory, RegionLayout};
use crate::message::{FsConfig, feature, protocol};
use crate::queue::{Queue, QueueOptions};

/// How to set a device up.
#[derive(Clone, Debug)]
pub struct DeviceOptions {
    /// Number of request queues; the hiprio queue comes on top.
    pub request_queues: u32,
    /// Descriptors, and which features to use of those on offer.
    pub queue: QueueOptions,
    /// Guest memory; only what is touched becomes real.
    pub memory: Vec<RegionLayout>,
    /// Protocol features to use of those on offer.
    pub protocol_features: u64,
}

impl Default for DeviceOptions {
    fn default() -> Self {
        let below_4g = RegionLayout::new(0, 512 << 20);
        let above_4g = RegionLayout {
            guest_addr: 4 << 30,
            size: 2 << 30,
            mmap_offset: 16 << 20,
        };
        DeviceOptions {
            request_queues: 1,
            queue: QueueOptions {
                size: 1024,
                indirect: true,
                event_idx: true,
            },
            memory: vec![below_4g, above_4g],
            protocol_features: protocol::MQ
                | protocol::REPLY_ACK
                | protocol::BACKEND_REQ
                | protocol::CONFIG
                | protocol::RESET_DEVICE
                | protocol::CONFIGURE_MEM_SLOTS,
        }
    }
}

/// A device whose features are negotiated and whose memory is known to the daemon.
#[derive(Debug)]
pub struct Device {
    /// The vhost-user connection.
    pub connection: Connection,
    /// The guest's memory.
    pub memory: GuestMemory,
    /// The virtio features in use.
    pub features: u64,
    /// The features the daemon offered.
    pub offered_features: u64,
    options: DeviceOptions,
}

impl Device {
    /// Negotiates features and shares memory. Sets no queue up yet.
    pub fn new(mut connection: Connection, options: DeviceOptions) -> Result<Device> {
        let offered_features = connection.get_features()?;
        let features = offered_features & wanted_features(&options);
        if features & feature::PROTOCOL_FEATURES != 0 {
            let offered = connection.get_protocol_features()?;
            connection.set_protocol_features(offered & options.protocol_features)?;
        }
        connection.set_owner()?;
        connection.set_features(features)?;
        let memory = GuestMemory::new(&options.memory)?;
        let device = Device {
            connection,
            memory,
            features,
            offered_features,
            options,
        };
        device.share_memory()?;
        Ok(device)
    }

    /// How the device was set up.
    pub fn options(&self) -> &DeviceOptions {
        &self.options
    }

    /// Whether these protocol features are in use.
    pub fn has_protocol(&self, features: u64) -> bool {
        self.connection.acked_protocol_features() & features == features
    }

    /// Tells the daemon all regions: one by one when it can, as QEMU does, else in one table.
    pub fn share_memory(&self) -> Result<()> {
        let regions = self.memory.regions();
        if !self.has_protocol(protocol::CONFIGURE_MEM_SLOTS) {
            let table: Vec<_> = regions
                .iter()
                .map(|region| (region.describe(), region.file()))
                .collect();
            return self.connection.set_mem_table(&table);
        }
        regions.iter().try_for_each(|region| {
            self.connection
                .add_mem_reg(region.describe(), region.file())
        })
    }

    /// Plugs a region of memory in, and tells the daemon.
    pub fn plug_memory(&self, layout: RegionLayout) -> Result<()> {
        let region = self.memory.add_region(layout)?;
        self.connection
            .add_mem_reg(region.describe(), region.file())
    }

    /// Number of queues, hiprio included.
    pub fn queue_count(&self) -> u32 {
        self.options.request_queues + 1
    }

    /// Sets queue `index` up from scratch and enables it.
    pub fn start_queue(&self, index: u32) -> Result<Queue> {
        let options = QueueOptions {
            indirect: self.features & feature::INDIRECT_DESC != 0,
            event_idx: self.features & feature::EVENT_IDX != 0,
            ..self.options.queue
        };
        let queue = Queue::new(&self.memory, index, options)?;
        self.announce(&queue, 0)?;
        Ok(queue)
    }

    /// Tells the daemon about a queue, to go on from avail index `base`, and enables it.
    pub fn announce(&self, queue: &Queue, base: u32) -> Result<()> {
        let (connection, index) = (&self.connection, queue.index());
        connection.set_vring_num(index, queue.size().into())?;
        connection.set_vring_base(index, base)?;
        connection.set_vring_addr(queue.address())?;
        connection.set_vring_err(index, Some(queue.err_event().as_fd()))?;
        connection.set_vring_call(index, Some(queue.call_event().as_fd()))?;
        connection.set_vring_kick(index, Some(queue.kick_event().as_fd()))?;
        if self.features & feature::PROTOCOL_FEATURES != 0 {
            connection.set_vring_enable(index, true)?;
        }
        Ok(())
    }

    /// Stops queue `index`; returns the avail index up to which the daemon took chains.
    pub fn stop_queue(&self, index: u32) -> Result<u32> {
        self.connection.get_vring_base(index)
    }

    /// The configuration space; `None` when the daemon has none.
    pub fn config(&self) -> Result<Option<FsConfig>> {
        if !self.has_protocol(protocol::CONFIG) {
            return Ok(None);
        }
        let bytes = self.connection.get_config(0, FsConfig::SIZE as u32)?;
        Ok(FsConfig::decode(&bytes))
    }

    /// Waits until the daemon closes the connection, or the time is over; true when it has.
    pub fn wait_closed(&self, timeout: Duration) -> bool {
        let _ = self.connection.set_timeout(Some(timeout));
        matches!(
            self.connection.recv_message(),
            Err(crate::connection::Error::Closed)
        )
    }
}

fn wanted_features(options: &DeviceOptions) -> u64 {
    let choose = |wanted: bool, feature: u64| if wanted { feature } else { 0 };
    feature::VERSION_1
        | feature::PROTOCOL_FEATURES
        | choose(options.queue.indirect, feature::INDIRECT_DESC)
        | choose(options.queue.event_idx, feature::EVENT_IDX)
}
