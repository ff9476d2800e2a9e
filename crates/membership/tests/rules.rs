//! Who may do what to whom: all of it.

use membership::{
    Actor, Aftermath, Deed, Done, Entry, Kind, LONGEST_SLOW, MOST_BLOCKED, MOST_LIMITS,
    MOST_MEMBERS, MOST_WAITING, Paces, Person, Rank, Refusal, Role, Room, Standing, direct_channel,
    private_channel,
};
use std::collections::BTreeSet;

const NOW: u64 = 1_000_000;
const RANKS: [Rank; 5] = [
    Rank::Nobody,
    Rank::Member,
    Rank::Moderator,
    Rank::Owner,
    Rank::Deployment,
];
const ROLES: [Role; 3] = [Role::Member, Role::Moderator, Role::Owner];

/// `o1` and `o2` own it, `m1` and `m2` moderate it, `a1` and `a2` are members, `i` is invited.
fn room() -> Room {
    let owner = Actor {
        sender: "o1",
        rank: Rank::Owner,
    };
    let mut room = Room::private(Some("Title".to_owned()), "o1", "O");
    for (sender, role) in [
        ("o2", Role::Owner),
        ("a1", Role::Member),
        ("m1", Role::Moderator),
        ("m2", Role::Moderator),
        ("a2", Role::Member),
    ] {
        room.invite(owner, sender, NOW).expect("an owner invites");
        room.join(sender, "Name", NOW)
            .expect("who is invited joins");
        room.set_role(owner, sender, role)
            .expect("an owner gives roles");
    }
    room.invite(owner, "i", NOW).expect("an owner invites");
    room
}

/// Somebody of this rank in [`room`], but not `other`.
fn actor(rank: Rank, other: &str) -> Actor<'static> {
    let sender = match (rank, other) {
        (Rank::Nobody, _) => "x",
        (Rank::Deployment, _) => "d",
        (Rank::Member, "a1") => "a2",
        (Rank::Member, _) => "a1",
        (Rank::Moderator, "m1") => "m2",
        (Rank::Moderator, _) => "m1",
        (Rank::Owner, "o1") => "o2",
        (Rank::Owner, _) => "o1",
    };
    Actor { sender, rank }
}

fn rank_of(room: &Room, sender: &str) -> Rank {
    room.role(sender).into()
}

