use crate::json::Object;

/// A stored message as one JSON object:
/// `{"channel","offset","id","sender","name","sent_at","body"}`.
///
/// `sent_at` is in milliseconds since 1970. `body` is JSON text that [`Draft`](crate::Draft) let through;
/// it is inserted as it is, so the result has no line break and no other character below U+0020: JSON
/// allows them only escaped (RFC 8259, section 7), or between tokens, where a draft has none.
#[must_use]
pub fn envelope(
    channel: &str,
    offset: u64,
    id: &str,
    sender: &str,
    name: &str,
    sent_at: u64,
    body: &str,
) -> String {
    let texts = [channel, id, sender, name, body];
    Object::with_room(texts.iter().map(|text| text.len()).sum())
        .text("channel", channel)
        .number("offset", offset)
        .text("id", id)
        .text("sender", sender)
        .text("name", name)
        .number("sent_at", sent_at)
        .raw("body", body)
        .end()
}
