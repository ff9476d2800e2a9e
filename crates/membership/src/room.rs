//! The document of a room.

use crate::{Actor, Damaged, LONGEST_SLOW, MOST_LIMITS, MOST_MEMBERS, Rank, Refusal, Role, encode};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

const VERSION: u8 = 1;

/// A room: who is in it, and what holds there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    v: u8,
    private: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(default, skip_serializing_if = "is_zero")]
    slow: u32,
    /// In the order in which they came.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    members: Vec<Member>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    invited: Vec<Invitation>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    bans: Vec<Limit>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    mutes: Vec<Limit>,
}

/// A member. An array in the document: a thousand of them fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(String, String, Role)", into = "(String, String, Role)")]
pub struct Member {
    /// Their identity.
    pub sender: String,
    /// What they were called when they joined.
    pub name: String,
    /// What they are here.
    pub role: Role,
}

/// Somebody who may join a private room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(String, String, u64)", into = "(String, String, u64)")]
pub struct Invitation {
    /// Who may.
    pub sender: String,
    /// Who said so.
    pub by: String,
    /// When.
    pub at: u64,
}

/// Somebody who may not, for a while or for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(String, Option<u64>)", into = "(String, Option<u64>)")]
pub struct Limit {
    /// Who.
    pub sender: String,
    /// Until when; none: for good.
    pub until: Option<u64>,
}

impl Room {
    /// A public channel as it is before anybody made anything of it.
    #[must_use]
    pub fn plain() -> Self {
        Self {
            v: VERSION,
            private: false,
            title: None,
            slow: 0,
            members: Vec::new(),
            invited: Vec::new(),
            bans: Vec::new(),
            mutes: Vec::new(),
        }
    }

    /// A room whose maker owns it.
    #[must_use]
    pub fn private(title: Option<String>, owner: &str, name: &str) -> Self {
        Self {
            private: true,
            title,
            members: vec![Member {
                sender: owner.to_owned(),
                name: name.to_owned(),
                role: Role::Owner,
            }],
            ..Self::plain()
        }
    }

    /// Makes a channel that has no owner somebody's room; what is known of it stays. False: it is theirs already.
    ///
    /// # Errors
    /// [`Refusal::Rank`] where it has another owner, [`Refusal::Banned`], [`Refusal::Full`].
    pub fn found(
        &mut self,
        title: Option<String>,
        sender: &str,
        name: &str,
        now: u64,
    ) -> Result<bool, Refusal> {
        match self.role(sender) {
            Some(Role::Owner) => return Ok(false),
            _ if self.has_owner() => return Err(Refusal::Rank),
            Some(_) => {}
            None => drop(self.join(sender, name, now)?),
        }
        self.title = title;
        if let Some(member) = self.member_mut(sender) {
            member.role = Role::Owner;
        }
        Ok(true)
    }