type Change = fn(&mut Room, Actor<'_>, &str) -> Result<bool, Refusal>;

#[test]
fn nobody_acts_on_who_is_not_below_them() {
    let changes: [(&str, Change); 3] = [
        ("remove", |room, by, who| room.remove(by, who)),
        ("ban", |room, by, who| room.ban(by, who, None, NOW)),
        ("mute", |room, by, who| room.mute(by, who, None, NOW)),
    ];
    for (name, change) in changes {
        for rank in RANKS {
            for who in ["o1", "m1", "a1", "i", "stranger"] {
                let mut changed = room();
                let allowed = rank >= Rank::Moderator && rank > rank_of(&changed, who);
                let result = change(&mut changed, actor(rank, who), who);
                assert_eq!(result.is_ok(), allowed, "{name} by {rank:?} on {who}");
                if !allowed {
                    assert_eq!(result, Err(Refusal::Rank), "{name} by {rank:?} on {who}");
                    assert_eq!(changed, room(), "{name} by {rank:?} on {who}");
                }
            }
        }
        for own in ["o1", "m1"] {
            let mut changed = room();
            let by = Actor {
                sender: own,
                rank: Rank::Deployment,
            };
            assert_eq!(
                change(&mut changed, by, own),
                Err(Refusal::Rank),
                "{name} of oneself"
            );
        }
    }
}

#[test]
fn who_moderates_sets_what_concerns_all() {
    let changes: [(&str, Change); 4] = [
        ("invite", |room, by, who| room.invite(by, who, NOW)),
        ("unban", |room, by, who| room.unban(by, who)),
        ("unmute", |room, by, who| room.unmute(by, who)),
        ("slow", |room, by, _| room.set_slow(by, 5)),
    ];
    for (name, change) in changes {
        for rank in RANKS {
            let mut changed = room();
            let result = change(&mut changed, actor(rank, "new"), "new");
            if rank >= Rank::Moderator {
                assert!(result.is_ok(), "{name} by {rank:?}: {result:?}");
            } else {
                assert_eq!(result, Err(Refusal::Rank), "{name} by {rank:?}");
                assert_eq!(changed, room(), "{name} by {rank:?}");
            }
        }
    }
}

#[test]
fn roles_are_given_by_owners_and_taken_from_who_is_below() {
    for rank in RANKS {
        for who in ["o2", "m1", "a1", "stranger"] {
            for role in ROLES {
                let mut changed = room();
                let current = changed.role(who);
                let result = changed.set_role(actor(rank, who), who, role);
                let expected = match (rank, current) {
                    (Rank::Nobody | Rank::Member | Rank::Moderator, _) => Err(Refusal::Rank),
                    (_, None) => Err(Refusal::NoMember),
                    (_, Some(current)) if current == role => Ok(false),
                    (Rank::Owner, Some(Role::Owner)) => Err(Refusal::Rank),
                    _ => Ok(true),
                };
                assert_eq!(result, expected, "{rank:?} makes {who} {role:?}");
                let now = if expected == Ok(true) {
                    Some(role)
                } else {
                    current
                };
                assert_eq!(changed.role(who), now);
            }
        }
    }
}

#[test]
fn the_last_owner_gives_up_the_role_to_nobody() {
    let mut room = room();
    let own = |sender| Actor {
        sender,
        rank: Rank::Owner,
    };
    assert_eq!(room.set_role(own("o1"), "o1", Role::Member), Ok(true));
    for by in [own("o2"), actor(Rank::Deployment, "o2")] {
        assert_eq!(
            room.set_role(by, "o2", Role::Moderator),
            Err(Refusal::LastOwner)
        );
    }
}

#[test]
fn where_the_last_owner_goes_the_oldest_moderator_owns_the_room_and_then_the_oldest_member() {
    let mut room = room();
    let owners = |room: &Room| -> Vec<String> {
        let owners = room.members().iter().filter(|one| one.role == Role::Owner);
        owners.map(|one| one.sender.clone()).collect()
    };
    for (gone, expected) in [
        ("o1", vec!["o2"]),
        ("o2", vec!["m1"]),
        ("a1", vec!["m1"]),
        ("m1", vec!["m2"]),
        ("m2", vec!["a2"]),
        ("a2", vec![]),
    ] {
        assert!(room.leave(gone));
        assert_eq!(owners(&room), expected, "after {gone}");
    }
    assert!(room.members().is_empty());
    assert!(!room.leave("a2"));
    // What is over is not entered by an invitation.
    assert_eq!(room.join("i", "I", NOW), Err(Refusal::Outside));
    let again = room.invite(actor(Rank::Deployment, "i"), "i", NOW);
    assert_eq!(again, Err(Refusal::Outside));
}

#[test]
fn a_room_that_nobody_owned_stays_so() {
    let mut room = Room::plain();
    for sender in ["a", "b"] {
        assert_eq!(room.join(sender, "Name", NOW), Ok(true));
    }
    room.leave("a");
    assert_eq!(room.role("b"), Some(Role::Member));
    assert_eq!(room.found(None, "b", "Name", NOW), Ok(true));
    assert_eq!(room.found(None, "b", "Name", NOW), Ok(false));
    assert_eq!(room.found(None, "a", "Name", NOW), Err(Refusal::Rank));
    assert_eq!(room.role("b"), Some(Role::Owner));
}

#[test]
fn a_banned_person_does_not_found_a_room() {
    let mut room = Room::plain();
    let deployment = actor(Rank::Deployment, "a");
    room.ban(deployment, "a", None, NOW)
        .expect("the deployment bans");
    let banned = Err(Refusal::Banned { until: None });
    assert_eq!(room.found(None, "a", "Name", NOW), banned);
}

#[test]
fn a_private_room_is_joined_by_who_is_invited() {
    let mut changed = room();
    assert_eq!(changed.join("x", "X", NOW), Err(Refusal::Outside));
    assert_eq!(changed, room());
    assert_eq!(changed.join("i", "I", NOW), Ok(true));
    assert_eq!(changed.join("i", "I", NOW), Ok(false));
    assert_eq!(changed.join("i", "Ivy", NOW), Ok(true));
    assert!(changed.leave("i"));
    // An invitation is good for once.
    assert_eq!(changed.join("i", "I", NOW), Err(Refusal::Outside));
}

#[test]
fn an_invitation_may_be_declined_and_taken_back() {
    let mut changed = room();
    let by = actor(Rank::Moderator, "i");
    assert_eq!(changed.invite(by, "i", NOW + 1), Ok(false));
    assert_eq!(changed.invitation("i").map(|one| one.at), Some(NOW));
    assert!(changed.leave("i"));
    assert_eq!(changed.invite(by, "i", NOW + 1), Ok(true));
    assert_eq!(changed.remove(by, "i"), Ok(true));
    assert_eq!(changed.join("i", "I", NOW), Err(Refusal::Outside));
    assert_eq!(changed.invite(by, "a1", NOW), Ok(false));
    assert_eq!(
        Room::plain().invite(by, "i", NOW),
        Err(Refusal::Public),
        "a public room needs no invitation"
    );
}

#[test]
fn a_ban_puts_out_and_keeps_out_until_it_ends() {
    let by = actor(Rank::Moderator, "a1");
    let until = Some(NOW + 10);
    for private in [true, false] {
        let mut room = if private { room() } else { Room::plain() };
        if !private {
            room.join("a1", "A", NOW).expect("everybody joins");
        }
        assert_eq!(room.ban(by, "a1", until, NOW), Ok(true));
        assert_eq!(room.ban(by, "a1", until, NOW), Ok(false));
        assert_eq!(room.role("a1"), None);
        for now in [NOW, NOW + 9] {
            let banned = Refusal::Banned { until };
            assert_eq!(room.may_read(Some("a1"), now), Err(banned));
            assert_eq!(room.may_publish("a1", Rank::Nobody, now), Err(banned));
            assert_eq!(room.join("a1", "A", now), Err(banned));
            if private {
                assert_eq!(room.invite(by, "a1", now), Err(Refusal::TheyAreBanned));
            }
        }
        let after = NOW + 10;
        assert_eq!(room.may_read(Some("a1"), after).is_ok(), !private);
        if private {
            assert_eq!(room.invite(by, "a1", after), Ok(true));
        }
        assert_eq!(room.join("a1", "A", after), Ok(true));
        assert_eq!(room.ban(by, "a1", None, after), Ok(true));
        assert_eq!(room.unban(by, "a1"), Ok(true));
        assert_eq!(room.unban(by, "a1"), Ok(false));
    }
}

#[test]
fn a_room_knows_its_members_and_who_is_invited() {
    let mut room = room();
    for sender in ["o1", "m1", "a1", "i"] {
        assert!(room.knows(sender), "{sender}");
        room.leave(sender);
        assert!(!room.knows(sender), "{sender}");
    }
    // To be banned, or muted, is not to be known.
    let by = actor(Rank::Moderator, "x");
    assert_eq!(room.ban(by, "x", None, NOW), Ok(true));
    assert_eq!(room.mute(by, "x", None, NOW), Ok(true));
    assert!(!room.knows("x"));
}

/// Somebody in whose document a room is, or is not, and who hears `o1`, or does not.
fn person(room: Option<&str>, blocks: bool) -> Person {
    let mut person = Person::default();
    if let Some(channel) = room {
        let entry = Entry {
            channel: channel.to_owned(),
            since: 0,
            standing: Standing::In,
            other: None,
        };
        person.enter(entry).expect("there is room");
    }
    if blocks {
        person.block("o1").expect("there is room");
    }
    person
}

#[test]
fn nobody_is_told_of_a_room_in_which_they_never_were_or_by_whom_they_blocked() {
    for deed in [Deed::Remove, Deed::Role, Deed::Ban, Deed::Mute] {
        for (changed, was_there, blocks, tell) in [
            (true, true, false, true),
            (true, true, true, false),
            (true, false, false, false),
            (false, true, false, false),
            (false, false, false, false),
        ] {
            for channel in ["lobby", "@room~AAAAAAAAAAAAAAAA", "@staff"] {
                let done = Done {
                    deed,
                    by: "o1",
                    channel,
                    changed,
                    was_there,
                };
                for noted in [None, Some(channel)] {
                    let left = done.leaves(&person(noted, blocks));
                    assert_eq!(left.tell, tell, "{done:?}, {noted:?}, {blocks}");
                }
            }
        }
    }
}

#[test]
fn readers_are_asked_about_where_somebody_may_have_read_and_until_it_is_done() {
    let private = "@room~AAAAAAAAAAAAAAAA";
    // Whether the room knew them, and whether their document has the room.
    for (deed, channel, was_there, noted, ask, forget) in [
        // Just now, and again after who did it was cut off: before the readers were asked about, and behind that.
        (Deed::Remove, private, true, true, true, true),
        (Deed::Remove, private, false, true, true, true),
        (Deed::Remove, private, false, false, false, false),
        (Deed::Ban, private, true, true, true, true),
        (Deed::Ban, private, false, true, true, true),
        // Nobody reads in a private room who is not noted to be in it.
        (Deed::Ban, private, false, false, false, false),
        // In others anybody may.
        (Deed::Ban, "lobby", true, true, true, true),
        (Deed::Ban, "lobby", false, false, true, false),
        (Deed::Ban, "@staff", false, false, true, false),
        (Deed::Remove, "lobby", true, true, true, true),
        (Deed::Remove, "lobby", false, false, false, false),
        (Deed::Role, "lobby", true, true, true, false),
        (Deed::Role, private, true, true, true, false),
        // Who is muted reads on.
        (Deed::Mute, "lobby", true, true, false, false),
        (Deed::Mute, private, true, true, false, false),
        (Deed::Mute, "lobby", false, false, false, false),
    ] {
        for changed in [true, false] {
            let done = Done {
                deed,
                by: "o1",
                channel,
                changed,
                was_there,
            };
            let Aftermath {
                ask: asked,
                forget: forgotten,
                ..
            } = done.leaves(&person(noted.then_some(channel), false));
            assert_eq!((asked, forgotten), (ask, forget), "{done:?}, {noted}");
            let elsewhere = done.leaves(&person(Some("elsewhere"), false));
            assert!(!elsewhere.forget, "{done:?}");
        }
    }
}

#[test]
fn a_ban_takes_an_invitation_back() {
    let mut room = room();
    let by = actor(Rank::Moderator, "i");
    assert_eq!(room.ban(by, "i", Some(NOW + 1), NOW), Ok(true));
    assert_eq!(room.join("i", "I", NOW + 1), Err(Refusal::Outside));
}

#[test]
fn a_ban_of_the_last_owner_by_the_deployment_leaves_an_owner() {
    let mut room = Room::private(None, "o", "O");
    let deployment = actor(Rank::Deployment, "o");
    room.invite(deployment, "a", NOW)
        .expect("the deployment invites");
    room.join("a", "A", NOW).expect("who is invited joins");
    assert_eq!(room.ban(deployment, "o", None, NOW), Ok(true));
    assert_eq!(room.role("a"), Some(Role::Owner));
}

#[test]
fn who_is_muted_reads_and_does_not_publish_until_it_ends() {
    let mut room = room();
    let by = actor(Rank::Moderator, "a1");
    let until = Some(NOW + 10);
    assert_eq!(room.mute(by, "a1", until, NOW), Ok(true));
    assert_eq!(room.role("a1"), Some(Role::Member));
    assert_eq!(room.may_read(Some("a1"), NOW), Ok(()));
    assert_eq!(
        room.may_publish("a1", Rank::Member, NOW + 9),
        Err(Refusal::Muted { until })
    );
    assert_eq!(room.may_publish("a1", Rank::Member, NOW + 10), Ok(0));
    assert_eq!(room.mute(by, "a1", None, NOW), Ok(true));
    assert_eq!(
        room.may_publish("a1", Rank::Member, u64::MAX),
        Err(Refusal::Muted { until: None })
    );
    assert_eq!(room.unmute(by, "a1"), Ok(true));
    assert_eq!(room.unmute(by, "a1"), Ok(false));
}

#[test]
fn moderators_do_not_wait() {
    let mut room = room();
    assert_eq!(room.set_slow(actor(Rank::Moderator, ""), 30), Ok(true));
    assert_eq!(room.set_slow(actor(Rank::Moderator, ""), 30), Ok(false));
    for rank in RANKS {
        let expected = if rank >= Rank::Moderator { 0 } else { 30 };
        assert_eq!(room.may_publish("a1", rank, NOW), Ok(expected), "{rank:?}");
    }
    room.set_slow(actor(Rank::Owner, ""), u32::MAX)
        .expect("an owner sets it");
    assert_eq!(room.slow(), LONGEST_SLOW);
}

#[test]
fn who_may_read_follows_from_membership() {
    for (sender, private, public) in [
        (None, Err(Refusal::Outside), Ok(())),
        (Some("x"), Err(Refusal::Outside), Ok(())),
        (Some("i"), Err(Refusal::Outside), Ok(())),
        (Some("a1"), Ok(()), Ok(())),
    ] {
        assert_eq!(room().may_read(sender, NOW), private, "{sender:?}");
        assert_eq!(Room::plain().may_read(sender, NOW), public, "{sender:?}");
    }
}

#[test]
fn a_room_is_full_at_a_thousand() {
    let by = actor(Rank::Owner, "");
    let mut room = Room::private(None, "o1", "O");
    for number in 1..MOST_MEMBERS {
        let sender = number.to_string();
        assert_eq!(room.invite(by, &sender, NOW), Ok(true));
        if number % 2 == 0 {
            assert_eq!(room.join(&sender, "Name", NOW), Ok(true));
        }
    }
    assert_eq!(room.invite(by, "late", NOW), Err(Refusal::Full));
    // Who is invited has a place.
    assert_eq!(room.join("1", "Name", NOW), Ok(true));
    assert_eq!(room.remove(by, "3"), Ok(true));
    assert_eq!(room.invite(by, "late", NOW), Ok(true));
}

#[test]
fn limits_that_are_over_make_room() {
    let by = actor(Rank::Deployment, "");
    let mut room = Room::plain();
    for number in 0..MOST_LIMITS {
        let until = (number == 7).then_some(NOW + 1);
        assert_eq!(room.ban(by, &number.to_string(), until, NOW), Ok(true));
    }
    assert_eq!(room.ban(by, "late", None, NOW), Err(Refusal::Full));
    assert_eq!(room.ban(by, "late", None, NOW + 1), Ok(true));
    let banned: BTreeSet<&str> = room.bans(NOW).map(|one| one.sender.as_str()).collect();
    assert!(banned.contains("late") && !banned.contains("7"));
}

#[test]
fn a_channel_of_two_is_the_same_for_both_and_no_others() {
    let channel = direct_channel("ann", "bob");
    assert_eq!(channel, direct_channel("bob", "ann"));
    assert_eq!(channel.len(), 40);
    assert!(channel.starts_with("@direct~"));
    let others = [
        direct_channel("ann", "bobb"),
        direct_channel("annb", "ob"),
        direct_channel("an", "nbob"),
        direct_channel("ann", "ann"),
        direct_channel("", "annbob"),
    ];
    let distinct: BTreeSet<_> = others.iter().chain([&channel]).collect();
    assert_eq!(distinct.len(), 6);
    // It is found again by whoever comes later: the name never changes.
    assert_eq!(channel, "@direct~5pB3vE01UDgG3_S34_78azVK3BFdbgHz");
}

/// A conversation that a stranger began.
fn opened(number: usize) -> Entry {
    let stranger = format!("guest~{number}");
    Entry {
        channel: direct_channel("ann", &stranger),
        since: 0,
        standing: Standing::Opened,
        other: Some(stranger),
    }
}

#[test]
fn who_blocks_or_declines_makes_room_for_others() {
    let mut ann = Person::default();
    for number in 0..MOST_WAITING {
        assert_eq!(ann.enter(opened(number)), Ok(true));
    }
    let late = || opened(MOST_WAITING);
    assert_eq!(ann.enter(late()), Err(Refusal::Waiting));
    assert_eq!(ann.block("guest~7"), Ok(true));
    assert_eq!(ann.block("guest~7"), Ok(false));
    assert_eq!(ann.room(&opened(7).channel), None);
    assert_eq!(ann.enter(late()), Ok(true));
    assert_eq!(ann.enter(opened(7)), Err(Refusal::Waiting));

    let declined = opened(8).channel;
    assert!(ann.decline(&declined));
    assert!(!ann.decline(&declined));
    assert_eq!(ann.enter(opened(MOST_WAITING + 1)), Ok(true));
    assert_eq!(ann.rooms().len(), MOST_WAITING);
}

#[test]
fn a_conversation_that_was_answered_stays_with_who_blocks_and_is_not_declined() {
    let mut ann = Person::default();
    let answered = Entry {
        standing: Standing::In,
        ..opened(1)
    };
    let invited = Entry {
        channel: private_channel("AAAAAAAAAAAAAAAA"),
        standing: Standing::Invited,
        other: None,
        ..opened(1)
    };
    for entry in [opened(1), answered, invited, opened(2)] {
        ann.enter(entry).expect("there is room");
    }
    assert_eq!(ann.block("guest~1"), Ok(true));
    assert_eq!(ann.rooms().len(), 3);
    for entry in ann.rooms().to_vec() {
        let is_open = entry.standing == Standing::Opened;
        assert_eq!(ann.decline(&entry.channel), is_open, "{entry:?}");
    }
    // Who can block nobody more loses nothing.
    let mut full = Person::default();
    for number in 0..MOST_BLOCKED {
        full.block(&number.to_string()).expect("there is room");
    }
    full.enter(opened(1)).expect("there is room");
    assert_eq!(full.block("guest~1"), Err(Refusal::Full));
    assert!(full.room(&opened(1).channel).is_some());
}

#[test]
fn whose_a_channel_is_is_in_its_name() {
    for (channel, kind) in [
        ("lobby", Kind::Public),
        ("room~a", Kind::Public),
        ("audit", Kind::Public),
        ("@room~AAAAAAAAAAAAAAAA", Kind::Private),
        ("@room~", Kind::Private),
        ("@room~a~b", Kind::Private),
        ("@direct~x", Kind::Direct),
        ("@me~x", Kind::Own),
        ("@audit", Kind::Audit),
        ("@audit~x", Kind::Kept),
        ("@auditor", Kind::Kept),
        ("@room", Kind::Kept),
        ("@rooms~a", Kind::Kept),
        ("@ann", Kind::Kept),
        ("@Room~a", Kind::Kept),
    ] {
        assert_eq!(Kind::of(channel), kind, "{channel}");
    }
    assert_eq!(Kind::of(&direct_channel("a", "b")), Kind::Direct);
    assert_eq!(
        Kind::of(&private_channel("AAAAAAAAAAAAAAAA")),
        Kind::Private
    );
}

#[test]
fn one_speaks_again_after_the_pause_and_the_same_at_any_time() {
    let mut paces = Paces::default();
    assert_eq!(paces.speak("a", "1", 10, NOW), Ok(()));
    for (now, left) in [(NOW, 10), (NOW + 1, 10), (NOW + 9_001, 1), (NOW + 9_999, 1)] {
        assert_eq!(paces.speak("a", "2", 10, now), Err(left), "{now}");
        assert_eq!(paces.speak("a", "1", 10, now), Ok(()));
    }
    // A clock that goes behind makes nobody wait longer.
    assert_eq!(paces.speak("a", "2", 10, NOW - 60_000), Err(10));
    assert_eq!(paces.speak("b", "2", 10, NOW), Ok(()));
    let stored = paces.encode().expect("it is small");
    assert_eq!(Paces::decode(&stored), Ok(paces.clone()));
    assert_eq!(paces.speak("a", "2", 10, NOW + 10_000), Ok(()));
    assert_eq!(paces.speak("a", "3", 10, NOW + 10_000), Err(10));
    // A shorter pause holds at once.
    assert_eq!(paces.speak("a", "3", 2, NOW + 12_000), Ok(()));
}

#[test]
fn a_crowd_that_speaks_slowly_is_one_value_of_common_stores() {
    let mut paces = Paces::default();
    for number in 0..5_000 {
        let spoken = paces.speak(&format!("{number:064}"), &format!("{number:064}"), 10, NOW);
        assert_eq!(spoken, Ok(()));
    }
    let stored = paces.encode().expect("it fits");
    assert_eq!(Paces::decode(&stored), Ok(paces));
    assert!(Paces::decode(b"{}").is_err());
}
