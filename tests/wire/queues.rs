//! Requests in flight: sizes and shapes of queues, several of them, and the thread pool.

use std::collections::BTreeSet;
use std::fs;

use frontend::fuse::{ReadIn, opcode};
use frontend::{Client, ClientOptions, ROOT_ID, Request};

use crate::guest::{Guest, SOON};

/// Keeps `depth` reads of a file in flight until `count` are done; in which order their uniques
/// came back.
fn read_many(client: &mut Client, node: u64, fh: u64, count: usize) -> Vec<u64> {
    let arguments = |n: usize| {
        let offset = (n % 16 * 4096) as u64;
        ReadIn {
            fh,
            offset,
            size: 4096,
            ..ReadIn::default()
        }
        .encode()
    };
    let (mut sent, mut order) = (0, Vec::new());
    while order.len() < count {
        while sent < count {
            let arguments = arguments(sent);
            let args = [&arguments[..]];
            let read = Request::new(opcode::READ, node, &args).reply_data(4096);
            if client.submit(&read).is_none() {
                break;
            }
            sent += 1;
        }
        client.kick();
        let done = client
            .wait_complete(SOON)
            .expect("every request is answered");
        assert_eq!((done.error, done.used_len), (0, 16 + 4096));
        let mut bytes = [0; 4096];
        client.reply_data(&done, &mut bytes);
        assert!(bytes.iter().all(|byte| *byte == bytes[0]));
        order.push(done.unique);
        client.recycle(done);
    }
    order
}

/// Sixteen pages, each of one byte.
fn pages() -> Vec<u8> {
    (0..16u8).flat_map(|n| [n; 4096]).collect()
}

fn finish(mut guest: Guest, node: u64, fh: u64) {
    guest.client().release(node, fh).unwrap();
    guest.client().forget(node, 1);
    guest.assert_unharmed();
}

#[test]
fn queues_of_every_size_work_with_every_feature() {
    for size in [2, 4, 8, 64, 128, 1024, 32_768] {
        for (indirect, event_idx) in [(true, true), (true, false), (false, true), (false, false)] {
            // Without tables a read takes four descriptors.
            if size < 4 && !indirect {
                continue;
            }
            let depth = (size / 4).clamp(1, 32);
            let options = ClientOptions {
                depth,
                max_data: 4096,
                ..ClientOptions::default()
            };
            let mut guest = Guest::with(|builder| {
                builder
                    .queue_size(size)
                    .indirect(indirect)
                    .event_idx(event_idx)
                    .client(options)
            });
            let (node, fh) = guest.open("file", pages(), libc::O_RDONLY);
            let order = read_many(guest.client(), node, fh, 300);
            assert_eq!(BTreeSet::from_iter(&order).len(), 300, "size {size}");
            guest.client().release(node, fh).unwrap();
            guest.client().forget(node, 1);
            guest.await_extra_fds(0);
        }
    }
}

