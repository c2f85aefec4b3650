//! The mount: made, and never left behind dead.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::failure::{Context, Failure};

/// One word of `-o`.
#[derive(Clone, Copy, Debug)]
pub struct MountFlag(MsFlags);

impl FromStr for MountFlag {
    type Err = String;

    fn from_str(word: &str) -> Result<MountFlag, String> {
        Ok(MountFlag(match word {
            "rw" => MsFlags::empty(),
            "ro" => MsFlags::MS_RDONLY,
            "nosuid" => MsFlags::MS_NOSUID,
            "nodev" => MsFlags::MS_NODEV,
            "noexec" => MsFlags::MS_NOEXEC,
            "noatime" => MsFlags::MS_NOATIME,
            "nodiratime" => MsFlags::MS_NODIRATIME,
            "relatime" => MsFlags::MS_RELATIME,
            "strictatime" => MsFlags::MS_STRICTATIME,
            "sync" => MsFlags::MS_SYNCHRONOUS,
            "dirsync" => MsFlags::MS_DIRSYNC,
            _ => return Err("not a mount option of hostmount".into()),
        }))
    }
}

/// A FUSE mount; dropping it unmounts, by force.
#[derive(Debug)]
pub struct Mount {
    device: File,
    mountpoint: PathBuf,
    /// Its number in /proc/self/mountinfo.
    id: String,
}

impl Mount {
    /// Opens /dev/fuse and mounts it, as virtio_fs mounts: permissions checked by the kernel, for all users.
    pub fn new(source: &str, mountpoint: &Path, flags: &[MountFlag]) -> Result<Mount, Failure> {
        let given = mountpoint.display();
        let mountpoint = mountpoint
            .canonicalize()
            .context(format!("mount point {given}"))?;
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse");
        let device = device.context("open /dev/fuse").map_err(|failure| {
            failure.advise(
                "load the fuse kernel module (modprobe fuse), or let this container use /dev/fuse",
            )
        })?;
        let flags = flags
            .iter()
            .fold(MsFlags::empty(), |all, flag| all | flag.0);
        let data = format!(
            "fd={},rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other",
            device.as_raw_fd()
        );
        mount(
            Some(source),
            &mountpoint,
            Some("fuse.hostmount"),
            flags,
            Some(data.as_str()),
        )
        .map_err(|errno| explain(&mountpoint, errno))?;
        let id = mount_id(&mountpoint)
            .context("read the mount's id")
            .inspect_err(|_| detach(&mountpoint))?;
        Ok(Mount {
            device,
            mountpoint,
            id,
        })
    }

    /// /dev/fuse.
    pub fn device(&self) -> &File {
        &self.device
    }

    /// Where it is mounted.
    pub fn mountpoint(&self) -> &Path {
        &self.mountpoint
    }

    /// Whether it is still there: anybody can unmount it.
    pub fn is_mounted(&self) -> bool {
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        table
            .lines()
            .any(|line| line.split(' ').next() == Some(&self.id))
    }

    /// Unmounts while requests are still relayed, so that nothing is lost.
    ///
    /// True when the mount has ended. False when it was in use: then what is dirty has been written, the mount has been
    /// detached, and its users will get errors. Also false when the daemon did not write it within `patience`.
    pub fn unmount(&self, patience: Duration) -> bool {
        let (done, outcome) = mpsc::channel();
        let mountpoint = self.mountpoint.clone();
        // On a thread, as it waits for the daemon, which may never answer.
        thread::spawn(move || done.send(unmount_gently(&mountpoint)));
        outcome.recv_timeout(patience).unwrap_or(false)
    }
}

fn unmount_gently(mountpoint: &Path) -> bool {
    if umount2(mountpoint, MntFlags::UMOUNT_NOFOLLOW).is_ok() {
        return true;
    }
    if let Ok(root) = File::open(mountpoint) {
        let _ = nix::unistd::syncfs(&root);
    }
    let _ = umount2(mountpoint, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
    false
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.is_mounted() {
            detach(&self.mountpoint);
        }
    }
}

/// Unmounts without waiting for anything: requests to a daemon that is gone are aborted.
fn detach(mountpoint: &Path) {
    let _ = umount2(
        mountpoint,
        MntFlags::MNT_FORCE | MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW,
    );
}

/// The id of the mount on top of `mountpoint`, found without a request to its file system.
fn mount_id(mountpoint: &Path) -> io::Result<String> {
    let place = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH)
        .open(mountpoint)?;
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", place.as_raw_fd()))?;
    let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:"));
    id.map(|id| id.trim().to_owned())
        .ok_or_else(|| io::Error::other("no mnt_id in fdinfo"))
}

fn explain(mountpoint: &Path, errno: Errno) -> Failure {
    let failure = Failure::new(format!("mount on {}", mountpoint.display()), errno.desc());
    match errno {
        Errno::EPERM => failure
            .advise("run hostmount as root, or under `unshare --user --map-root-user --mount`"),
        Errno::ENODEV => failure.advise("load the fuse kernel module (modprobe fuse)"),
        _ => failure,
    }
}
