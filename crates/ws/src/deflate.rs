//! The compression of messages, RFC 7692 section 7.2, without a context that outlives one.

use crate::failure::Failure;
use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Inflate, InflateFlush, Status};

/// The empty stored block that a flush ends in, and that is not sent.
pub(crate) const FLUSHED: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// What is added to a message to decompress it: what was not sent, and an empty last block. Only where that one
/// is found to be the last was the message whole.
const END: [u8; 6] = [0x00, 0x00, 0xff, 0xff, 0x03, 0x00];

/// The least that is decompressed at once, in bytes: smaller costs calls, larger costs zeroing.
const LEAST_OUTPUT: usize = 1024;

/// The shortest message that is compressed, in bytes. In a shorter one the head of a block takes what compression
/// would save; a much longer one would leave most frames of a chat as they are.
const LEAST_COMPRESSED: usize = 200;

/// Of the levels 0 to 9. Level 1 leaves a frame of 250 bytes at 86 % of its size, level 3 at 72 %, in 4 and 7
/// microseconds; level 9 gains nothing before some ten thousand bytes, and takes three times as long there.
const LEVEL: i32 = 3;

/// Of the memory levels 1 to 9. Level 8, the usual one, takes 100 KB more, and makes no message shorter.
const MEMORY_LEVEL: i32 = 5;

/// Decompresses a whole message, made with a window of any size, of at most `limit` bytes.
pub(crate) fn unfold(compressed: &[u8], limit: usize) -> Result<Vec<u8>, Failure> {
    // A smaller window would take the same 32 KiB: zlib-rs makes room for the largest.
    let mut inflate = Inflate::new(false, 15);
    let mut message = Vec::new();
    run(&mut inflate, compressed, &mut message, limit)?;
    // No block is open: some leave out the empty one of a message without bytes, or after a last block.
    let between = inflate.total_in() == 0;
    match between || run(&mut inflate, &END, &mut message, limit)? {
        true => Ok(message),
        false => Err(Failure::Deflate),
    }
}

/// Decompresses the next bytes of a message, at its end. Tells whether they ended with a last block.
fn run(
    inflate: &mut Inflate,
    mut input: &[u8],
    message: &mut Vec<u8>,
    limit: usize,
) -> Result<bool, Failure> {
    loop {
        let start = message.len();
        // One byte more than may be there tells a message that is too big from one that just fits.
        let room = (limit - start)
            .saturating_add(1)
            .min(LEAST_OUTPUT.max(2 * input.len()).max(start));
        message.resize(start + room, 0);
        let (consumed, written) = (inflate.total_in(), inflate.total_out());
        let status = inflate.decompress(input, &mut message[start..], InflateFlush::NoFlush);
        let written = (inflate.total_out() - written) as usize;
        input = &input[(inflate.total_in() - consumed) as usize..];
        message.truncate(start + written);
        if message.len() > limit {
            return Err(Failure::TooBig);
        }
        match status.map_err(|_| Failure::Deflate)? {
            // A sender may set the final bit, and begin again: RFC 7692 section 7.2.3.4.
            Status::StreamEnd => {
                inflate.reset(false);
                if input.is_empty() {
                    return Ok(true);
                }
            }
            Status::Ok | Status::BufError if written < room => return Ok(false),
            Status::Ok | Status::BufError => {}
        }
    }
}

/// A message compressed, where that is worth it.
pub(crate) fn shorten(message: &[u8], window_bits: u8) -> Option<Vec<u8>> {
    if message.len() < LEAST_COMPRESSED {
        return None;
    }
    compress(message, window_bits).filter(|compressed| compressed.len() < message.len())
}

/// Compresses a message, or the beginning of one, with a window of two to the power of `window_bits` bytes, 9 to
/// 15. The empty stored block at the end is left out.
pub(crate) fn compress(message: &[u8], window_bits: u8) -> Option<Vec<u8>> {
    let mut deflate = Deflate::new_with_config(DeflateConfig {
        window_bits: -i32::from(window_bits),
        level: LEVEL,
        mem_level: MEMORY_LEVEL,
        ..DeflateConfig::default()
    });
    let mut output = vec![0; message.len() / 2 + 64];
    loop {
        let (consumed, written) = (deflate.total_in() as usize, deflate.total_out() as usize);
        deflate
            .compress(
                &message[consumed..],
                &mut output[written..],
                DeflateFlush::SyncFlush,
            )
            .ok()?;
        let written = deflate.total_out() as usize;
        if written < output.len() {
            output.truncate(written);
            break;
        }
        output.resize(2 * written, 0);
    }
    debug_assert!(output.ends_with(&FLUSHED));
    output.truncate(output.len() - FLUSHED.len());
    Some(output)
}

/// What follows a message of which only the beginning is compressed: the rest, stored as it is.
pub(crate) fn stored(rest: &[u8]) -> Vec<u8> {
    let mut blocks = Vec::new();
    for block in rest.chunks(usize::from(u16::MAX)) {
        let length = block.len() as u16;
        // The end of the empty block before, and the head of this one.
        blocks.extend(FLUSHED);
        blocks.push(0);
        blocks.extend(length.to_le_bytes());
        blocks.extend((!length).to_le_bytes());
        blocks.extend(block);
        blocks.push(0);
    }
    blocks
}