#[test]
fn all_queues_work_at_once() {
    for pool in ["--thread-pool-size=0", "--thread-pool-size=4"] {
        let options = ClientOptions {
            depth: 16,
            max_data: 4096,
            ..ClientOptions::default()
        };
        let mut guest = Guest::with(|builder| builder.request_queues(8).arg(pool).client(options));
        let (node, fh) = guest.open("file", pages(), libc::O_RDONLY);
        let clients = std::mem::take(&mut guest.vm.clients);
        guest.vm.clients = std::thread::scope(|scope| {
            let work = |mut client: Client| {
                assert_eq!(read_many(&mut client, node, fh, 1000).len(), 1000);
                client
            };
            let threads: Vec<_> = clients
                .into_iter()
                .map(|client| scope.spawn(move || work(client)))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        finish(guest, node, fh);
    }
}

#[test]
fn a_pool_answers_everything_in_whatever_order() {
    for size in [1, 4, 64] {
        let options = ClientOptions {
            depth: 128,
            max_data: 4096,
            ..ClientOptions::default()
        };
        let mut guest = Guest::with(|builder| {
            builder
                .arg(format!("--thread-pool-size={size}"))
                .client(options)
        });
        let (node, fh) = guest.open("file", pages(), libc::O_RDONLY);

        let order = read_many(guest.client(), node, fh, 3000);

        assert_eq!(BTreeSet::from_iter(&order).len(), 3000);
        finish(guest, node, fh);
    }
}

#[test]
fn without_a_pool_replies_come_in_order() {
    let options = ClientOptions {
        depth: 64,
        max_data: 4096,
        ..ClientOptions::default()
    };
    let mut guest = Guest::with(|builder| builder.arg("--thread-pool-size=0").client(options));
    let (node, fh) = guest.open("file", pages(), libc::O_RDONLY);

    let order = read_many(guest.client(), node, fh, 1000);

    assert!(order.is_sorted());
    finish(guest, node, fh);
}

#[test]
fn a_slow_request_does_not_hold_up_quick_ones_in_a_pool() {
    let options = ClientOptions {
        depth: 32,
        ..ClientOptions::default()
    };
    let mut guest = Guest::with(|builder| builder.arg("--thread-pool-size=2").client(options));
    let (node, fh) = guest.open("file", vec![1; 1 << 20], libc::O_RDONLY);
    let arguments = ReadIn {
        fh,
        size: 1 << 20,
        ..ReadIn::default()
    }
    .encode();
    let (args, attr) = ([&arguments[..]], [0; 16]);
    let attr = [&attr[..]];
    let slow = Request::new(opcode::READ, node, &args).reply_data(1 << 20);
    let quick = Request::new(opcode::GETATTR, ROOT_ID, &attr).reply_args(104);

    // One megabyte, then many small ones: with two threads some of those come first.
    let overtaken = (0..200).any(|_| {
        let client = guest.client();
        let slow = client.submit(&slow).unwrap();
        (0..20).for_each(|_| assert!(client.submit(&quick).is_some()));
        client.kick();
        let order: Vec<_> = (0..21)
            .map(|_| {
                let done = client
                    .wait_complete(SOON)
                    .expect("every request is answered");
                assert_eq!(done.error, 0);
                client.recycle(done);
                done.unique
            })
            .collect();
        order[0] != slow
    });

    assert!(overtaken, "never out of order");
    finish(guest, node, fh);
}

#[test]
fn writers_on_all_queues_do_not_mix_their_bytes() {
    let options = ClientOptions {
        depth: 2,
        ..ClientOptions::default()
    };
    let mut guest = Guest::with(|builder| {
        builder
            .request_queues(4)
            .arg("--thread-pool-size=4")
            .client(options)
    });
    let clients = std::mem::take(&mut guest.vm.clients);
    let write = |(n, mut client): (usize, Client)| {
        let data = vec![n as u8 + 1; 300_000];
        let (file, opened) = client
            .create(ROOT_ID, format!("file{n}"), libc::O_RDWR, 0o600)
            .unwrap();
        for part in 0..10 {
            let written = client.write(file.nodeid, opened.fh, part * 300_000, &data);
            assert_eq!(written, Ok(300_000));
        }
        client.release(file.nodeid, opened.fh).unwrap();
        client.forget(file.nodeid, 1);
        client
    };
    guest.vm.clients = std::thread::scope(|scope| {
        let work = clients.into_iter().enumerate();
        let threads: Vec<_> = work.map(|work| scope.spawn(move || write(work))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    for n in 0..4 {
        let content = fs::read(guest.host(&format!("file{n}"))).unwrap();
        assert!(content.len() == 3_000_000 && content.iter().all(|byte| *byte == n as u8 + 1));
    }
    guest.assert_unharmed();
}

#[test]
fn small_data_descriptors_carry_a_megabyte() {
    // 512 bytes each: more than one vectored call of the host takes.
    let options = ClientOptions {
        depth: 1,
        data_segment: 512,
        ..ClientOptions::default()
    };
    let mut guest = Guest::with(|builder| builder.queue_size(4096).client(options));
    let (node, fh) = guest.open("file", "", libc::O_RDWR);
    let data: Vec<u8> = (0..1 << 20)
        .map(|n: u32| (n >> 9) as u8 ^ n as u8)
        .collect();

    assert_eq!(guest.client().write(node, fh, 0, &data), Ok(1 << 20));
    assert!(fs::read(guest.host("file")).unwrap() == data);
    assert!(guest.client().read(node, fh, 0, 1 << 20).unwrap() == data);
    finish(guest, node, fh);
}
