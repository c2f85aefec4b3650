//! vhost-user messages of a front-end that errs or means harm (group A).

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use frontend::connection::Error;
use frontend::eventfd::EventFd;
use frontend::fuse::{ReadIn, opcode};
use frontend::message::{self, MemoryRegion, feature, flag, protocol, request};
use frontend::{Connection, Daemon, ROOT_ID};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::guest::{Guest, SOON, assert_idle, await_that};

/// A daemon and a connection to it on which nothing has been said.
struct Bare {
    daemon: Daemon,
    connection: Connection,
    _share: TempDir,
}

impl Bare {
    fn start() -> Bare {
        let share = TempDir::new().unwrap();
        let daemon = Daemon::builder(env!("CARGO_BIN_EXE_virtiofsd"))
            .share(share.path())
            .arg("--sandbox=none")
            .start()
            .unwrap();
        let connection = daemon.connect().unwrap();
        Bare {
            daemon,
            connection,
            _share: share,
        }
    }

    /// With REPLY_ACK and all else negotiated that there is.
    fn negotiated() -> Bare {
        let mut bare = Self::start();
        let features = bare.connection.get_features().unwrap();
        let offered = bare.connection.get_protocol_features().unwrap();
        bare.connection.set_protocol_features(offered).unwrap();
        bare.connection.set_features(features).unwrap();
        bare
    }

