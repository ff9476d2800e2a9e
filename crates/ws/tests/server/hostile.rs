//! Valid sessions, mutated without end.
//!
//! `WITTER_FUZZ_SECONDS` says for how long, one second where it says nothing; `WITTER_FUZZ_SEED` where to begin,
//! which a failure prints.

use crate::client::*;
use crate::deflate;
use allocation_counter::measure;
use fastrand::Rng;
use std::time::{Duration, Instant};
use ws::{CloseCode, Connection, Deflate, Event, Limits};

const LIMITS: Limits = Limits {
    frame: 3_000,
    message: 10_000,
    pending: 2_000,
};

/// Everything that a client may do, a session each.
fn corpus() -> Vec<Vec<u8>> {
    let compressed = |message: &str| deflate::compress(message.as_bytes(), 9);
    let long = compressed(&"long and repeated, ".repeat(400));
    let (front, back) = long.split_at(long.len() / 2);
    vec![
        [
            frame(FINAL | TEXT, "grüße €💥"),
            frame(FINAL | CLOSE, close(1000, "done")),
        ]
        .concat(),
        [
            frame(TEXT, "frag"),
            frame(FINAL | PING, "p"),
            frame(FINAL | CONTINUATION, "ment"),
        ]
        .concat(),
        [
            frame(FINAL | BINARY, [0; 200]),
            frame(FINAL | BINARY, [255; 2_000]),
        ]
        .concat(),
        [
            frame(FINAL | RSV1 | TEXT, compressed("short")),
            frame(FINAL | RSV1 | TEXT, &long),
        ]
        .concat(),
        [
            frame(RSV1 | BINARY, front),
            frame(FINAL | PONG, "q"),
            frame(FINAL | CONTINUATION, back),
        ]
        .concat(),
        [
            frame(FINAL | RSV1 | BINARY, b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00"),
            frame(FINAL | CLOSE, ""),
        ]
        .concat(),
        frame(FINAL | RSV1 | BINARY, deflate::compress(&[0; 10_000], 9)).repeat(3),
        frame(FINAL | RSV1 | BINARY, deflate::compress(&[0; 500_000], 9)),
        frame(FINAL | PING, [9; 125]).repeat(20),
        frame(FINAL | TEXT, "").repeat(20),
        (0..=255).collect(),
    ]
}

fn mutate(session: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Rng) {
    let at = random.usize(..=session.len());
    let end = random.usize(at..=session.len());
    match random.u8(..8) {
        0 | 1 if at < session.len() => session[at] ^= 1 << random.u8(..8),
        2 if at < session.len() => session[at] = random.u8(..),
        3 => session.insert(at, random.u8(..)),
        4 => session.truncate(at),
        5 => {
            session.drain(at..end.min(at + 20));
        }
        6 => {
            let again = session[at..end].to_vec();
            session.extend(again);
        }
        _ => {
            let other = &corpus[random.usize(..corpus.len())];
            let from = random.usize(..=other.len());
            session.splice(at..end, other[from..].iter().copied());
        }
    }
    session.truncate(50_000);
}

/// Plays the session against a server that echoes, asks and closes as `random` has it, and takes its output at
/// once; so the outcome depends on the bytes alone, not on how they are split.
fn play(
    session: &[u8],
    agreed: Option<Deflate>,
    seed: u64,
    splits: &mut Rng,
    largest: usize,
) -> Outcome {
    let mut random = Rng::with_seed(seed);
    let mut connection = Connection::new(LIMITS, agreed);
    let mut events = Vec::new();
    let mut output = Vec::new();
    let mut rest = session;
    while !rest.is_empty() {
        let (mut piece, after) = rest.split_at(splits.usize(1..=largest.min(rest.len())));
        rest = after;
        while let Some(event) = connection.handle(&mut piece) {
            // Nothing that is refused here is due: there may be no room, or a close was sent.
            let _ = match &event {
                Event::Text(text) => connection.send_text(text),
                Event::Binary(bytes) => connection.send_binary(bytes),
                Event::Pong(bytes) => connection.send_ping(bytes),
                Event::Ping(_) | Event::Close { .. } | Event::Failed(_) => Ok(()),
            };
            if random.u8(..20) == 0 {
                let code = CloseCode::new(random.u16(3000..5000)).expect("a code");
                connection.close(code, "enough");
            }
            assert!(connection.pending() <= LIMITS.pending + 127);
            output.extend(connection.take_output());
            events.push(event);
        }
        assert!(piece.is_empty());
    }
    assert_eq!(connection.pending(), 0);
    Outcome {
        events,
        sent: read(&output),
        is_closed: connection.is_closed(),
    }
}

/// What holds whatever came.
fn check(outcome: &Outcome) {
    let Outcome {
        events,
        sent,
        is_closed,
    } = outcome;
    let is_last = |event: &Event| matches!(event, Event::Close { .. } | Event::Failed(_));
    let last = events.iter().position(is_last);
    assert_eq!(*is_closed, last.is_some());
    assert!(
        last.is_none_or(|last| last + 1 == events.len()),
        "an event after the last"
    );
    for event in events {
        match event {
            Event::Text(text) => assert!(text.len() <= LIMITS.message),
            Event::Binary(bytes) => assert!(bytes.len() <= LIMITS.message),
            Event::Ping(bytes) | Event::Pong(bytes) => assert!(bytes.len() <= 125),
            Event::Close { reason, .. } => assert!(reason.len() <= 123),
            Event::Failed(_) => {}
        }
    }
    let closes = sent.iter().position(|(first, _)| first & 0xf == CLOSE);
    assert!(
        closes.is_none_or(|at| at + 1 == sent.len()),
        "a frame after the last"
    );
    assert!(closes.is_some() || !is_closed, "closed without a word");
    for (first, payload) in sent {
        let message = match first & RSV1 {
            0 => payload.clone(),
            _ => deflate::decompress(payload),
        };
        assert!(message.len() <= LIMITS.message);
        assert!(first & 0xf != TEXT || str::from_utf8(&message).is_ok());
    }
}

/// Tells the seed of a round that failed.
struct Round(u64);

impl Drop for Round {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("repeat with WITTER_FUZZ_SEED={}", self.0);
        }
    }
}

