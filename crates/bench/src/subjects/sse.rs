//! A stream of server-sent events.

use anyhow::{Result, bail};

use super::lines;
use crate::run::Inbox;
use crate::subject::{Delivery, Subject, Target};
use crate::witter;

pub(crate) const SUBJECT: Subject =
    witter::subject("witter sse", Delivery::Stream, |target, inbox| {
        Box::pin(read(target, inbox))
    });

async fn read(target: Target, inbox: Inbox) -> Result<()> {
    let request = witter::get("sse", &inbox.after(), &target);
    let mut event = Event::default();
    lines::each(&target, &request, |line| event.take(line, &inbox)).await?;
    bail!("the stream ended")
}

/// The event whose lines come: it counts when all of it is there, as an EventSource has it.
#[derive(Default)]
pub(super) struct Event {
    data: Vec<u8>,
    id: Vec<u8>,
}

impl Event {
    pub(super) fn take(&mut self, line: &[u8], inbox: &Inbox) {
        if let Some(message) = line.strip_prefix(b"data: ") {
            self.data.extend_from_slice(message);
        } else if let Some(id) = line.strip_prefix(b"id: ") {
            self.id.clear();
            self.id.extend_from_slice(id);
        } else if line == b"event: gap" {
            inbox.gap();
        } else if line.is_empty() {
            if !self.data.is_empty() {
                inbox.receive(&self.data);
                self.data.clear();
            }
            if !self.id.is_empty() {
                inbox.set_cursor(&self.id);
                self.id.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Run;

    #[test]
    fn an_event_counts_at_its_end() {
        let run = Run::new(1, 1);
        let mut event = Event::default();
        for (line, cursor, deliveries, gaps) in [
            ("id: a", "", 0, 0),
            ("data: {\"body\":\"^0.0.5^\"}", "", 0, 0),
            ("", "a", 1, 0),
            (": hi", "a", 1, 0),
            ("", "a", 1, 0),
            ("event: gap", "a", 1, 1),
            ("id: b", "a", 1, 1),
            ("", "b", 1, 1),
        ] {
            event.take(line.as_bytes(), &run.inbox(0));
            assert_eq!(run.inbox(0).cursor(), cursor, "{line}");
            assert_eq!((run.deliveries(), run.faults().gaps), (deliveries, gaps));
        }
    }
}