    /// Sends bytes after which the daemon must close and end with one clear error.
    #[track_caller]
    fn assert_closed_by(mut self, what: &str, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
        self.connection.send(bytes, fds).unwrap();
        let end = loop {
            match self.connection.recv_message() {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(
            matches!(end, Error::Closed) || is_reset(&end),
            "{what}: {end}"
        );
        assert_refused_end(&mut self.daemon, what);
    }
}

/// The daemon closed before it had read everything.
fn is_reset(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionReset)
}

/// Exit status 1 and one line of error.
#[track_caller]
fn assert_refused_end(daemon: &mut Daemon, what: &str) {
    let status = daemon.wait(SOON).expect("the daemon ends");
    let stderr = daemon.last_stderr();
    assert_eq!(status.code(), Some(1), "{what}: {status} {stderr}");
    let errors = stderr
        .lines()
        .filter(|line| line.starts_with("error: "))
        .count();
    assert!(
        errors == 1 && !stderr.contains("panicked"),
        "{what}: {stderr}"
    );
}

#[track_caller]
fn assert_nacked<T: std::fmt::Debug>(what: &str, outcome: Result<T, Error>) {
    assert!(
        matches!(outcome, Err(Error::Refused { .. })),
        "{what}: {outcome:?}"
    );
}

fn raw_header(request: u32, flags: u32, size: u32) -> Vec<u8> {
    [request, flags, size].map(u32::to_le_bytes).concat()
}

#[test]
fn a1_half_a_message_is_awaited_and_a_signal_still_ends_the_daemon() {
    let header = raw_header(request::SET_FEATURES, 1, 8);
    for len in [0, 1, 11, 12] {
        let mut bare = Bare::start();
        if len > 0 {
            bare.connection.send(&header[..len], &[]).unwrap();
        }
        std::thread::sleep(Duration::from_millis(20));
        assert_idle(bare.daemon.worker());

        bare.daemon.signal(Signal::SIGTERM).unwrap();

        let status = bare.daemon.wait(Duration::from_secs(1)).expect("at once");
        assert_eq!(status.code(), Some(0), "{len} bytes");
    }
}

#[test]
fn a1_a_message_in_pieces_is_a_message() {
    let bare = Bare::start();
    let whole = message::encode(request::GET_FEATURES, 0, &[]);
    for piece in whole.chunks(5) {
        bare.connection.send(piece, &[]).unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }

    let reply = bare.connection.recv_message().unwrap();

    assert_eq!(
        (reply.header.request, reply.body.len()),
        (request::GET_FEATURES, 8)
    );
}

#[test]
fn a2_unknown_requests_close() {
    for number in [0, 44, 100, u32::MAX] {
        for flags in [0, flag::NEED_REPLY] {
            let bytes = message::encode(number, flags, &[]);
            Bare::negotiated().assert_closed_by(&format!("request {number}"), &bytes, &[]);
        }
    }
}

#[test]
fn a3_sizes_that_no_message_has_close() {
    for (request, size) in [
        (request::GET_FEATURES, 4097),
        (request::GET_FEATURES, u32::MAX),
        (request::SET_FEATURES, 16),
        (request::SET_MEM_TABLE, 4),
    ] {
        let bytes = [raw_header(request, 1, size), vec![0; 64]].concat();
        Bare::negotiated().assert_closed_by(&format!("{request} of {size}"), &bytes, &[]);
    }
}

#[test]
fn a4_descriptors_nobody_asked_for_close() {
    let event = EventFd::new().unwrap();
    for count in [1, 2, 32] {
        let fds = vec![event.as_fd(); count];
        let unasked = message::encode(request::SET_OWNER, 0, &[]);
        Bare::negotiated().assert_closed_by(&format!("{count} extra"), &unasked, &fds);
        if count > 1 {
            let one_too_many = message::encode(request::SET_VRING_CALL, 0, &1u64.to_le_bytes());
            Bare::negotiated().assert_closed_by(&format!("{count} for one"), &one_too_many, &fds);
        }
    }
}

#[test]
fn a6_more_descriptors_than_a_message_can_have_are_closed_and_the_message_is_lost() {
    let bare = Bare::negotiated();
    let before = bare.daemon.worker().open_fds().unwrap();
    let event = EventFd::new().unwrap();
    for count in [33, 100, 253] {
        let fds = vec![event.as_fd(); count];
        bare.connection
            .send(&message::encode(request::SET_OWNER, 0, &[]), &fds)
            .unwrap();
        assert!(
            bare.connection.get_features().is_ok(),
            "the next one is served"
        );
        assert_eq!(bare.daemon.worker().open_fds().unwrap(), before);
    }
    // What had a body has a body without a header now.
    let table = message::memory_table(&[MemoryRegion::default(); 7]);
    let bytes = message::encode(request::SET_MEM_TABLE, 0, &table);
    bare.assert_closed_by("253 for 7 regions", &bytes, &[event.as_fd(); 253]);
}

#[test]
fn a4_descriptors_of_refused_messages_are_closed() {
    let guest = Guest::start();
    let connection = &guest.vm.device.connection;
    let device = File::open("/dev/null").unwrap();
    for _ in 0..2000 {
        assert_nacked("call", connection.set_vring_call(1, Some(device.as_fd())));
        let region = MemoryRegion {
            guest_addr: 0,
            size: 4096,
            user_addr: 1 << 40,
            mmap_offset: 0,
        };
        assert_nacked("memory", connection.add_mem_reg(region, device.as_fd()));
    }
    assert_eq!(guest.extra_fds(), 0);
    let mut guest = guest;
    guest.assert_unharmed();
}

#[test]
fn a5_bad_versions_and_flags_close() {
    for flags in [0, 2, 3, 1 | flag::REPLY, 1 | 1 << 4, u32::MAX] {
        let bytes = raw_header(request::GET_FEATURES, flags, 0);
        Bare::start().assert_closed_by(&format!("flags {flags:#x}"), &bytes, &[]);
    }
}

#[test]
fn a7_features_that_were_not_offered_are_refused() {
    for features in [1, 1 << 27, 1 << 33, u64::MAX] {
        let bytes = message::encode(request::SET_FEATURES, 0, &features.to_le_bytes());
        Bare::negotiated().assert_closed_by(&format!("features {features:#x}"), &bytes, &[]);

        let bytes = message::encode(
            request::SET_PROTOCOL_FEATURES,
            0,
            &(features << 1).to_le_bytes(),
        );
        Bare::start().assert_closed_by(&format!("protocol {features:#x}"), &bytes, &[]);
    }
    let mut guest = Guest::start();
    assert_nacked("not offered", guest.vm.device.connection.set_features(1));
    assert_nacked(
        "running",
        guest.vm.device.connection.set_features(feature::VERSION_1),
    );
    guest.assert_unharmed();
}

#[test]
fn a7_a_refusal_that_cannot_be_told_closes() {
    // NEED_REPLY means nothing before REPLY_ACK is negotiated.
    let bytes = message::encode(request::SET_FEATURES, flag::NEED_REPLY, &1u64.to_le_bytes());
    Bare::start().assert_closed_by("without REPLY_ACK", &bytes, &[]);
}

#[test]
fn a8_a9_bad_queue_sizes_and_bases_are_refused() {
    let mut guest = Guest::start();
    guest.vm.stop_queues().unwrap();
    let connection = &guest.vm.device.connection;
    for size in [0, 3, 1023, 32_769, 65_536, 65_536 + 8, u32::MAX] {
        assert_nacked("size", connection.set_vring_num(1, size));
    }
    for base in [65_536, u32::MAX] {
        assert_nacked("base", connection.set_vring_base(1, base));
    }
    for index in [65, 255, u32::MAX] {
        assert_nacked("index", connection.set_vring_num(index, 8));
        assert_nacked("index", connection.set_vring_base(index, 0));
        assert_nacked("index", connection.set_vring_enable(index, true));
    }
    guest.vm.reboot();
    guest.assert_unharmed();
}

#[test]
fn a10_a_running_queue_is_not_set_up_anew() {
    let mut guest = Guest::start();
    let address = guest.client().queue().address();
    let connection = &guest.vm.device.connection;

    assert_nacked("size", connection.set_vring_num(1, 8));
    assert_nacked("base", connection.set_vring_base(1, 8));
    assert_nacked("address", connection.set_vring_addr(address));

    guest.assert_unharmed();
}

#[test]
fn a11_rings_outside_memory_are_refused() {
    let mut guest = Guest::start();
    let good = guest.client().queue().address();
    guest.vm.device.stop_queue(1).unwrap();
    let connection = &guest.vm.device.connection;
    for bad in [0, 0x1000, 1 << 47, (1 << 63) - 4096, u64::MAX - 15] {
        for address in [
            message::VringAddress {
                descriptor: bad & !15,
                ..good
            },
            message::VringAddress {
                available: bad & !15,
                ..good
            },
            message::VringAddress {
                used: bad & !15,
                ..good
            },
        ] {
            assert_nacked("address", connection.set_vring_addr(address));
        }
    }
    guest.vm.reboot();
    guest.assert_unharmed();
}

#[test]
fn a11_unaligned_rings_close() {
    let mut guest = Guest::start();
    let good = guest.client().queue().address();
    guest.vm.device.stop_queue(1).unwrap();
    let bad = message::VringAddress {
        descriptor: good.descriptor + 1,
        ..good
    };
    let bytes = message::encode(request::SET_VRING_ADDR, 0, &bad.encode());

    guest.vm.device.connection.send(&bytes, &[]).unwrap();

    assert!(guest.vm.device.wait_closed(SOON));
    assert_refused_end(&mut guest.vm.daemon, "unaligned");
}

#[test]
fn a12_impossible_memory_is_refused_and_the_old_stays() {
    let mut guest = Guest::start();
    let file = memfd(1 << 20);
    let good = MemoryRegion {
        guest_addr: 1 << 40,
        size: 1 << 20,
        user_addr: 1 << 46,
        mmap_offset: 0,
    };
    let apart = MemoryRegion {
        guest_addr: 2 << 40,
        user_addr: 2 << 46,
        ..good
    };
    let connection = &guest.vm.device.connection;
    let tables = [
        (
            "overlap in guest addresses",
            vec![
                good,
                MemoryRegion {
                    guest_addr: good.guest_addr + 4096,
                    ..apart
                },
            ],
        ),
        (
            "overlap in user addresses",
            vec![
                good,
                MemoryRegion {
                    user_addr: good.user_addr + 4096,
                    ..apart
                },
            ],
        ),
        ("the same twice", vec![good, good]),
        (
            "larger than its file",
            vec![MemoryRegion {
                size: (1 << 20) + 4096,
                ..good
            }],
        ),
        (
            "beyond its file",
            vec![MemoryRegion {
                mmap_offset: 4096,
                ..good
            }],
        ),
        (
            "far beyond its file",
            vec![MemoryRegion {
                mmap_offset: 1 << 62,
                ..good
            }],
        ),
        (
            "an odd offset",
            vec![MemoryRegion {
                mmap_offset: 1,
                size: 4096,
                ..good
            }],
        ),
    ];
    for (what, table) in tables {
        let regions: Vec<_> = table.iter().map(|region| (*region, file.as_fd())).collect();
        assert_nacked(what, connection.set_mem_table(&regions));
        if let [region] = table[..] {
            assert_nacked(what, connection.add_mem_reg(region, file.as_fd()));
        }
    }
    let directory = File::open("/").unwrap();
    assert_nacked(
        "a directory",
        connection.set_mem_table(&[(good, directory.as_fd())]),
    );
    let sealed = File::open("/proc/self/exe").unwrap();
    let readable = MemoryRegion { size: 4096, ..good };
    assert_nacked(
        "a file only to read",
        connection.set_mem_table(&[(readable, sealed.as_fd())]),
    );
    guest.assert_unharmed();
}

#[test]
fn a12_tables_that_contradict_themselves_close() {
    let file = memfd(1 << 20);
    let good = MemoryRegion {
        guest_addr: 0,
        size: 1 << 20,
        user_addr: 1 << 46,
        mmap_offset: 0,
    };
    let wrap = MemoryRegion {
        guest_addr: u64::MAX - 4095,
        ..good
    };
    let user_wrap = MemoryRegion {
        user_addr: u64::MAX - 4095,
        ..good
    };
    let offset_wrap = MemoryRegion {
        mmap_offset: u64::MAX - 4095,
        ..good
    };
    let empty = MemoryRegion { size: 0, ..good };
    for (what, regions, fds) in [
        ("no regions", vec![], 0),
        ("more descriptors than regions", vec![good], 2),
        ("more regions than descriptors", vec![good, good], 1),
        ("no descriptor", vec![good], 0),
        ("40 regions", vec![good; 40], 32),
        ("a size of 0", vec![empty], 1),
        ("a guest address that wraps", vec![wrap], 1),
        ("a user address that wraps", vec![user_wrap], 1),
        ("an offset that wraps", vec![offset_wrap], 1),
    ] {
        let bytes = message::encode(request::SET_MEM_TABLE, 0, &message::memory_table(&regions));
        Bare::negotiated().assert_closed_by(what, &bytes, &vec![file.as_fd(); fds]);
    }
    let lying = [&1000u64.to_le_bytes()[..], &good_bytes(good)].concat();
    let bytes = message::encode(request::SET_MEM_TABLE, 0, &lying);
    Bare::negotiated().assert_closed_by("a count beyond the body", &bytes, &[file.as_fd()]);
}

fn good_bytes(region: MemoryRegion) -> Vec<u8> {
    message::single_region(region)[8..].to_vec()
}

fn memfd(len: i64) -> std::os::fd::OwnedFd {
    use nix::sys::memfd::{MFdFlags, memfd_create};
    let file = memfd_create(c"test", MFdFlags::MFD_CLOEXEC).unwrap();
    nix::unistd::ftruncate(&file, len).unwrap();
    file
}

#[test]
fn a13_memory_is_replaced_under_io_and_no_request_is_lost() {
    let mut guest = Guest::with(|builder| builder.arg("--thread-pool-size=2"));
    let (node, fh) = guest.open("file", vec![7; 100_000], libc::O_RDONLY);
    let mut client = guest.vm.clients.remove(0);
    let stop = std::sync::atomic::AtomicBool::new(false);

    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                assert_eq!(client.read(node, fh, 0, 100_000).unwrap().len(), 100_000);
                reads += 1;
            }
            reads
        });
        let regions = guest.vm.device.memory.regions();
        let table: Vec<_> = regions
            .iter()
            .map(|region| (region.describe(), region.file()))
            .collect();
        for _ in 0..200 {
            guest.vm.device.connection.set_mem_table(&table).unwrap();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(reader.join().unwrap() > 0);
    });

    client.release(node, fh).unwrap();
    client.forget(node, 1);
    guest.vm.clients.push(client);
    guest.assert_unharmed();
}