#[test]
fn mutated_sessions_break_no_promise() {
    let number = |name| {
        std::env::var(name)
            .map(|value| value.parse().expect("a number"))
            .ok()
    };
    let seconds = number("WITTER_FUZZ_SECONDS").unwrap_or(1);
    let first = number("WITTER_FUZZ_SEED").unwrap_or_else(|| fastrand::u64(..));
    let end = Instant::now() + Duration::from_secs(seconds);

    let corpus = corpus();
    let agreed = deflate::agreed("permessage-deflate; server_max_window_bits=10");
    let mut seed = first;
    while seed == first || Instant::now() < end {
        let round = Round(seed);
        let mut random = Rng::with_seed(seed);
        let mut session = corpus[random.usize(..corpus.len())].clone();
        for _ in 0..random.u8(..8) {
            mutate(&mut session, &corpus, &mut random);
        }
        let agreed = agreed.filter(|_| random.u8(..4) > 0);
        let seed_of_server = random.u64(..);
        let whole = play(&session, agreed, seed_of_server, &mut random, usize::MAX);
        check(&whole);
        let largest = 1 + random.usize(..200);
        let split = play(&session, agreed, seed_of_server, &mut random, largest);
        assert_eq!(split, whole, "the outcome depends on the split");
        drop(round);
        seed = seed.wrapping_add(1);
    }
    println!("{} sessions", seed.wrapping_sub(first));
}

#[test]
fn no_session_has_more_held_than_the_limits_say() {
    let agreed = deflate::agreed("permessage-deflate");
    let corpus = corpus();
    for seed in 0..300 {
        let mut random = Rng::with_seed(seed);
        let mut session = corpus[random.usize(..corpus.len())].clone();
        for _ in 0..random.u8(..8) {
            mutate(&mut session, &corpus, &mut random);
        }
        let held = measure(|| {
            let mut connection = Connection::new(LIMITS, agreed);
            let mut rest = &session[..];
            while connection.handle(&mut rest).is_some() {}
        });
        let most = 4 * LIMITS.message + 2 * LIMITS.pending + 60_000;
        assert!(
            held.bytes_max < most as u64,
            "{} with seed {seed}",
            held.bytes_max
        );
    }
}
