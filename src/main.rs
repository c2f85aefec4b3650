//! The `virtiofsd` binary.
fn main() {}