#[test]
fn a14_memory_slots_are_limited() {
    let mut guest = Guest::start();
    let connection = &guest.vm.device.connection;
    let slots = connection.get_max_mem_slots().unwrap();
    let file = memfd(4096);
    let region = |n: u64| MemoryRegion {
        guest_addr: (1 << 40) + n * 4096,
        size: 4096,
        user_addr: (1 << 46) + n * 4096,
        mmap_offset: 0,
    };
    let used = guest.vm.device.memory.regions().len() as u64;
    for n in used..slots {
        connection.add_mem_reg(region(n), file.as_fd()).unwrap();
    }

    assert_nacked(
        "one too many",
        connection.add_mem_reg(region(slots), file.as_fd()),
    );
    assert_nacked("unknown", connection.rem_mem_reg(region(slots)));
    let shorter = MemoryRegion {
        size: 2048,
        ..region(used)
    };
    assert_nacked("half of one", connection.rem_mem_reg(shorter));
    for n in used..slots {
        connection.rem_mem_reg(region(n)).unwrap();
    }
    guest.assert_unharmed();
}

#[test]
fn a16_only_eventfds_signal() {
    let mut guest = Guest::start();
    let directory = TempDir::new().unwrap();
    let regular = File::create(directory.path().join("file")).unwrap();
    let (socket, _peer) = UnixStream::pair().unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let null = File::options().write(true).open("/dev/null").unwrap();
    let folder = File::open("/").unwrap();
    let connection = &guest.vm.device.connection;
    for fd in [
        regular.as_fd(),
        socket.as_fd(),
        writer.as_fd(),
        null.as_fd(),
        folder.as_fd(),
    ] {
        assert_nacked("kick", connection.set_vring_kick(1, Some(fd)));
        assert_nacked("call", connection.set_vring_call(1, Some(fd)));
        assert_nacked("err", connection.set_vring_err(1, Some(fd)));
    }
    assert_nacked("polling", connection.set_vring_kick(1, None));
    let event = EventFd::new().unwrap();
    for index in [65, 255] {
        assert_nacked(
            "index",
            connection.set_vring_kick(index, Some(event.as_fd())),
        );
        assert_nacked(
            "index",
            connection.set_vring_call(index, Some(event.as_fd())),
        );
        assert_nacked(
            "index",
            connection.set_vring_err(index, Some(event.as_fd())),
        );
    }

    guest.assert_unharmed();
    drop((writer, guest));
    assert_eq!(
        reader.read(&mut [0; 8]).unwrap(),
        0,
        "nothing was written to it"
    );
    assert_eq!(regular.metadata().unwrap().len(), 0);
}

