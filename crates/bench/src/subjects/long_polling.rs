//! A poll that is held until there is something, and then the next.

use super::batch;
use crate::subject::{Delivery, Subject};
use crate::witter;

pub(crate) const SUBJECT: Subject =
    witter::subject("witter long-polling", Delivery::Held, |target, inbox| {
        Box::pin(batch::again("long-polling", "", target, inbox))
    });
