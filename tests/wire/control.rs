//! The VMM's side of a well-behaved guest: memory, queues and their signals change while it runs.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use frontend::client::{ClientOptions, Hiprio};
use frontend::eventfd::EventFd;
use frontend::fuse::opcode;
use frontend::message::{FsConfig, feature};
use frontend::vm::{GuestOptions, start_clients};
use frontend::{
    Client, Daemon, Device, GuestMemory, Queue, QueueOptions, ROOT_ID, RegionLayout, Request,
};

use crate::guest::{Guest, SOON};

const PLUGGED: u64 = 8 << 30;
const MIB: u64 = 1 << 20;

fn unplug(device: &Device, guest_addr: u64) {
    let region = device
        .memory
        .remove_region(guest_addr)
        .expect("a plugged region");
    device.connection.rem_mem_reg(region.describe()).unwrap();
}

#[test]
fn hot_plugged_memory_can_be_used() {
    let mut guest = Guest::start();
    guest
        .vm
        .device
        .plug_memory(RegionLayout::new(PLUGGED, 16 * MIB))
        .unwrap();
    let buffer = guest.vm.device.memory.allocate_in(PLUGGED, 4096);
    let request = frontend::fuse::InHeader {
        len: 56,
        opcode: opcode::GETATTR,
        unique: 5,
        nodeid: ROOT_ID,
        ..Default::default()
    };
    buffer.write(0, &[&request.encode()[..], &[0; 16]].concat());
    let segment = |offset, len| frontend::Segment {
        addr: buffer.guest_addr() + offset,
        len,
    };

    let queue = guest.client().queue();
    queue
        .push(&[segment(0, 56)], &[segment(1024, 120)])
        .unwrap();
    queue.kick();
    assert_eq!(queue.wait(SOON).map(|used| used.len), Some(120));

    // Unplugged again it is a hole.
    unplug(&guest.vm.device, PLUGGED);
    let queue = guest.client().queue();
    queue
        .push(&[segment(0, 56)], &[segment(1024, 120)])
        .unwrap();
    queue.kick();
    assert_eq!(queue.wait(SOON).map(|used| used.len), Some(0));
    guest.assert_unharmed();
}

#[test]
fn memory_comes_and_goes_during_io() {
    let mut guest = Guest::with(|builder| builder.request_queues(2));
    let (node, fh) = guest.open("file", vec![7; 200_000], libc::O_RDONLY);
    let clients = std::mem::take(&mut guest.vm.clients);
    let stop = AtomicBool::new(false);
    let read = |mut client: Client| {
        let mut reads = 0;
        while !stop.load(Ordering::Relaxed) {
            let bytes = client.read(node, fh, 0, 200_000).unwrap();
            assert!(bytes.len() == 200_000 && bytes.iter().all(|byte| *byte == 7));
            reads += 1;
        }
        assert!(reads > 0);
        client
    };
    guest.vm.clients = std::thread::scope(|scope| {
        let readers: Vec<_> = clients
            .into_iter()
            .map(|client| scope.spawn(|| read(client)))
            .collect();
        for n in 0..50 {
            let layout = RegionLayout::new(PLUGGED + n * 16 * MIB, 16 * MIB);
            guest.vm.device.plug_memory(layout).unwrap();
            // The one before goes while this one is new.
            if n > 0 {
                unplug(&guest.vm.device, layout.guest_addr - 16 * MIB);
            }
        }
        unplug(&guest.vm.device, PLUGGED + 49 * 16 * MIB);
        stop.store(true, Ordering::Relaxed);
        readers
            .into_iter()
            .map(|reader| reader.join().unwrap())
            .collect()
    });
    guest.client().release(node, fh).unwrap();
    guest.client().forget(node, 1);
    guest.assert_unharmed();
}

#[test]
fn a_queue_that_stops_goes_on_where_it_was() {
    for pool in ["--thread-pool-size=0", "--thread-pool-size=3"] {
        let mut guest = Guest::with(|builder| builder.arg(pool).queue_size(16));
        for _ in 0..30 {
            for _ in 0..7 {
                guest.client().getattr(ROOT_ID).unwrap();
            }
            let offered = guest.client().queue().avail_index();

            let base = guest.vm.device.stop_queue(1).unwrap();

            assert_eq!(base, u32::from(offered));
            let queue = guest.vm.clients[0].queue();
            guest.vm.device.announce(queue, base).unwrap();
        }
        guest.assert_unharmed();
    }
}

