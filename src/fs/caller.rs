//! Acting as the guest's process.
//!
//! What a request creates must belong to its caller, count against the caller's quota and follow
//! the set-group-id rule of the directory it is in; so creating operations run with the caller's
//! effective ids. The guest's kernel has checked permissions already (`default_permissions`), and
//! a guest that lies about them owns the share anyway, so the right to override them
//! (`CAP_DAC_OVERRIDE`) is kept; nothing else is, in particular not `CAP_FSETID`, which would keep
//! set-group-id bits that an unprivileged process may not set.

use crate::fuse::Caller;
use crate::sys::{self, Capabilities, Errno};

/// The daemon's own identity and whether it can take another.
#[derive(Debug)]
pub(super) struct Identity {
    uid: u32,
    gid: u32,
    capabilities: Capabilities,
}

impl Identity {
    /// The calling thread's; workers inherit it.
    pub(super) fn of_this_thread() -> Result<Self, Errno> {
        let (uid, gid) = sys::effective_ids();
        Ok(Self {
            uid,
            gid,
            capabilities: Capabilities::current()?,
        })
    }

    /// Whether requests run as their callers. A daemon without the right to change ids (an
    /// ordinary user's, or one whose user namespace has only one) runs them all as itself.
    fn can_switch(&self) -> bool {
        let needed = Capabilities::SETUID | Capabilities::SETGID;
        self.capabilities.effective & needed == needed
    }

    /// Runs `act` as `caller`.
    pub(super) fn act_as<R>(
        &self,
        caller: &Caller,
        act: impl FnOnce() -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        if !self.can_switch() || (caller.uid, caller.gid) == (self.uid, self.gid) {
            return act();
        }
        let _acting = Acting::become_caller(self, caller)?;
        act()
    }

    /// Runs `act` without the right to keep set-id bits, so that the host clears them as it does for
    /// any process that changes a file (`CAP_FSETID`, `capabilities(7)`).
    pub(super) fn without_fsetid<R>(
        &self,
        act: impl FnOnce() -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        let kept = self.capabilities.effective & !Capabilities::FSETID;
        if kept == self.capabilities.effective {
            return act();
        }
        let _acting = Acting(self);
        self.capabilities.with_effective(kept).apply()?;
        act()
    }
}

/// The thread acts as somebody else; dropping it ends that.
struct Acting<'a>(&'a Identity);

impl<'a> Acting<'a> {
    fn become_caller(identity: &'a Identity, caller: &Caller) -> Result<Self, Errno> {
        // To the system calls all ones means "stay as you are".
        if caller.uid == u32::MAX || caller.gid == u32::MAX {
            return Err(Errno::EINVAL);
        }
        // From here on every exit restores. An id that the user namespace does not have is EINVAL.
        let acting = Self(identity);
        sys::set_effective_gid(caller.gid)?;
        // The daemon's own user in another group has its rights still.
        if caller.uid == identity.uid {
            return Ok(acting);
        }
        sys::set_effective_uid(caller.uid)?;
        // Leaving uid 0 clears the effective set; where it does not, this does.
        let kept = identity.capabilities.effective & Capabilities::DAC_OVERRIDE;
        identity.capabilities.with_effective(kept).apply()?;
        Ok(acting)
    }
}

impl Drop for Acting<'_> {
    fn drop(&mut self) {
        // The saved uid gives the way back without any capability; the gid needs CAP_SETGID again.
        let restored = sys::set_effective_uid(self.0.uid)
            .and_then(|()| self.0.capabilities.apply())
            .and_then(|()| sys::set_effective_gid(self.0.gid));
        if let Err(errno) = restored {
            log::error!("cannot take the daemon's own identity back: {errno}; ending at once");
            sys::end_at_once();
        }
    }
}
