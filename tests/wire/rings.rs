//! Virtqueues as a hostile driver sets them up (group B).

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use frontend::client::Hiprio;
use frontend::fuse::{GetattrIn, InHeader, OutHeader, opcode};
use frontend::memory::Buffer;
use frontend::queue::Used;
use frontend::ring::{DESCRIPTOR_SIZE, Descriptor, desc_flag};
use frontend::vm::VmBuilder;
use frontend::wire::Wire;
use frontend::{Queue, ROOT_ID, Segment};
use libc::EINVAL;

use crate::guest::{Guest, SOON, assert_idle, await_that};

const NEXT: u16 = desc_flag::NEXT;
const WRITE: u16 = desc_flag::WRITE;
const INDIRECT: u16 = desc_flag::INDIRECT;

/// A guest whose queues are written to by hand, and a page of its memory with a good request
/// (GETATTR of the root) at its start and room for the reply behind.
struct Hostile {
    guest: Guest,
    page: Buffer,
}

const REQUEST_LEN: u32 = 56;
const REPLY_AT: u64 = 1024;
const REPLY_LEN: u32 = 120;

/// Descriptor of a range of guest memory.
fn at(addr: u64, len: u32, flags: u16, next: u16) -> Descriptor {
    Descriptor {
        addr,
        len,
        flags,
        next,
    }
}

impl Hostile {
    fn start() -> Hostile {
        Self::with(|builder| builder)
    }

    fn with(change: impl FnOnce(VmBuilder) -> VmBuilder) -> Hostile {
        let guest = Guest::with(|builder| change(builder.queue_size(64)));
        let page = guest.vm.device.memory.allocate(4096, 4096);
        let header = InHeader {
            len: REQUEST_LEN,
            opcode: opcode::GETATTR,
            unique: 4711,
            nodeid: ROOT_ID,
            ..InHeader::default()
        };
        page.write(0, &header.encode());
        page.write(InHeader::SIZE, &GetattrIn::default().encode());
        Hostile { guest, page }
    }

    fn queue(&mut self) -> &mut Queue {
        self.guest.client().queue()
    }

    fn addr(&self) -> u64 {
        self.page.guest_addr()
    }

    fn request(&self, flags: u16, next: u16) -> Descriptor {
        at(self.addr(), REQUEST_LEN, flags, next)
    }

    fn reply(&self, flags: u16, next: u16) -> Descriptor {
        at(self.addr() + REPLY_AT, REPLY_LEN, WRITE | flags, next)
    }

    /// Offers the chain that starts at descriptor 0 and waits for its return.
    fn offer(&mut self, descriptors: &[Descriptor]) -> Used {
        for (index, descriptor) in descriptors.iter().enumerate() {
            self.queue().write_descriptor(index as u16, *descriptor);
        }
        let queue = self.queue();
        queue.publish_raw(0);
        queue.kick_event().signal();
        let used = queue.wait_raw(SOON).expect("the chain returns");
        assert_eq!(used.head, 0);
        used
    }

    #[track_caller]
    fn assert_dropped(&mut self, what: &str, descriptors: &[Descriptor]) {
        assert_eq!(self.offer(descriptors).len, 0, "{what}");
    }

    #[track_caller]
    fn assert_answered(&mut self, what: &str, descriptors: &[Descriptor]) {
        self.page.write(REPLY_AT as usize, &[0; 16]);
        assert_eq!(self.offer(descriptors).len, REPLY_LEN, "{what}");
        let header = OutHeader::decode(&self.page.to_vec(REPLY_AT as usize, 16)).unwrap();
        assert_eq!(
            (header.len, header.error, header.unique),
            (REPLY_LEN, 0, 4711),
            "{what}"
        );
    }

    /// Waits for the error signal of the queue, then lets the guest reboot.
    #[track_caller]
    fn assert_broken(&mut self) {
        assert!(
            self.queue().err_event().wait(Some(SOON)),
            "the queue breaks"
        );
        assert_idle(self.guest.worker());
        self.guest.vm.reboot();
    }

    /// The good chain still works, and all is well.
    fn finish(mut self) {
        let good = [self.request(NEXT, 1), self.reply(0, 0)];
        self.assert_answered("a good request afterwards", &good);
        self.end();
    }

