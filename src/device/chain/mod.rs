//! Guest memory, rings and descriptor chains: the one place outside `sys` with unsafe code.
//!
//! Everything here is read once: a descriptor, an index, a header is copied out of guest memory,
//! checked, and only the copy is used, since the guest may change the original at any moment.
#![allow(unsafe_code)]

mod memory;
mod ring;
mod walk;

pub use memory::Memory;
pub use ring::{AvailRing, Broken, RingAddresses, UsedRing};
pub use walk::{Chain, DescriptorTable};
