//! A guest that takes all it can get (group F), and many at once.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use frontend::fuse::opcode;
use frontend::{ROOT_ID, Request};
use libc::ENFILE;

use crate::guest::{Guest, SOON, assert_idle};

/// The guest's share of so few descriptors is used up soon.
fn poor() -> Guest {
    Guest::with(|builder| builder.arg("--rlimit-nofile=1500"))
}

#[test]
fn f1_f7_open_files_and_directories_end_at_the_budget_and_come_back() {
    let mut guest = poor();
    let node = guest.file("file", "content");
    for round in 0..2 {
        let mut files = Vec::new();
        let refused = loop {
            match guest.client().open(node, libc::O_RDONLY) {
                Ok(opened) => files.push(opened.fh),
                Err(errno) => break errno,
            }
        };
        assert_eq!(refused, ENFILE);
        assert!(files.len() > 300, "{} in round {round}", files.len());

        let client = guest.client();
        assert_eq!(client.opendir(ROOT_ID).unwrap_err(), ENFILE);
        assert_eq!(client.getattr(node).unwrap().attr.size, 7);
        assert_eq!(client.read(node, files[0], 0, 100).unwrap(), b"content");
        client.flush(node, files[0]).unwrap();
        client
            .truncate(node, 7)
            .expect("the daemon's own needs are met");
        for fh in files {
            client.release(node, fh).unwrap();
        }
        let fh = client.opendir(ROOT_ID).expect("there is room again").fh;
        client.releasedir(ROOT_ID, fh).unwrap();
    }
    guest.client().forget(node, 1);
    guest.assert_unharmed();
}

#[test]
fn f2_nodes_end_at_the_budget_and_come_back() {
    let mut guest = poor();
    (0..500).for_each(|n| fs::write(guest.host(&format!("file{n}")), "").unwrap());
    let mut nodes = Vec::new();
    let refused = loop {
        match guest
            .client()
            .lookup(ROOT_ID, format!("file{}", nodes.len()))
        {
            Ok(entry) => nodes.push((entry.nodeid, 1)),
            Err(errno) => break errno,
        }
    };
    assert_eq!(refused, ENFILE);

    let client = guest.client();
    assert!(
        client.lookup(ROOT_ID, "file0").is_ok(),
        "known files cost nothing"
    );
    nodes[0].1 += 1;
    assert_eq!(client.mkdir(ROOT_ID, "dir", 0o755).unwrap_err(), ENFILE);
    let created = client.create(ROOT_ID, "new", libc::O_RDWR, 0o600);
    assert_eq!(created.unwrap_err(), ENFILE);
    assert_eq!(
        client.tmpfile(ROOT_ID, libc::O_RDWR, 0o600).unwrap_err(),
        ENFILE
    );
    client.forget(nodes[1].0, 1);
    nodes.remove(1);
    let created = client.create(ROOT_ID, "new", libc::O_RDWR, 0o600);
    assert_eq!(created.unwrap_err(), ENFILE, "one place is not enough");
    client.batch_forget(&nodes);

    assert!(
        !guest.host("dir").exists() && !guest.host("new").exists(),
        "nothing is left behind"
    );
    guest.assert_unharmed();
}

#[test]
fn f2_a_listing_goes_on_when_there_is_no_room_for_nodes() {
    let mut guest = poor();
    (0..600).for_each(|n| fs::write(guest.host(&format!("file{n}")), "").unwrap());
    let fh = guest.client().opendir(ROOT_ID).unwrap().fh;
    let (mut names, mut nodes, mut offset) = (0, Vec::new(), 0);
    loop {
        let batch = guest
            .client()
            .readdirplus(ROOT_ID, fh, offset, 32_768)
            .unwrap();
        let Some(last) = batch.last() else { break };
        offset = last.dirent.off;
        names += batch.len();
        nodes.extend(
            batch
                .iter()
                .map(|entry| (entry.entry.nodeid, 1))
                .filter(|(node, _)| *node != 0),
        );
    }
    assert_eq!(names, 602);
    assert!(nodes.len() < 600, "{} nodes", nodes.len());
    guest.client().batch_forget(&nodes);
    guest.client().releasedir(ROOT_ID, fh).unwrap();
    guest.assert_unharmed();
}

#[test]
fn f5_a_storm_of_forgets_leaves_the_request_queues_working() {
    let mut guest = Guest::with(|builder| builder.request_queues(2));
    let stop = AtomicBool::new(false);
    let batch: Vec<(u64, u64)> = (0..2000).map(|n| (n << 32 | 99, 1)).collect();
    let stormy = guest.vm.clients.remove(1);
    std::thread::scope(|scope| {
        let storm = scope.spawn(|| {
            let mut storms = 0;
            while !stop.load(Ordering::Relaxed) {
                stormy.batch_forget(&batch);
                storms += 1;
            }
            storms
        });
        guest.client().timeout = std::time::Duration::from_secs(1);
        for _ in 0..2000 {
            assert!(guest.client().getattr(ROOT_ID).is_ok());
        }
        stop.store(true, Ordering::Relaxed);
        assert!(storm.join().unwrap() > 0);
    });
    guest.assert_unharmed();
}

