//! RFC 6455 sections 5.5.1, 7.1 and 7.4: the closing handshake from both ends.

use crate::client::*;
use ws::Event::{Close, Failed, Ping, Text};
use ws::{CloseCode, Connection, Failure, SendError};

fn connection() -> Connection {
    Connection::new(LIMITS, None)
}

/// The codes that a close frame may hold: RFC 6455 section 7.4, and 1012 to 1014 of its registry.
fn may_be_sent(code: u16) -> bool {
    let forbidden = [0..=999, 1004..=1006, 1015..=2999, 5000..=u16::MAX];
    !forbidden.iter().any(|codes| codes.contains(&code))
}

#[test]
fn every_code_is_answered_with_itself_or_refused() {
    for code in 0..=u16::MAX {
        let outcome = run(connection(), [&*frame(FINAL | CLOSE, close(code, "why"))]);
        assert_eq!(CloseCode::new(code).is_some(), may_be_sent(code), "{code}");
        let (event, answer) = match CloseCode::new(code) {
            Some(code) => {
                let answer = close(code.get(), "");
                (
                    Close {
                        code: Some(code),
                        reason: "why".to_owned(),
                    },
                    answer,
                )
            }
            None => {
                let answer = close(1002, Failure::CloseCode.to_string());
                (Failed(Failure::CloseCode), answer)
            }
        };
        assert_eq!(outcome.events, [event], "{code}");
        assert_eq!(outcome.sent, [(FINAL | CLOSE, answer)], "{code}");
        assert!(outcome.is_closed, "{code}");
    }
}

#[test]
fn the_payload_of_a_close_is_nothing_or_a_code_and_text() {
    let reason = "r".repeat(123);
    let code = Some(CloseCode::NORMAL);
    let cases = [
        (vec![], Ok((None, "")), vec![]),
        (
            vec![3],
            Err(Failure::CloseCode),
            close(1002, Failure::CloseCode.to_string()),
        ),
        (close(1000, ""), Ok((code, "")), close(1000, "")),
        (close(1000, &reason), Ok((code, &*reason)), close(1000, "")),
        (
            close(1000, "grüße €"),
            Ok((code, "grüße €")),
            close(1000, ""),
        ),
        (
            close(1000, b"\xff"),
            Err(Failure::Text),
            close(1007, Failure::Text.to_string()),
        ),
        (
            close(1000, b"ab\xe2\x82"),
            Err(Failure::Text),
            close(1007, Failure::Text.to_string()),
        ),
    ];
    for (payload, expected, answer) in cases {
        let outcome = run_split(connection, &frame(FINAL | CLOSE, &payload));
        let event = match expected {
            Ok((code, reason)) => Close {
                code,
                reason: reason.to_owned(),
            },
            Err(failure) => Failed(failure),
        };
        assert_eq!(outcome.events, [event], "{payload:02x?}");
        assert_eq!(outcome.sent, [(FINAL | CLOSE, answer)], "{payload:02x?}");
    }
}

#[test]
fn nothing_is_taken_or_sent_after_the_close_of_the_client() {
    let mut connection = connection();
    let input = [
        frame(FINAL | CLOSE, close(1001, "")),
        frame(FINAL | PING, "late"),
        frame(FINAL | TEXT, "late"),
        frame(FINAL | CLOSE, ""),
        b"\xff\xff\xff".to_vec(),
    ]
    .concat();
    let mut rest = &input[..];
    let event = connection.handle(&mut rest);
    assert_eq!(
        event,
        Some(Close {
            code: Some(CloseCode::GOING_AWAY),
            reason: String::new()
        })
    );
    assert!(connection.is_closed());
    assert_eq!(
        read(&connection.take_output()),
        [(FINAL | CLOSE, close(1001, ""))]
    );

    assert_eq!(connection.handle(&mut rest), None);
    assert_eq!(rest, b"");
    assert_nothing_is_sent(&mut connection);
}

#[test]
fn a_close_of_the_server_awaits_that_of_the_client() {
    let mut connection = connection();
    connection.send_text("last").expect("room");
    connection.close(CloseCode::RESTART, "restart");
    assert!(!connection.is_closed());
    assert_eq!(
        read(&connection.take_output()),
        [
            (FINAL | TEXT, b"last".to_vec()),
            (FINAL | CLOSE, close(1012, "restart"))
        ]
    );
    assert_nothing_is_sent(&mut connection);

    // What was on its way comes, and a ping is not answered.
    let input = [
        frame(FINAL | TEXT, "crossing"),
        frame(FINAL | PING, ""),
        frame(FINAL | CLOSE, close(1000, "")),
    ];
    let input = input.concat();
    let mut rest = &input[..];
    let events = [
        Text("crossing".to_owned()),
        Ping(vec![]),
        Close {
            code: Some(CloseCode::NORMAL),
            reason: String::new(),
        },
    ];
    for event in events {
        assert!(!connection.is_closed());
        assert_eq!(connection.handle(&mut rest), Some(event));
    }
    assert!(connection.is_closed());
    assert_nothing_is_sent(&mut connection);
}

#[test]
fn a_failure_after_the_close_of_the_server_is_not_told_twice() {
    let mut connection = connection();
    connection.close(CloseCode::NORMAL, "");
    connection.take_output();
    let event = connection.handle(&mut &frame(FINAL | 3, "")[..]);
    assert_eq!(event, Some(Failed(Failure::Opcode)));
    assert!(connection.is_closed());
    assert_nothing_is_sent(&mut connection);
}

#[test]
fn who_fails_a_connection_takes_nothing_more_of_it_and_keeps_nothing() {
    for closes_first in [false, true] {
        let mut connection = connection();
        connection.handle(&mut &frame(TEXT, "begun")[..]);
        assert!(connection.unfinished().is_some());
        let mut told = close(1013, "unavailable");
        if closes_first {
            connection.close(CloseCode::NORMAL, "");
            told = close(1000, "");
        }
        connection.fail(CloseCode::TRY_AGAIN_LATER, "unavailable");
        assert_eq!(read(&connection.take_output()), [(FINAL | CLOSE, told)]);
        assert!(connection.is_closed());
        assert_eq!(connection.unfinished(), None);
        let late = frame(FINAL | CONTINUATION, "late");
        let mut rest = &late[..];
        assert_eq!(connection.handle(&mut rest), None);
        assert_eq!(rest, b"");
        assert_nothing_is_sent(&mut connection);
    }
}

#[track_caller]
fn assert_nothing_is_sent(connection: &mut Connection) {
    assert_eq!(connection.send_text("x"), Err(SendError::Closed));
    assert_eq!(connection.send_binary(b"x"), Err(SendError::Closed));
    assert_eq!(connection.send_ping(b"x"), Err(SendError::Closed));
    let prepared = ws::Prepared::new("x".to_owned());
    assert_eq!(
        connection.send_prepared(&prepared, ""),
        Err(SendError::Closed)
    );
    connection.close(CloseCode::NORMAL, "again");
    assert_eq!(connection.pending(), 0);
    assert_eq!(connection.take_output(), b"");
}

#[test]
fn a_reason_is_cut_between_characters() {
    let cases = [
        ("r".repeat(123), 123),
        ("r".repeat(124), 123),
        ("é".repeat(70), 122),
        ("💥".repeat(40), 120),
    ];
    for (reason, length) in cases {
        let mut connection = connection();
        connection.close(CloseCode::POLICY, &reason);
        let frames = read(&connection.take_output());
        assert_eq!(frames, [(FINAL | CLOSE, close(1008, &reason[..length]))]);
    }
}
