//! A stream of JSON frames.

use super::frames;
use crate::subject::Subject;
use crate::witter;

pub(crate) const SUBJECT: Subject = Subject {
    name: "xhr-streaming",
    start: witter::start,
    publish: witter::publish,
    read: |target, inbox| Box::pin(frames::read("xhr-streaming", "", target, inbox)),
};
