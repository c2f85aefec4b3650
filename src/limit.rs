//! Logging what a guest can cause, at a limited rate.
//!
//! A guest can make the daemon complain as often as it likes; the log gets at most
//! [`LINES_PER_SECOND`] of these lines, and the number of those left out.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Lines per second, of all kinds together.
pub const LINES_PER_SECOND: u32 = 5;

/// The state of one limit.
#[derive(Debug)]
pub struct Limit(Mutex<Window>);

#[derive(Debug)]
struct Window {
    start: Option<Instant>,
    lines: u32,
    suppressed: u64,
}

/// The daemon's one limit.
pub static LIMIT: Limit = Limit::new();

impl Limit {
    /// Nothing logged yet.
    pub const fn new() -> Self {
        Self(Mutex::new(Window {
            start: None,
            lines: 0,
            suppressed: 0,
        }))
    }

    /// Whether a line may be logged at `now`; if so, how many were left out before it.
    pub fn admit(&self, now: Instant) -> Option<u64> {
        let Ok(mut window) = self.0.lock() else {
            return None;
        };
        let fresh = window
            .start
            .is_none_or(|start| now - start >= Duration::from_secs(1));
        if fresh {
            (window.start, window.lines) = (Some(now), 0);
        }
        if window.lines == LINES_PER_SECOND {
            window.suppressed += 1;
            return None;
        }
        window.lines += 1;
        Some(std::mem::take(&mut window.suppressed))
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self::new()
    }
}

/// `log::log!` of a level, for what a guest can cause.
#[macro_export]
macro_rules! limited {
    ($level:ident, $($message:tt)+) => {
        if log::log_enabled!(log::Level::$level)
            && let Some(suppressed) = $crate::limit::LIMIT.admit(std::time::Instant::now())
        {
            if suppressed > 0 {
                log::log!(log::Level::$level, "{suppressed} messages suppressed");
            }
            log::log!(log::Level::$level, $($message)+);
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f16_a_flood_leaves_a_few_lines_a_second_and_a_count() {
        let (limit, start) = (Limit::new(), Instant::now());
        let admitted = |at| {
            (0..1000)
                .filter(|_| limit.admit(start + at).is_some())
                .count()
        };

        assert_eq!(admitted(Duration::ZERO), LINES_PER_SECOND as usize);
        assert_eq!(limit.admit(start + Duration::from_secs(1)), Some(995));
        assert_eq!(limit.admit(start + Duration::from_secs(1)), Some(0));
    }
}
