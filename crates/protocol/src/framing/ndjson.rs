use super::{
    ENVELOPE, Frame, Framing, LONGEST_KEPT, MOST_KEPT, PADDING, StreamFraming, one_line, refused,
};
use crate::Error;

/// One frame of JSON a line, for a page that reads `responseText` while it grows.
///
/// The padding is white space before the first frame's value, on the same line: who reads lines as JSON
/// needs no rule for it. A page may cut a frame anywhere; what is behind the last line feed is not whole yet.
#[derive(Clone, Copy, Debug, Default)]
pub struct NdJson;

impl Framing for NdJson {
    const CONTENT_TYPE: &'static str = "application/x-ndjson";

    fn refusal(&self, error: &Error) -> Vec<u8> {
        refused(self, error)
    }
}

impl StreamFraming for NdJson {
    const MOST_BYTES: usize = MOST_KEPT;
    const LONGEST: u32 = LONGEST_KEPT;

    fn prelude(&self) -> Vec<u8> {
        vec![b' '; PADDING]
    }

    fn head(envelope: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(ENVELOPE.as_bytes());
        one_line(envelope, out);
    }

    fn tail(cursor: &str, out: &mut Vec<u8>) {
        one_line(&Frame::behind(cursor), out);
    }

    fn body(&self, frame: &Frame<'_>, out: &mut Vec<u8>) {
        one_line(&frame.to_json(), out);
    }

    fn close(&self, out: &mut Vec<u8>) {
        out.push(b'\n');
    }
}
