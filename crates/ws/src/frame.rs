//! Frames, RFC 6455 section 5.2: heads that come at any split, masks, and what a server sends.

use crate::failure::Failure;
use std::io::Cursor;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// The longest head: two bytes, eight of length, four of mask.
const LONGEST_HEAD: usize = 14;

/// The longest payload of a control frame, RFC 6455 section 5.5.
pub(crate) const LONGEST_CONTROL: usize = 125;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Binary,
    Continuation,
    Close,
    Ping,
    Pong,
}

impl Kind {
    pub(crate) fn is_data(self) -> bool {
        matches!(self, Self::Text | Self::Binary | Self::Continuation)
    }
}

/// A frame whose head is read, and so much of its payload as was taken.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    pub(crate) is_final: bool,
    pub(crate) is_compressed: bool,
    /// Bytes of the payload still to come.
    pub(crate) remaining: u64,
    mask: [u8; 4],
}

impl Frame {
    /// The next bytes of the payload, unmasked, at the end of `payload`.
    pub(crate) fn take(&mut self, input: &mut &[u8], payload: &mut Vec<u8>) {
        let length = usize::try_from(self.remaining).map_or(input.len(), |n| n.min(input.len()));
        let (masked, rest) = input.split_at(length);
        let start = payload.len();
        payload.extend_from_slice(masked);
        unmask(&mut payload[start..], self.mask);
        self.mask.rotate_left(length % 4);
        self.remaining -= length as u64;
        *input = rest;
    }
}

/// RFC 6455 section 5.3, sixteen bytes at a time, which compilers make one instruction of.
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let mask: [u8; 16] = std::array::from_fn(|i| mask[i % 4]);
    let (chunks, rest) = payload.as_chunks_mut();
    for chunk in chunks {
        *chunk = (u128::from_ne_bytes(*chunk) ^ u128::from_ne_bytes(mask)).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

/// So much of a head as has come.
#[derive(Debug, Default)]
pub(crate) struct Head {
    bytes: [u8; LONGEST_HEAD],
    length: u8,
}

impl Head {
    /// Reads on, and gives the frame once its head is whole. What it may not say is in RFC 6455 sections 5.1, 5.2
    /// and 5.5, and for the first reserved bit in RFC 7692 section 6.
    pub(crate) fn take(
        &mut self,
        input: &mut &[u8],
        compression: bool,
    ) -> Result<Option<Frame>, Failure> {
        let held = usize::from(self.length);
        let length = input.len().min(LONGEST_HEAD - held);
        self.bytes[held..held + length].copy_from_slice(&input[..length]);
        let mut cursor = Cursor::new(&self.bytes[..held + length]);
        let parsed = FrameHeader::parse(&mut cursor).map_err(|_| Failure::Opcode)?;
        let Some((header, payload)) = parsed else {
            self.length += length as u8;
            *input = &input[length..];
            return Ok(None);
        };
        let end = cursor.position() as usize;
        *input = &input[end - held..];
        self.length = 0;

        let kind = match header.opcode {
            OpCode::Data(Data::Continue) => Kind::Continuation,
            OpCode::Data(Data::Text) => Kind::Text,
            OpCode::Data(Data::Binary) => Kind::Binary,
            OpCode::Control(Control::Close) => Kind::Close,
            OpCode::Control(Control::Ping) => Kind::Ping,
            OpCode::Control(Control::Pong) => Kind::Pong,
            OpCode::Data(Data::Reserved(_)) | OpCode::Control(Control::Reserved(_)) => {
                return Err(Failure::Opcode);
            }
        };
        let compressible = compression && matches!(kind, Kind::Text | Kind::Binary);
        if header.rsv2 || header.rsv3 || (header.rsv1 && !compressible) {
            return Err(Failure::Reserved);
        }
        if end != header.len(payload) || payload > u64::MAX >> 1 {
            return Err(Failure::Length);
        }
        if !kind.is_data() && (!header.is_final || payload > LONGEST_CONTROL as u64) {
            return Err(Failure::Control);
        }
        Ok(Some(Frame {
            kind,
            is_final: header.is_final,
            is_compressed: header.rsv1,
            remaining: payload,
            mask: header.mask.ok_or(Failure::Unmasked)?,
        }))
    }
}

/// Writes a whole message or control frame: a server sends no fragments and no masks.
pub(crate) fn write(kind: Kind, is_compressed: bool, payload: &[&[u8]], output: &mut Vec<u8>) {
    let length: usize = payload.iter().map(|part| part.len()).sum();
    let opcode = match kind {
        Kind::Continuation => OpCode::Data(Data::Continue),
        Kind::Text => OpCode::Data(Data::Text),
        Kind::Binary => OpCode::Data(Data::Binary),
        Kind::Close => OpCode::Control(Control::Close),
        Kind::Ping => OpCode::Control(Control::Ping),
        Kind::Pong => OpCode::Control(Control::Pong),
    };
    let header = FrameHeader {
        rsv1: is_compressed,
        opcode,
        ..FrameHeader::default()
    };
    output.reserve(LONGEST_HEAD + length);
    header
        .format(length as u64, output)
        .expect("a vector takes all that is written");
    for part in payload {
        output.extend_from_slice(part);
    }
}

/// The bytes that [`write`] adds.
pub(crate) fn length(payload: &[&[u8]]) -> usize {
    let payload: usize = payload.iter().map(|part| part.len()).sum();
    FrameHeader::default().len(payload as u64) + payload
}
