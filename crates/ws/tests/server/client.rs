//! The client's side by hand: frames as it sends them, right or wrong, and what the server made of them.

use ws::{Connection, Event, Limits};

pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xa;

pub(crate) const FINAL: u8 = 0x80;
pub(crate) const RSV1: u8 = 0x40;

pub(crate) const LIMITS: Limits = Limits {
    frame: 70_000,
    message: 100_000,
    pending: 200_000,
};

/// A frame with a mask and the shortest length.
pub(crate) fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut head = vec![first];
    match payload.len() {
        length @ 0..=125 => head.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            head.push(0x80 | 126);
            head.extend((length as u16).to_be_bytes());
        }
        length => {
            head.push(0x80 | 127);
            head.extend((length as u64).to_be_bytes());
        }
    }
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    head.extend(mask);
    let masked = payload.iter().zip(mask.iter().cycle());
    head.extend(masked.map(|(byte, mask)| byte ^ mask));
    head
}

pub(crate) fn close(code: u16, reason: impl AsRef<[u8]>) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_ref()].concat()
}

/// What the server did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) events: Vec<Event>,
    /// First byte and payload of each frame.
    pub(crate) sent: Vec<(u8, Vec<u8>)>,
    pub(crate) is_closed: bool,
}

/// Gives the server the pieces of the input, and writes what it says at once.
pub(crate) fn run<'a>(
    mut connection: Connection,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Outcome {
    let mut events = Vec::new();
    let mut output = Vec::new();
    for mut piece in pieces {
        while let Some(event) = connection.handle(&mut piece) {
            events.push(event);
            output.extend(connection.take_output());
        }
        assert!(piece.is_empty(), "no event means that all was taken");
    }
    assert_eq!(connection.pending(), 0, "output comes with an event");
    Outcome {
        events,
        sent: read(&output),
        is_closed: connection.is_closed(),
    }
}

/// Gives it the input whole, byte by byte and cut in two at any place, and expects the same of all.
#[track_caller]
pub(crate) fn run_split(new: impl Fn() -> Connection, input: &[u8]) -> Outcome {
    let whole = run(new(), [input]);
    assert_eq!(run(new(), input.chunks(1)), whole, "byte by byte");
    for at in (0..input.len()).step_by(1 + input.len() / 200) {
        let (front, back) = input.split_at(at);
        assert_eq!(run(new(), [front, back]), whole, "cut at {at}");
    }
    whole
}

/// Reads a server's frames: whole, without masks, of the shortest length.
#[track_caller]
pub(crate) fn read(mut output: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [first, second, rest @ ..] = output {
        let (length, rest) = match second {
            0..=125 => (usize::from(*second), rest),
            126 => {
                let (length, rest) = rest.split_first_chunk().expect("a length of two bytes");
                let length = u16::from_be_bytes(*length);
                assert!(length > 125, "the shortest form");
                (usize::from(length), rest)
            }
            127 => {
                let (length, rest) = rest.split_first_chunk().expect("a length of eight bytes");
                let length = u64::from_be_bytes(*length);
                assert!(length > 0xffff, "the shortest form");
                (length as usize, rest)
            }
            _ => panic!("a server masked a frame"),
        };
        let (payload, rest) = rest.split_at(length);
        frames.push((*first, payload.to_vec()));
        output = rest;
    }
    assert!(output.is_empty(), "half a frame was sent");
    frames
}
