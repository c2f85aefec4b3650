//! A panic is a bug of the daemon: it ends the whole process, at once and visibly.

use std::io::{Write, stderr};

use crate::sys;

/// From here on a panic in any thread says where it was, and ends the process with the exit status
/// of an abort. The default hook would look for debug information, which the sandbox forbids, and
/// init of a pid namespace cannot abort.
pub fn end_the_process() {
    std::panic::set_hook(Box::new(|panic| {
        // Nobody may be there any more to read it.
        let _ = writeln!(stderr(), "error: internal error: {panic}\nplease report it");
        sys::end_at_once()
    }));
}
