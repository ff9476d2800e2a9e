//! When it is looked at whether those who spoke are told as typing.

use presence::{PACE_MS, Speakers};
use std::collections::BTreeSet;

fn senders<const N: usize>(senders: [&str; N]) -> BTreeSet<String> {
    senders.map(str::to_owned).into()
}

#[test]
fn the_first_is_looked_at_at_once_and_the_others_together() {
    let mut speakers = Speakers::default();
    let begun = 1_000;
    assert_eq!(speakers.note("room", "ann", begun), Some(0));
    assert_eq!(
        speakers.note("room", "bob", begun),
        None,
        "one look is for both"
    );
    assert_eq!(speakers.take("room", begun), senders(["ann", "bob"]));
    assert_eq!(speakers.note("room", "ann", begun + 10), Some(PACE_MS - 10));
    assert_eq!(speakers.note("room", "ann", begun + 20), None);
    assert_eq!(speakers.note("room", "cid", begun + 30), None);
    assert_eq!(
        speakers.note("other", "ann", begun + 30),
        Some(0),
        "each room for itself"
    );
    assert_eq!(
        speakers.take("room", begun + PACE_MS),
        senders(["ann", "cid"])
    );
    assert_eq!(speakers.take("room", begun + PACE_MS), senders([]));
}

#[test]
fn who_spoke_long_after_does_not_wait() {
    let mut speakers = Speakers::default();
    assert_eq!(
        speakers.note("room", "ann", 0),
        Some(0),
        "the clock may begin at nothing"
    );
    speakers.take("room", 5);
    assert_eq!(speakers.note("room", "ann", 5 + PACE_MS), Some(0));
    speakers.take("room", 5 + PACE_MS);
    assert_eq!(speakers.note("room", "ann", 10 * PACE_MS), Some(0));
}

#[test]
fn nobody_is_forgotten_and_no_channel_is_kept() {
    let mut speakers = Speakers::default();
    for channel in 0..1_000 {
        speakers.note(&format!("room-{channel}"), "ann", 0);
    }
    for channel in 1..1_000 {
        speakers.take(&format!("room-{channel}"), 0);
    }
    assert_eq!(speakers.note("new", "bob", PACE_MS), Some(0));
    assert_eq!(
        speakers.channels(),
        2,
        "the new one, and the one that is still to be looked at"
    );
    assert_eq!(speakers.take("room-0", PACE_MS), senders(["ann"]));
    assert_eq!(speakers.take("new", PACE_MS), senders(["bob"]));
    speakers.note("new", "bob", 3 * PACE_MS);
    assert_eq!(speakers.channels(), 1);
}
