//! What /proc tells about a running process.

use std::fs;
use std::io;
use std::time::Duration;

/// A process by its id; asking about one that has ended is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process(pub u32);

impl Process {
    /// Number of open file descriptors.
    pub fn open_fds(self) -> io::Result<usize> {
        Ok(fs::read_dir(self.path("fd"))?.count())
    }

    /// Number of threads.
    pub fn threads(self) -> io::Result<usize> {
        Ok(fs::read_dir(self.path("task"))?.count())
    }

    /// Resident memory in bytes, shared guest memory aside (`RssAnon` and `RssFile`).
    pub fn private_memory(self) -> io::Result<u64> {
        Ok(self.status_kib("RssAnon:")? * 1024 + self.status_kib("RssFile:")? * 1024)
    }

    /// Resident memory in bytes, the touched part of guest memory included (`VmRSS`).
    pub fn resident_memory(self) -> io::Result<u64> {
        Ok(self.status_kib("VmRSS:")? * 1024)
    }

    fn status_kib(self, key: &str) -> io::Result<u64> {
        let status = fs::read_to_string(self.path("status"))?;
        let value = status.lines().find_map(|line| line.strip_prefix(key));
        value
            .and_then(|value| value.trim().trim_end_matches(" kB").parse().ok())
            .ok_or_else(|| io::Error::other(format!("no {key} in /proc/{}/status", self.0)))
    }

    /// CPU time that all threads alive have used, to the nanosecond (`schedstat`).
    pub fn cpu_time(self) -> io::Result<Duration> {
        let mut total = 0;
        for thread in fs::read_dir(self.path("task"))? {
            // A thread that ends meanwhile is no error.
            let text = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
            total += text
                .split(' ')
                .next()
                .and_then(|word| word.parse().ok())
                .unwrap_or(0);
        }
        Ok(Duration::from_nanos(total))
    }

    /// Children of all its threads.
    pub fn children(self) -> io::Result<Vec<Process>> {
        let mut children = Vec::new();
        for thread in fs::read_dir(self.path("task"))? {
            let text = fs::read_to_string(thread?.path().join("children")).unwrap_or_default();
            children.extend(
                text.split_whitespace()
                    .filter_map(|word| word.parse().ok())
                    .map(Process),
            );
        }
        Ok(children)
    }

    /// The process itself and everything below it, parents first.
    pub fn tree(self) -> Vec<Process> {
        let mut tree = vec![self];
        let mut next = 0;
        while let Some(process) = tree.get(next) {
            // A process that ends meanwhile has no children.
            tree.extend(process.children().unwrap_or_default());
            next += 1;
        }
        tree
    }

    /// Whether it exists and is no zombie.
    pub fn is_alive(self) -> bool {
        let stat = fs::read_to_string(self.path("stat")).unwrap_or_default();
        // The state follows the name in parentheses, which may hold anything.
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    }

    fn path(self, entry: &str) -> String {
        format!("/proc/{}/{entry}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_itself() {
        let myself = Process(std::process::id());

        assert!(myself.is_alive());
        assert!(myself.open_fds().unwrap() >= 3);
        assert!(myself.threads().unwrap() >= 1);
        assert!(myself.private_memory().unwrap() <= myself.resident_memory().unwrap());
        assert!(myself.cpu_time().unwrap() > Duration::ZERO);
    }
}