#[test]
fn a17_a_call_event_that_is_full_and_blocks_holds_nobody_up() {
    let mut guest = Guest::start();
    let call = EventFd::blocking().unwrap();
    call.add(u64::MAX - 1).unwrap();
    guest
        .vm
        .device
        .connection
        .set_vring_call(1, Some(call.as_fd()))
        .unwrap();
    let client = guest.client();

    for _ in 0..100 {
        let body = [0; 16];
        let args = [&body[..]];
        let request = frontend::Request::new(opcode::GETATTR, ROOT_ID, &args).reply_args(104);
        client.submit(&request).unwrap();
        client.kick();
        let done = client.spin_complete(SOON).expect("an answer all the same");
        client.recycle(done);
    }

    guest.vm.reboot();
    guest.assert_unharmed();
}

#[test]
fn a18_a_kick_that_is_always_ready_wakes_nobody_twice() {
    let mut guest = Guest::start();
    let kick = guest.client().queue().kick_event().clone();
    kick.add(1 << 40).unwrap();
    assert_idle(guest.worker());
    // The VMM's copies go; the daemon's own stays and is silent.
    let replaced = EventFd::new().unwrap();
    guest
        .vm
        .device
        .connection
        .set_vring_kick(1, Some(replaced.as_fd()))
        .unwrap();
    drop(replaced);
    guest.vm.reboot();
    guest.assert_unharmed();
}

