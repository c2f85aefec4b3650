//! The front-end against rust-vmm's own back-end: an error that this front-end and the daemon had in
//! common would show here.

use std::io;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use frontend::{Connection, Device, DeviceOptions, QueueOptions, Segment};
use vhost::vhost_user::Listener;
use vhost::vhost_user::message::{VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use vhost_user_backend::{VhostUserBackendMut, VhostUserDaemon, VringRwLock, VringT};
use virtio_queue::QueueOwnedT;
use vm_memory::{GuestAddressSpace, GuestMemoryAtomic, GuestMemoryMmap};
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::event::new_event_consumer_and_notifier;
use vmm_sys_util::event::{EventConsumer, EventFlag, EventNotifier};

type Memory = GuestMemoryAtomic<GuestMemoryMmap>;

const EVENT_IDX: u64 = 1 << 29;
const INDIRECT_DESC: u64 = 1 << 28;
const VERSION_1: u64 = 1 << 32;
const PATIENCE: Duration = Duration::from_secs(10);

/// Writes back what it reads.
struct Echo {
    memory: Memory,
    event_idx: bool,
}

impl Echo {
    fn answer_all(&self, vring: &VringRwLock<Memory>) -> io::Result<()> {
        let memory = self.memory.memory();
        let mut state = vring.get_mut();
        let chains: Vec<_> = state
            .get_queue_mut()
            .iter(memory.clone())
            .map_err(io::Error::other)?
            .collect();
        drop(state);
        for chain in chains {
            let mut reader = chain.clone().reader(&memory).map_err(io::Error::other)?;
            let mut writer = chain.clone().writer(&memory).map_err(io::Error::other)?;
            let len = io::copy(&mut reader, &mut writer)?;
            vring
                .add_used(chain.head_index(), len as u32)
                .map_err(io::Error::other)?;
        }
        if vring.needs_notification().map_err(io::Error::other)? {
            vring.signal_used_queue()?;
        }
        Ok(())
    }
}

impl VhostUserBackendMut for Echo {
    type Bitmap = ();
    type Vring = VringRwLock<Memory>;

    fn num_queues(&self) -> usize {
        3
    }

    fn max_queue_size(&self) -> usize {
        1024
    }

    fn features(&self) -> u64 {
        VERSION_1 | EVENT_IDX | INDIRECT_DESC | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits()
    }

    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        VhostUserProtocolFeatures::MQ
            | VhostUserProtocolFeatures::REPLY_ACK
            | VhostUserProtocolFeatures::CONFIGURE_MEM_SLOTS
    }

    fn set_event_idx(&mut self, enabled: bool) {
        self.event_idx = enabled;
    }

    fn update_memory(&mut self, memory: Memory) -> io::Result<()> {
        self.memory = memory;
        Ok(())
    }

    fn exit_event(&self, _thread: usize) -> Option<(EventConsumer, EventNotifier)> {
        new_event_consumer_and_notifier(EventFlag::NONBLOCK).ok()
    }

    fn handle_event(
        &mut self,
        queue: u16,
        _events: EventSet,
        vrings: &[VringRwLock<Memory>],
        _thread: usize,
    ) -> io::Result<()> {
        let vring = &vrings[usize::from(queue)];
        loop {
            vring.disable_notification().map_err(io::Error::other)?;
            self.answer_all(vring)?;
            if !vring.enable_notification().map_err(io::Error::other)? {
                return Ok(());
            }
        }
    }
}

/// Serves one front-end on a socket in `directory` and returns its connection.
fn connect_to_echo(directory: &std::path::Path) -> Connection {
    let path = directory.join("echo");
    let mut listener = Listener::new(&path, true).unwrap();
    let memory = GuestMemoryAtomic::new(GuestMemoryMmap::new());
    let echo = Echo {
        memory: memory.clone(),
        event_idx: false,
    };
    std::thread::spawn(move || {
        let backend = Arc::new(RwLock::new(echo));
        let mut daemon = VhostUserDaemon::new("echo".to_owned(), backend, memory).unwrap();
        daemon.start(&mut listener).unwrap();
        let _ = daemon.wait();
    });
    Connection::connect(&path).unwrap()
}

/// Sends `rounds` chains of `len` bytes in three descriptors each way through every queue and compares
/// what comes back.
fn exchange(options: QueueOptions, rounds: usize, len: u32) {
    let directory = tempfile::tempdir().unwrap();
    let options = DeviceOptions {
        queue: options,
        ..DeviceOptions::default()
    };
    let device = Device::new(connect_to_echo(directory.path()), options).unwrap();
    for index in 0..device.queue_count() {
        let mut queue = device.start_queue(index).unwrap();
        let from = device.memory.allocate(len as usize, 4096);
        let to = device.memory.allocate(len as usize, 4096);
        for round in 0..rounds {
            let sent: Vec<u8> = (0..len as usize).map(|n| (n + round) as u8).collect();
            from.write(0, &sent);

            queue
                .push(
                    &thirds(from.guest_addr(), len),
                    &thirds(to.guest_addr(), len),
                )
                .unwrap();
            queue.kick();
            let used = queue.wait(PATIENCE).expect("the chain comes back");

            assert_eq!(used.len, len, "round {round}");
            assert!(to.to_vec(0, len as usize) == sent, "round {round}");
        }
        // Before its memory is used for the next queue.
        assert_eq!(device.stop_queue(index).unwrap(), rounds as u32 & 0xffff);
    }
}

/// One byte, one more, and the rest of `len` bytes at `addr`.
fn thirds(addr: u64, len: u32) -> [Segment; 3] {
    [(0, 1), (1, 1), (2, len - 2)].map(|(at, len)| Segment {
        addr: addr + at,
        len,
    })
}

#[test]
fn chains_in_tables_of_their_own_come_back_with_event_indices() {
    let options = QueueOptions {
        size: 64,
        indirect: true,
        event_idx: true,
    };
    exchange(options, 300, 5000);
}

#[test]
fn direct_chains_come_back_with_flags() {
    let options = QueueOptions {
        size: 8,
        indirect: false,
        event_idx: false,
    };
    exchange(options, 300, 5000);
}

#[test]
fn indices_wrap_on_both_sides() {
    let options = QueueOptions {
        size: 256,
        indirect: true,
        event_idx: true,
    };
    exchange(options, 66_000, 3);
}
