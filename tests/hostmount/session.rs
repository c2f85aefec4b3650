//! One mount from its beginning to its end.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use frontend::device::Device;
use frontend::eventfd::EventFd;
use frontend::fuse::InitOut;
use frontend::memory::PAGE_SIZE;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::args::Args;
use crate::failure::{Context, Failure};
use crate::mount::Mount;
use crate::peer::{MEMORY_SIZE, Peer};
use crate::pool::{Pool, Slot};
use crate::relay::{Lane, Relay, read_request};

/// Most requests in flight. The kernel keeps far fewer in the background (12 unless INIT says more); the rest is for threads that
/// wait in a system call each.
const MAX_IN_FLIGHT: usize = 64;
/// Least room for data in bytes: a LISTXATTR or SETXATTR carries 64 KiB.
const MIN_TRANSFER: usize = 128 * 1024;
/// How long the daemon may take for INIT, for what is dirty at the unmount, and for DESTROY.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why the session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// SIGTERM, SIGINT or SIGHUP.
    Signal,
    /// The daemon closed the connection.
    DaemonGone,
    /// A thread ended: mostly because somebody unmounted.
    RelayEnded,
}

/// Mounts, relays until something ends it, and unmounts.
pub fn run(args: &Args) -> Result<(), Failure> {
    let signals = catch_signals().context("catch signals")?;
    let peer = Peer::connect(args)?;
    let lanes = start_lanes(&peer.device).context("set the queues up")?;
    let mount = Mount::new(&peer.name, &args.mountpoint, &args.options)?;
    let negotiated = relay_init(&peer.device, &lanes[1], &mount)?;
    let relay = Arc::new(Relay {
        device: mount.device().try_clone().context("duplicate /dev/fuse")?,
        lanes,
        pool: Pool::new(slots(&peer.device, &negotiated)),
        ended: EventFd::new().context("make an event")?,
    });
    start_threads(&relay).context("start a thread")?;
    println!(
        "hostmount: mounted {} on {}",
        peer.name,
        mount.mountpoint().display()
    );
    let end = wait_for_end(&peer.device, &signals, &relay.ended).context("wait")?;
    if end == End::Signal {
        report(&signals);
    }
    finish(end, peer, &mount, &relay)
}

/// Blocks the signals that end the session, for this thread and all later ones, and makes them readable.
fn catch_signals() -> nix::Result<SignalFd> {
    let mut signals = SigSet::empty();
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]
        .into_iter()
        .for_each(|signal| signals.add(signal));
    signals.thread_block()?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC)
}

fn start_lanes(device: &Device) -> frontend::connection::Result<Vec<Lane>> {
    (0..device.queue_count())
        .map(|index| device.start_queue(index).map(Lane::new))
        .collect()
}

/// Relays the kernel's first request, INIT, whose reply says how large the others can be.
fn relay_init(device: &Device, lane: &Lane, mount: &Mount) -> Result<InitOut, Failure> {
    const INIT: &str = "initialise the file system";
    let mut slot = Slot::new(&device.memory, MIN_TRANSFER, PAGE_SIZE);
    read_request(&mut slot, mount.device())
        .context("read the kernel's first request")?
        .ok_or_else(|| Failure::new(INIT, "unmounted already"))?;
    let (slot, len) = lane.exchange(slot, PATIENCE).ok_or_else(|| {
        Failure::new(INIT, "the daemon does not answer").advise("its log may tell more")
    })?;
    let negotiated = slot
        .reply(len)
        .map_err(|errno| Failure::new(INIT, errno.desc()))?;
    slot.write_reply(mount.device(), len)
        .map_err(|complaint| Failure::new(INIT, complaint))?;
    Ok(negotiated)
}

/// As many slots as memory allows for what INIT negotiated.
fn slots(device: &Device, negotiated: &InitOut) -> Vec<Slot> {
    let pages = usize::from(negotiated.max_pages) * PAGE_SIZE;
    let transfer = pages
        .max(negotiated.max_write as usize)
        .max(MIN_TRANSFER)
        .next_multiple_of(PAGE_SIZE);
    // Rings, indirect tables and what rounding wastes get a quarter of the memory.
    let affordable = MEMORY_SIZE as usize * 3 / 4 / (2 * (transfer + 2 * PAGE_SIZE));
    let step = data_step(device, transfer);
    (0..affordable.clamp(2, MAX_IN_FLIGHT))
        .map(|_| Slot::new(&device.memory, transfer, step))
        .collect()
}

/// Length of data descriptors: a page as in a guest, or more where a chain would not fit its queue.
fn data_step(device: &Device, transfer: usize) -> usize {
    let queue = device.options().queue;
    // Headers and arguments of both sides take up to four. Without indirect tables, leave room for other chains.
    let descriptors = if queue.indirect {
        queue.size.into()
    } else {
        usize::from(queue.size) / 2
    } - 4;
    transfer.div_ceil(descriptors).next_multiple_of(PAGE_SIZE)
}

fn start_threads(relay: &Arc<Relay>) -> std::io::Result<()> {
    for index in 0..relay.lanes.len() {
        let completer = Arc::clone(relay);
        thread::Builder::new()
            .name(format!("complete-{index}"))
            .spawn(move || completer.write_replies(index))?;
    }
    for index in 1..relay.lanes.len() {
        let reader = Arc::clone(relay);
        thread::Builder::new()
            .name(format!("read-{index}"))
            .spawn(move || {
                if let Err(error) = reader.read_requests(index) {
                    eprintln!("{}", Failure::new("read a request from /dev/fuse", error));
                }
            })?;
    }
    Ok(())
}

fn wait_for_end(device: &Device, signals: &SignalFd, ended: &EventFd) -> nix::Result<End> {
    let watch = |fd| PollFd::new(fd, PollFlags::POLLIN);
    let mut fds = [
        watch(signals.as_fd()),
        watch(device.connection.stream().as_fd()),
        watch(ended.as_fd()),
    ];
    loop {
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            outcome => outcome?,
        };
        let ready = |index: usize| fds[index].any().unwrap_or(true);
        // The daemon sends nothing unasked: anything to read is its end.
        let ends = [End::Signal, End::DaemonGone, End::RelayEnded];
        if let Some(index) = (0..fds.len()).find(|index| ready(*index)) {
            return Ok(ends[index]);
        }
    }
}

/// Says which signal ends the session, and who sent it: half of all "it just ended" is somebody's pkill.
fn report(signals: &SignalFd) {
    if let Ok(Some(info)) = signals.read_signal() {
        let name = Signal::try_from(info.ssi_signo as i32).map_or("a signal", Signal::as_str);
        eprintln!(
            "hostmount: {name} from process {}: unmounting",
            info.ssi_pid
        );
    }
}

fn finish(end: End, peer: Peer, mount: &Mount, relay: &Relay) -> Result<(), Failure> {
    // Where this fails, the mount's drop ends the mount.
    match end {
        End::DaemonGone => {
            return Err(Failure::new(
                "the daemon closed the connection",
                "the share is gone",
            ));
        }
        End::RelayEnded if mount.is_mounted() => {
            let cause = "the kernel aborted the file system, or the messages above tell why";
            return Err(Failure::new("relay requests", cause));
        }
        End::RelayEnded => relay.say_goodbye(PATIENCE),
        End::Signal if mount.unmount(PATIENCE) => relay.say_goodbye(PATIENCE),
        End::Signal => eprintln!(
            "warning: {} was in use; detached it",
            mount.mountpoint().display()
        ),
    }
    peer.close()
}