#[test]
fn a19_other_front_ends_are_turned_away() {
    let mut guest = Guest::start();
    let path = guest.vm.daemon.socket_path().to_owned();
    for _ in 0..1000 {
        let mut other = UnixStream::connect(&path).unwrap();
        other.set_read_timeout(Some(SOON)).unwrap();
        assert_eq!(other.read(&mut [0]).unwrap_or(0), 0, "closed at once");
    }
    guest.assert_unharmed();
}

#[test]
fn a20_a_front_end_that_disappears_with_requests_in_flight_ends_the_daemon_in_peace() {
    for pool in ["--thread-pool-size=0", "--thread-pool-size=4"] {
        let mut guest = Guest::with(|builder| {
            let options = frontend::ClientOptions {
                depth: 32,
                ..Default::default()
            };
            builder.arg(pool).client(options)
        });
        let (node, fh) = guest.open("file", vec![7; 1 << 20], libc::O_RDONLY);
        let arguments = ReadIn {
            fh,
            size: 1 << 20,
            ..ReadIn::default()
        }
        .encode();
        let args = [&arguments[..]];
        let read = frontend::Request::new(opcode::READ, node, &args).reply_data(1 << 20);
        (0..32).for_each(|_| assert!(guest.client().submit(&read).is_some()));
        guest.client().kick();

        let stream = guest.vm.device.connection.stream();
        stream.shutdown(std::net::Shutdown::Both).unwrap();

        let status = guest.vm.daemon.wait(SOON).expect("it ends");
        assert_eq!(status.code(), Some(0), "{}", guest.vm.daemon.stderr());
    }
}

