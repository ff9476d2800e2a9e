use crate::{Channel, Cursor, Error, MOST_CHANNELS, Position};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;

fn channel(name: &str) -> Channel {
    name.parse().expect("a name")
}

fn largest() -> Cursor {
    let at = Position {
        epoch: u64::MAX,
        offset: u64::MAX,
        tag: u32::MAX,
    };
    (0..MOST_CHANNELS)
        .map(|n| (channel(&format!("@{n:063}")), at))
        .collect()
}

fn cursors() -> impl Strategy<Value = Cursor> {
    let position = (any::<u64>(), any::<u64>(), any::<u32>(), 0u32..64).prop_map(
        |(epoch, offset, tag, less)| Position {
            epoch,
            offset: offset >> less,
            tag,
        },
    );
    prop::collection::vec(("@?[A-Za-z0-9._~-]{1,63}", position), 0..=MOST_CHANNELS).prop_map(
        |places| {
            places
                .into_iter()
                .map(|(name, position)| (channel(&name), position))
                .collect()
        },
    )
}

#[track_caller]
fn refused(text: &str) {
    assert!(
        matches!(Cursor::decode(text), Err(Error::Invalid(_))),
        "{text:?}"
    );
}

#[track_caller]
fn refused_bytes(bytes: &[u8]) {
    refused(&URL_SAFE_NO_PAD.encode(bytes));
}

/// A channel `a` at epoch 0, with these bytes for its offset.
fn with_offset(offset: &[u8]) -> Vec<u8> {
    [&[1, 1, b'a'][..], &[0; 8], offset, &[0; 4]].concat()
}

#[test]
fn a_cursor_of_one_channel_is_short() {
    let at = Position {
        epoch: u64::MAX,
        offset: 100_000,
        tag: u32::MAX,
    };
    let cursor: Cursor = [(channel("lobby"), at)].into_iter().collect();
    assert_eq!(cursor.encode().len(), 30);
}

#[test]
fn the_text_of_a_cursor_does_not_change_from_build_to_build() {
    let at = Position {
        epoch: 0x0102_0304_0506_0708,
        offset: 300,
        tag: 0x0a0b_0c0d,
    };
    let cursor: Cursor = [(channel("@a"), at), (channel("b"), Position::default())]
        .into_iter()
        .collect();
    let bytes = [
        &[
            1, 2, b'@', b'a', 8, 7, 6, 5, 4, 3, 2, 1, 0xac, 2, 0xd, 0xc, 0xb, 0xa,
        ][..],
        &[1, b'b', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ];
    assert_eq!(cursor.encode(), URL_SAFE_NO_PAD.encode(bytes.concat()));
}

#[test]
fn setting_a_place_keeps_the_order_of_the_channels() {
    let mut cursor = Cursor::default();
    for (name, offset) in [("a", 1), ("b", 2), ("a", 3)] {
        cursor.set(
            channel(name),
            Position {
                offset,
                ..Position::default()
            },
        );
    }
    let places: Vec<_> = cursor
        .iter()
        .map(|(channel, at)| (channel.as_str(), at.offset))
        .collect();
    assert_eq!(places, [("a", 3), ("b", 2)]);
    assert_eq!(cursor.get(&channel("c")), None);
}

#[test]
fn the_largest_cursor_goes_round() {
    let cursor = largest();
    assert_eq!(Cursor::decode(&cursor.encode()), Ok(cursor));
}

#[test]
fn what_no_server_wrote_is_refused() {
    refused("");
    refused("!");
    refused("AQ==");
    refused("AR");
    refused(" AQ");
    refused("AQ\n");
    refused("é");
    refused(&"A".repeat(1_000_000));
    refused_bytes(&[0]);
    refused_bytes(&[2]);
    refused_bytes(&[1, 0]);
    refused_bytes(&[1, 255]);
    refused_bytes(&[[1, 1, b'/'].as_slice(), &[0; 13]].concat());
    refused_bytes(&[[1, 1, 0xff].as_slice(), &[0; 13]].concat());
    refused_bytes(&with_offset(&[]));
    refused_bytes(&with_offset(&[0x80, 0]));
    refused_bytes(&with_offset(&[
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2,
    ]));
    refused_bytes(&with_offset(&[
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x80, 1,
    ]));
    let once = with_offset(&[0]);
    refused_bytes(&[&once, &once[1..]].concat());
    let many: Cursor = (0..=MOST_CHANNELS)
        .map(|n| (channel(&n.to_string()), Position::default()))
        .collect();
    refused(&many.encode());
}

#[test]
fn a_cursor_damaged_in_one_bit_or_cut_is_another_one_or_refused() {
    let places = largest();
    let text = places
        .iter()
        .take(3)
        .map(|(channel, at)| (channel.clone(), at))
        .collect::<Cursor>()
        .encode();
    for length in 0..text.len() {
        if let Ok(cursor) = Cursor::decode(&text[..length]) {
            assert_eq!(cursor.encode(), text[..length]);
        }
    }
    let bytes = text.into_bytes();
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let Ok(damaged) = String::from_utf8(damaged) else {
            continue;
        };
        if let Ok(cursor) = Cursor::decode(&damaged) {
            assert_eq!(cursor.encode(), damaged);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn every_cursor_goes_round(cursor in cursors()) {
        let text = cursor.encode();
        prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
        prop_assert_eq!(Cursor::decode(&text), Ok(cursor));
    }

    #[test]
    fn every_text_is_one_cursor_or_none(text in prop_oneof!["\\PC*", "AQ[A-Za-z0-9_-]{0,80}"]) {
        if let Ok(cursor) = Cursor::decode(&text) {
            prop_assert_eq!(cursor.encode(), text);
        }
    }

    #[test]
    fn every_run_of_bytes_is_one_cursor_or_none(
        bytes in prop::collection::vec(prop_oneof![Just(1u8), Just(b'a'), any::<u8>()], 0..64),
    ) {
        let text = URL_SAFE_NO_PAD.encode([&[1], &bytes[..]].concat());
        if let Ok(cursor) = Cursor::decode(&text) {
            prop_assert_eq!(cursor.encode(), text);
        }
    }
}
