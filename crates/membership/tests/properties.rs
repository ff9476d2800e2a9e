//! What holds after whatever was done.

use membership::{
    Actor, Entry, LARGEST, MOST_MEMBERS, MOST_ROOMS, MOST_WAITING, Person, Rank, Refusal, Role,
    Room, Standing,
};
use proptest::prelude::*;
use std::collections::BTreeSet;

const PEOPLE: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

#[derive(Clone, Debug)]
enum Step {
    Found,
    Join,
    Leave,
    Invite(&'static str),
    Remove(&'static str),
    Role(&'static str, Role),
    Ban(&'static str, Option<u64>),
    Unban(&'static str),
    Mute(&'static str, Option<u64>),
    Unmute(&'static str),
    Slow(u32),
}

fn person() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&PEOPLE[..])
}

fn step() -> impl Strategy<Value = Step> {
    let role = prop::sample::select(vec![Role::Member, Role::Moderator, Role::Owner]);
    let until = prop::option::of(0_u64..60);
    prop_oneof![
        1 => Just(Step::Found),
        3 => Just(Step::Join),
        2 => Just(Step::Leave),
        3 => person().prop_map(Step::Invite),
        1 => person().prop_map(Step::Remove),
        2 => (person(), role).prop_map(|(who, role)| Step::Role(who, role)),
        1 => (person(), until.clone()).prop_map(|(who, until)| Step::Ban(who, until)),
        1 => person().prop_map(Step::Unban),
        1 => (person(), until).prop_map(|(who, until)| Step::Mute(who, until)),
        1 => person().prop_map(Step::Unmute),
        1 => any::<u32>().prop_map(Step::Slow),
    ]
}

fn apply(room: &mut Room, by: Actor<'_>, step: &Step, now: u64) -> Result<bool, Refusal> {
    match *step {
        Step::Found => room.found(None, by.sender, "Name", now),
        Step::Join => room.join(by.sender, "Name", now),
        Step::Leave => Ok(room.leave(by.sender)),
        Step::Invite(who) => room.invite(by, who, now),
        Step::Remove(who) => room.remove(by, who),
        Step::Role(who, role) => room.set_role(by, who, role),
        Step::Ban(who, until) => room.ban(by, who, until, now),
        Step::Unban(who) => room.unban(by, who),
        Step::Mute(who, until) => room.mute(by, who, until, now),
        Step::Unmute(who) => room.unmute(by, who),
        Step::Slow(seconds) => room.set_slow(by, seconds),
    }
}

fn is_owned(room: &Room) -> bool {
    room.members().iter().any(|one| one.role == Role::Owner)
}

proptest! {
    #[test]
    fn whatever_is_done_the_rules_hold(
        private in any::<bool>(),
        steps in prop::collection::vec((person(), prop::bool::weighted(0.1), step()), 0..60),
    ) {
        let mut room = if private { Room::private(None, "a", "A") } else { Room::plain() };
        for (now, (sender, deployment, step)) in (0..).zip(&steps) {
            let before = room.clone();
            let rank = if *deployment { Rank::Deployment } else { before.role(sender).into() };
            let by = Actor { sender, rank };
            let result = apply(&mut room, by, step, now);

            // What is refused, or changes nothing, leaves all as it was.
            if result != Ok(true) {
                prop_assert_eq!(&room, &before);
            }
            // Nobody is in it twice, or in it and invited, or in it and banned.
            let members: BTreeSet<_> = room.members().iter().map(|one| &one.sender).collect();
            prop_assert_eq!(members.len(), room.members().len());
            prop_assert!(room.invited().iter().all(|one| !members.contains(&one.sender)));
            prop_assert!(room.bans(now).all(|one| !members.contains(&one.sender)));
            // A room that was owned is owned, or empty.
            if is_owned(&before) {
                prop_assert!(is_owned(&room) || room.members().is_empty());
            }
            // Those who are not below who acts are what they were, but for one who inherits.
            for one in before.members() {
                if one.sender != *sender && Rank::from(Some(one.role)) >= rank {
                    prop_assert!(room.role(&one.sender) >= Some(one.role), "{:?}", step);
                }
            }
            // Nobody but an owner or the deployment makes anybody more than they were, but an heir.
            if rank < Rank::Owner && is_owned(&before) {
                for one in room.members() {
                    let was = before.role(&one.sender).unwrap_or(Role::Member);
                    prop_assert!(one.role <= was, "{:?}", step);
                }
            }
            // Nobody joins a private room without an invitation.
            if private {
                for one in room.members() {
                    let invited = before.invitation(&one.sender).is_some();
                    prop_assert!(before.role(&one.sender).is_some() || invited || !is_owned(&before));
                }
            }
            let stored = room.encode().expect("it is small");
            prop_assert_eq!(Room::decode(&stored).expect("it was just made"), room.clone());
        }
    }

    #[test]
    fn no_bytes_make_a_document_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Room::decode(&bytes).is_err());
        prop_assert!(Person::decode(&bytes).is_err());
    }

    #[test]
    fn a_cut_document_is_none(private in any::<bool>(), cut in 0_usize..1_000) {
        let mut room = if private { Room::private(None, "a", "A") } else { Room::plain() };
        room.join("a", "A", 0).expect("one joins");
        let stored = room.encode().expect("it is small");
        prop_assert!(Room::decode(&stored[..cut % stored.len()]).is_err());
    }

    #[test]
    fn a_person_keeps_what_was_put_there(
        rooms in prop::collection::vec(("[a-z]{1,3}", any::<u64>(), 0..3_u8, prop::option::of("[a-z]{1,3}")), 0..40),
        blocked in prop::collection::vec("[a-z]{1,2}", 0..20),
    ) {
        let mut person = Person::default();
        for (channel, since, standing, other) in rooms {
            let standing = [Standing::In, Standing::Invited, Standing::Opened][usize::from(standing)];
            let known = person.room(&channel).cloned();
            let entry = Entry { channel: channel.clone(), since, standing, other };
            let changed = person.enter(entry.clone()).expect("there is room");
            let kept = person.room(&channel).expect("it is there").clone();
            match known {
                None => prop_assert_eq!((changed, &kept), (true, &entry)),
                Some(known) => {
                    prop_assert_eq!(kept.standing == Standing::In, entry.standing == Standing::In || known.standing == Standing::In);
                    prop_assert_eq!(changed, kept != known);
                }
            }
        }
        for sender in &blocked {
            let known = person.blocks(sender);
            prop_assert_eq!(person.block(sender), Ok(!known));
        }
        person.set_name("Ann");
        let stored = person.encode().expect("it is small");
        prop_assert_eq!(&Person::decode(&stored).expect("it was just made"), &person);
        for sender in &blocked {
            person.unblock(sender);
            prop_assert!(!person.blocks(sender));
        }
    }
}

#[test]
fn a_full_room_of_guests_is_one_value_of_common_stores() {
    let mut room = Room::plain();
    for number in 0..MOST_MEMBERS {
        let joined = room.join(
            &format!("guest~{number:022}"),
            &format!("Guest {number:04}"),
            0,
        );
        assert_eq!(joined, Ok(true));
    }
    assert_eq!(room.join("late", "Late", 0), Err(Refusal::Full));
    let stored = room.encode().expect("it fits");
    assert_eq!(Room::decode(&stored), Ok(room));
}

#[test]
fn a_document_that_would_be_too_large_is_refused() {
    let mut room = Room::plain();
    for number in 0..MOST_MEMBERS {
        let sender = format!("{number:064}");
        room.join(&sender, &"\u{1f600}".repeat(64), 0)
            .expect("they are few enough");
    }
    assert_eq!(room.encode(), Err(Refusal::Full));
    let mut person = Person::default();
    for number in 0..MOST_ROOMS {
        let entry = Entry {
            channel: format!("{number:064}"),
            since: u64::MAX,
            standing: Standing::In,
            other: Some("x".repeat(64)),
        };
        person.enter(entry).expect("they are few enough");
    }
    assert_eq!(person.encode(), Err(Refusal::Full));
}

#[test]
fn a_thousand_rooms_are_one_value_of_common_stores() {
    let mut person = Person::default();
    for number in 0..MOST_ROOMS {
        let entry = Entry {
            channel: format!("@room~{number:016}"),
            since: 1_000_000,
            standing: Standing::In,
            other: None,
        };
        assert_eq!(person.enter(entry), Ok(true));
    }
    let stored = person.encode().expect("it fits");
    assert!(stored.len() <= LARGEST);
    let late = Entry {
        channel: "late".to_owned(),
        since: 0,
        standing: Standing::In,
        other: None,
    };
    assert_eq!(person.enter(late), Err(Refusal::Full));
}

#[test]
fn strangers_fill_but_a_part_of_somebodys_rooms() {
    let mut person = Person::default();
    let entry = |number: usize, standing| Entry {
        channel: number.to_string(),
        since: 7,
        standing,
        other: None,
    };
    for number in 0..MOST_WAITING {
        let standing = [Standing::Invited, Standing::Opened][number % 2];
        assert_eq!(person.enter(entry(number, standing)), Ok(true));
    }
    let late = entry(MOST_WAITING, Standing::Invited);
    assert_eq!(person.enter(late), Err(Refusal::Waiting));
    assert_eq!(person.enter(entry(MOST_WAITING, Standing::In)), Ok(true));
    // Who answers makes room, and has not read what was written before.
    let answered = Entry {
        since: 9,
        ..entry(1, Standing::In)
    };
    assert_eq!(person.enter(answered), Ok(true));
    assert_eq!(person.room("1").map(|one| one.since), Some(7));
    let accepted = Entry {
        since: 9,
        ..entry(2, Standing::In)
    };
    assert_eq!(person.enter(accepted), Ok(true));
    assert_eq!(person.room("2").map(|one| one.since), Some(9));
    let late = entry(MOST_WAITING + 1, Standing::Opened);
    assert_eq!(person.enter(late), Ok(true));
}

#[test]
fn documents_of_another_version_or_against_the_limits_are_none() {
    let member = |number: usize| format!(r#"["{number}","",  "member"]"#);
    let members: Vec<_> = (0..=MOST_MEMBERS).map(member).collect();
    for document in [
        r#"{"v":2,"private":false}"#.to_owned(),
        r#"{"private":false}"#.to_owned(),
        r#"{"v":1}"#.to_owned(),
        r#"{"v":1,"private":false,"slow":99999}"#.to_owned(),
        r#"{"v":1,"private":false,"members":[["a","A","member"],["a","A","owner"]]}"#.to_owned(),
        r#"{"v":1,"private":false,"members":[["a","A","king"]]}"#.to_owned(),
        format!(
            r#"{{"v":1,"private":false,"members":[{}]}}"#,
            members.join(",")
        ),
    ] {
        assert!(Room::decode(document.as_bytes()).is_err(), "{document:.80}");
    }
    for document in [
        r#"{"v":2}"#,
        "{}",
        "[]",
        r#"{"v":1,"rooms":[["a",1,"in"]]}"#,
    ] {
        assert!(Person::decode(document.as_bytes()).is_err(), "{document}");
    }
    // What a later version adds is no reason to refuse.
    assert!(Room::decode(br#"{"v":1,"private":true,"topic":"x"}"#).is_ok());
}
