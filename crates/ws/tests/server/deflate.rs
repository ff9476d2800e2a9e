//! RFC 7692 sections 6 and 7.2: compressed messages.

use crate::client::*;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use ws::Event::{self, Binary, Failed, Ping, Text};
use ws::handshake::{Bootstrap, accept};
use ws::{Connection, Deflate, Failure, Limits, Prepared};

/// What is agreed on for an offer.
pub(crate) fn agreed(offer: &str) -> Option<Deflate> {
    let header = |name: &str| match name {
        "sec-websocket-version" => vec![b"13".to_vec()],
        "sec-websocket-extensions" => vec![offer.as_bytes().to_vec()],
        _ => vec![],
    };
    accept(Bootstrap::Connect, "CONNECT", header, &[])
        .expect("accepted")
        .deflate
}

pub(crate) fn connection() -> Connection {
    Connection::new(LIMITS, agreed("permessage-deflate"))
}

/// As a client compresses a message, by another library.
pub(crate) fn compress(message: &[u8], level: u32) -> Vec<u8> {
    let mut compressed = Vec::with_capacity(2 * message.len() + 100);
    Compress::new(Compression::new(level), false)
        .compress_vec(message, &mut compressed, FlushCompress::Sync)
        .expect("compressed");
    let end = compressed.len() - 4;
    assert_eq!(compressed[end..], [0, 0, 0xff, 0xff]);
    compressed.truncate(end);
    compressed
}

/// As a client decompresses a message, by another library.
pub(crate) fn decompress(payload: &[u8]) -> Vec<u8> {
    let compressed = [payload, &[0, 0, 0xff, 0xff]].concat();
    let mut message = Vec::with_capacity(1 << 20);
    let mut decompress = Decompress::new(false);
    decompress
        .decompress_vec(&compressed, &mut message, FlushDecompress::Sync)
        .expect("decompressed");
    assert_eq!(decompress.total_in(), compressed.len() as u64);
    message
}

#[track_caller]
fn check(frames: &[Vec<u8>], events: Vec<Event>) {
    let outcome = run_split(connection, &frames.concat());
    assert_eq!(outcome.events, events, "{frames:02x?}");
}

fn text(text: &str) -> Event {
    Text(text.to_owned())
}

#[test]
fn the_examples_of_the_standard_are_read() {
    // Section 7.2.3.1: one block.
    let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    check(&[frame(FINAL | RSV1 | TEXT, hello)], vec![text("Hello")]);
    check(
        &[
            frame(RSV1 | TEXT, &hello[..3]),
            frame(FINAL | CONTINUATION, &hello[3..]),
        ],
        vec![text("Hello")],
    );
    // 7.2.3.3: a block that is not compressed.
    let stored = b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00";
    check(&[frame(FINAL | RSV1 | TEXT, stored)], vec![text("Hello")]);
    // 7.2.3.4: the final bit.
    check(
        &[frame(
            FINAL | RSV1 | TEXT,
            b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
        )],
        vec![text("Hello")],
    );
    // 7.2.3.5: two blocks.
    let two = b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00";
    check(&[frame(FINAL | RSV1 | TEXT, two)], vec![text("Hello")]);
    // 7.2.3.6: nothing.
    check(&[frame(FINAL | RSV1 | TEXT, b"\x00")], vec![text("")]);
}

#[test]
fn an_empty_block_that_is_left_out_is_not_missed() {
    check(&[frame(FINAL | RSV1 | BINARY, b"")], vec![Binary(vec![])]);
    check(
        &[frame(FINAL | RSV1 | TEXT, b"\xf3\x48\xcd\xc9\xc9\x07\x00")],
        vec![text("Hello")],
    );
}

#[test]
fn compressed_and_plain_messages_alternate_and_take_control_frames_between() {
    let compressed = compress(b"compressed", 9);
    check(
        &[
            frame(FINAL | TEXT, "plain"),
            frame(RSV1 | BINARY, &compressed[..1]),
            frame(FINAL | PING, "ping"),
            frame(CONTINUATION, ""),
            frame(FINAL | CONTINUATION, &compressed[1..]),
            frame(BINARY, "pla"),
            frame(FINAL | CONTINUATION, "in"),
            frame(FINAL | RSV1 | TEXT, &compressed),
        ],
        vec![
            text("plain"),
            Ping(b"ping".to_vec()),
            Binary(b"compressed".to_vec()),
            Binary(b"plain".to_vec()),
            text("compressed"),
        ],
    );
}