    /// Reads a document.
    ///
    /// # Errors
    /// It is none, or against the limits of one.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let room: Self = serde_json::from_slice(bytes).map_err(|_| Damaged("room"))?;
        let distinct: HashSet<&str> = room.members.iter().map(|m| m.sender.as_str()).collect();
        let sound = room.v == VERSION
            && distinct.len() == room.members.len()
            && room.members.len() + room.invited.len() <= MOST_MEMBERS
            && room.bans.len().max(room.mutes.len()) <= MOST_LIMITS
            && room.slow <= LONGEST_SLOW;
        sound.then_some(room).ok_or(Damaged("room"))
    }

    /// The document.
    ///
    /// # Errors
    /// [`Refusal::Full`] where it is larger than [`LARGEST`](crate::LARGEST).
    pub fn encode(&self) -> Result<Vec<u8>, Refusal> {
        encode(self)
    }

    /// What it is called beside its channel's name.
    #[must_use]
    pub fn title(&self) -> Option<&str> {
        self.title.as_deref()
    }

    /// The seconds between two messages of a member.
    #[must_use]
    pub fn slow(&self) -> u32 {
        self.slow
    }

    /// Who is in it, in the order in which they came.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Who may come.
    #[must_use]
    pub fn invited(&self) -> &[Invitation] {
        &self.invited
    }

    /// The invitation of somebody.
    #[must_use]
    pub fn invitation(&self, sender: &str) -> Option<&Invitation> {
        self.invited.iter().find(|one| one.sender == sender)
    }

    /// Who may neither read nor publish.
    pub fn bans(&self, now: u64) -> impl Iterator<Item = &Limit> {
        self.bans.iter().filter(move |one| one.holds(now))
    }

    /// Who may not publish.
    pub fn mutes(&self, now: u64) -> impl Iterator<Item = &Limit> {
        self.mutes.iter().filter(move |one| one.holds(now))
    }

    /// What somebody is here.
    #[must_use]
    pub fn role(&self, sender: &str) -> Option<Role> {
        let member = self.members.iter().find(|one| one.sender == sender);
        member.map(|member| member.role)
    }

    /// Whether somebody is in it, or may come.
    #[must_use]
    pub fn knows(&self, sender: &str) -> bool {
        self.role(sender).is_some() || self.invitation(sender).is_some()
    }

    /// Whether somebody may read: members of a private room, everybody else but who is banned.
    ///
    /// # Errors
    /// [`Refusal::Outside`], [`Refusal::Banned`].
    pub fn may_read(&self, sender: Option<&str>, now: u64) -> Result<(), Refusal> {
        if let Some(ban) = self.bans(now).find(|one| sender == Some(&one.sender)) {
            return Err(Refusal::Banned { until: ban.until });
        }
        if self.private && sender.and_then(|sender| self.role(sender)).is_none() {
            return Err(Refusal::Outside);
        }
        Ok(())
    }

    /// Whether somebody may publish, and how many seconds after their last message.
    ///
    /// # Errors
    /// As [`Self::may_read`], and [`Refusal::Muted`].
    pub fn may_publish(&self, sender: &str, rank: Rank, now: u64) -> Result<u32, Refusal> {
        self.may_read(Some(sender), now)?;
        if let Some(mute) = self.mutes(now).find(|one| one.sender == sender) {
            return Err(Refusal::Muted { until: mute.until });
        }
        Ok(if rank >= Rank::Moderator {
            0
        } else {
            self.slow
        })
    }

    /// Lets somebody in; what they are called follows them. False: nothing changes.
    ///
    /// # Errors
    /// [`Refusal::Banned`], [`Refusal::Outside`] where the room is private and they are not invited,
    /// [`Refusal::Full`].
    pub fn join(&mut self, sender: &str, name: &str, now: u64) -> Result<bool, Refusal> {
        if let Some(member) = self.member_mut(sender) {
            let renamed = member.name != name;
            name.clone_into(&mut member.name);
            return Ok(renamed);
        }
        if let Some(ban) = self.bans(now).find(|one| one.sender == sender) {
            return Err(Refusal::Banned { until: ban.until });
        }
        let invited = self.invitation(sender).is_some();
        if self.private && !invited {
            return Err(Refusal::Outside);
        }
        if !invited {
            self.room_for_one()?;
        }
        self.invited.retain(|one| one.sender != sender);
        self.members.push(Member {
            sender: sender.to_owned(),
            name: name.to_owned(),
            role: Role::Member,
        });
        Ok(true)
    }

    /// Lets somebody go, or decline. False: they were not here.
    pub fn leave(&mut self, sender: &str) -> bool {
        let before = (self.members.len(), self.invited.len());
        let owned = self.role(sender) == Some(Role::Owner);
        self.members.retain(|one| one.sender != sender);
        self.invited.retain(|one| one.sender != sender);
        if owned && !self.has_owner() {
            self.succeed();
        }
        if self.private && self.members.is_empty() {
            self.invited.clear();
        }
        before != (self.members.len(), self.invited.len())
    }

    /// Lets somebody come. False: they may already, or are here.
    ///
    /// # Errors
    /// [`Refusal::Rank`], [`Refusal::Public`], [`Refusal::TheyAreBanned`], [`Refusal::Full`].
    pub fn invite(&mut self, by: Actor<'_>, sender: &str, now: u64) -> Result<bool, Refusal> {
        moderates(by)?;
        if !self.private {
            return Err(Refusal::Public);
        }
        if self.role(sender).is_some() || self.invitation(sender).is_some() {
            return Ok(false);
        }
        // A room that is over stays so.
        if self.members.is_empty() {
            return Err(Refusal::Outside);
        }
        if self.bans(now).any(|one| one.sender == sender) {
            return Err(Refusal::TheyAreBanned);
        }
        self.room_for_one()?;
        self.invited.push(Invitation {
            sender: sender.to_owned(),
            by: by.sender.to_owned(),
            at: now,
        });
        Ok(true)
    }

    /// Puts somebody out, or takes an invitation back. False: they were not here.
    ///
    /// # Errors
    /// [`Refusal::Rank`].
    pub fn remove(&mut self, by: Actor<'_>, sender: &str) -> Result<bool, Refusal> {
        self.outranks(by, sender)?;
        Ok(self.leave(sender))
    }

    /// Makes a member something else. False: they are that.
    ///
    /// # Errors
    /// [`Refusal::Rank`] for who is no owner, and on another owner; [`Refusal::NoMember`];
    /// [`Refusal::LastOwner`].
    pub fn set_role(&mut self, by: Actor<'_>, sender: &str, role: Role) -> Result<bool, Refusal> {
        if by.rank < Rank::Owner {
            return Err(Refusal::Rank);
        }
        let Some(current) = self.role(sender) else {
            return Err(Refusal::NoMember);
        };
        if current == role {
            return Ok(false);
        }
        if current == Role::Owner {
            if by.sender != sender && by.rank <= Rank::Owner {
                return Err(Refusal::Rank);
            }
            if self
                .members
                .iter()
                .filter(|m| m.role == Role::Owner)
                .count()
                == 1
            {
                return Err(Refusal::LastOwner);
            }
        }
        if let Some(member) = self.member_mut(sender) {
            member.role = role;
        }
        Ok(true)
    }

    /// Lets somebody neither read nor publish nor join, until a time or for good. False: it is so.
    ///
    /// # Errors
    /// [`Refusal::Rank`], [`Refusal::Full`].
    pub fn ban(
        &mut self,
        by: Actor<'_>,
        sender: &str,
        until: Option<u64>,
        now: u64,
    ) -> Result<bool, Refusal> {
        self.outranks(by, sender)?;
        let changed = limit(&mut self.bans, sender, until, now)?;
        Ok(self.leave(sender) || changed)
    }

    /// Takes a ban back. False: there was none.
    ///
    /// # Errors
    /// [`Refusal::Rank`].
    pub fn unban(&mut self, by: Actor<'_>, sender: &str) -> Result<bool, Refusal> {
        moderates(by)?;
        Ok(unlimit(&mut self.bans, sender))
    }

    /// Lets somebody not publish, until a time or for good. False: it is so.
    ///
    /// # Errors
    /// [`Refusal::Rank`], [`Refusal::Full`].
    pub fn mute(
        &mut self,
        by: Actor<'_>,
        sender: &str,
        until: Option<u64>,
        now: u64,
    ) -> Result<bool, Refusal> {
        self.outranks(by, sender)?;
        limit(&mut self.mutes, sender, until, now)
    }

    /// Takes a mute back. False: there was none.
    ///
    /// # Errors
    /// [`Refusal::Rank`].
    pub fn unmute(&mut self, by: Actor<'_>, sender: &str) -> Result<bool, Refusal> {
        moderates(by)?;
        Ok(unlimit(&mut self.mutes, sender))
    }

    /// Sets the seconds between two messages of a member, at most [`LONGEST_SLOW`]. False: it is so.
    ///
    /// # Errors
    /// [`Refusal::Rank`].
    pub fn set_slow(&mut self, by: Actor<'_>, seconds: u32) -> Result<bool, Refusal> {
        moderates(by)?;
        let seconds = seconds.min(LONGEST_SLOW);
        Ok(std::mem::replace(&mut self.slow, seconds) != seconds)
    }

    /// Whoever moderates, and weighs more than who they act on.
    fn outranks(&self, by: Actor<'_>, sender: &str) -> Result<(), Refusal> {
        moderates(by)?;
        if by.sender == sender || by.rank <= Rank::from(self.role(sender)) {
            return Err(Refusal::Rank);
        }
        Ok(())
    }

    fn has_owner(&self) -> bool {
        self.members.iter().any(|one| one.role == Role::Owner)
    }

    /// Makes the first moderator an owner, else the first member.
    fn succeed(&mut self) {
        for role in [Role::Moderator, Role::Member] {
            if let Some(heir) = self.members.iter_mut().find(|one| one.role == role) {
                heir.role = Role::Owner;
                return;
            }
        }
    }

    fn room_for_one(&self) -> Result<(), Refusal> {
        if self.members.len() + self.invited.len() < MOST_MEMBERS {
            Ok(())
        } else {
            Err(Refusal::Full)
        }
    }

    fn member_mut(&mut self, sender: &str) -> Option<&mut Member> {
        self.members.iter_mut().find(|one| one.sender == sender)
    }
}