    fn end(mut self) {
        self.guest.vm.reboot();
        self.guest.assert_unharmed();
    }
}

#[test]
fn b1_chains_that_go_round_are_dropped() {
    let mut hostile = Hostile::start();
    let empty = |next| at(hostile.addr(), 0, NEXT, next);
    let request = hostile.request(NEXT, 0);
    let (to_itself, cycle) = ([request], [hostile.request(NEXT, 1), request]);
    let of_nothing = [empty(1), empty(2), empty(0)];

    hostile.assert_dropped("self loop", &to_itself);
    hostile.assert_dropped("cycle of two", &cycle);
    hostile.assert_dropped("cycle of empty descriptors", &of_nothing);
    hostile.finish();
}

#[test]
fn b2_a_next_beyond_the_table_is_dropped() {
    let mut hostile = Hostile::start();
    for next in [64, 65, 32_768, u16::MAX] {
        let chain = [hostile.request(NEXT, next)];
        hostile.assert_dropped("next", &chain);
    }
    hostile.finish();
}

#[test]
fn b2_a_head_beyond_the_table_breaks_the_queue() {
    for head in [64, u16::MAX] {
        let mut hostile = Hostile::start();
        let queue = hostile.queue();
        queue.publish_raw(head);
        queue.kick_event().signal();

        hostile.assert_broken();

        hostile.finish();
    }
}

#[test]
fn b2_what_was_answered_before_the_queue_broke_is_signalled() {
    let mut hostile = Hostile::start();
    let good = [hostile.request(NEXT, 1), hostile.reply(0, 0)];
    good.iter()
        .enumerate()
        .for_each(|(n, d)| hostile.queue().write_descriptor(n as u16, *d));
    let queue = hostile.queue();
    queue.arm();
    queue.call_event().take();
    queue.publish_raw(0);
    queue.publish_raw(64);
    queue.kick_event().signal();

    assert!(queue.err_event().wait(Some(SOON)));
    assert!(
        queue.call_event().wait(Some(SOON)),
        "the driver hears of its reply"
    );

    assert_eq!(queue.pop_raw().map(|used| used.len), Some(REPLY_LEN));
    hostile.assert_broken();
    hostile.finish();
}

#[test]
fn b3_addresses_outside_memory_are_dropped() {
    let mut hostile = Hostile::start();
    // Memory ends at 512 MiB and goes on from 4 to 6 GiB.
    for addr in [512 << 20, 1 << 30, (4 << 30) - 1, 6 << 30, 1 << 40, 1 << 63] {
        let readable = [at(addr, REQUEST_LEN, NEXT, 1), hostile.reply(0, 0)];
        let writable = [hostile.request(NEXT, 1), at(addr, REPLY_LEN, WRITE, 0)];
        hostile.assert_dropped("readable", &readable);
        hostile.assert_dropped("writable", &writable);
    }
    hostile.finish();
}

#[test]
fn b4_lengths_that_wrap_or_run_out_are_dropped() {
    let mut hostile = Hostile::start();
    let page = hostile.addr();
    for (addr, len) in [
        (u64::MAX, 1),
        (u64::MAX - 10, 100),
        (page, u32::MAX),
        ((512 << 20) - 8, 16),
    ] {
        let readable = [at(addr, len, NEXT, 1), hostile.reply(0, 0)];
        let writable = [hostile.request(NEXT, 1), at(addr, len, WRITE, 0)];
        hostile.assert_dropped("readable", &readable);
        hostile.assert_dropped("writable", &writable);
    }
    hostile.finish();
}

#[test]
fn b5_a_buffer_may_span_adjacent_regions_but_not_their_end() {
    use frontend::RegionLayout;
    const BORDER: u64 = 64 << 20;
    let regions = [
        RegionLayout::new(0, BORDER),
        RegionLayout::new(BORDER, BORDER),
    ];
    let mut hostile = Hostile::with(|builder| builder.memory(&regions));
    let request = hostile.page.to_vec(0, REQUEST_LEN as usize);
    let (first, second) = request.split_at(20);
    let memory = hostile.guest.vm.device.memory.clone();
    memory.write(BORDER - 20, first);
    memory.write(BORDER, second);

    let spanning = [at(BORDER - 20, REQUEST_LEN, NEXT, 1), hostile.reply(0, 0)];
    hostile.assert_answered("request across the border", &spanning);
    let past_the_end = [
        at(2 * BORDER - 20, REQUEST_LEN, NEXT, 1),
        hostile.reply(0, 0),
    ];
    hostile.assert_dropped("past the end", &past_the_end);
    hostile.finish();
}

