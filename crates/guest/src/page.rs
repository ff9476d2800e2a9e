//! A page of the messenger, in this side's types.

use crate::messenger::{self, Feed};
use crate::room::Heard;
use crate::types;
use protocol::{Position, Start};
use std::rc::Rc;

pub(crate) struct Page {
    pub(crate) gap: Option<types::Gap>,
    pub(crate) from: Position,
    pub(crate) messages: Vec<Rc<Heard>>,
    pub(crate) next: Position,
    pub(crate) more: bool,
}

/// `messenger.feed.receive`.
pub(crate) async fn receive(
    feed: &Feed,
    start: Start,
    limit: u32,
    wait_ms: u32,
) -> Result<Page, types::Error> {
    let start = match start {
        Start::Live => messenger::Start::Live,
        Start::Newest(count) => messenger::Start::Newest(count),
        Start::After(Position { epoch, offset, tag }) => {
            messenger::Start::After(types::Position { epoch, offset, tag })
        }
    };
    let page = feed.receive(start, limit, wait_ms).await?;
    Ok(Page {
        gap: page.gap,
        from: inward(page.from),
        messages: page
            .entries
            .into_iter()
            .map(|entry| Rc::new(Heard::new(inward(entry.at), entry.envelope)))
            .collect(),
        next: inward(page.next),
        more: page.more,
    })
}

fn inward(position: types::Position) -> Position {
    Position {
        epoch: position.epoch,
        offset: position.offset,
        tag: position.tag,
    }
}
