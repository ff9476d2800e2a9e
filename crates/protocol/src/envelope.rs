use crate::Refers;
use crate::json::Object;

/// A stored message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// Where it was published.
    pub channel: &'a str,
    /// Its place among the channel's messages, from 1.
    pub offset: u64,
    /// What its sender calls it.
    pub id: &'a str,
    /// Who published it.
    pub sender: &'a str,
    /// What they are called.
    pub name: &'a str,
    /// Milliseconds since 1970.
    pub sent_at: u64,
    /// The message that it is about.
    pub refers: Option<Refers>,
    /// JSON text that [`Draft`](crate::Draft) let through.
    pub body: &'a str,
}

impl Envelope<'_> {
    /// `{"channel","offset","id","sender","name","sent_at","body"}`, and `"refers"` before the body where it is
    /// about another message.
    ///
    /// The body is inserted as it is, so the result has no line break and no other character below U+0020: JSON
    /// allows them only escaped (RFC 8259, section 7), or between tokens, where a draft has none.
    #[must_use]
    pub fn to_json(&self) -> String {
        let texts = [self.channel, self.id, self.sender, self.name, self.body];
        let object = Object::with_room(texts.iter().map(|text| text.len()).sum())
            .text("channel", self.channel)
            .number("offset", self.offset)
            .text("id", self.id)
            .text("sender", self.sender)
            .text("name", self.name)
            .number("sent_at", self.sent_at);
        let object = match self.refers {
            Some(refers) => object.raw("refers", &refers.to_json()),
            None => object,
        };
        object.raw("body", self.body).end()
    }
}
