use std::convert::Infallible;
use std::fmt;

use eventsource_stream::{Event, EventStream, Eventsource};
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::{FutureExt, StreamExt};

use crate::{Error, Parser};

/// Server-sent events. Each is told as the frame of JSON that means the same.
pub struct Sse {
    bytes: UnboundedSender<Piece>,
    events: EventStream<UnboundedReceiver<Piece>>,
}

type Piece = Result<Vec<u8>, Infallible>;

impl Default for Sse {
    fn default() -> Self {
        let (bytes, pieces) = unbounded();
        Self {
            bytes,
            events: pieces.eventsource(),
        }
    }
}

impl Parser for Sse {
    fn feed(&mut self, bytes: &[u8]) -> Result<Vec<String>, Error> {
        self.bytes
            .unbounded_send(Ok(bytes.to_vec()))
            .expect("both ends are here");
        let mut texts = Vec::new();
        while let Some(Some(event)) = self.events.next().now_or_never() {
            texts.push(frame(
                event.map_err(|error| Error::Events(error.to_string()))?,
            )?);
        }
        Ok(texts)
    }
}

impl fmt::Debug for Sse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sse").finish_non_exhaustive()
    }
}

/// The frame that an event is. Ids and data are put together as the texts that they are.
fn frame(event: Event) -> Result<String, Error> {
    let Event {
        event, data, id, ..
    } = event;
    let id = serde_json::Value::from(id);
    Ok(match event.as_str() {
        "cursor" if data == "{}" => format!(r#"{{"open":true,"cursor":{id}}}"#),
        "message" => format!(r#"{{"envelope":{data},"cursor":{id}}}"#),
        "gap" => format!(r#"{{"gap":{data},"cursor":{id}}}"#),
        "state" => format!(r#"{{"state":{data}}}"#),
        "denied" => format!(r#"{{"denied":{data}}}"#),
        "heartbeat" if data == "{}" => r#"{"heartbeat":true}"#.to_owned(),
        "end" => data,
        _ => return Err(Error::Event { event, data }),
    })
}