#[test]
fn b6_malformed_indirect_tables_are_dropped() {
    let mut hostile = Hostile::start();
    let table = hostile.addr() + 2048;
    let good = [hostile.request(NEXT, 1), hostile.reply(0, 0)];
    let write = |hostile: &Hostile, entries: &[Descriptor]| {
        for (n, entry) in entries.iter().enumerate() {
            hostile
                .page
                .write(2048 + n * DESCRIPTOR_SIZE, &entry.encode());
        }
    };
    write(&hostile, &good);
    hostile.assert_answered("a good table", &[at(table, 32, INDIRECT, 0)]);

    for len in [0, 1, 15, 17, 33, 0xffff_fff0, u32::MAX] {
        hostile.assert_dropped("a table of odd length", &[at(table, len, INDIRECT, 0)]);
    }
    hostile.assert_dropped(
        "a table that goes on",
        &[at(table, 32, INDIRECT | NEXT, 1), good[1]],
    );
    hostile.assert_dropped("a table outside memory", &[at(1 << 40, 32, INDIRECT, 0)]);
    hostile.assert_dropped(
        "a table at the end",
        &[at((512 << 20) - 16, 32, INDIRECT, 0)],
    );
    hostile.assert_dropped("a table cut short", &[at(table, 16, INDIRECT, 0)]);

    let nested = [at(table + 64, 32, INDIRECT, 0)];
    write(&hostile, &nested);
    hostile.assert_dropped("a table in a table", &[at(table, 32, INDIRECT, 0)]);
    let looping = [hostile.request(NEXT, 1), hostile.request(NEXT, 0)];
    write(&hostile, &looping);
    hostile.assert_dropped("a loop in a table", &[at(table, 32, INDIRECT, 0)]);
    hostile.finish();
}

#[test]
fn b6_a_table_may_have_1024_entries_and_no_more() {
    let mut hostile = Hostile::start();
    let tables = hostile
        .guest
        .vm
        .device
        .memory
        .allocate(65_536 * DESCRIPTOR_SIZE, 4096);
    let reply = hostile.reply(0, 0);
    for (entries, answered) in [(1024, true), (1025, false), (65_535, false)] {
        // The request byte by byte, then empty descriptors, then the reply.
        for n in 0..entries - 1 {
            let byte = u32::from(n < REQUEST_LEN as usize);
            let entry = at(hostile.addr() + n as u64 % 64, byte, NEXT, n as u16 + 1);
            tables.write(n * DESCRIPTOR_SIZE, &entry.encode());
        }
        tables.write((entries - 1) * DESCRIPTOR_SIZE, &reply.encode());
        let chain = [at(
            tables.guest_addr(),
            (entries * DESCRIPTOR_SIZE) as u32,
            INDIRECT,
            0,
        )];
        match answered {
            true => hostile.assert_answered("1024 entries", &chain),
            false => hostile.assert_dropped("too many", &chain),
        }
    }
    hostile.finish();
}

#[test]
fn b6_tables_are_dropped_where_they_were_not_negotiated() {
    let mut hostile = Hostile::with(|builder| builder.indirect(false));
    let table = hostile.addr() + 2048;
    hostile.page.write(2048, &hostile.request(NEXT, 1).encode());
    hostile.page.write(2064, &hostile.reply(0, 0).encode());

    hostile.assert_dropped("not negotiated", &[at(table, 32, INDIRECT, 0)]);
    hostile.finish();
}

