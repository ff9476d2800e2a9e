use crate::{Command, Role, RoomCommand, Whom};

#[track_caller]
fn check(text: &str, expected: Result<RoomCommand, u16>) {
    let parsed = Command::parse(text).map_err(|error| error.status());
    assert_eq!(parsed, expected.map(Command::Room), "{text}");
}

fn whom() -> Whom {
    Whom {
        channel: "a".parse().expect("it is a name"),
        sender: "b c".to_owned(),
    }
}

#[test]
fn each_verb_has_its_arguments() {
    let channel = || whom().channel;
    for (verb, command) in [
        ("join", RoomCommand::Join(channel())),
        ("leave", RoomCommand::Leave(channel())),
        ("room", RoomCommand::Room(channel())),
        ("invite", RoomCommand::Invite(whom())),
        ("remove", RoomCommand::Remove(whom())),
        ("ban", RoomCommand::Ban(whom(), None)),
        ("unban", RoomCommand::Unban(whom())),
        ("mute", RoomCommand::Mute(whom(), None)),
        ("unmute", RoomCommand::Unmute(whom())),
        ("direct", RoomCommand::Direct("b c".to_owned())),
        ("block", RoomCommand::Block("b c".to_owned())),
        ("unblock", RoomCommand::Unblock("b c".to_owned())),
    ] {
        // What a verb does not ask for is ignored.
        check(
            &format!(r#" {{ "{verb}" : {{"sender":"b\u0020c", "x":[], "channel":"a"}} }} "#),
            Ok(command),
        );
        for arguments in ["null", "[]", "1", "{}", r#"{"channel":1,"sender":1}"#] {
            check(&format!(r#"{{"{verb}":{arguments}}}"#), Err(422));
        }
        let named = r#"{"channel":"a/b","sender":""}"#;
        let parsed = Command::parse(&format!(r#"{{"{verb}":{named}}}"#));
        assert!(parsed.is_err(), "{verb}");
    }
    for (name, role) in [
        ("member", Role::Member),
        ("moderator", Role::Moderator),
        ("owner", Role::Owner),
    ] {
        let arguments = format!(r#"{{"channel":"a","sender":"b c","role":"{name}"}}"#);
        check(
            &format!(r#"{{"role":{arguments}}}"#),
            Ok(RoomCommand::Role(whom(), role)),
        );
    }
    for (seconds, expected) in [
        ("1", Ok(Some(1))),
        ("315360000", Ok(Some(315_360_000))),
        ("315360001", Err(422)),
        ("0", Err(422)),
        ("-1", Err(422)),
        ("1.5", Err(422)),
        ("null", Err(422)),
        ("\"1\"", Err(422)),
    ] {
        let arguments = format!(r#"{{"channel":"a","sender":"b c","seconds":{seconds}}}"#);
        check(
            &format!(r#"{{"ban":{arguments}}}"#),
            expected.map(|seconds| RoomCommand::Ban(whom(), seconds)),
        );
        check(
            &format!(r#"{{"mute":{arguments}}}"#),
            expected.map(|seconds| RoomCommand::Mute(whom(), seconds)),
        );
    }
    for (seconds, expected) in [("0", Ok(0)), ("21600", Ok(21_600)), ("21601", Err(422))] {
        check(
            &format!(r#"{{"slow":{{"channel":"a","seconds":{seconds}}}}}"#),
            expected.map(|seconds| RoomCommand::Slow(channel(), seconds)),
        );
    }
    check(r#"{"rooms":{}}"#, Ok(RoomCommand::Rooms { after: None }));
    let after = Some(channel());
    check(
        r#"{"rooms":{"after":"a"}}"#,
        Ok(RoomCommand::Rooms { after }),
    );
    check(r#"{"rooms":{"after":""}}"#, Err(400));
}

#[test]
fn a_private_room_has_no_name_and_a_public_one_has() {
    let title = "t".repeat(64);
    let long = "t".repeat(65);
    for (arguments, expected) in [
        (r#"{"channel":"a"}"#, Ok((Some("a"), None))),
        (
            r#"{"channel":"a","private":false,"title":"é"}"#,
            Ok((Some("a"), Some("é"))),
        ),
        (r#"{"private":true}"#, Ok((None, None))),
        (
            &format!(r#"{{"private":true,"title":"{title}"}}"#),
            Ok((None, Some(title.as_str()))),
        ),
        (r#"{"private":true,"channel":"a"}"#, Err(422)),
        (r#"{"private":1,"channel":"a"}"#, Err(422)),
        (r#"{"private":false}"#, Err(422)),
        (r#"{}"#, Err(422)),
        (r#"{"channel":"a","title":""}"#, Err(422)),
        (r#"{"channel":"a","title":"\n"}"#, Err(422)),
        (r#"{"channel":"a","title":1}"#, Err(422)),
        (&format!(r#"{{"channel":"a","title":"{long}"}}"#), Err(422)),
        (r#"{"channel":""}"#, Err(400)),
        (r#"{"channel":"a","channel":"b"}"#, Err(422)),
    ] {
        let expected = expected.map(|(channel, title)| RoomCommand::Create {
            channel: channel.map(|channel| channel.parse().expect("it is a name")),
            title: title.map(str::to_owned),
        });
        check(&format!(r#"{{"create":{arguments}}}"#), expected);
    }
}

#[test]
fn an_identity_is_printable() {
    let longest = "s".repeat(64);
    for (sender, good) in [
        ("a", true),
        ("~", true),
        (" ", true),
        (longest.as_str(), true),
        ("", false),
        ("é", false),
        ("\\n", false),
        ("\\u007f", false),
        ("\\ud800", false),
        (&format!("{longest}s"), false),
    ] {
        let parsed = Command::parse(&format!(r#"{{"block":{{"sender":"{sender}"}}}}"#));
        assert_eq!(parsed.is_ok(), good, "{sender:?}");
    }
}

#[test]
fn one_thing_is_asked_at_a_time() {
    for text in [
        r#"{"me":{},"rooms":{}}"#,
        r#"{"rooms":{},"rooms":{}}"#,
        r#"{"join":{"channel":"a"},"leave":{"channel":"a"}}"#,
    ] {
        check(text, Err(422));
    }
}
