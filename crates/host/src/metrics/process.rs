//! What the operating system knows of this process, by the names that Prometheus' own libraries give it.

use std::fs;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};

use super::family::{Family, Kind, Unit};

/// None of it where there is no `/proc`.
pub(super) fn families() -> Vec<Family> {
    let mut families = Vec::new();
    if let Some(processor) = fs::read_to_string("/proc/self/stat")
        .ok()
        .as_deref()
        .and_then(processor_time)
    {
        families.push(
            Family::new(
                "process.cpu",
                Kind::Counter,
                Unit::Seconds,
                "Processor time of the process, in user and system mode",
            )
            .with([], processor.as_secs_f64()),
        );
    }
    if let Some(memory) = fs::read_to_string("/proc/self/status")
        .ok()
        .as_deref()
        .and_then(resident)
    {
        families.push(
            Family::new(
                "process.resident_memory",
                Kind::Gauge,
                Unit::Bytes,
                "Resident memory of the process",
            )
            .with([], memory),
        );
    }
    // Asking opens one itself.
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        families.push(
            Family::new(
                "process.open_fds",
                Kind::Gauge,
                Unit::None,
                "Open files of the process, sockets among them",
            )
            .with([], (open.count() as u64).saturating_sub(1)),
        );
    }
    if let Some(most) = getrlimit(Resource::Nofile).current {
        families.push(
            Family::new(
                "process.max_fds",
                Kind::Gauge,
                Unit::None,
                "The most files that the process may have open",
            )
            .with([], most),
        );
    }
    families
}

/// From `/proc/PID/stat`: fields 14 and 15 (proc_pid_stat(5)).
fn processor_time(stat: &str) -> Option<Duration> {
    // The name of the program stands in parentheses, and may hold anything.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let in_a_second = rustix::param::clock_ticks_per_second().max(1);
    Some(Duration::from_secs(user + system) / u32::try_from(in_a_second).ok()?)
}

/// From `/proc/PID/status`.
fn resident(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim_end_matches("kB").trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_have_any_name() {
        let stat =
            "7 (a) 1 (b) R 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 1 0 100 1 2 18446744073709551615";
        assert_eq!(processor_time(stat), Some(Duration::from_secs(2)));
        assert_eq!(processor_time("7 (a) R"), None);
    }

    #[test]
    fn resident_memory_is_told_in_bytes() {
        assert_eq!(
            resident("Name:\ta\nVmRSS:\t    12 kB\nVmData:\t 4 kB\n"),
            Some(12 * 1024)
        );
        assert_eq!(resident("Name:\ta\n"), None);
    }
}