#[test]
fn a_stopped_queue_keeps_what_was_offered_meanwhile() {
    let mut guest = Guest::start();
    let base = guest.vm.device.stop_queue(1).unwrap();
    let client = guest.client();
    let body = [0; 16];
    let args = [&body[..]];
    let request = Request::new(opcode::GETATTR, ROOT_ID, &args).reply_args(104);
    (0..5).for_each(|_| assert!(client.submit(&request).is_some()));
    client.kick();

    let queue = guest.vm.clients[0].queue();
    guest.vm.device.announce(queue, base).unwrap();

    for _ in 0..5 {
        let done = guest
            .client()
            .wait_complete(SOON)
            .expect("served after the restart");
        assert_eq!(done.error, 0);
        guest.client().recycle(done);
    }
    guest.assert_unharmed();
}

#[test]
fn the_call_descriptor_may_be_replaced_while_requests_run() {
    let mut guest = Guest::start();
    let call = guest.client().queue().call_event().clone();
    for _ in 0..50 {
        let other = EventFd::new().unwrap();
        let connection = &guest.vm.device.connection;
        connection.set_vring_call(1, Some(other.as_fd())).unwrap();
        let queue = guest.vm.clients[0].queue();
        queue.arm();
        let client = &mut guest.vm.clients[0];
        let body = [0; 16];
        let args = [&body[..]];
        let request = Request::new(opcode::GETATTR, ROOT_ID, &args).reply_args(104);
        client.submit(&request).unwrap();
        client.kick();
        assert!(other.wait(Some(SOON)), "the new descriptor is signalled");
        let done = client.wait_complete(SOON).expect("the reply is there");
        client.recycle(done);
        let connection = &guest.vm.device.connection;
        connection.set_vring_call(1, Some(call.as_fd())).unwrap();
        assert!(guest.client().getattr(ROOT_ID).is_ok());
    }
    guest.assert_unharmed();
}

#[test]
fn a_queue_without_a_call_descriptor_is_polled() {
    let mut guest = Guest::start();
    guest.vm.device.connection.set_vring_call(1, None).unwrap();
    let body = [0; 16];
    let args = [&body[..]];
    let request = Request::new(opcode::GETATTR, ROOT_ID, &args).reply_args(104);
    let client = guest.client();
    client.submit(&request).unwrap();
    client.kick();
    let done = client.spin_complete(SOON).expect("an answer");
    client.recycle(done);
    guest.vm.reboot();
    guest.assert_unharmed();
}

#[test]
fn reset_device_is_followed_by_a_new_session() {
    let mut guest = Guest::with(|builder| builder.request_queues(2));
    for _ in 0..5 {
        guest.open("file", "content", libc::O_RDWR);

        guest.vm.device.connection.reset_device().unwrap();

        let clients = start_clients(&guest.vm.device, &options(2)).unwrap();
        guest.vm.clients = clients;
        guest.await_extra_fds(0);
        assert!(guest.vm.clients[1].lookup(ROOT_ID, "file").is_ok());
        guest.vm.clients[0].init().unwrap();
    }
    guest.assert_unharmed();
}

fn options(request_queues: u32) -> GuestOptions {
    let mut options = GuestOptions::default();
    options.device.request_queues = request_queues;
    options
}

#[test]
fn queues_may_come_one_by_one_and_not_all_of_them() {
    // As firmware does: it drives one request queue and leaves the rest alone.
    let mut guest = Guest::with(|builder| builder.request_queues(4));
    guest.vm.stop_queues().unwrap();
    guest.vm.clients.clear();
    let device = &guest.vm.device;
    let hiprio = Arc::new(Hiprio::new(&device.memory, device.start_queue(0).unwrap()));
    let uniques = Arc::new(AtomicU64::new(2));
    let queue = device.start_queue(3).unwrap();
    let options = ClientOptions::default();
    let mut only = Client::new(&device.memory, queue, hiprio, uniques, options);

    only.init().unwrap();
    assert!(only.getattr(ROOT_ID).is_ok());

    guest.vm.reboot();
    guest.assert_unharmed();
}

#[test]
fn the_tag_is_in_the_configuration_space() {
    let longest = "t".repeat(36);
    for tag in ["share", longest.as_str()] {
        let guest = Guest::with(|builder| builder.arg(format!("--tag={tag}")));
        let expected = FsConfig {
            tag: tag.to_owned(),
            num_request_queues: 1,
        };
        assert_eq!(guest.vm.device.config().unwrap(), Some(expected));
    }
    let guest = Guest::start();
    assert_eq!(
        guest.vm.device.config().unwrap(),
        None,
        "not offered without a tag"
    );
}

