//! A poll that is held until there is something, and then the next.

use super::batch;
use crate::subject::Subject;
use crate::witter;

pub(crate) const SUBJECT: Subject = Subject {
    name: "long-polling",
    start: witter::start,
    publish: witter::publish,
    read: |target, inbox| Box::pin(batch::again("long-polling", "", target, inbox)),
};
