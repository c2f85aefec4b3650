//! Taking names away and moving them.

use super::PassthroughFs;
use crate::fuse::operation::{Rename, Unlink};
use crate::sys::{self, Errno};

impl PassthroughFs {
    /// UNLINK.
    pub fn unlink(&self, op: &Unlink<'_>) -> Result<(), Errno> {
        sys::unlink(
            self.nodes.resolve(op.parent)?.fd()?,
            op.name.as_c_str(),
            false,
        )
    }

    /// RMDIR.
    pub fn rmdir(&self, op: &Unlink<'_>) -> Result<(), Errno> {
        sys::unlink(
            self.nodes.resolve(op.parent)?.fd()?,
            op.name.as_c_str(),
            true,
        )
    }

    /// RENAME and RENAME2.
    pub fn rename(&self, op: &Rename<'_>) -> Result<(), Errno> {
        let from = self.nodes.resolve(op.parent)?.fd()?;
        let to = self.nodes.resolve(op.new_parent)?.fd()?;
        sys::rename(
            (from, op.name.as_c_str()),
            (to, op.new_name.as_c_str()),
            op.flags,
        )
    }
}