#[test]
fn sixty_four_request_queues_are_on_offer() {
    let mut guest = Guest::with(|builder| {
        let small = ClientOptions {
            depth: 1,
            max_data: 4096,
            ..ClientOptions::default()
        };
        builder.request_queues(64).queue_size(8).client(small)
    });
    assert_eq!(guest.vm.device.connection.get_queue_num().unwrap(), 65);
    for client in &mut guest.vm.clients {
        assert!(client.getattr(ROOT_ID).is_ok());
    }
    guest.assert_unharmed();
}

#[test]
fn a_front_end_without_protocol_features_needs_to_enable_nothing() {
    let share = tempfile::tempdir().unwrap();
    let daemon = Daemon::builder(env!("CARGO_BIN_EXE_virtiofsd"))
        .share(share.path())
        .arg("--sandbox=none")
        .start()
        .unwrap();
    let connection = daemon.connect().unwrap();
    connection.get_features().unwrap();
    connection.set_owner().unwrap();
    connection.set_features(feature::VERSION_1).unwrap();
    let memory = GuestMemory::new(&[RegionLayout::new(0, 64 * MIB)]).unwrap();
    let regions = memory.regions();
    let table: Vec<_> = regions
        .iter()
        .map(|region| (region.describe(), region.file()))
        .collect();
    connection.set_mem_table(&table).unwrap();

    let options = QueueOptions {
        size: 64,
        indirect: false,
        event_idx: false,
    };
    let queue = |index| {
        let queue = Queue::new(&memory, index, options).unwrap();
        connection.set_vring_num(index, 64).unwrap();
        connection.set_vring_base(index, 0).unwrap();
        connection.set_vring_addr(queue.address()).unwrap();
        connection
            .set_vring_call(index, Some(queue.call_event().as_fd()))
            .unwrap();
        connection
            .set_vring_kick(index, Some(queue.kick_event().as_fd()))
            .unwrap();
        queue
    };
    let hiprio = Arc::new(Hiprio::new(&memory, queue(0)));
    let small = ClientOptions {
        depth: 1,
        max_data: 4096,
        ..ClientOptions::default()
    };
    let mut client = Client::new(
        &memory,
        queue(1),
        hiprio,
        Arc::new(AtomicU64::new(2)),
        small,
    );

    client.init().unwrap();
    assert!(client.getattr(ROOT_ID).is_ok());
    // What stops a queue starts it again, too.
    let base = connection.get_vring_base(1).unwrap();
    connection.set_vring_base(1, base).unwrap();
    let kick = client.queue().kick_event().clone();
    connection.set_vring_kick(1, Some(kick.as_fd())).unwrap();
    assert!(client.getattr(ROOT_ID).is_ok());
}

#[test]
fn a_kick_that_was_there_before_the_queue_raises_no_doubt_about_memory() {
    const DOUBT: &str = "was kicked, but its ring in guest memory is empty";
    let mut guest = Guest::with(|builder| builder.request_queues(3));
    // QEMU's kick descriptors are ready when they come; the queues may stay unused for long.
    guest.vm.device.stop_queue(2).unwrap();
    let unused = guest.vm.clients[1].queue();
    unused.kick_event().signal();
    guest.vm.device.announce(unused, 0).unwrap();
    // With private memory a driver kicks, and what it wrote is not to be seen.
    guest.vm.clients[2].queue().kick_event().signal();

    assert!(
        guest
            .vm
            .daemon
            .wait_for_stderr(&format!("queue 3 {DOUBT}"), SOON)
    );

    let log = guest.vm.daemon.stderr();
    assert!(!log.contains(&format!("queue 2 {DOUBT}")), "{log}");
    assert!(log.contains("memory-backend-memfd"));
    assert!(guest.vm.clients[1].getattr(ROOT_ID).is_ok());
    guest.assert_unharmed();
}

#[test]
fn the_channel_for_the_daemons_own_requests_stays_open() {
    let mut guest = Guest::start();
    let channel = guest.vm.device.connection.open_backend_channel().unwrap();
    assert!(guest.client().getattr(ROOT_ID).is_ok());

    channel.stream().set_nonblocking(true).unwrap();
    let silent = channel.recv(&mut [0; 12]).unwrap_err();

    assert_eq!(
        silent.kind(),
        std::io::ErrorKind::WouldBlock,
        "neither words nor an end"
    );
    assert_eq!(guest.extra_fds(), 1);
    let second = guest.vm.device.connection.open_backend_channel().unwrap();
    assert_eq!(guest.extra_fds(), 1, "the first is closed");
    drop((channel, second));
    assert!(guest.client().getattr(ROOT_ID).is_ok());
}
