//! What a change of a room leaves to do for the person whom it concerns.

use crate::{Kind, Person};

/// What is done to somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// They are put out, or their invitation is taken back.
    Remove,
    /// They are given another role.
    Role,
    /// They may neither read nor publish.
    Ban,
    /// They may not publish.
    Mute,
}

/// What was done to somebody, now that the room's document says so.
#[derive(Clone, Copy, Debug)]
pub struct Done<'a> {
    /// What.
    pub deed: Deed,
    /// By whom.
    pub by: &'a str,
    /// Where.
    pub channel: &'a str,
    /// It was not so before.
    pub changed: bool,
    /// The room knew them before, see [`Room::knows`](crate::Room::knows).
    pub was_there: bool,
}

/// What is left to do for them, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aftermath {
    /// Their open readers are asked about again.
    pub ask: bool,
    /// The room is taken from their document.
    pub forget: bool,
    /// They are told.
    pub tell: bool,
}

impl Done<'_> {
    /// What is left to do for this person.
    ///
    /// Whoever did it may have been cut off behind the room's document, and does it again: then it is no change any more,
    /// and what was left undone is found by the person's document, which names the room until their readers were asked
    /// about. Of a ban in a channel that anybody may read there is no such trace: it is asked about again each time. That
    /// costs no more than to lift it and to ban again would.
    ///
    /// Who was never there is not told, nor who hears nothing of who did it: else whoever owns a room would write into
    /// the channel of anybody. That somebody is muted concerns no reader.
    #[must_use]
    pub fn leaves(&self, person: &Person) -> Aftermath {
        let noted = person.room(self.channel).is_some();
        let concerned = noted || self.was_there;
        Aftermath {
            ask: match self.deed {
                Deed::Remove | Deed::Role => concerned,
                Deed::Ban => concerned || Kind::of(self.channel) != Kind::Private,
                Deed::Mute => false,
            },
            forget: noted && matches!(self.deed, Deed::Remove | Deed::Ban),
            tell: self.changed && self.was_there && !person.blocks(self.by),
        }
    }
}
