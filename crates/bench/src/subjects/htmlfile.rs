//! A document of scripts.

use super::frames;
use crate::subject::{Delivery, Subject};
use crate::witter;

pub(crate) const SUBJECT: Subject =
    witter::subject("witter htmlfile", Delivery::Stream, |target, inbox| {
        Box::pin(frames::read("htmlfile", "&callback=f", target, inbox))
    });
