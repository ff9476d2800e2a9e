//! A stream of server-sent events.

use anyhow::{Result, bail};

use super::lines;
use crate::run::Inbox;
use crate::subject::{Subject, Target};
use crate::witter;

pub(crate) const SUBJECT: Subject = Subject {
    name: "sse",
    start: witter::start,
    publish: witter::publish,
    read: |target, inbox| Box::pin(read(target, inbox)),
};

async fn read(target: Target, inbox: Inbox) -> Result<()> {
    let request = witter::get("sse", &inbox.after(), &target);
    let take = |line: &[u8]| {
        if let Some(envelope) = line.strip_prefix(b"data: ") {
            inbox.receive(envelope);
        } else if let Some(cursor) = line.strip_prefix(b"id: ") {
            inbox.set_cursor(cursor);
        } else if line == b"event: gap" {
            inbox.gap();
        }
    };
    lines::each(&target, &request, take).await?;
    bail!("the stream ended")
}
