//! The live state of a channel: who is here, who is typing, who has read how far. Told to those who ask, and
//! never stored in the log.
//!
//! # What it promises
//! * Whoever attends a channel is in its [`State`] as every instance sees it within a second where hints arrive,
//!   and within ten where all of them are lost.
//! * Whoever attends no longer is gone from it within ten seconds: [`GRACE_MS`] after the last attendance ended, or
//!   where the instance died with it.
//! * Who attends again within five seconds, in whichever instance, was never away.
//! * What this costs grows with instances, channels and changes, and not with people who stay.
//!
//! # How
//! People of one channel attend in several *instances*, which have nothing in common but the store.
//!
//! 1. A *directory*, one document for each channel, names the instances that have somebody there, each with the
//!    revision of its *roster*, and holds who is typing. It is changed by a verified swap.
//! 2. A roster is who attends a channel in one instance. It is written once under its revision, before the directory
//!    names it, and deleted after the directory names another. So whoever reads a directory sees one moment of
//!    the channel: a person who came in one instance before leaving another is in it either way.
//! 3. An instance that has anybody anywhere keeps one *lease*, a number that it counts up every [`BEAT_MS`]. The
//!    observer judges by its own clock: a lease that did not move for [`DEAD_MS`] of the observer's attention is dead.
//!    A directory names no instance whose lease was never written; one whose lease is gone is dead.
//! 4. Whoever finds an instance dead sweeps it: lease, roster, then the directory's line, so that a sweeper that
//!    dies leaves what the next one finds. An instance that finds its lease gone, or that slept, goes on under a new
//!    name: no name ever comes back.
//! 5. The last attendance of a person in an instance starts the grace; only after it the roster changes.
//! 6. Hints may be lost: a directory is read again after [`BACKUP_MS`] at the latest, and when a lease, which is read
//!    every [`BEAT_MS`], tells that its instance changed something.
//! 7. Marks are one document for each channel, a maximum for each sender, so that it does not matter in which order, or
//!    how often, they arrive.

pub mod documents;
mod instance;
mod leases;
mod live;
mod observe;
mod roster;
mod speakers;

pub use instance::{Attendance, Presence};
pub use live::marks_name;
pub use observe::Seen;
pub use protocol::{Change, Mark, Person, State};
pub use speakers::Speakers;

/// How often an instance counts its lease up, and reads those of others. Shorter: idle instances write more; longer:
/// the dead stay for more than ten seconds.
pub const BEAT_MS: u64 = 1_500;
/// A lease that did not move for so long while it was looked at is dead: between 6 and 9 seconds after the instance
/// died. Shorter: its people, who come back elsewhere within five, are told as gone; longer: the dead stay for more than
/// ten seconds.
pub const DEAD_MS: u64 = 7_000;
/// How long a person is kept after the last attendance. Shorter: who changes the transport is told as left and
/// joined; longer: who leaves stays for more than ten seconds.
pub const GRACE_MS: u64 = 6_000;
/// A directory is read again after so long, whatever hints came.
pub const BACKUP_MS: u64 = 8_000;
/// How long somebody is told as typing who said so once. Shorter: clients say it all the time; longer: who stopped
/// seems to go on.
pub const TYPING_MS: u64 = 6_000;
/// Changes of one roster are written at most so often, a directory is read at most so often for hints, and so is whether
/// those who speak in a channel are told as typing: longer, and they are for longer; shorter, and more is said.
pub const PACE_MS: u64 = 250;
/// The most people of one roster; more are only counted. Larger: each who comes or goes costs as much more.
pub const MOST_LISTED: usize = 1_000;
/// The most who are typing at once in a channel; those who said so last.
pub const MOST_TYPING: usize = 32;
/// The most marks of a channel; those that moved last.
pub const MOST_MARKS: usize = 1_000;

/// Time, chance, tasks, and hints.
pub trait World: mailbox::Env {
    /// Milliseconds that only go forward.
    fn uptime(&self) -> u64;
    /// Tells whoever watches this [`key`] that it is time to look, if they can be told.
    fn notify(&self, key: &str);
}

/// The key of a channel's hints. No channel's own name has the slash.
#[must_use]
pub fn key(channel: &str) -> String {
    format!("state/{channel}")
}
