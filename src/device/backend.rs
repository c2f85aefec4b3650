//! Obeying the front-end: the vhost-user back-end (docs/interop/vhost-user.rst of QEMU).
//!
//! The `vhost` crate reads and checks messages; what they mean is here. A queue runs when it is
//! set up and enabled; whatever changes its memory or its set-up stops it first, and a stopped
//! queue has returned every chain it took.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use vhost::VhostUserMemoryRegionBase;
use vhost::vhost_user::message::{
    VhostTransferStateDirection, VhostTransferStatePhase, VhostUserConfigFlags, VhostUserInflight,
    VhostUserLog, VhostUserMemoryRegion, VhostUserProtocolFeatures, VhostUserShMemConfig,
    VhostUserSharedMsg, VhostUserSingleMemoryRegion, VhostUserVringAddrFlags, VhostUserVringState,
};
use vhost::vhost_user::{
    Backend as FrontEndChannel, Error, GpuBackend, Result, VhostUserBackendReqHandlerMut,
};

use super::chain::{Memory, RingAddresses};
use super::config::{DeviceConfig, MAX_MEMORY_REGIONS, MAX_QUEUE_SIZE, MAX_QUEUES, VirtioFeatures};
use super::engine::{Engine, RunningQueue};
use super::queue::{QueueSetup, Signals};
use crate::sys;

/// The device as the front-end sees it.
pub struct Backend {
    config: DeviceConfig,
    engine: Engine,
    features: VirtioFeatures,
    memory: Arc<Memory>,
    queues: Vec<Slot>,
    progress: Progress,
    /// For requests of ours to the front-end. There are none yet, but it stays open: QEMU reports an
    /// error when it closes.
    channel: Option<FrontEndChannel>,
}

/// How far the front-end got, to tell a user what went wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// It agreed on features: the guest's driver started.
    pub negotiated: bool,
    /// It shared memory.
    pub shared_memory: bool,
    /// It can be told that a request of its was refused (`REPLY_ACK`).
    pub hears_refusals: bool,
}

/// One queue as the front-end describes it.
#[derive(Debug, Default)]
struct Slot {
    size: u16,
    base: u16,
    addresses: Option<UserAddresses>,
    enabled: bool,
    kick: Option<File>,
    signals: Arc<Signals>,
    running: Option<RunningQueue>,
}

/// Where a queue's parts are in the front-end's address space.
#[derive(Clone, Copy, Debug)]
struct UserAddresses {
    descriptors: u64,
    available: u64,
    used: u64,
}

impl UserAddresses {
    fn in_guest(&self, memory: &Memory, size: u16) -> Option<RingAddresses> {
        let find = |user, len| memory.guest_address(user, len);
        Some(RingAddresses {
            descriptors: find(self.descriptors, RingAddresses::descriptors_len(size))?,
            available: find(self.available, RingAddresses::available_len(size))?,
            used: find(self.used, RingAddresses::used_len(size))?,
            size,
        })
    }
}

/// What the front-end asked for cannot be.
fn refuse<T>(why: impl Into<String>) -> Result<T> {
    Err(Error::ReqHandlerError(io::Error::new(
        io::ErrorKind::InvalidInput,
        why.into(),
    )))
}

fn unsupported<T>() -> Result<T> {
    Err(Error::InvalidOperation("not supported"))
}

impl Slot {
    fn is_running(&self) -> bool {
        self.running.is_some()
    }

    fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            self.base = running.stop();
        }
    }
}

impl Backend {
    /// A device whose requests `engine` runs.
    pub fn new(config: DeviceConfig, engine: Engine) -> Self {
        Self {
            config,
            engine,
            features: VirtioFeatures::default(),
            memory: Arc::default(),
            queues: (0..MAX_QUEUES).map(|_| Slot::default()).collect(),
            progress: Progress::default(),
            channel: None,
        }
    }

    /// How far the front-end got.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// Stops every queue.
    pub fn stop(&mut self) {
        self.queues.iter_mut().for_each(Slot::stop);
    }

    fn slot(&mut self, index: u32) -> Result<&mut Slot> {
        match self.queues.get_mut(index as usize) {
            Some(slot) => Ok(slot),
            None => refuse(format!("there is no queue {index}")),
        }
    }

    /// The slot of a queue that must not run, since the message changes what it stands on.
    fn stopped_slot(&mut self, index: u32) -> Result<&mut Slot> {
        match self.slot(index)? {
            slot if slot.is_running() => refuse(format!("queue {index} is running")),
            _ => self.slot(index),
        }
    }