#[test]
fn a20_a_front_end_that_never_reads_its_replies_is_no_error() {
    let mut bare = Bare::start();
    let ask = message::encode(request::GET_FEATURES, 0, &[]);
    bare.connection.send(&ask.repeat(10), &[]).unwrap();

    drop(bare.connection);

    let status = bare.daemon.wait(SOON).expect("it ends");
    assert_eq!(status.code(), Some(0), "{}", bare.daemon.last_stderr());
}

#[test]
fn a21_queues_start_and_stop_in_any_order() {
    let mut guest = Guest::start();
    guest.vm.stop_queues().unwrap();
    assert_eq!(guest.vm.stop_queues().unwrap().len(), 2, "stopped twice");
    let device = &guest.vm.device;
    let queue = guest.vm.clients[0].queue();
    let base = u32::from(queue.avail_index());
    // Enabled, and enabled again, before there is a kick.
    device.connection.set_vring_enable(1, true).unwrap();
    device.connection.set_vring_enable(1, true).unwrap();
    device.announce(queue, base).unwrap();
    assert!(guest.client().getattr(ROOT_ID).is_ok());

    // Kicked while disabled: served as soon as it is enabled.
    guest
        .vm
        .device
        .connection
        .set_vring_enable(1, false)
        .unwrap();
    let body = [0; 16];
    let args = [&body[..]];
    let request = frontend::Request::new(opcode::GETATTR, ROOT_ID, &args).reply_args(104);
    let client = &mut guest.vm.clients[0];
    client.submit(&request).unwrap();
    client.kick();
    assert!(client.wait_complete(Duration::from_millis(50)).is_none());
    guest
        .vm
        .device
        .connection
        .set_vring_enable(1, true)
        .unwrap();
    let done = guest
        .client()
        .wait_complete(SOON)
        .expect("the kick is not lost");
    guest.client().recycle(done);

    guest.vm.device.connection.reset_owner().unwrap();
    guest.vm.reboot();
    guest.assert_unharmed();
}

