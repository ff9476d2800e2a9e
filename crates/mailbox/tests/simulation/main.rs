//! The proof of the mailbox: a simulated store runs writers and readers step by step, crashing, pausing and
//! failing between any two of its operations, and every answer is judged.
//!
//! Everything follows from a seed. `WITTER_SEED=n` runs one and prints what happened, `WITTER_SEEDS=n` runs
//! so many, `WITTER_FIRST_SEED=n` begins elsewhere, `WITTER_FAILURES=n` goes on until so many fail.

mod judge;
mod plan;
mod random;
mod sim;
mod store;
mod truth;

use sim::Sim;
use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{env, thread};

/// Enough to meet each known mistake dozens of times.
const SEEDS: u64 = 10_000;
/// Lines of a failing seed's trace that are printed.
const TAIL: usize = 60;

fn number(name: &str) -> Option<u64> {
    let value = env::var(name).ok()?;
    Some(value.parse().expect("a seed or a count is a number"))
}

/// Runs one seed; how it failed, with its trace.
fn fails(seed: u64, traced: bool) -> (Option<String>, Vec<String>) {
    let mut sim = Sim::new(seed, traced);
    let ran = panic::catch_unwind(AssertUnwindSafe(|| sim.run()));
    let failure = match ran {
        Ok(result) => result.err(),
        Err(_) => Some("it panicked".to_owned()),
    };
    (failure, sim.trace())
}

fn report(seed: u64, lines: usize) -> String {
    let (failure, trace) = fails(seed, true);
    let skipped = trace.len().saturating_sub(lines);
    let told = failure.unwrap_or_else(|| "it holds".to_owned());
    format!(
        "{}\nseed {seed}: {told}\nall of it: WITTER_SEED={seed} cargo test --release -p mailbox --test simulation -- --nocapture",
        trace[skipped..].join("\n")
    )
}

#[test]
fn whatever_fails_readers_meet_every_acknowledged_message_once_and_in_order_or_are_told() {
    if let Some(seed) = number("WITTER_SEED") {
        println!("{}", report(seed, usize::MAX));
        assert_eq!(fails(seed, false).0, None);
        return;
    }
    let first = number("WITTER_FIRST_SEED").unwrap_or(0);
    let end = first + number("WITTER_SEEDS").unwrap_or(SEEDS);
    let enough = number("WITTER_FAILURES").unwrap_or(1);
    let next = AtomicU64::new(first);
    let failed = Mutex::new(BTreeMap::<u64, String>::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let ended = failed
                        .lock()
                        .is_ok_and(|failed| failed.len() as u64 >= enough);
                    if seed >= end || ended {
                        return;
                    }
                    if let (Some(failure), _) = fails(seed, false) {
                        let mut failed = failed.lock().expect("no other thread panics");
                        failed.insert(seed, failure);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("no thread panicked");
    for (seed, failure) in &failed {
        println!("seed {seed}: {failure}");
    }
    if let Some((&seed, _)) = failed.first_key_value() {
        panic!("\n{}", report(seed, TAIL));
    }
}
