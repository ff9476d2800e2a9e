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
use store::Met;

/// Enough to meet each known mistake dozens of times.
const SEEDS: u64 = 10_000;
/// What must happen now and then in so many seeds, or the simulation proves little.
const MEETS: [&str; 21] = [
    "a call is cancelled",
    "a duplicate is told",
    "a failure hides a win",
    "a gap tells what a rollback took",
    "a gap tells what left the window",
    "a large message is refused",
    "a loss is told as won",
    "a message is stored",
    "a message leaves the window before its receipt comes",
    "a publish fails",
    "a reused id is told",
    "a swap stores more than the tail holds",
    "a swap stores more than the window holds",
    "a task dies with its instance",
    "a win is told as lost",
    "an operation fails",
    "an operation outlives its caller",
    "calls share a swap",
    "instances stand in one election",
    "the store is rolled back",
    "the store loses a segment",
];
/// Lines of a failing seed's trace that are printed.
const TAIL: usize = 60;

fn number(name: &str) -> Option<u64> {
    let value = env::var(name).ok()?;
    Some(value.parse().expect("a seed or a count is a number"))
}

/// Runs one seed; how it failed, if it did, and what came to pass.
fn run(seed: u64, traced: bool) -> (Option<String>, Sim) {
    let mut sim = Sim::new(seed, traced);
    let ran = panic::catch_unwind(AssertUnwindSafe(|| sim.run()));
    let failure = match ran {
        Ok(result) => result.err(),
        Err(_) => Some("it panicked".to_owned()),
    };
    (failure, sim)
}

fn report(seed: u64, lines: usize) -> String {
    let (failure, sim) = run(seed, true);
    let trace = sim.trace();
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
        assert_eq!(run(seed, false).0, None);
        return;
    }
    let first = number("WITTER_FIRST_SEED").unwrap_or(0);
    let end = first + number("WITTER_SEEDS").unwrap_or(SEEDS);
    let enough = number("WITTER_FAILURES").unwrap_or(1);
    let next = AtomicU64::new(first);
    let failed = Mutex::new(BTreeMap::<u64, String>::new());
    let met = Mutex::new(Met::new());
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
                    let (failure, sim) = run(seed, false);
                    if let Ok(mut met) = met.lock() {
                        for (what, times) in sim.met() {
                            *met.entry(what).or_default() += times;
                        }
                    }
                    if let Some(failure) = failure {
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
    let met = met.into_inner().expect("no thread panicked");
    println!("{met:#?}");
    let rare = |what: &&str| {
        met.get(what)
            .is_none_or(|&times| times * 1000 < end - first)
    };
    let rare: Vec<_> = MEETS.iter().filter(|what| rare(what)).collect();
    assert!(
        rare.is_empty() || end - first < SEEDS,
        "hardly ever: {rare:?}"
    );
}
