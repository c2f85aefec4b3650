//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgGroup, Parser};

use crate::mount::MountFlag;

/// Mount the share of a virtio-fs daemon on this host, without a virtual machine.
///
/// Stays in the foreground; prints "hostmount: mounted ... on MOUNTPOINT" when the mount can be used. Ends, unmounting,
/// on SIGINT and SIGTERM, when somebody unmounts, or when the daemon goes away (exit status 1).
///
/// Needs the right to mount: run it as root, or under `unshare --user --map-root-user --mount`.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:\n  \
        virtiofsd --socket-path=/run/fs.sock --shared-dir=/srv &\n  \
        hostmount --socket-path /run/fs.sock /mnt\n\n  \
        hostmount --daemon ./virtiofsd /mnt -o ro -- --shared-dir=/srv --cache=always",
    group = ArgGroup::new("peer").required(true).args(["socket_path", "daemon"])
)]
pub struct Args {
    /// Directory to mount on
    pub mountpoint: PathBuf,

    /// The running daemon's vhost-user socket
    #[arg(long, value_name = "PATH")]
    pub socket_path: Option<PathBuf>,

    /// Start this daemon, on a socket of its own, and end it after the unmount
    #[arg(long, value_name = "BINARY")]
    pub daemon: Option<PathBuf>,

    /// Mount options: ro, nosuid, nodev, noexec, noatime, nodiratime, relatime, strictatime, sync, dirsync
    #[arg(short = 'o', value_name = "OPTION,...", value_delimiter = ',')]
    pub options: Vec<MountFlag>,

    /// Number of request queues
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=254))]
    pub queues: u32,

    /// Descriptors of each queue, a power of two
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = parse_queue_size)]
    pub queue_size: u16,

    /// Do without indirect descriptors
    #[arg(long)]
    pub no_indirect: bool,

    /// Do without EVENT_IDX
    #[arg(long)]
    pub no_event_idx: bool,

    /// Arguments of the daemon that --daemon starts
    #[arg(
        last = true,
        value_name = "DAEMON-ARGS",
        conflicts_with = "socket_path"
    )]
    pub daemon_args: Vec<OsString>,
}

fn parse_queue_size(text: &str) -> Result<u16, String> {
    match text.parse::<u16>() {
        Ok(size) if size.is_power_of_two() && (16..=32768).contains(&size) => Ok(size),
        _ => Err("not a power of two from 16 to 32768".into()),
    }
}