#[test]
fn b7_lengths_that_add_up_beyond_32_bits_are_dropped() {
    let mut hostile = Hostile::start();
    // The same 256 MiB sixteen times over is 2^32.
    let aliases = |flags: u16| -> Vec<_> {
        (0..16)
            .map(|n| at(0, 256 << 20, flags | if n < 15 { NEXT } else { 0 }, n + 1))
            .collect()
    };
    let memory = hostile.guest.worker().private_memory().unwrap();

    hostile.assert_dropped("readable", &aliases(0));
    hostile.assert_dropped("writable", &aliases(WRITE));

    let grown = hostile
        .guest
        .worker()
        .private_memory()
        .unwrap()
        .saturating_sub(memory);
    assert!(grown < 2 << 20, "{grown} bytes more");
    hostile.finish();
}

#[test]
fn b8_a_request_may_be_split_anywhere() {
    let mut hostile = Hostile::start();
    let page = hostile.addr();
    for cut in 1..REQUEST_LEN {
        let rest = at(page + u64::from(cut), REQUEST_LEN - cut, NEXT, 2);
        let chain = [at(page, cut, NEXT, 1), rest, hostile.reply(0, 0)];
        hostile.assert_answered(&format!("cut at {cut}"), &chain);
    }
    for cut in 1..REPLY_LEN {
        let reply = page + REPLY_AT;
        let first = at(reply, cut, WRITE | NEXT, 2);
        let rest = at(reply + u64::from(cut), REPLY_LEN - cut, WRITE, 0);
        let chain = [hostile.request(NEXT, 1), first, rest];
        hostile.assert_answered(&format!("reply cut at {cut}"), &chain);
    }
    hostile.finish();
}

#[test]
fn b8_a_request_may_come_byte_by_byte() {
    let mut hostile = Hostile::with(|builder| builder.queue_size(256));
    let (page, bytes) = (hostile.addr(), REQUEST_LEN + REPLY_LEN);
    let byte = |n: u32| {
        let next = if n + 1 < bytes { NEXT } else { 0 };
        match n.checked_sub(REQUEST_LEN) {
            None => at(page + u64::from(n), 1, next, n as u16 + 1),
            Some(n) => at(
                page + REPLY_AT + u64::from(n),
                1,
                WRITE | next,
                (REQUEST_LEN + n) as u16 + 1,
            ),
        }
    };
    let chain: Vec<_> = (0..bytes).map(byte).collect();

    hostile.assert_answered("byte by byte", &chain);
    hostile.finish();
}

#[test]
fn b9_writable_before_readable_is_dropped() {
    let mut hostile = Hostile::start();
    let (request, reply) = (|n| hostile.request(NEXT, n), |n| hostile.reply(NEXT, n));
    let swapped = [reply(1), hostile.request(0, 0)];
    let mixed = [request(1), reply(2), hostile.request(0, 0)];

    hostile.assert_dropped("swapped", &swapped);
    hostile.assert_dropped("mixed", &mixed);
    hostile.finish();
}

#[test]
fn b10_an_index_that_jumps_breaks_the_queue() {
    for event_idx in [true, false] {
        for jump in [65, 32_768, u16::MAX] {
            let mut hostile = Hostile::with(|builder| builder.event_idx(event_idx));
            let index = hostile.queue().avail_index();
            hostile.queue().write_avail_index(index.wrapping_add(jump));
            hostile.queue().kick_event().signal();

            hostile.assert_broken();

            hostile.finish();
        }
    }
}

#[test]
fn b11_each_offer_of_a_head_is_answered_once() {
    let mut hostile = Hostile::start();
    let good = [hostile.request(NEXT, 1), hostile.reply(0, 0)];
    good.iter()
        .enumerate()
        .for_each(|(n, d)| hostile.queue().write_descriptor(n as u16, *d));
    let queue = hostile.queue();
    (0..8).for_each(|_| queue.publish_raw(0));
    queue.kick_event().signal();

    // Without a pool each is answered before the next is taken, so all of them are fair.
    for _ in 0..8 {
        assert_eq!(
            queue.wait_raw(SOON),
            Some(Used {
                head: 0,
                len: REPLY_LEN
            })
        );
    }
    assert_eq!(queue.wait_raw(Duration::from_millis(50)), None);
    hostile.finish();
}

