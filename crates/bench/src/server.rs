//! The server under load: a process on cores of its own, and what it costs.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// The first start compiles every component.
const START: Duration = Duration::from_secs(120);

/// How much of what the server said stands in an error.
const LINES: usize = 12;

/// A running server. Dropping it kills it: what it has is thrown away.
pub(crate) struct Server {
    child: Child,
    pid: u32,
    log: PathBuf,
    /// One that it needs, and that ends after it.
    beside: Option<Box<Server>>,
}

/// What a process has used up to now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Processor time, in user and kernel mode.
    pub(crate) time: Duration,
    /// Resident memory in bytes.
    pub(crate) memory: u64,
}

impl Server {
    /// Starts a command and waits for the line that says it is ready, which `ready` understands.
    pub(crate) async fn start<T>(
        mut command: Command,
        cores: &Cores,
        folder: &Path,
        ready: impl Fn(&str) -> Option<T>,
    ) -> Result<(Self, T)> {
        let log = folder.join("server.log");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            .kill_on_drop(true)
            // Its own children, as nginx has some, end with it.
            .process_group(0);
        let program = command.as_std().get_program().to_owned();
        let mut child = cores
            .spawn(&mut command)
            .with_context(|| format!("{} cannot be started", Path::new(&program).display()))?;
        let pid = child.id().context("the server ended at once")?;
        let stdout = child
            .stdout
            .take()
            .context("standard output is not piped")?;
        let server = Self {
            child,
            pid,
            log,
            beside: None,
        };
        let mut lines = BufReader::new(stdout).lines();
        let found = async {
            while let Some(line) = lines.next_line().await? {
                if let Some(found) = ready(&line) {
                    return Ok(found);
                }
            }
            Err(anyhow!("it ended"))
        };
        let found = tokio::time::timeout(START, found)
            .await
            .unwrap_or_else(|_| Err(anyhow!("not ready after {} s", START.as_secs())))
            .map_err(|error| error.context(format!("the server did not start{}", server.said())))?;
        // A pipe that nobody empties would stop it one day.
        tokio::task::spawn_local(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok((server, found))
    }

    /// The same with one that it needs: both are used, and ended, together.
    pub(crate) fn with(mut self, beside: Self) -> Self {
        self.beside = Some(beside.into());
        self
    }

    /// An error where the server has ended, or what it needs.
    pub(crate) fn check(&mut self) -> Result<()> {
        if let Some(beside) = &mut self.beside {
            beside.check()?;
        }
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the server ended, {status}{}", self.said()),
        }
    }

    /// Of the server, its children, and what it needs.
    pub(crate) fn usage(&self) -> Result<Usage> {
        let mut usage = Usage::of(&self.pid.to_string())?;
        let children = format!("/proc/{0}/task/{0}/children", self.pid);
        let children = fs::read_to_string(children).context("the kernel does not tell children")?;
        for child in children.split_ascii_whitespace() {
            let child = Usage::of(child)?;
            usage.time += child.time;
            usage.memory += child.memory;
        }
        if let Some(beside) = &self.beside {
            let beside = beside.usage()?;
            usage.time += beside.time;
            usage.memory += beside.memory;
        }
        Ok(usage)
    }

    /// Ends it, at once and unasked, as `kill -9` does.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.kill_all();
        self.child
            .kill()
            .await
            .context("the server cannot be ended")?;
        match self.beside.take() {
            Some(beside) => Box::pin(beside.stop()).await,
            None => Ok(()),
        }
    }

    fn kill_all(&self) {
        let group = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        // It fails where all have ended.
        if let Some(group) = group.filter(|_| self.child.id().is_some()) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    fn said(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let last = &lines[lines.len().saturating_sub(LINES)..];
        if last.is_empty() {
            String::new()
        } else {
            format!(":\n{}", last.join("\n"))
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill_all();
    }
}

impl Usage {
    /// Of this process.
    pub(crate) fn own() -> Result<Self> {
        Self::of("self")
    }

    fn of(process: &str) -> Result<Self> {
        let path = format!("/proc/{process}/stat");
        let stat = fs::read_to_string(&path).context("figures are had on Linux only")?;
        let tick = rustix::param::clock_ticks_per_second();
        let usage = Self::parse(&stat, tick, rustix::param::page_size() as u64)
            .with_context(|| format!("{path} is not understood"))?;
        Ok(Self {
            time: usage.time.max(fine(process)),
            ..usage
        })
    }

    /// Reads what proc_pid_stat(5) describes: utime and stime are the 14th and 15th field, rss the 24th.
    fn parse(stat: &str, ticks_per_second: u64, page: u64) -> Option<Self> {
        // The second is the program's name in parentheses, with whatever it has in it.
        let (_, fields) = stat.rsplit_once(") ")?;
        let mut fields = fields.split_ascii_whitespace();
        let mut number = |nth| fields.nth(nth)?.parse::<u64>().ok();
        let ticks = number(11)? + number(0)?;
        Some(Self {
            time: Duration::from_nanos(ticks * (1_000_000_000 / ticks_per_second)),
            memory: number(8)? * page,
        })
    }
}

/// Processor time of a process's threads in nanoseconds, where the kernel tells it. It lacks those that have ended,
/// as the other figure lacks the last hundredth of a second: the greater of the two is the nearer one.
fn fine(process: &str) -> Duration {
    let threads = fs::read_dir(format!("/proc/{process}/task"));
    let times = threads
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|thread| {
            let stat = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            stat.split_ascii_whitespace().next()?.parse().ok()
        });
    times.map(Duration::from_nanos).sum()
}

