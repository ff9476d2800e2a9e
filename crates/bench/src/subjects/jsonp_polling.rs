//! Long polling by script elements.

use super::batch;
use crate::subject::{Delivery, Subject};
use crate::witter;

pub(crate) const SUBJECT: Subject =
    witter::subject("witter jsonp-polling", Delivery::Held, |target, inbox| {
        Box::pin(batch::again("jsonp-polling", "&callback=f", target, inbox))
    });
