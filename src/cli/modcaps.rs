//! `--modcaps`: changes to the set of capabilities the daemon keeps.

use caps::Capability;

/// One change, as in `+sys_admin` or `-mknod`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapabilityChange {
    /// The capability.
    pub capability: Capability,
    /// Keep it (`+`) or drop it (`-`).
    pub keep: bool,
}