fn moderates(by: Actor<'_>) -> Result<(), Refusal> {
    if by.rank >= Rank::Moderator {
        Ok(())
    } else {
        Err(Refusal::Rank)
    }
}

fn limit(
    limits: &mut Vec<Limit>,
    sender: &str,
    until: Option<u64>,
    now: u64,
) -> Result<bool, Refusal> {
    if let Some(one) = limits.iter_mut().find(|one| one.sender == sender) {
        return Ok(std::mem::replace(&mut one.until, until) != until);
    }
    let holding = limits.iter().filter(|one| one.holds(now)).count();
    if holding == MOST_LIMITS {
        return Err(Refusal::Full);
    }
    limits.retain(|one| one.holds(now));
    limits.push(Limit {
        sender: sender.to_owned(),
        until,
    });
    Ok(true)
}

fn unlimit(limits: &mut Vec<Limit>, sender: &str) -> bool {
    let before = limits.len();
    limits.retain(|one| one.sender != sender);
    limits.len() != before
}

impl Limit {
    fn holds(&self, now: u64) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl From<(String, String, Role)> for Member {
    fn from((sender, name, role): (String, String, Role)) -> Self {
        Self { sender, name, role }
    }
}

impl From<Member> for (String, String, Role) {
    fn from(one: Member) -> Self {
        (one.sender, one.name, one.role)
    }
}

impl From<(String, String, u64)> for Invitation {
    fn from((sender, by, at): (String, String, u64)) -> Self {
        Self { sender, by, at }
    }
}

impl From<Invitation> for (String, String, u64) {
    fn from(one: Invitation) -> Self {
        (one.sender, one.by, one.at)
    }
}

impl From<(String, Option<u64>)> for Limit {
    fn from((sender, until): (String, Option<u64>)) -> Self {
        Self { sender, until }
    }
}

impl From<Limit> for (String, Option<u64>) {
    fn from(one: Limit) -> Self {
        (one.sender, one.until)
    }
}
