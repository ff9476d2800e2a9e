//! A live state, and what makes one of another.

use crate::{Change, Mark, State};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn people(names: &[(&str, &str)]) -> BTreeMap<String, String> {
    let people = names.iter();
    people
        .map(|(sender, name)| ((*sender).to_owned(), (*name).to_owned()))
        .collect()
}

fn marks(marks: &[(&str, u64, u64)]) -> BTreeMap<String, Mark> {
    let marks = marks.iter();
    marks
        .map(|&(sender, read, delivered)| (sender.to_owned(), Mark { read, delivered }))
        .collect()
}

fn state() -> State {
    State {
        here: people(&[("g.1", "Ann"), ("g.2", "Bob")]),
        others: 1,
        typing: people(&[("g.2", "Bob")]),
        marks: marks(&[("g.1", 3, 4)]),
    }
}

/// What a page knows after it was told a change.
fn apply(state: &State, change: &Change) -> State {
    let mut state = state.clone();
    for person in &change.left {
        state.here.remove(&person.sender);
    }
    for person in &change.joined {
        state
            .here
            .insert(person.sender.clone(), person.name.clone());
    }
    if let Some(count) = change.count {
        state.others = count - state.here.len() as u64;
    }
    if let Some(typing) = &change.typing {
        let typing = typing.iter();
        state.typing = typing
            .map(|one| (one.sender.clone(), one.name.clone()))
            .collect();
    }
    state.marks.extend(change.marks.iter().cloned());
    state
}

#[track_caller]
fn check(json: &str, expected: &str) {
    assert_eq!(json, expected);
    serde_json::from_str::<Value>(json).expect("JSON");
}

#[test]
fn a_state_is_told_whole() {
    check(
        &state().to_json("lobby"),
        r#"{"channel":"lobby","count":3,"here":[{"sender":"g.1","name":"Ann"},{"sender":"g.2","name":"Bob"}],"typing":[{"sender":"g.2","name":"Bob"}],"marks":{"g.1":{"read":3,"delivered":4}}}"#,
    );
    check(
        &State::default().to_json("a"),
        r#"{"channel":"a","count":0,"here":[],"typing":[],"marks":{}}"#,
    );
}

#[test]
fn of_a_change_only_what_is_new_is_told() {
    let before = state();
    let told = |after: &State| {
        let change = after.since(&before)?;
        Some(change.to_json("a"))
    };
    assert_eq!(told(&before), None);
    let mut after = before.clone();
    after.here = people(&[("g.1", "Anna"), ("g.3", "Cem")]);
    check(
        &told(&after).expect("it is another"),
        r#"{"channel":"a","count":3,"joined":[{"sender":"g.1","name":"Anna"},{"sender":"g.3","name":"Cem"}],"left":[{"sender":"g.2","name":"Bob"}]}"#,
    );
    let mut after = before.clone();
    after.others = 7;
    check(
        &told(&after).expect("it is another"),
        r#"{"channel":"a","count":9}"#,
    );
    let mut after = before.clone();
    after.typing.clear();
    check(
        &told(&after).expect("it is another"),
        r#"{"channel":"a","typing":[]}"#,
    );
    let mut after = before.clone();
    after.marks = marks(&[("g.1", 3, 4), ("g.2", 1, 1)]);
    check(
        &told(&after).expect("it is another"),
        r#"{"channel":"a","marks":{"g.2":{"read":1,"delivered":1}}}"#,
    );
    // That one is kept no longer is no news.
    let mut after = before.clone();
    after.marks.clear();
    assert_eq!(told(&after), None);
}

#[test]
fn a_large_state_counts_all_and_tells_of_a_thousand() {
    let sender = |number: usize| format!("g.{number:04}");
    let state = State {
        here: (0..1_500)
            .map(|number| (sender(number), "A".to_owned()))
            .collect(),
        marks: (0..1_500)
            .map(|number| (sender(number), Mark::default()))
            .collect(),
        ..State::default()
    };
    let told: Value = serde_json::from_str(&state.to_json("a")).expect("JSON");
    assert_eq!(told["count"], 1_500);
    let here = told["here"].as_array().expect("an array");
    assert_eq!(here.len(), 1_000);
    assert_eq!(here[999], json!({"sender": "g.0999", "name": "A"}));
    assert_eq!(told["marks"].as_object().expect("an object").len(), 1_000);
}

#[test]
fn marks_go_forward_and_what_is_read_was_delivered() {
    for (one, other, furthest) in [
        ((3, 5), (4, 4), (4, 5)),
        ((3, 5), (7, 0), (7, 7)),
        ((0, 0), (0, 2), (0, 2)),
        ((9, 9), (1, 1), (9, 9)),
    ] {
        let mark = |(read, delivered)| Mark { read, delivered };
        assert_eq!(mark(one).furthest(mark(other)), mark(furthest));
    }
}

fn any_state() -> impl Strategy<Value = State> {
    let sender = prop::sample::select(vec!["a", "b", "c", "\"", "é"]).prop_map(str::to_owned);
    let people = || prop::collection::btree_map(sender.clone(), any::<String>(), 0..5);
    let mark = (0..3_u64, 0..3_u64).prop_map(|(read, delivered)| Mark { read, delivered });
    let marks = prop::collection::btree_map(sender.clone(), mark, 0..5);
    let parts = (people(), 0..3_u64, people(), marks);
    parts.prop_map(|(here, others, typing, marks)| State {
        here,
        others,
        typing,
        marks,
    })
}

proptest! {
    #[test]
    fn what_changed_makes_one_state_of_another(before in any_state(), after in any_state()) {
        let told = after.since(&before).unwrap_or_default();
        let mut expected = after.clone();
        for (sender, mark) in &before.marks {
            expected.marks.entry(sender.clone()).or_insert(*mark);
        }
        prop_assert_eq!(apply(&before, &told), expected);
    }

    #[test]
    fn equal_states_have_the_same_digest_and_no_others(one in any_state(), other in any_state()) {
        prop_assert_eq!(one == other, one.digest() == other.digest());
        prop_assert_eq!(one.digest().len(), 11);
    }

    #[test]
    fn a_state_is_json_whatever_people_are_called(state in any_state()) {
        let told: Value = serde_json::from_str(&state.to_json("a")).expect("JSON");
        for (one, (sender, name)) in told["here"].as_array().expect("people").iter().zip(&state.here) {
            prop_assert_eq!(one, &json!({"sender": sender, "name": name}));
        }
        for (sender, mark) in &state.marks {
            let expected = json!({"read": mark.read, "delivered": mark.delivered});
            prop_assert_eq!(&told["marks"][sender], &expected);
        }
    }
}
