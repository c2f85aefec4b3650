//! `hostmount`: mounts a virtio-fs daemon's share on this host, without a virtual machine.
//!
//! The host's own kernel is the guest: hostmount mounts a FUSE file system, reads the kernel's requests from /dev/fuse
//! straight into guest memory, puts them on the daemon's virtqueues as Linux's virtio_fs driver would, and writes the replies
//! back from there. It looks into requests only as far as the driver does: the header, and how much room a reply needs.
//!
//! Where /dev/fuse differs from a guest's virtio_fs:
//! - The kernel sends FUSE_INTERRUPT on /dev/fuse; virtio_fs never does. It goes to the hiprio queue.
//! - The kernel batches forgets (BATCH_FORGET); virtio_fs sends each FORGET alone.
//! - virtio_fs sends SYNCFS, and DESTROY at unmount; /dev/fuse has neither. hostmount sends DESTROY itself.
//! - virtio_fs offers SUBMOUNTS (and DAX) in INIT; /dev/fuse does not, so announced submounts appear as plain directories.
//! - virtio_fs lowers max_pages to what the queue can hold; here data descriptors grow beyond a page where the queue is small.
//! - `default_permissions` and `allow_other` are on for both, and nothing limits the size of a READ.
//!
//! Must not know: file-system semantics. It relays bytes.

mod args;
mod failure;
mod mount;
mod peer;
mod pool;
mod relay;
mod request;
mod session;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match session::run(&args::Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}
