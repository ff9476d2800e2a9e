//! A document of scripts.

use super::frames;
use crate::subject::Subject;
use crate::witter;

pub(crate) const SUBJECT: Subject = Subject {
    name: "htmlfile",
    start: witter::start,
    publish: witter::publish,
    read: |target, inbox| Box::pin(frames::read("htmlfile", "&callback=f", target, inbox)),
};
