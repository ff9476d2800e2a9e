//! What a process uses, from `/proc`.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// What `utime` and `stime` are counted in: USER_HZ, 100 in a second on every Linux (proc_pid_stat(5)).
const TICK: Duration = Duration::from_millis(10);

/// What a process had used at some moment.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// When this was.
    pub at: Instant,
    /// The time of processors, in all.
    pub processor: Duration,
    /// Resident memory, in bytes.
    pub memory: u64,
    /// Open sockets.
    pub sockets: usize,
}

impl Usage {
    /// What a process has used by now.
    ///
    /// # Errors
    /// Where it is gone.
    pub fn of(process: u32) -> Result<Self> {
        let folder = Path::new("/proc").join(process.to_string());
        let stat = fs::read_to_string(folder.join("stat"))?;
        // The name of the program stands in parentheses, and may hold anything.
        let (_, fields) = stat.rsplit_once(") ").context("stat has a name")?;
        let ticks: u32 = fields
            .split(' ')
            .skip(11)
            .take(2)
            .filter_map(|ticks| ticks.parse::<u32>().ok())
            .sum();
        let status = fs::read_to_string(folder.join("status"))?;
        let memory = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .context("status has memory")?;
        let memory: u64 = memory.trim_end_matches("kB").trim().parse()?;
        let sockets = fs::read_dir(folder.join("fd"))?
            .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
            .filter(|target| target.to_string_lossy().starts_with("socket:"))
            .count();
        Ok(Self {
            at: Instant::now(),
            processor: TICK * ticks,
            memory: memory * 1024,
            sockets,
        })
    }

    /// How often any thread of a process has gone to sleep by now, and so was woken.
    ///
    /// # Errors
    /// Where the process is gone.
    pub fn sleeps(process: u32) -> Result<u64> {
        let tasks = Path::new("/proc").join(process.to_string()).join("task");
        let mut sleeps = 0;
        for task in fs::read_dir(tasks)? {
            // A thread may end in between.
            let Ok(status) = fs::read_to_string(task?.path().join("status")) else {
                continue;
            };
            let switches = status
                .lines()
                .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))
                .context("status has switches")?;
            sleeps += switches.trim().parse::<u64>()?;
        }
        Ok(sleeps)
    }

    /// The share of one core that was used since, in percent.
    #[must_use]
    pub fn percent_since(&self, before: &Self) -> f64 {
        let used = self.processor.saturating_sub(before.processor);
        100.0 * used.as_secs_f64() / (self.at - before.at).as_secs_f64()
    }
}
