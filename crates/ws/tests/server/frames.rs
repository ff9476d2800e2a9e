//! RFC 6455 section 5: frames, fragments, control frames and limits.

use crate::client::*;
use ws::Event::{self, Binary, Close, Failed, Ping, Pong, Text};
use ws::{CloseCode, Connection, Failure, Limits};

fn text(text: &str) -> Event {
    Text(text.to_owned())
}

fn pong(payload: &[u8]) -> (u8, Vec<u8>) {
    (FINAL | PONG, payload.to_vec())
}

/// The last frame after a failure: the code and what the failure says.
fn last(failure: Failure) -> (u8, Vec<u8>) {
    (
        FINAL | CLOSE,
        close(failure.code().get(), failure.to_string()),
    )
}

#[track_caller]
fn check(input: &[Vec<u8>], events: Vec<Event>, sent: Vec<(u8, Vec<u8>)>) {
    let outcome = run_split(|| Connection::new(LIMITS, None), &input.concat());
    let is_closed = matches!(events.last(), Some(Close { .. } | Failed(_)));
    assert_eq!(
        outcome,
        Outcome {
            events,
            sent,
            is_closed
        },
        "{input:02x?}"
    );
}

#[test]
fn messages_of_every_length_and_form_are_taken() {
    let cases = [
        0, 1, 2, 3, 4, 15, 16, 17, 124, 125, 126, 127, 128, 255, 256, 65_535, 65_536, 70_000,
    ];
    for length in cases {
        let bytes: Vec<u8> = (0..length).map(|i| (i * 7) as u8).collect();
        check(
            &[frame(FINAL | BINARY, &bytes)],
            vec![Binary(bytes)],
            vec![],
        );
        let letters = "x".repeat(length);
        check(
            &[frame(FINAL | TEXT, &letters)],
            vec![Text(letters)],
            vec![],
        );
    }
}

#[test]
fn fragments_are_one_message_with_control_frames_between() {
    check(
        &[frame(TEXT, "Hel"), frame(FINAL | CONTINUATION, "lo")],
        vec![text("Hello")],
        vec![],
    );
    check(
        &[
            frame(TEXT, ""),
            frame(CONTINUATION, ""),
            frame(FINAL | CONTINUATION, ""),
        ],
        vec![text("")],
        vec![],
    );
    check(
        &[
            frame(BINARY, [0]),
            frame(CONTINUATION, [1]),
            frame(FINAL | CONTINUATION, [2]),
        ],
        vec![Binary(vec![0, 1, 2])],
        vec![],
    );
    check(
        &[
            frame(TEXT, "a"),
            frame(FINAL | PING, "1"),
            frame(CONTINUATION, "b"),
            frame(FINAL | PONG, "2"),
            frame(FINAL | PING, ""),
            frame(FINAL | CONTINUATION, "c"),
            frame(FINAL | TEXT, "next"),
        ],
        vec![
            Ping(b"1".to_vec()),
            Pong(b"2".to_vec()),
            Ping(vec![]),
            text("abc"),
            text("next"),
        ],
        vec![pong(b"1"), pong(b"")],
    );
    check(
        &[frame(TEXT, "half"), frame(FINAL | CLOSE, close(1000, ""))],
        vec![Close {
            code: Some(CloseCode::NORMAL),
            reason: String::new(),
        }],
        vec![(FINAL | CLOSE, close(1000, ""))],
    );
    // A character in two fragments, cut by a ping.
    check(
        &[
            frame(TEXT, "é".as_bytes().split_at(1).0),
            frame(FINAL | PING, "é"),
            frame(FINAL | CONTINUATION, "é".as_bytes().split_at(1).1),
        ],
        vec![Ping("é".as_bytes().to_vec()), text("é")],
        vec![pong("é".as_bytes())],
    );
}

#[test]
fn a_ping_is_answered_with_what_it_holds() {
    for length in [0, 1, 124, 125] {
        let payload: Vec<u8> = (0..length).map(|i| 255 - i).collect();
        check(
            &[frame(FINAL | PING, &payload), frame(FINAL | PONG, &payload)],
            vec![Ping(payload.clone()), Pong(payload.clone())],
            vec![pong(&payload)],
        );
    }
}

