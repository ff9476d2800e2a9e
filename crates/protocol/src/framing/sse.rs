use super::{Frame, StreamFraming, denied};

/// How long a browser waits before it reopens, in milliseconds. Shorter: a server that comes back meets
/// all its readers in one moment; longer: a cut is felt.
const RETRY: u32 = 1000;

/// Internet Explorer's `XDomainRequest`, under which libraries build an `EventSource`, hands nothing over
/// before the first 2 KiB; some proxies and virus scanners hold back a first buffer of that order too.
const PADDING: usize = 2048;

/// Server-sent events (WHATWG HTML, section 9.2).
///
/// | frame     | event                                                              |
/// |-----------|--------------------------------------------------------------------|
/// | open      | `cursor`, data `{}`, id the cursor                                 |
/// | envelope  | the default (`message`), data the envelope, id the cursor          |
/// | gap       | `gap`, data `{"channel","after","resumed"}`, id the cursor         |
/// | denied    | `denied`, data `{"channel","error","detail"}`                      |
/// | end       | `end`, data `{"end":reason}`                                       |
/// | heartbeat | the comment `:hb`                                                  |
///
/// Every event has data: browsers drop one without, and Firefox its id as well. A comment or a `retry`
/// stands without an empty line behind it, since httpx-sse (Python) takes such a block for an event.
/// The field `id` comes behind `data`, so that all before it is the same for every reader.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sse;

impl StreamFraming for Sse {
    const CONTENT_TYPE: &'static str = "text/event-stream";

    fn prelude(&self) -> Vec<u8> {
        format!(":{:PADDING$}\nretry: {RETRY}\n", "").into_bytes()
    }

    fn head(&self, envelope: &str, out: &mut Vec<u8>) {
        field("data", envelope, out);
    }

    fn tail(&self, cursor: &str, out: &mut Vec<u8>) {
        field("id", cursor, out);
        out.push(b'\n');
    }

    fn write(&self, frame: &Frame<'_>, out: &mut Vec<u8>) {
        match frame {
            Frame::Open { cursor } => {
                field("event", "cursor", out);
                field("data", "{}", out);
                self.tail(cursor, out);
            }
            Frame::Envelope { envelope, cursor } => {
                self.head(envelope, out);
                self.tail(cursor, out);
            }
            Frame::Gap { gap, cursor } => {
                field("event", "gap", out);
                field("data", &gap.to_json(), out);
                self.tail(cursor, out);
            }
            Frame::Heartbeat => out.extend_from_slice(b":hb\n"),
            Frame::Denied { channel, error } => {
                field("event", "denied", out);
                field("data", &denied(channel, error), out);
                out.push(b'\n');
            }
            Frame::End { .. } => {
                field("event", "end", out);
                field("data", &frame.to_json(), out);
                out.push(b'\n');
            }
        }
    }
}

/// One line of the stream. A value that would break it in two, or make a parser drop it, is told with
/// spaces instead: JSON has CR, LF and NUL at most between tokens, where a space means the same.
fn field(name: &str, value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend(value.bytes().map(|byte| {
        if matches!(byte, b'\r' | b'\n' | 0) {
            b' '
        } else {
            byte
        }
    }));
    out.push(b'\n');
}
