//! RFC 6455 section 8.1: text is UTF-8, and what is not fails at its first byte.

use crate::client::*;
use ws::Event::{Binary, Failed, Text};
use ws::{Connection, Failure};

#[test]
fn all_of_unicode_is_text() {
    let all: String = ('\0'..=char::MAX)
        .step_by(37)
        .chain("\u{feff}\0\u{d7ff}\u{e000}\u{ffff}\u{10ffff}".chars())
        .collect();
    for text in [&all[..30_000], "κόσμε", "", "\0", "</script>\r\n\u{2028}"] {
        let outcome = run_split(|| Connection::new(LIMITS, None), &frame(FINAL | TEXT, text));
        assert_eq!(outcome.events, [Text(text.to_owned())]);
    }
}

#[test]
fn text_fails_at_the_first_byte_that_none_has_there() {
    // How many of the bytes can begin a text; the one after fails.
    let cases: &[(&[u8], usize)] = &[
        (b"\x80", 0),
        (b"\xbf", 0),
        (b"\xff", 0),
        (b"\xfe", 0),
        (b"\xc0\x80", 0),
        (b"\xc1\xbf", 0),
        (b"a\xc3a", 2),
        (b"\xc3\xff", 1),
        (b"\xe0\x80\x80", 1),
        (b"\xe0\x9f\xbf", 1),
        (b"\xe2\x82a", 2),
        (b"\xed\xa0\x80", 1),
        (b"\xed\xbf\xbf", 1),
        (b"\xf0\x80\x80\x80", 1),
        (b"\xf0\x8f\xbf\xbf", 1),
        (b"\xf0\x9f\x92a", 3),
        (b"\xf4\x90\x80\x80", 1),
        (b"\xf5\x80\x80\x80", 0),
        (b"\xf8\x88\x80\x80\x80", 0),
        (b"\xfc\x84\x80\x80\x80\x80", 0),
        ("κόσμε\u{10ffff}".as_bytes(), 14),
    ];
    for (bytes, good) in cases {
        let padded = [bytes, &b"more"[..]].concat();
        for fragmented in [false, true] {
            // Byte by byte, in one frame and in a frame each: nothing until the byte that fails.
            let mut connection = Connection::new(LIMITS, None);
            let mut input = frame(FINAL | TEXT, &padded);
            if fragmented {
                input = padded
                    .iter()
                    .enumerate()
                    .flat_map(|(i, byte)| frame(if i == 0 { TEXT } else { CONTINUATION }, [*byte]))
                    .collect();
            }
            let fails = bytes.len() > *good;
            let taken = match fragmented {
                true => good * 7 + 6,
                false => good + 6,
            };
            for (i, byte) in input.iter().enumerate() {
                let event = connection.handle(&mut &[*byte][..]);
                if fails && i == taken {
                    assert_eq!(event, Some(Failed(Failure::Text)), "{bytes:02x?}");
                    break;
                }
                if i < taken {
                    assert_eq!(event, None, "{bytes:02x?} at {i}");
                }
            }
            assert_eq!(connection.is_closed(), fails, "{bytes:02x?}");
        }
    }
}

#[test]
fn a_character_that_the_end_cuts_is_no_text() {
    for bytes in ["é".as_bytes(), "€".as_bytes(), "💥".as_bytes()] {
        for end in 1..bytes.len() {
            for input in [
                frame(FINAL | TEXT, &bytes[..end]),
                [frame(TEXT, &bytes[..end]), frame(FINAL | CONTINUATION, "")].concat(),
            ] {
                let outcome = run_split(|| Connection::new(LIMITS, None), &input);
                assert_eq!(
                    outcome.events,
                    [Failed(Failure::Text)],
                    "{bytes:02x?} to {end}"
                );
                assert_eq!(
                    outcome.sent,
                    [(FINAL | CLOSE, close(1007, "text is not UTF-8"))]
                );
            }
        }
    }
}

#[test]
fn binary_messages_hold_any_bytes() {
    let bytes: Vec<u8> = (0..=255).collect();
    let outcome = run_split(
        || Connection::new(LIMITS, None),
        &frame(FINAL | BINARY, &bytes),
    );
    assert_eq!(outcome.events, [Binary(bytes)]);
}