    /// Starts or stops a queue as its state now says.
    fn update(&mut self, index: usize) -> Result<()> {
        let slot = &mut self.queues[index];
        let (true, Some(kick), Some(addresses)) = (slot.enabled, &slot.kick, slot.addresses) else {
            slot.stop();
            return Ok(());
        };
        if slot.is_running() {
            return Ok(());
        }
        let Some(addresses) = addresses.in_guest(&self.memory, slot.size) else {
            return refuse(format!("queue {index} is not in guest memory"));
        };
        let setup = QueueSetup {
            addresses,
            features: self.features,
            base: slot.base,
        };
        match self
            .engine
            .start(index, &self.memory, &setup, kick, &slot.signals)
        {
            Ok(running) => slot.running = Some(running),
            Err(error) => return refuse(format!("queue {index} cannot start: {error}")),
        }
        log::debug!("queue {index} started with {} entries", slot.size);
        Ok(())
    }

    /// Puts other memory under the queues: each stops, and goes on from where it was.
    fn replace_memory(&mut self, memory: Memory) -> Result<()> {
        self.stop();
        self.memory = Arc::new(memory);
        self.progress.shared_memory = true;
        for index in 0..self.queues.len() {
            // A queue that is not in the new memory waits for new addresses.
            if let Err(error) = self.update(index) {
                crate::limited!(Warn, "after a change of guest memory: {error}");
            }
        }
        Ok(())
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stop();
    }
}

impl VhostUserBackendReqHandlerMut for Backend {
    fn set_owner(&mut self) -> Result<()> {
        Ok(())
    }

    fn reset_owner(&mut self) -> Result<()> {
        self.reset_device()
    }

    fn reset_device(&mut self) -> Result<()> {
        self.stop();
        self.queues
            .iter_mut()
            .for_each(|slot| *slot = Slot::default());
        Ok(())
    }

    fn get_features(&mut self) -> Result<u64> {
        Ok(VirtioFeatures::OFFERED.0)
    }

    fn set_features(&mut self, features: u64) -> Result<()> {
        if features & !VirtioFeatures::OFFERED.0 != 0 {
            return refuse(format!("features {features:#x} were not offered"));
        }
        let features = VirtioFeatures(features);
        if features != self.features && self.queues.iter().any(Slot::is_running) {
            return refuse("features cannot change while queues run");
        }
        self.features = features;
        self.progress.negotiated = true;
        if !features.protocol_features() {
            // Without them the front-end has no message to enable queues with.
            for index in 0..self.queues.len() {
                self.queues[index].enabled = true;
                self.update(index)?;
            }
        }
        Ok(())
    }

    fn get_protocol_features(&mut self) -> Result<VhostUserProtocolFeatures> {
        Ok(self.config.protocol_features())
    }

    fn set_protocol_features(&mut self, features: u64) -> Result<()> {
        if features & !self.config.protocol_features().bits() != 0 {
            return refuse(format!("protocol features {features:#x} were not offered"));
        }
        self.progress.hears_refusals = features & VhostUserProtocolFeatures::REPLY_ACK.bits() != 0;
        Ok(())
    }

    fn get_queue_num(&mut self) -> Result<u64> {
        Ok(MAX_QUEUES as u64)
    }

    fn set_mem_table(
        &mut self,
        regions: &[VhostUserMemoryRegion],
        files: Vec<File>,
        _postcopy: Option<bool>,
    ) -> Result<Option<Vec<VhostUserMemoryRegionBase>>> {
        let shared = regions.iter().copied().zip(files).collect();
        let memory = Memory::map(shared).or_else(refuse)?;
        self.replace_memory(memory).map(|()| None)
    }

    fn get_max_mem_slots(&mut self) -> Result<u64> {
        Ok(MAX_MEMORY_REGIONS as u64)
    }

    fn add_mem_region(
        &mut self,
        region: &VhostUserSingleMemoryRegion,
        file: File,
        _postcopy: Option<bool>,
    ) -> Result<Option<VhostUserMemoryRegionBase>> {
        if self.memory.region_count() >= MAX_MEMORY_REGIONS {
            return refuse("there are too many memory regions");
        }
        let memory = self.memory.with((**region, file)).or_else(refuse)?;
        self.replace_memory(memory).map(|()| None)
    }

    fn remove_mem_region(&mut self, region: &VhostUserSingleMemoryRegion) -> Result<()> {
        let memory = self
            .memory
            .without(region.guest_phys_addr, region.memory_size);
        self.replace_memory(memory.or_else(refuse)?)
    }

