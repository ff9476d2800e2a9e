use super::{Frame, Framing, PADDING, StreamFraming, denied, one_line, refused};
use crate::Error;
use crate::query::Query;

/// How long a browser waits before it reopens, in milliseconds. Shorter: a server that comes back meets
/// all its readers in one moment; longer: a cut is felt.
const RETRY: u32 = 1000;

/// Server-sent events (WHATWG HTML, section 9.2).
///
/// | frame     | event                                                              |
/// |-----------|--------------------------------------------------------------------|
/// | open      | `cursor`, data `{}`, id the cursor                                 |
/// | envelope  | the default (`message`), data the envelope, id the cursor          |
/// | gap       | `gap`, data `{"channel","after","resumed"}`, id the cursor         |
/// | state     | `state`, data `{"channel",…}`                                      |
/// | denied    | `denied`, data `{"channel","error","detail"}`                      |
/// | end       | `end`, data `{"end":"reopen"}` or `{"end":code,"detail"}`          |
/// | heartbeat | the comment `:hb`; or the event `heartbeat`, data `{}`             |
///
/// An `EventSource` shows its page no comment, so that a page cannot tell a silent stream from a dead one:
/// whoever asks for beats gets events. Who does not has none in a loop over all events. A beat has no id, and
/// the last one stands.
///
/// Every event has data: browsers drop one without, and Firefox its id as well. A comment or a `retry`
/// stands without an empty line behind it, since httpx-sse (Python) takes such a block for an event.
/// The field `id` comes behind `data`, so that all before it is the same for every reader.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sse {
    beats: Beats,
}

/// What a heartbeat is.
#[derive(Clone, Copy, Debug, Default)]
enum Beats {
    #[default]
    Comments,
    Events,
}

impl Sse {
    /// Looks for the parameter `heartbeat`: where it is named, beats are events.
    ///
    /// # Errors
    /// 400 for what is no query.
    pub fn from_query(query: &str) -> Result<Self, Error> {
        let named = Query::parse(query)?.all("heartbeat").next().is_some();
        let beats = if named {
            Beats::Events
        } else {
            Beats::Comments
        };
        Ok(Self { beats })
    }
}

impl Framing for Sse {
    const CONTENT_TYPE: &'static str = "text/event-stream";

    fn refusal(&self, error: &Error) -> Vec<u8> {
        refused(self, error)
    }
}

impl StreamFraming for Sse {
    fn prelude(&self) -> Vec<u8> {
        format!(":{:PADDING$}\nretry: {RETRY}\n", "").into_bytes()
    }

    fn head(envelope: &str, out: &mut Vec<u8>) {
        field("data", envelope, out);
    }

    fn tail(cursor: &str, out: &mut Vec<u8>) {
        field("id", cursor, out);
        out.push(b'\n');
    }

    fn body(&self, frame: &Frame<'_>, out: &mut Vec<u8>) {
        match frame {
            Frame::Open { cursor } => {
                field("event", "cursor", out);
                field("data", "{}", out);
                Self::tail(cursor, out);
            }
            Frame::Envelope { envelope, cursor } => {
                Self::head(envelope, out);
                Self::tail(cursor, out);
            }
            Frame::Gap { gap, cursor } => {
                field("event", "gap", out);
                field("data", &gap.to_json(), out);
                Self::tail(cursor, out);
            }
            Frame::Heartbeat => match self.beats {
                Beats::Comments => out.extend_from_slice(b":hb\n"),
                Beats::Events => {
                    field("event", "heartbeat", out);
                    field("data", "{}", out);
                    out.push(b'\n');
                }
            },
            Frame::State { state } => {
                field("event", "state", out);
                field("data", state, out);
                out.push(b'\n');
            }
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

fn field(name: &str, value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    one_line(value, out);
    out.push(b'\n');
}
