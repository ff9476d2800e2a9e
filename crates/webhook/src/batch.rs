//! What is sent at once.

use crate::progress::Extent;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mailbox::{Gap, Message, Position};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Messages of one channel in the order of their offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Follows from the channel, its log's epoch, and the first and the last offset; 36 characters without a full stop.
    pub id: String,
    /// Where they were published.
    pub channel: String,
    /// What was lost before them.
    pub gap: Option<Gap>,
    /// One at least.
    pub messages: Vec<Message>,
    /// The place behind them.
    pub(crate) end: Position,
}

impl Batch {
    pub(crate) fn new(
        channel: &str,
        extent: Extent,
        gap: Option<Gap>,
        messages: Vec<(Position, Message)>,
    ) -> Self {
        Self {
            id: id(channel, extent),
            channel: channel.to_owned(),
            gap,
            end: messages.last().map(|(place, _)| *place).unwrap_or_default(),
            messages: messages.into_iter().map(|(_, message)| message).collect(),
        }
    }

    /// What is sent of it, as JSON text: `{"type":"messages","timestamp":T,"data":{"channel":C,"envelopes":[…]}}`, and
    /// `"gap":{"after","resumed"}` in the data where messages were lost. `envelope` makes the text of one.
    ///
    /// The same batch gives the same text, whoever sends it: the timestamp is that of the last message.
    #[must_use]
    pub fn payload(&self, envelope: impl Fn(&str, &Message) -> String) -> String {
        let sent_at = self.messages.last().map_or(0, |message| message.sent_at);
        let envelopes: Vec<_> = self
            .messages
            .iter()
            .map(|message| envelope(&self.channel, message))
            .collect();
        let gap = self.gap.map_or_else(String::new, |Gap { after, resumed }| {
            format!(r#","gap":{}"#, json!({"after": after, "resumed": resumed}))
        });
        format!(
            r#"{{"type":"messages","timestamp":{},"data":{{"channel":{},"envelopes":[{}]{gap}}}}}"#,
            Value::from(timestamp(sent_at)),
            Value::from(self.channel.as_str()),
            envelopes.join(","),
        )
    }
}

/// Of a channel's name nothing is to be seen in it: names have full stops, which an id may not (Standard Webhooks,
/// "Signature scheme").
fn id(channel: &str, extent: Extent) -> String {
    let Extent { epoch, first, last } = extent;
    let digest = Sha256::digest(format!("{channel}/{epoch}/{first}/{last}"));
    format!("msg_{}", URL_SAFE_NO_PAD.encode(&digest[..24]))
}

/// RFC 3339, of milliseconds since 1970.
fn timestamp(ms: u64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000);
    let text = time.ok().and_then(|time| time.format(&Rfc3339).ok());
    // Of times behind the year 9999.
    text.unwrap_or_else(|| "9999-12-31T23:59:59Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(gap: Option<Gap>) -> Batch {
        let message = |offset| Message {
            offset,
            id: String::new(),
            sender: String::new(),
            name: String::new(),
            sent_at: 1_700_000_000_000 + offset,
            body: format!("{offset}.0"),
            refers: None,
        };
        let place = |offset| Position {
            epoch: 3,
            offset,
            tag: 1,
        };
        let extent = Extent {
            epoch: 3,
            first: 4,
            last: 5,
        };
        let messages = [4, 5].map(|offset| (place(offset), message(offset)));
        Batch::new("a.b", extent, gap, messages.into())
    }

    #[test]
    fn a_payload_has_the_envelopes_as_they_are() {
        let text = batch(None).payload(|channel, message| format!("{channel}:{}", message.body));
        assert_eq!(
            text,
            r#"{"type":"messages","timestamp":"2023-11-14T22:13:20.005Z","data":{"channel":"a.b","envelopes":[a.b:4.0,a.b:5.0]}}"#
        );
        let gap = Gap {
            after: 1,
            resumed: 3,
        };
        let text = batch(Some(gap)).payload(|_, _| "{}".to_owned());
        assert!(
            text.ends_with(r#""envelopes":[{},{}],"gap":{"after":1,"resumed":3}}}"#),
            "{text}"
        );
    }

    #[test]
    fn an_id_tells_batches_apart_and_has_no_full_stop() {
        let extent = |epoch, first, last| Extent { epoch, first, last };
        let one = id("a.b", extent(3, 4, 5));
        assert_eq!(one, batch(None).id);
        assert!(!one.contains('.'));
        assert_eq!(one.len(), 36);
        for other in [
            id("a.c", extent(3, 4, 5)),
            id("a.b", extent(2, 4, 5)),
            id("a.b", extent(3, 3, 5)),
            id("a.b", extent(3, 4, 6)),
        ] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn times_without_end_are_told_as_the_last() {
        assert_eq!(timestamp(0), "1970-01-01T00:00:00Z");
        assert_eq!(timestamp(u64::MAX), "9999-12-31T23:59:59Z");
    }
}
