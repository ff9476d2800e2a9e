//! Long polling by script elements.

use super::batch;
use crate::subject::Subject;
use crate::witter;

pub(crate) const SUBJECT: Subject = Subject {
    name: "jsonp-polling",
    start: witter::start,
    publish: witter::publish,
    read: |target, inbox| Box::pin(batch::again("jsonp-polling", "&callback=f", target, inbox)),
};