#[test]
fn streams_that_end_and_begin_again_inside_a_message_are_one() {
    let last = b"\xf3\x48\xcd\xc9\xc9\x07\x00";
    let ended = [&last[..], last, last, b"\x00"].concat();
    check(
        &[frame(FINAL | RSV1 | TEXT, ended)],
        vec![text("HelloHelloHello")],
    );
}

#[test]
fn the_first_bit_is_for_the_first_frame_of_a_message() {
    let reserved = vec![Failed(Failure::Reserved)];
    for first in [
        FINAL | RSV1 | PING,
        FINAL | RSV1 | PONG,
        FINAL | RSV1 | CLOSE,
        FINAL | 0x20 | TEXT,
        FINAL | 0x10 | BINARY,
        FINAL | RSV1 | 0x20 | TEXT,
    ] {
        check(&[frame(first, b"\x00")], reserved.clone());
    }
    check(
        &[
            frame(RSV1 | TEXT, b""),
            frame(FINAL | RSV1 | CONTINUATION, b"\x00"),
        ],
        reserved.clone(),
    );
    check(
        &[
            frame(TEXT, b""),
            frame(FINAL | RSV1 | CONTINUATION, b"\x00"),
        ],
        reserved,
    );
}

#[test]
fn what_does_not_decompress_fails_the_connection() {
    let whole = compress(&[7; 1000], 9);
    let cases: &[&[u8]] = &[
        b"\xff",
        b"\x07",
        // A stored block whose length is not told twice.
        b"\x00\x05\x00\x00\x00Hello\x00",
        // A distance that goes back before the beginning.
        b"\x02\x02\x00",
        // The end of the message is not the end of a block.
        &whole[..whole.len() - 2],
        b"\x00\x05\x00\xfa\xffHel",
    ];
    for payload in cases {
        let outcome = run_split(connection, &frame(FINAL | RSV1 | BINARY, payload));
        assert_eq!(outcome.events, [Failed(Failure::Deflate)], "{payload:02x?}");
        let told = close(1007, Failure::Deflate.to_string());
        assert_eq!(outcome.sent, [(FINAL | CLOSE, told)], "{payload:02x?}");
    }
}

#[test]
fn text_is_checked_when_it_is_decompressed() {
    let compressed = compress(b"fine \xff", 0);
    check(
        &[
            frame(RSV1 | TEXT, &compressed),
            frame(FINAL | CONTINUATION, ""),
        ],
        vec![Failed(Failure::Text)],
    );
    check(
        &[frame(FINAL | RSV1 | TEXT, compress(b"cut \xe2\x82", 9))],
        vec![Failed(Failure::Text)],
    );
}

#[test]
fn a_message_may_unfold_to_its_limit_and_no_further() {
    let limits = Limits {
        frame: 10_000,
        message: 100_000,
        pending: 1_000,
    };
    let agreed = agreed("permessage-deflate");
    for (length, taken) in [
        (99_999, true),
        (100_000, true),
        (100_001, false),
        (9_000_000, false),
    ] {
        let message = vec![b'x'; length];
        let input = frame(FINAL | RSV1 | BINARY, compress(&message, 9));
        let outcome = run_split(|| Connection::new(limits, agreed), &input);
        let expected = match taken {
            true => Binary(message),
            false => Failed(Failure::TooBig),
        };
        assert!(outcome.events == [expected], "{length}");
    }
}

#[test]
fn a_message_that_is_not_whole_takes_no_more_than_was_sent_of_it() {
    let bomb = compress(&[b'x'; 100_000], 9);
    let (front, back) = bomb.split_at(bomb.len() - 1);
    let mut connection = connection();
    assert_eq!(connection.unfinished(), None);
    let input = frame(RSV1 | TEXT, front);
    let held = allocation_counter::measure(|| {
        assert_eq!(connection.handle(&mut &input[..]), None);
    });
    assert_eq!(Some(held.bytes_current as usize), connection.unfinished());
    assert!((front.len()..=2 * front.len()).contains(&(held.bytes_max as usize)));

    let event = connection.handle(&mut &frame(FINAL | CONTINUATION, back)[..]);
    assert_eq!(event, Some(text(&"x".repeat(100_000))));
    assert_eq!(connection.unfinished(), None);
}

