//! Giving node ids back.

use super::super::abi::{BatchForgetIn, ForgetIn, ForgetOne};
use super::super::cursor::Cursor;
use super::super::{NodeId, WireError};

/// The guest gives lookups of one node back. Nothing answers it.
#[derive(Debug, PartialEq, Eq)]
pub struct Forget {
    /// The node.
    pub node: NodeId,
    /// How many of its lookups.
    pub lookups: u64,
}

impl Forget {
    pub(super) fn decode(node: NodeId, mut body: Cursor<'_>) -> Result<Self, WireError> {
        let args: ForgetIn = body.take()?;
        Ok(Self {
            node,
            lookups: args.nlookup,
        })
    }
}

/// The guest gives lookups of many nodes back. Nothing answers it.
#[derive(Debug)]
pub struct BatchForget<'a>(&'a [u8]);

impl<'a> BatchForget<'a> {
    /// Takes all of it or nothing: a count beyond the body is refused before any is applied.
    pub(super) fn decode(mut body: Cursor<'a>) -> Result<Self, WireError> {
        let args: BatchForgetIn = body.take()?;
        let len = (args.count as usize).checked_mul(size_of::<ForgetOne>());
        body.bytes(len.ok_or(WireError::Malformed)?).map(Self)
    }

    /// One by one.
    pub fn iter(&self) -> impl Iterator<Item = Forget> {
        let mut rest = Cursor::new(self.0);
        std::iter::from_fn(move || {
            let one: ForgetOne = rest.take().ok()?;
            Some(Forget {
                node: NodeId(one.nodeid),
                lookups: one.nlookup,
            })
        })
    }
}
