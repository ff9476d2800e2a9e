//! Who belongs to a room, and what they may do there.
//!
//! Three kinds of documents. A [`Room`] says who its members are, who is invited, banned or muted, and how slowly
//! one speaks; it decides. A [`Person`] says in which rooms somebody is, which invitations wait and whom they
//! blocked; of rooms it is an index, written before the room when something is added and after it when something
//! goes, so that it names every room whose document names the person. [`Paces`] say who spoke last when, where one
//! speaks slowly.
//!
//! # Ranks
//! Owner > moderator > member > nobody, and above all the deployment's own moderators: those whom the policy lets
//! moderate without a role; of a private room these must be members, as everybody else. Whoever acts on somebody must
//! outrank them, so nobody acts on their equals, nor on themselves; to leave a room, or to give up a role, needs no rank.
//!
//! | who | may |
//! |---|---|
//! | moderators, owners | invite, remove, ban, mute, set how slowly one speaks |
//! | owners | give and take roles |
//!
//! A room that had an owner has one as long as it has members: where the last one goes, the moderator who is in it
//! for the longest becomes one, else such a member. A private room that its last member has left is over: the
//! invitations go with it.
//!
//! Time is handed in, in milliseconds since 1970. What a refused change leaves behind is what was there before.

mod aftermath;
mod names;
mod paces;
mod person;
mod room;

pub use aftermath::{Aftermath, Deed, Done};
pub use names::{
    Kind, direct_channel, own_channel, pace_document, person_document, private_channel,
    room_document,
};
pub use paces::Paces;
pub use person::{Entry, Person, Standing};
pub use room::{Invitation, Limit, Member, Room};

use serde::{Deserialize, Serialize};

/// The most members of a room, those who are invited included. More do not fit one value of common stores.
pub const MOST_MEMBERS: usize = 1_000;
/// The most bans of a room, and the most mutes. Those that are over make room for others.
pub const MOST_LIMITS: usize = 500;
/// The most rooms of a person.
pub const MOST_ROOMS: usize = 1_000;
/// The most of them that others put there: more would let strangers fill somebody's rooms.
pub const MOST_WAITING: usize = 200;
/// The most people whom somebody blocks.
pub const MOST_BLOCKED: usize = 500;
/// The largest document, in bytes.
pub const LARGEST: usize = 65_536;
/// The longest time between two messages of a member, in seconds: six hours.
pub const LONGEST_SLOW: u32 = 6 * 60 * 60;

/// What a member is in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads and publishes.
    Member,
    /// Acts on members too.
    Moderator,
    /// Acts on moderators too, and gives roles.
    Owner,
}

/// What somebody weighs in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rank {
    /// No member.
    Nobody,
    /// A member.
    Member,
    /// A moderator.
    Moderator,
    /// An owner.
    Owner,
    /// One whom the policy lets moderate here without a role.
    Deployment,
}

impl From<Option<Role>> for Rank {
    fn from(role: Option<Role>) -> Self {
        match role {
            None => Self::Nobody,
            Some(Role::Member) => Self::Member,
            Some(Role::Moderator) => Self::Moderator,
            Some(Role::Owner) => Self::Owner,
        }
    }
}

/// Who acts.
#[derive(Clone, Copy, Debug)]
pub struct Actor<'a> {
    /// Their identity.
    pub sender: &'a str,
    /// What they weigh.
    pub rank: Rank,
}

/// Why something is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// One must be a member, or invited.
    #[error("that is for members")]
    Outside,
    /// They are no member of the room.
    #[error("that is no member")]
    NoMember,
    /// One is banned.
    #[error("you are banned")]
    Banned {
        /// Until when; none: for good.
        until: Option<u64>,
    },
    /// They are banned.
    #[error("they are banned")]
    TheyAreBanned,
    /// One is muted.
    #[error("you are muted")]
    Muted {
        /// Until when; none: for good.
        until: Option<u64>,
    },
    /// It takes a higher rank.
    #[error("that takes a higher role")]
    Rank,
    /// A room keeps an owner.
    #[error("a room keeps an owner")]
    LastOwner,
    /// Everybody may join.
    #[error("a public room needs no invitation")]
    Public,
    /// The room or the person has no room for more.
    #[error("there is no room for more")]
    Full,
    /// They have as many invitations and new conversations as one may have.
    #[error("they take no more invitations at the moment")]
    Waiting,
}

/// A document that is none of this crate's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store holds a damaged {0}")]
pub struct Damaged(pub(crate) &'static str);

/// A document's bytes, unless they are too many.
fn encode(document: &impl Serialize) -> Result<Vec<u8>, Refusal> {
    serde_json::to_vec(document)
        .ok()
        .filter(|bytes| bytes.len() <= LARGEST)
        .ok_or(Refusal::Full)
}