#[test]
fn what_comes_of_a_message_has_its_limit_as_what_it_unfolds_to() {
    // Blocks that unfold to nothing, the last without its end.
    let block = b"\x00\x00\x00\xff\xff";
    for (blocks, event) in [(9_999, Binary(vec![])), (10_000, Failed(Failure::TooBig))] {
        check(
            &[
                frame(RSV1 | BINARY, block.repeat(10_000)),
                frame(CONTINUATION, block.repeat(blocks)),
                frame(FINAL | CONTINUATION, b"\x00"),
            ],
            vec![event],
        );
    }
}

#[test]
fn long_messages_are_compressed_where_that_was_agreed_and_is_shorter() {
    let long = "All work and no play makes Jack a dull boy. ".repeat(20);
    let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..))
        .take(1000)
        .collect();
    let cases = [
        (connection(), long.as_bytes(), true),
        (connection(), &long.as_bytes()[..200], true),
        (connection(), &long.as_bytes()[..199], false),
        (connection(), b"", false),
        (connection(), &noise, false),
        (Connection::new(LIMITS, None), long.as_bytes(), false),
    ];
    for (mut connection, message, is_compressed) in cases {
        connection.send_binary(message).expect("room");
        let frames = read(&connection.take_output());
        let [(first, payload)] = frames.as_slice() else {
            panic!("one frame");
        };
        if is_compressed {
            assert_eq!(*first, FINAL | RSV1 | BINARY);
            assert!(payload.len() < message.len());
            assert_eq!(decompress(payload), message);
        } else {
            assert_eq!((*first, &payload[..]), (FINAL | BINARY, message));
        }
    }
}

#[test]
fn the_window_of_the_client_is_enough_whatever_the_level() {
    // Text that comes again farther back than small windows reach.
    let line: String = (0..60_000u32)
        .map(|i| char::from(b'a' + (i.wrapping_mul(i) / 7 % 26) as u8))
        .collect();
    let message = [&line[..20_000], &line[..300], &line[..5_000], &line].concat();
    for bits in 9..=15u8 {
        let agreed = agreed(&format!(
            "permessage-deflate; server_max_window_bits={bits}"
        ));
        let mut connection = Connection::new(LIMITS, agreed);
        connection.send_text(&message).expect("room");
        let [(first, payload)] = &read(&connection.take_output())[..] else {
            panic!("one frame");
        };
        assert_eq!(*first, FINAL | RSV1 | TEXT);
        // An inflater that remembers no more than the window, and is read from in small pieces.
        let compressed = [payload, &[0, 0, 0xff, 0xff][..]].concat();
        let mut inflate = zlib_rs::Inflate::new(false, bits);
        let mut unfolded: Vec<u8> = Vec::new();
        let mut piece = [0; 64];
        while unfolded.len() < message.len() {
            let (consumed, written) = (inflate.total_in() as usize, inflate.total_out() as usize);
            inflate
                .decompress(
                    &compressed[consumed..],
                    &mut piece,
                    zlib_rs::InflateFlush::NoFlush,
                )
                .unwrap_or_else(|error| panic!("{error:?} with {bits} bits"));
            unfolded.extend(&piece[..inflate.total_out() as usize - written]);
        }
        assert!(unfolded == message.as_bytes(), "{bits} bits");
    }
}

#[test]
fn a_prepared_message_is_the_same_for_all_and_may_end_differently() {
    let long = "a prepared message, ".repeat(30);
    let ends = [
        "",
        "x",
        "{\"cursor\":\"é\"}",
        &"y".repeat(65_535),
        &"z".repeat(70_000),
    ];
    for beginning in ["", "short", long.as_str()] {
        let prepared = Prepared::new(beginning.to_owned());
        for offer in [
            "",
            "permessage-deflate",
            "permessage-deflate; server_max_window_bits=9",
        ] {
            for end in ends {
                let mut connection = Connection::new(LIMITS, agreed(offer));
                connection.send_prepared(&prepared, end).expect("room");
                let [(first, payload)] = &read(&connection.take_output())[..] else {
                    panic!("one frame");
                };
                let is_compressed = !offer.is_empty() && beginning.len() >= 200;
                let message = match is_compressed {
                    true => decompress(payload),
                    false => payload.clone(),
                };
                assert_eq!(first & RSV1 != 0, is_compressed, "{beginning} {offer}");
                assert!(
                    message == [beginning, end].concat().as_bytes(),
                    "{beginning} {offer}"
                );
                // Each further piece that is not compressed costs ten bytes.
                assert!(payload.len() <= beginning.len() + end.len() + 20);
            }
        }
    }
}
