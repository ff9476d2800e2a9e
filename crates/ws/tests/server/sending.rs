//! What waits to be sent is bounded, and what a connection holds.

use crate::client::*;
use crate::deflate;
use allocation_counter::measure;
use ws::{CloseCode, Connection, Event, Limits, SendError};

const LIMITS: Limits = Limits {
    frame: 1_000,
    message: 10_000,
    pending: 300,
};

#[test]
fn what_waits_never_exceeds_its_limit() {
    let mut connection = Connection::new(LIMITS, None);
    assert_eq!(connection.send_binary(&[0; 297]), Err(SendError::Full));
    assert_eq!(connection.pending(), 0);
    connection.send_binary(&[0; 100]).expect("room for 102");
    connection.send_text("text").expect("room for 108");
    assert_eq!(connection.pending(), 108);
    connection
        .send_binary(&[1; 188])
        .expect("room to the last byte");
    assert_eq!(connection.pending(), 300);
    assert_eq!(connection.send_text(""), Err(SendError::Full));
    assert_eq!(connection.send_ping(b""), Err(SendError::Full));
    assert_eq!(connection.pending(), 300);

    // A close frame goes whatever waits.
    connection.close(CloseCode::TRY_AGAIN_LATER, "too slow");
    let frames = read(&connection.take_output());
    let kinds: Vec<u8> = frames.iter().map(|(first, _)| first & 0xf).collect();
    assert_eq!(kinds, [BINARY, TEXT, BINARY, CLOSE]);
    assert_eq!(connection.pending(), 0);
}

#[test]
fn only_the_newest_ping_is_answered_where_there_is_no_room() {
    let mut connection = Connection::new(LIMITS, None);
    connection.send_binary(&[0; 292]).expect("room");
    for payload in ["one", "two", "three"] {
        let event = connection.handle(&mut &frame(FINAL | PING, payload)[..]);
        assert_eq!(event, Some(Event::Ping(payload.as_bytes().to_vec())));
        assert!(connection.pending() <= LIMITS.pending);
    }
    let sent = read(&connection.take_output());
    // Four bytes were left: for "one" there was no room, nor for the others.
    assert_eq!(sent[1..], [(FINAL | PONG, b"three".to_vec())]);
    assert_eq!(connection.take_output(), b"");
}

#[test]
fn pings_have_at_most_125_bytes() {
    let mut connection = Connection::new(LIMITS, None);
    connection.send_ping(&[7; 125]).expect("room");
    assert_eq!(connection.send_ping(&[7; 126]), Err(SendError::TooLong));
    assert_eq!(
        read(&connection.take_output()),
        [(FINAL | PING, vec![7; 125])]
    );
}

#[test]
fn an_idle_connection_holds_its_own_size_and_nothing_more() {
    assert!(
        size_of::<Connection>() <= 320,
        "{}",
        size_of::<Connection>()
    );
    let compressed = deflate::compress(&[b'x'; 5_000], 6);
    let input = [
        frame(FINAL | RSV1 | TEXT, &compressed),
        frame(FINAL | PING, "ping"),
        frame(TEXT, "a"),
        frame(FINAL | CONTINUATION, "b"),
    ]
    .concat();
    let mut connection = deflate::connection();
    let held = measure(|| {
        let mut rest = &input[..];
        while connection.handle(&mut rest).is_some() {}
        connection
            .send_text(&"compressible".repeat(100))
            .expect("room");
        connection.take_output();
    });
    assert_eq!(held.bytes_current, 0);
    // A compressor, while a message was sent; before it a decompressor and the message.
    assert!(held.bytes_max < 300_000, "{}", held.bytes_max);
}

#[test]
fn a_client_has_no_more_held_than_its_limits_say() {
    let limits = Limits {
        frame: 10_000,
        message: 100_000,
        pending: 1_000,
    };
    let bomb = deflate::compress(&vec![0; 8_000_000], 9);
    let stored = deflate::compress(&[0; 99_000], 0);
    let mut pieces = stored.chunks(limits.frame);
    let first = pieces.next().expect("it has some");
    let cases = [
        // A head that promises, and sends nothing.
        frame(FINAL | BINARY, [0; 10_000])[..8].to_vec(),
        frame(FINAL | RSV1 | BINARY, &bomb),
        // A thousand times a message of the largest size.
        frame(FINAL | RSV1 | BINARY, deflate::compress(&[0; 100_000], 9)).repeat(1_000),
        frame(FINAL | PING, [0; 125]).repeat(10_000),
        [
            frame(BINARY, ""),
            frame(CONTINUATION, [0; 100]).repeat(2_000),
        ]
        .concat(),
        [frame(BINARY, ""), frame(CONTINUATION, "").repeat(100_000)].concat(),
        [
            frame(RSV1 | BINARY, ""),
            frame(CONTINUATION, b"\x03\x00").repeat(100_000),
        ]
        .concat(),
        // As long as it unfolds to.
        [
            frame(RSV1 | BINARY, first),
            pieces
                .flat_map(|piece| frame(CONTINUATION, piece))
                .collect(),
            frame(FINAL | CONTINUATION, ""),
        ]
        .concat(),
    ];
    for input in cases {
        let agreed = deflate::agreed("permessage-deflate");
        let held = measure(|| {
            let mut connection = Connection::new(limits, agreed);
            let mut rest = &input[..];
            while connection.handle(&mut rest).is_some() {
                assert!(connection.pending() <= limits.pending + 127);
            }
        });
        // Twice the message as it grows, as it came and decompressed, and the decompressor.
        let most = 4 * limits.message + 2 * limits.pending + 60_000;
        assert!(
            held.bytes_max < most as u64,
            "{} for {:02x?}",
            held.bytes_max,
            &input[..8]
        );
    }
}
