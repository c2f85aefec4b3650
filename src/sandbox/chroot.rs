//! Changing the root, where nothing better is possible.

use nix::errno::Errno;
use nix::unistd::{chdir, chroot};

use crate::error::DaemonError;

/// Makes the working directory the root. With a descriptor of a directory outside the root could be
/// left again, and so it could if `CAP_SYS_CHROOT` were kept. Where no mount could be made there is
/// one, `/proc/self/fd`: then Landlock has to stand before it.
pub(super) fn change_root() -> Result<(), DaemonError> {
    chroot(".")
        .and_then(|()| chdir("/"))
        .map_err(|errno| DaemonError::new("chroot", errno, hint(errno)))
}

fn hint(errno: Errno) -> &'static str {
    match errno {
        Errno::EPERM => {
            "CAP_SYS_CHROOT is missing: as an ordinary user use --sandbox=namespace; where the \
             container allows neither, --sandbox=none"
        }
        _ => "is the shared directory still there?",
    }
}