#[test]
fn what_a_frame_may_not_be_fails_the_connection() {
    let unmasked = |first: u8, length: u8| vec![first, length];
    let long =
        |first: u8, length: u64| [&[first, 0xff][..], &length.to_be_bytes(), &[0; 4]].concat();
    let short =
        |first: u8, length: u16| [&[first, 0xfe][..], &length.to_be_bytes(), &[0; 4]].concat();
    let mut cases = vec![
        (vec![unmasked(FINAL | TEXT, 0)], Failure::Unmasked),
        (vec![unmasked(FINAL | PING, 0)], Failure::Unmasked),
        (vec![short(FINAL | BINARY, 0)], Failure::Length),
        (vec![short(FINAL | BINARY, 125)], Failure::Length),
        (vec![long(FINAL | BINARY, 0)], Failure::Length),
        (vec![long(FINAL | BINARY, 65_535)], Failure::Length),
        (vec![long(FINAL | BINARY, 1 << 63)], Failure::Length),
        (vec![long(FINAL | BINARY, u64::MAX)], Failure::Length),
        (vec![long(FINAL | BINARY, u64::MAX >> 1)], Failure::TooBig),
        // More than 32 bits, with a small number in the lower ones.
        (vec![long(FINAL | BINARY, 1 << 32 | 5)], Failure::TooBig),
        (vec![frame(FINAL | CONTINUATION, "")], Failure::Fragments),
        (vec![frame(CONTINUATION, "")], Failure::Fragments),
        (
            vec![frame(TEXT, ""), frame(FINAL | TEXT, "")],
            Failure::Fragments,
        ),
        (vec![frame(TEXT, ""), frame(BINARY, "")], Failure::Fragments),
    ];
    for opcode in [3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf] {
        cases.push((vec![frame(FINAL | opcode, "")], Failure::Opcode));
        cases.push((vec![frame(opcode, "")], Failure::Opcode));
        cases.push((vec![frame(FINAL | opcode, "payload")], Failure::Opcode));
    }
    for opcode in [CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG] {
        for bits in 1..8 {
            cases.push((
                vec![frame(FINAL | bits << 4 | opcode, "")],
                Failure::Reserved,
            ));
        }
    }
    for opcode in [CLOSE, PING, PONG] {
        cases.push((vec![frame(opcode, "")], Failure::Control));
        cases.push((vec![frame(FINAL | opcode, [b'x'; 126])], Failure::Control));
        cases.push((
            vec![frame(FINAL | opcode, [b'x'; 70_000])],
            Failure::Control,
        ));
    }
    for (frames, failure) in cases {
        // What follows is neither taken nor answered.
        let mut frames = frames;
        frames.push(frame(FINAL | PING, "after"));
        frames.push(frame(FINAL | TEXT, "after"));
        check(&frames, vec![Failed(failure)], vec![last(failure)]);
    }
}

#[test]
fn a_message_that_is_whole_is_not_continued() {
    check(
        &[
            frame(TEXT, "who"),
            frame(FINAL | CONTINUATION, "le"),
            frame(CONTINUATION, ""),
        ],
        vec![text("whole"), Failed(Failure::Fragments)],
        vec![last(Failure::Fragments)],
    );
}

#[test]
fn limits_hold_to_the_byte() {
    let limits = Limits {
        frame: 300,
        message: 500,
        pending: 1_000,
    };
    let check = |frames: &[(u8, usize)], taken: bool| {
        let input: Vec<u8> = frames
            .iter()
            .flat_map(|(first, length)| frame(*first, vec![0; *length]))
            .collect();
        let outcome = run_split(|| Connection::new(limits, None), &input);
        let expected = match taken {
            true => Binary(vec![0; frames.iter().map(|(_, length)| length).sum()]),
            false => Failed(Failure::TooBig),
        };
        assert_eq!(outcome.events, [expected], "{frames:?}");
    };
    check(&[(FINAL | BINARY, 300)], true);
    check(&[(FINAL | BINARY, 301)], false);
    check(&[(BINARY, 250), (FINAL | CONTINUATION, 250)], true);
    check(&[(BINARY, 250), (FINAL | CONTINUATION, 251)], false);
    check(
        &[
            (BINARY, 250),
            (CONTINUATION, 250),
            (FINAL | CONTINUATION, 0),
        ],
        true,
    );
    check(
        &[
            (BINARY, 250),
            (CONTINUATION, 250),
            (FINAL | CONTINUATION, 1),
        ],
        false,
    );
}

#[test]
fn a_frame_too_big_is_refused_by_its_head() {
    let head = &frame(FINAL | BINARY, [0; 70_001])[..14];
    let outcome = run(Connection::new(LIMITS, None), [head]);
    assert_eq!(outcome.events, [Failed(Failure::TooBig)]);
    assert_eq!(outcome.sent, [last(Failure::TooBig)]);
}

#[test]
fn a_message_that_is_not_whole_is_no_event() {
    let whole = [frame(TEXT, "ab"), frame(FINAL | CONTINUATION, "cd")].concat();
    for end in 0..whole.len() {
        let outcome = run(Connection::new(LIMITS, None), [&whole[..end]]);
        assert_eq!(outcome.events, [], "{end} bytes");
    }
}
