//! A stream of JSON frames.

use super::frames;
use crate::subject::{Delivery, Subject};
use crate::witter;

pub(crate) const SUBJECT: Subject =
    witter::subject("witter xhr-streaming", Delivery::Stream, |target, inbox| {
        Box::pin(frames::read("xhr-streaming", "", target, inbox))
    });