/// Which cores the server has, and which the generator.
#[derive(Debug)]
pub(crate) struct Cores {
    server: Vec<usize>,
    /// None: there is only one, and both share it.
    generator: Option<usize>,
}

impl Cores {
    /// The first `count` for the server, the last for the generator.
    pub(crate) fn divide(count: usize) -> Result<Self> {
        let mut all = affinity::allowed()?;
        ensure!(count > 0, "the server needs a core");
        if all.len() == 1 {
            return Ok(Self {
                server: all,
                generator: None,
            });
        }
        let generator = all.pop();
        ensure!(
            count <= all.len(),
            "with one for the generator there are {} cores for the server",
            all.len()
        );
        all.truncate(count);
        Ok(Self {
            server: all,
            generator,
        })
    }

    /// How many the server has.
    pub(crate) fn of_server(&self) -> usize {
        self.server.len()
    }

    /// Keeps this thread on the generator's core.
    pub(crate) fn settle(&self) -> Result<()> {
        match self.generator {
            Some(core) => affinity::set(&[core]),
            None => Ok(()),
        }
    }

    /// Starts a process on the server's cores: a child has its parent's.
    fn spawn(&self, command: &mut Command) -> Result<Child> {
        affinity::set(&self.server)?;
        let child = command.spawn();
        self.settle()?;
        Ok(child?)
    }
}

impl std::fmt::Display for Cores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let cores: Vec<_> = self.server.iter().map(ToString::to_string).collect();
        let plural = if cores.len() == 1 { "" } else { "s" };
        write!(f, "server on core{plural} {}, ", cores.join(", "))?;
        match self.generator {
            Some(core) => write!(f, "generator on core {core}"),
            None => write!(f, "and the generator too"),
        }
    }
}

#[cfg(target_os = "linux")]
mod affinity {
    use anyhow::{Context as _, Result};
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    pub(super) fn allowed() -> Result<Vec<usize>> {
        let set = sched_getaffinity(None).context("the cores are not told")?;
        Ok((0..CpuSet::MAX_CPU)
            .filter(|core| set.is_set(*core))
            .collect())
    }

    pub(super) fn set(cores: &[usize]) -> Result<()> {
        let mut set = CpuSet::new();
        for core in cores {
            set.set(*core);
        }
        sched_setaffinity(None, &set).context("the core cannot be chosen")
    }
}

#[cfg(not(target_os = "linux"))]
mod affinity {
    use anyhow::{Result, bail};

    pub(super) fn allowed() -> Result<Vec<usize>> {
        bail!("figures are had on Linux only: processor time and memory are read from /proc")
    }

    pub(super) fn set(_cores: &[usize]) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_and_memory_are_read_whatever_the_program_is_called() {
        let rest = "S 1 77 77 0 -1 4194560 900 0 1 0 250 50 7 8 20 0 3 0 12345 99999999 1500 18446744073709551615";
        let expected = Usage {
            time: Duration::from_secs(3),
            memory: 1500 * 4096,
        };
        for name in ["witter", "a b", "x) y (", ") "] {
            let stat = format!("77 ({name}) {rest}");
            assert_eq!(Usage::parse(&stat, 100, 4096), Some(expected), "{name}");
        }
        for stat in ["", "77 (witter", "77 (witter) S 1 77"] {
            assert_eq!(Usage::parse(stat, 100, 4096), None, "{stat}");
        }
    }

    #[test]
    fn cores_are_told_in_words() {
        let cores = |server: &[usize], generator| Cores {
            server: server.to_vec(),
            generator,
        };
        for (cores, expected) in [
            (
                cores(&[0], Some(1)),
                "server on core 0, generator on core 1",
            ),
            (
                cores(&[0, 1], Some(3)),
                "server on cores 0, 1, generator on core 3",
            ),
            (cores(&[0], None), "server on core 0, and the generator too"),
        ] {
            assert_eq!(cores.to_string(), expected);
        }
    }
}
