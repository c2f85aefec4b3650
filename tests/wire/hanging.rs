//! Requests that hang in the host's kernel, as they do on a network file system that is gone.
//!
//! What makes them hang here is a lease (`fcntl(2)`, "Leases"): the host waits with an open for
//! writing until the lease's holder gives it up.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use frontend::fuse::{OpenIn, OpenOut, opcode};
use frontend::wire::Wire;
use frontend::{ROOT_ID, Request};

use crate::guest::{Guest, SOON};

/// `include/uapi/asm-generic/fcntl.h`; the libc crate lacks it.
const F_SETSIG: i32 = 10;

/// While it lives, opening its file for writing hangs.
struct Lease(File);

impl Lease {
    /// `None` on file systems without leases.
    fn take(file: File) -> Option<Lease> {
        // Told by a signal that is ignored by default instead of SIGIO, which would end us.
        control(&file, F_SETSIG, libc::SIGURG)?;
        control(&file, libc::F_SETLEASE, libc::F_RDLCK)?;
        Some(Lease(file))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        control(&self.0, libc::F_SETLEASE, libc::F_UNLCK);
    }
}

#[allow(unsafe_code, reason = "nix knows no leases")]
fn control(file: &File, command: i32, argument: i32) -> Option<()> {
    // SAFETY: both commands take an integer and touch no memory.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), command, argument) };
    (result == 0).then_some(())
}

/// A guest in which an OPEN of the last queue hangs until the lease goes, or nothing, with the
/// reason, where it cannot be.
fn hanging(
    change: impl FnOnce(frontend::vm::VmBuilder) -> frontend::vm::VmBuilder,
) -> Option<(Guest, Lease, u64)> {
    let mut guest = Guest::with(change);
    let node = guest.file("file", "content");
    let Some(lease) = Lease::take(File::open(guest.host("file")).unwrap()) else {
        println!("skipped: the file system of temporary files has no leases");
        return None;
    };
    let arguments = OpenIn {
        flags: libc::O_WRONLY as u32,
        open_flags: 0,
    }
    .encode();
    let args = [&arguments[..]];
    let open = Request::new(opcode::OPEN, node, &args).reply_args(OpenOut::SIZE);
    let client = guest.vm.clients.last_mut().unwrap();
    client.submit(&open).unwrap();
    client.kick();
    assert!(
        client.wait_complete(Duration::from_millis(100)).is_none(),
        "it hangs"
    );
    Some((guest, lease, node))
}

/// The lease goes: the request that hung is answered.
fn release(guest: &mut Guest, lease: Lease, node: u64) {
    drop(lease);
    let client = guest.vm.clients.last_mut().unwrap();
    let done = client
        .wait_complete(SOON)
        .expect("it is answered after all");
    assert_eq!(done.error, 0);
    let opened: OpenOut = client.reply(&done).unwrap();
    client.recycle(done);
    client.release(node, opened.fh).unwrap();
    client.forget(node, 1);
}

#[test]
fn f9_other_queues_go_on_while_one_hangs() {
    let Some((mut guest, lease, node)) = hanging(|builder| builder.request_queues(2)) else {
        return;
    };
    let other = guest.node("file");
    assert_eq!(other, node);
    for _ in 0..100 {
        assert!(guest.client().getattr(ROOT_ID).is_ok());
    }
    guest.client().forget(node, 1);

    release(&mut guest, lease, node);
    guest.assert_unharmed();
}

#[test]
fn f9_a_pool_goes_on_with_the_same_queue() {
    let Some((mut guest, lease, node)) = hanging(|builder| builder.arg("--thread-pool-size=2"))
    else {
        return;
    };
    for _ in 0..100 {
        assert!(guest.client().getattr(ROOT_ID).is_ok());
    }

    release(&mut guest, lease, node);
    guest.assert_unharmed();
}

#[test]
fn h5_a_signal_ends_the_daemon_while_a_request_hangs() {
    ends_in_time(|guest| {
        let signal = nix::sys::signal::Signal::SIGTERM;
        guest.vm.daemon.signal(signal).unwrap();
    });
}

#[test]
fn h5_a_front_end_that_goes_ends_the_daemon_while_a_request_hangs() {
    ends_in_time(|guest| {
        let stream = guest.vm.device.connection.stream();
        stream.shutdown(std::net::Shutdown::Both).unwrap();
    });
}

/// Ends a daemon by `end` while a request hangs: it leaves that behind and nothing else.
fn ends_in_time(end: impl Fn(&Guest)) {
    for pool in ["--thread-pool-size=0", "--thread-pool-size=2"] {
        let Some((mut guest, lease, _)) = hanging(|builder| builder.arg(pool)) else {
            return;
        };
        let begin = Instant::now();

        end(&guest);

        let daemon = &mut guest.vm.daemon;
        let status = daemon.wait(Duration::from_secs(8)).expect("it ends");
        let taken = begin.elapsed();
        assert!(taken < Duration::from_secs(6), "{taken:?}");
        assert_eq!(status.code(), Some(0), "{}", daemon.last_stderr());
        assert!(!daemon.socket_path().exists());
        drop(lease);
    }
}

#[test]
fn a_queue_stops_only_when_what_hangs_is_answered() {
    for pool in ["--thread-pool-size=0", "--thread-pool-size=2"] {
        let Some((mut guest, lease, node)) = hanging(|builder| builder.arg(pool)) else {
            return;
        };
        let offered = guest.client().queue().avail_index();
        let base = std::thread::scope(|scope| {
            let device = &guest.vm.device;
            let stop = scope.spawn(|| device.stop_queue(1).unwrap());
            std::thread::sleep(Duration::from_millis(100));
            assert!(!stop.is_finished(), "a request is on its way");
            drop(lease);
            stop.join().unwrap()
        });

        assert_eq!(base, u32::from(offered));
        let queue = guest.vm.clients[0].queue();
        assert_eq!(
            queue.used_index(),
            offered,
            "all that was taken has been returned"
        );
        guest.vm.device.announce(queue, base).unwrap();
        let client = guest.client();
        let done = client.wait_complete(SOON).expect("the answer is there");
        let opened: OpenOut = client.reply(&done).unwrap();
        client.recycle(done);
        client.release(node, opened.fh).unwrap();
        client.forget(node, 1);
        guest.assert_unharmed();
    }
}

#[test]
fn descriptors_given_back_while_a_request_hangs_are_closed_when_it_ends() {
    let Some((mut guest, lease, node)) = hanging(|builder| builder.request_queues(2)) else {
        return;
    };
    for n in 0..50 {
        let other = guest.file(&format!("other{n}"), "");
        let fh = guest.client().open(other, libc::O_RDONLY).unwrap().fh;
        guest.client().release(other, fh).unwrap();
        guest.client().forget(other, 1);
    }

    release(&mut guest, lease, node);
    guest.await_extra_fds(0);
    guest.assert_unharmed();
}