#[test]
fn f13_a_tree_may_be_deeper_than_any_path() {
    let mut guest = Guest::start();
    let mut nodes = vec![ROOT_ID];
    for _ in 0..2000 {
        let parent = *nodes.last().unwrap();
        nodes.push(guest.client().mkdir(parent, "deep", 0o755).unwrap().nodeid);
    }
    let bottom = *nodes.last().unwrap();
    assert!(
        guest
            .client()
            .create(bottom, "file", libc::O_RDWR, 0o600)
            .is_ok()
    );
    guest.client().unlink(bottom, "file").unwrap();
    // From the bottom up, or the temporary directory could not be removed.
    for parent in nodes.iter().rev().skip(1) {
        guest.client().rmdir(*parent, "deep").unwrap();
    }
    guest.client().destroy().unwrap();
    guest.client().init().unwrap();
    guest.assert_unharmed();
}

#[test]
fn f14_files_that_come_and_go_leave_nothing() {
    let mut guest = Guest::start();
    let churn = |guest: &mut Guest, count: usize| {
        for _ in 0..count {
            let client = guest.client();
            let (made, opened) = client.create(ROOT_ID, "file", libc::O_RDWR, 0o600).unwrap();
            client.release(made.nodeid, opened.fh).unwrap();
            client.unlink(ROOT_ID, "file").unwrap();
            client.forget(made.nodeid, 1);
        }
        guest.worker().private_memory().unwrap()
    };
    let before = churn(&mut guest, 1000);

    let after = churn(&mut guest, 5000);

    assert!(after < before + (1 << 20), "{before} bytes became {after}");
    guest.assert_unharmed();
}

#[test]
fn b14_an_available_ring_that_another_thread_rewrites_is_survived() {
    let mut guest = Guest::with(|builder| builder.request_queues(2).queue_size(64));
    let stop = AtomicBool::new(false);
    let mut victim = guest.vm.clients.remove(1);
    std::thread::scope(|scope| {
        let queue = victim.queue();
        let kick = queue.kick_event().clone();
        let (queue, stop) = (&*queue, &stop);
        scope.spawn(move || {
            let mut n = 0u16;
            while !stop.load(Ordering::Relaxed) {
                n = n.wrapping_mul(31).wrapping_add(7);
                queue.write_avail_entry(n, n % 70);
                queue.write_avail_index(queue.used_index().wrapping_add(n % 80));
                kick.signal();
            }
        });
        for _ in 0..2000 {
            assert!(
                guest.client().getattr(ROOT_ID).is_ok(),
                "the other queue is unharmed"
            );
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_idle(guest.worker());
    guest.vm.clients.push(victim);
    guest.vm.reboot();
    guest.assert_unharmed();
}

#[test]
fn d12_a_directory_that_is_swapped_for_a_symlink_is_never_left() {
    let mut guest = Guest::with(|builder| builder.request_queues(2));
    fs::create_dir(guest.host("dir")).unwrap();
    std::os::unix::fs::symlink("../outside", guest.host("link")).unwrap();
    let dir = guest.node("dir");
    let stop = AtomicBool::new(false);
    let mut swapper = guest.vm.clients.remove(1);
    std::thread::scope(|scope| {
        let (stop, swapper) = (&stop, &mut swapper);
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                swapper
                    .rename2(ROOT_ID, "dir", ROOT_ID, "link", libc::RENAME_EXCHANGE)
                    .unwrap();
            }
        });
        for n in 0..3000 {
            let client = guest.client();
            let made = client
                .mkdir(dir, "made", 0o755)
                .expect("in the directory itself");
            client.forget(made.nodeid, 1);
            client.rmdir(dir, "made").unwrap();
            // By name it is one or the other, and nothing can be made below the symlink.
            let found = client.lookup(ROOT_ID, "dir").unwrap();
            let below = client.mkdir(found.nodeid, format!("below{n}"), 0o755);
            match below {
                Ok(entry) => client.forget(entry.nodeid, 1),
                Err(errno) => assert_eq!(errno, libc::ENOTDIR),
            }
            client.forget(found.nodeid, 1);
        }
        stop.store(true, Ordering::Relaxed);
    });
    guest.vm.clients.push(swapper);
    guest.client().forget(dir, 1);
    guest.assert_unharmed();
}

#[test]
fn nothing_is_lost_when_every_queue_is_full() {
    let mut guest = Guest::with(|builder| {
        let options = frontend::ClientOptions {
            depth: 64,
            max_data: 4096,
            ..Default::default()
        };
        builder
            .request_queues(4)
            .queue_size(64)
            .client(options)
            .arg("--thread-pool-size=3")
    });
    let body = [0; 16];
    let args = [&body[..]];
    let request = Request::new(opcode::GETATTR, ROOT_ID, &args).reply_args(104);
    for _ in 0..50 {
        for client in &mut guest.vm.clients {
            while client.submit(&request).is_some() {}
            client.kick();
        }
        for client in &mut guest.vm.clients {
            for _ in 0..64 {
                let done = client.wait_complete(SOON).expect("an answer to each");
                assert_eq!(done.error, 0);
                client.recycle(done);
            }
        }
    }
    guest.assert_unharmed();
}