#[test]
fn b11_a_head_that_is_still_in_flight_breaks_the_queue() {
    let mut hostile = Hostile::with(|builder| builder.arg("--thread-pool-size=1"));
    // Keeps the only thread of the pool busy: a megabyte to many tiny pieces.
    let good = [hostile.request(NEXT, 1), hostile.reply(0, 0)];
    good.iter()
        .enumerate()
        .for_each(|(n, d)| hostile.queue().write_descriptor(n as u16, *d));
    let queue = hostile.queue();
    (0..64).for_each(|_| queue.publish_raw(0));
    queue.kick_event().signal();

    // How many were accepted is a matter of speed; each of those is answered exactly once.
    let broke = queue.err_event().wait(Some(Duration::from_millis(300)));
    let answers = std::iter::from_fn(|| queue.wait_raw(Duration::from_millis(100))).count();
    assert!(broke || answers == 64, "{answers} answers");

    hostile.guest.vm.reboot();
    hostile.finish();
}

#[test]
fn b12_kicks_without_requests_cost_next_to_nothing() {
    for event_idx in [true, false] {
        let mut hostile = Hostile::with(|builder| builder.event_idx(event_idx));
        (0..10_000).for_each(|_| hostile.queue().kick_event().signal());
        hostile.finish();
    }
}

#[test]
fn b13_no_wakeup_is_lost_across_the_index_wrap() {
    for event_idx in [true, false] {
        let mut guest = Guest::with(|builder| builder.queue_size(16).event_idx(event_idx));
        guest.client().timeout = Duration::from_secs(1);
        for _ in 0..70_000 {
            guest.client().getattr(ROOT_ID).unwrap();
        }
        guest.assert_unharmed();
    }
}

#[test]
fn b16_buffers_that_lie_in_the_rings_end() {
    let mut hostile = Hostile::start();
    let [table, avail, used] = hostile.queue().guest_addrs();
    for addr in [table, avail, used] {
        let chain = [hostile.request(NEXT, 1), at(addr, REPLY_LEN, WRITE, 0)];
        (0..2).for_each(|n| hostile.queue().write_descriptor(n, chain[usize::from(n)]));
        hostile.queue().publish_raw(0);
        hostile.queue().kick_event().signal();
        // The reply destroys the ring: it may break, but the daemon must come to rest.
        hostile
            .queue()
            .call_event()
            .wait(Some(Duration::from_millis(200)));
        assert_idle(hostile.guest.worker());
        hostile.guest.vm.reboot();
    }
    let onto_itself = [
        hostile.request(NEXT, 1),
        at(hostile.addr(), REPLY_LEN, WRITE, 0),
    ];
    assert_eq!(hostile.offer(&onto_itself).len, REPLY_LEN);
    hostile.end();
}

#[test]
fn b18_chains_without_bytes_are_dropped() {
    let mut hostile = Hostile::start();
    let page = hostile.addr();
    let only_reply = [hostile.reply(0, 0)];
    let only_request = [hostile.request(0, 0)];
    let nothing = [at(page, 0, NEXT, 1), at(page, 0, WRITE, 0)];

    hostile.assert_dropped("zero readable", &only_reply);
    hostile.assert_dropped("zero writable", &only_request);
    hostile.assert_dropped("zero-length", &nothing);
    hostile.finish();
}

fn on_hiprio(hiprio: &Hiprio, page: &Buffer) -> Option<Used> {
    hiprio.with_queue(|queue| {
        let request = Segment {
            addr: page.guest_addr(),
            len: REQUEST_LEN,
        };
        let reply = Segment {
            addr: page.guest_addr() + REPLY_AT,
            len: REPLY_LEN,
        };
        queue.push(&[request], &[reply]).unwrap();
        queue.kick();
        queue.wait(SOON)
    })
}

#[test]
fn b19_any_request_on_the_hiprio_queue_is_answered() {
    let mut hostile = Hostile::start();

    let used = on_hiprio(hostile.guest.client().hiprio(), &hostile.page).expect("it returns");

    assert_eq!(used.len, REPLY_LEN);
    let init = InHeader {
        len: 56,
        opcode: opcode::INIT,
        unique: 3,
        ..InHeader::default()
    };
    hostile.page.write(0, &init.encode());
    hostile
        .page
        .write(InHeader::SIZE, &[7, 0, 0, 0, 46, 0, 0, 0]);
    let used = on_hiprio(hostile.guest.client().hiprio(), &hostile.page).expect("it returns");
    assert_eq!(used.len, 16 + 64);
    hostile.end();
}