#[test]
fn a22_the_configuration_space_is_bounded_and_constant() {
    let mut guest = Guest::with(|builder| builder.arg("--tag=share"));
    let connection = &guest.vm.device.connection;
    assert_eq!(connection.get_config(0, 6).unwrap(), b"share\0");
    for (offset, size) in [(0, 41), (40, 1), (36, 5), (200, 8)] {
        assert_eq!(
            connection.get_config(offset, size).unwrap(),
            b"",
            "{offset}+{size}"
        );
    }
    assert_nacked("SET_CONFIG", connection.set_config(0, b"other"));
    assert_eq!(connection.get_config(0, 5).unwrap(), b"share");
    guest.assert_unharmed();
}

#[test]
fn a24_logs_and_inflight_buffers_that_are_not_offered_close() {
    let file = memfd(4096);
    let log = message::Log {
        size: u64::MAX,
        offset: u64::MAX,
    };
    let inflight = message::Inflight {
        mmap_size: u64::MAX,
        num_queues: u16::MAX,
        queue_size: u16::MAX,
        ..Default::default()
    };
    for (what, bytes, fds) in [
        (
            "log",
            message::encode(request::SET_LOG_BASE, 0, &log.encode()),
            1,
        ),
        ("log fd", message::encode(request::SET_LOG_FD, 0, &[]), 1),
        (
            "get inflight",
            message::encode(request::GET_INFLIGHT_FD, 0, &inflight.encode()),
            0,
        ),
        (
            "set inflight",
            message::encode(request::SET_INFLIGHT_FD, 0, &inflight.encode()),
            1,
        ),
        (
            "status",
            message::encode(request::SET_STATUS, 0, &0u64.to_le_bytes()),
            0,
        ),
    ] {
        Bare::negotiated().assert_closed_by(what, &bytes, &vec![file.as_fd(); fds]);
    }
}

#[test]
fn a25_garbage_ends_one_way_or_the_other() {
    // A fixed sequence (xorshift), so that a failure comes again.
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..40 {
        let mut bare = Bare::negotiated();
        let begin = Instant::now();
        for _ in 0..50 {
            let body: Vec<u8> = (0..random() % 64).map(|_| random() as u8).collect();
            let bytes = message::encode((random() % 45) as u32, flag::NEED_REPLY, &body);
            if bare.connection.send(&bytes, &[]).is_err() {
                break;
            }
        }
        drop(bare.connection);
        let status = bare.daemon.wait(SOON).expect("it ends");
        assert!(
            matches!(status.code(), Some(0 | 1)),
            "round {round}: {status}"
        );
        assert!(begin.elapsed() < SOON && !bare.daemon.last_stderr().contains("panicked"));
    }
}

#[test]
fn a_refusal_is_logged_at_a_limited_rate() {
    let mut guest = Guest::start();
    for _ in 0..1000 {
        assert_nacked("size", guest.vm.device.connection.set_vring_num(1, 3));
    }
    guest.assert_unharmed();
}

#[test]
fn reply_ack_is_not_needed() {
    let mut guest = Guest::with(|builder| builder.protocol_features(protocol::MQ));
    assert!(!guest.vm.device.has_protocol(protocol::CONFIGURE_MEM_SLOTS));
    await_that("an answer", || guest.client().getattr(ROOT_ID).is_ok());
    guest.vm.reboot();
    guest.assert_unharmed();
}