    fn set_vring_num(&mut self, index: u32, num: u32) -> Result<()> {
        if num > MAX_QUEUE_SIZE || !num.is_power_of_two() {
            return refuse(format!("a queue cannot have {num} entries"));
        }
        self.stopped_slot(index)?.size = num as u16;
        Ok(())
    }

    fn set_vring_addr(
        &mut self,
        index: u32,
        _flags: VhostUserVringAddrFlags,
        descriptors: u64,
        used: u64,
        available: u64,
        _log: u64,
    ) -> Result<()> {
        let memory = Arc::clone(&self.memory);
        let slot = self.stopped_slot(index)?;
        let addresses = UserAddresses {
            descriptors,
            available,
            used,
        };
        if slot.size == 0 || addresses.in_guest(&memory, slot.size).is_none() {
            return refuse(format!("queue {index} is not in guest memory"));
        }
        slot.addresses = Some(addresses);
        self.update(index as usize)
    }

    fn set_vring_base(&mut self, index: u32, base: u32) -> Result<()> {
        let Ok(base) = u16::try_from(base) else {
            return refuse(format!("queue {index} cannot start at {base}"));
        };
        self.stopped_slot(index)?.base = base;
        Ok(())
    }

    fn get_vring_base(&mut self, index: u32) -> Result<VhostUserVringState> {
        // Its answer has no way to say no.
        let slot = self.slot(index).map_err(|_| Error::InvalidParam)?;
        slot.stop();
        // The queue starts again with the next SET_VRING_KICK.
        slot.kick = None;
        log::debug!("queue {index} stopped at {}", slot.base);
        Ok(VhostUserVringState::new(index, slot.base.into()))
    }

    fn set_vring_kick(&mut self, index: u8, file: Option<File>) -> Result<()> {
        let slot = self.slot(index.into())?;
        let Some(file) = file else {
            return refuse("queues without a kick descriptor would have to be polled");
        };
        let kick = eventfd(file)?;
        slot.stop();
        slot.kick = Some(kick);
        self.update(index.into())
    }

    fn set_vring_call(&mut self, index: u8, file: Option<File>) -> Result<()> {
        let slot = self.slot(index.into())?;
        slot.signals.set_call(file.map(eventfd).transpose()?);
        Ok(())
    }

    fn set_vring_err(&mut self, index: u8, file: Option<File>) -> Result<()> {
        let slot = self.slot(index.into())?;
        slot.signals.set_error(file.map(eventfd).transpose()?);
        Ok(())
    }

    fn set_vring_enable(&mut self, index: u32, enable: bool) -> Result<()> {
        self.slot(index)?.enabled = enable;
        self.update(index as usize)
    }

    fn get_config(&mut self, offset: u32, size: u32, _: VhostUserConfigFlags) -> Result<Vec<u8>> {
        self.config
            .space(offset, size)
            .map_or_else(|| refuse("no such configuration"), Ok)
    }

    fn set_config(&mut self, _: u32, _: &[u8], _: VhostUserConfigFlags) -> Result<()> {
        refuse("the configuration cannot be changed")
    }

    fn set_backend_req_fd(&mut self, channel: FrontEndChannel) {
        self.channel = Some(channel);
    }

    // What follows belongs to features that are not offered.

    fn set_gpu_socket(&mut self, _: GpuBackend) -> Result<()> {
        unsupported()
    }

    fn get_shared_object(&mut self, _: VhostUserSharedMsg) -> Result<File> {
        unsupported()
    }

    fn get_inflight_fd(&mut self, _: &VhostUserInflight) -> Result<(VhostUserInflight, File)> {
        unsupported()
    }

    fn set_inflight_fd(&mut self, _: &VhostUserInflight, _: File) -> Result<()> {
        unsupported()
    }

    fn set_device_state_fd(
        &mut self,
        _: VhostTransferStateDirection,
        _: VhostTransferStatePhase,
        _: File,
    ) -> Result<Option<File>> {
        unsupported()
    }

    fn check_device_state(&mut self) -> Result<()> {
        unsupported()
    }

    fn get_shmem_config(&mut self) -> Result<VhostUserShMemConfig> {
        unsupported()
    }

    fn set_log_base(&mut self, _: &VhostUserLog, _: File) -> Result<()> {
        unsupported()
    }
}

/// A descriptor to signal or be signalled by. Writing to any other kind could change a file or make
/// a worker wait.
fn eventfd(file: File) -> Result<File> {
    if !sys::is_anonymous(file.as_fd()) {
        return refuse("the descriptor is no eventfd");
    }
    sys::set_nonblocking(file.as_fd()).map_err(|errno| Error::ReqHandlerError(errno.into()))?;
    Ok(file)
}