#[test]
fn b20_one_broken_queue_leaves_the_others_alone() {
    let mut guest = Guest::with(|builder| builder.request_queues(4).queue_size(64));
    let broken = guest.vm.clients[1].queue();
    broken.publish_raw(64);
    broken.kick_event().signal();
    assert!(broken.err_event().wait(Some(SOON)));

    for n in [0, 2, 3] {
        let client = &mut guest.vm.clients[n];
        for _ in 0..100 {
            assert!(client.getattr(ROOT_ID).is_ok(), "queue {n}");
        }
    }
    // The broken one comes back when it is stopped and set up again.
    let index = guest.vm.clients[1].queue().index();
    guest.vm.device.stop_queue(index).unwrap();
    guest.vm.reboot();
    assert!(guest.vm.clients[1].getattr(ROOT_ID).is_ok());
    guest.assert_unharmed();
}

#[test]
fn b21_a_queue_full_of_reads_stops_in_time_with_a_consistent_base() {
    for pool in ["--thread-pool-size=0", "--thread-pool-size=4"] {
        let mut guest = Guest::with(|builder| {
            let options = frontend::ClientOptions {
                depth: 16,
                ..Default::default()
            };
            builder.arg(pool).client(options)
        });
        let (node, fh) = guest.open("file", vec![7; 1 << 20], libc::O_RDONLY);
        let arguments = frontend::fuse::ReadIn {
            fh,
            size: 1 << 20,
            ..Default::default()
        }
        .encode();
        let args = [&arguments[..]];
        let read = frontend::Request::new(opcode::READ, node, &args).reply_data(1 << 20);
        let client = guest.client();
        (0..16).for_each(|_| assert!(client.submit(&read).is_some()));
        client.kick();
        let index = client.queue().index();

        let begin = std::time::Instant::now();
        let base = guest.vm.device.stop_queue(index).unwrap();
        assert!(begin.elapsed() < SOON);

        let queue = guest.client().queue();
        let (taken, offered) = (queue.used_index(), queue.avail_index());
        assert_eq!(u32::from(taken), base, "what was taken has been returned");
        // The others are served after a restart from that base.
        let left = offered.wrapping_sub(taken);
        let queue = guest.vm.clients[0].queue();
        guest.vm.device.announce(queue, base).unwrap();
        await_that("the rest", || queue.used_index() == offered);
        for _ in 0..16 {
            let done = guest
                .client()
                .wait_complete(SOON)
                .expect("every request returns");
            assert_eq!(
                (done.error, done.used_len),
                (0, 16 + (1 << 20)),
                "{left} were left"
            );
            guest.client().recycle(done);
        }
        guest.client().release(node, fh).unwrap();
        guest.client().forget(node, 1);
        guest.assert_unharmed();
    }
}

#[test]
fn b15_a_request_that_changes_while_it_is_read_is_read_once() {
    let mut hostile = Hostile::start();
    let page = hostile.addr();
    let lookup = InHeader {
        len: 42,
        opcode: opcode::LOOKUP,
        unique: 9,
        nodeid: ROOT_ID,
        ..InHeader::default()
    };
    hostile.page.write(0, &lookup.encode());
    let chain = [at(page, 51, NEXT, 1), at(page + REPLY_AT, 144, WRITE, 0)];
    let stop = AtomicBool::new(false);
    let (memory, stop) = (hostile.guest.vm.device.memory.clone(), &stop);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                memory.write(page, &40u32.to_le_bytes());
                memory.write(page + 40, b"../secret\0");
                memory.write(page, &4096u32.to_le_bytes());
                memory.write(page + 40, b"f\0        ");
                memory.write(page, &51u32.to_le_bytes());
            }
        });
        for _ in 0..20_000 {
            let used = hostile.offer(&chain);
            assert_eq!(used.len, 16, "the share is empty: nothing can be found");
            let header = OutHeader::decode(&hostile.page.to_vec(REPLY_AT as usize, 16)).unwrap();
            assert!(
                [EINVAL, libc::ENOENT].contains(&-header.error),
                "{header:?}"
            );
        }
        stop.store(true, Ordering::Relaxed);
    });
    hostile.end();
}
