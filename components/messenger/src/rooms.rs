//! Rooms: who is in them, and who comes and goes.

use crate::bindings::exports::witter::messaging::messenger::Error;
use crate::bindings::witter::messaging::policy::{Action, Identity};
use crate::clock;
use crate::feed::envelope;
use crate::place::{Place, SERVER, doing, full, not_done, outward, refused};
use crate::rules::{Rules, permit};
use futures::future::try_join_all;
use mailbox::Start;
use membership::{
    Actor, Entry, Invitation, Kind, Limit, Member, Person, Rank, Refusal, Role, Room, Standing,
    direct_channel, private_channel,
};
use presence::documents::{self, Marks};
use presence::marks_name;
use protocol::{Channel, RoomCommand, Whom};
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

/// The most rooms in one answer. More: one call reads so many documents and logs at once.
const PAGE: usize = 100;
/// Of which so many are looked at at a time.
const AT_ONCE: usize = 16;
/// An answer is closed once it holds so many bytes of messages.
const PAGE_BYTES: usize = 512 * 1024;

/// Who asks.
pub(crate) struct Asker<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) who: &'a Identity,
    pub(crate) sender: &'a str,
    pub(crate) name: &'a str,
}

/// What a room is told as.
#[derive(Serialize)]
struct Told<'a> {
    channel: &'a str,
    title: Option<&'a str>,
    private: bool,
    role: Option<Role>,
    slow: u32,
    members: Vec<One<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    moderation: Option<Moderation<'a>>,
}

/// What moderators see.
#[derive(Serialize)]
struct Moderation<'a> {
    invited: Vec<One<'a>>,
    bans: Vec<One<'a>>,
    mutes: Vec<One<'a>>,
}

/// Somebody in a room.
#[derive(Default, Serialize)]
struct One<'a> {
    sender: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'a str>,
    /// Milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
}

/// A room among somebody's rooms.
#[derive(Serialize)]
struct Mine {
    channel: String,
    title: Option<String>,
    private: bool,
    role: Role,
    /// Who is on the other side of a conversation of two.
    #[serde(skip_serializing_if = "Option::is_none")]
    with: Option<Other>,
    unread: u64,
    head: u64,
    last: Option<Box<RawValue>>,
}

#[derive(Serialize)]
struct Other {
    sender: String,
    name: String,
}

/// An invitation that waits.
#[derive(Serialize)]
struct Waiting {
    channel: String,
    title: Option<String>,
    by: String,
}

/// Somebody's rooms.
#[derive(Serialize)]
struct Rooms {
    rooms: Vec<Mine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invited: Option<Vec<Waiting>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blocked: Option<Vec<String>>,
    /// What the next page is asked for with.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl Asker<'_> {
    /// Does one command about rooms; its answer is JSON text.
    pub(crate) async fn perform(&self, command: RoomCommand) -> Result<String, Error> {
        match command {
            RoomCommand::Create { channel, title } => self.create(channel, title).await,
            RoomCommand::Join(channel) => self.join(channel.as_str()).await,
            RoomCommand::Leave(channel) => self.leave(channel.as_str()).await,
            RoomCommand::Invite(whom) => self.invite(&whom).await,
            RoomCommand::Room(channel) => self.room(channel.as_str()).await,
            RoomCommand::Rooms { after } => self.rooms(after.as_ref().map(Channel::as_str)).await,
            RoomCommand::Direct(sender) => self.direct(&sender).await,
            RoomCommand::Block(sender) => self.block(&sender, true).await,
            RoomCommand::Unblock(sender) => self.block(&sender, false).await,
            command => self.moderate(command).await,
        }
    }

    /// A public room is made of its channel; the channel of a private one is drawn, so that nobody finds it by
    /// trying.
    async fn create(
        &self,
        channel: Option<Channel>,
        title: Option<String>,
    ) -> Result<String, Error> {
        let private = channel.is_none();
        let channel = match channel {
            Some(channel) => channel.to_string(),
            None => private_channel(&clock::drawn()),
        };
        if !private && Kind::of(&channel) != Kind::Public {
            return Err(refused(self.who, doing(Action::Create), &channel));
        }
        let place = [outward(&channel, None)];
        permit(self.who, Action::Create, &place)?
            .into_iter()
            .collect::<Result<(), _>>()?;
        let noted = self.note(&channel).await?;
        let Self { sender, name, .. } = *self;
        let born = || {
            Ok(if private {
                Room::private(title.clone(), sender, name)
            } else {
                Room::plain()
            })
        };
        let changed = self.rules.change_room(&channel, born, |room| {
            let found = room.found(title.clone(), sender, name, clock::now());
            found.map_err(|refusal| match refusal {
                Refusal::Rank => Error::Forbidden(format!("{channel}: the room has an owner")),
                refusal => not_done(&channel, refusal),
            })
        });
        self.entered(&channel, noted, changed.await).await
    }

    async fn join(&self, channel: &str) -> Result<String, Error> {
        let Self { sender, name, .. } = *self;
        match Kind::of(channel) {
            Kind::Public => {
                let channels = [channel.to_owned()];
                self.rules.enter(self.who, Action::Read, &channels).await?;
                let noted = self.note(channel).await?;
                let born = || Ok(Room::plain());
                let changed = self.rules.change_room(channel, born, |room| {
                    room.join(sender, name, clock::now())
                        .map_err(|refusal| not_done(channel, refusal))
                });
                self.entered(channel, noted, changed.await).await
            }
            Kind::Private => {
                let refused = || refused(self.who, "joining", channel);
                let person = self.rules.person(sender).await?;
                person.room(channel).ok_or_else(refused)?;
                let place = [outward(channel, Some(Role::Member))];
                permit(self.who, Action::Read, &place)?
                    .into_iter()
                    .collect::<Result<(), _>>()?;
                let changed = self.rules.change_room(
                    channel,
                    || Err(refused()),
                    |room| {
                        let joined = room.join(sender, name, clock::now());
                        joined.map_err(|refusal| match refusal {
                            Refusal::Outside => refused(),
                            refusal => not_done(channel, refusal),
                        })
                    },
                );
                changed.await?;
                self.note(channel).await?;
                self.room(channel).await
            }
            _ => Err(refused(self.who, "joining", channel)),
        }
    }

    /// Tells of a room that somebody entered, or takes back that they would, where it was `noted` just now.
    async fn entered(
        &self,
        channel: &str,
        noted: bool,
        entered: Result<bool, Error>,
    ) -> Result<String, Error> {
        match entered {
            Ok(_) => self.room(channel).await,
            Err(error @ Error::Forbidden(_)) if noted => {
                self.forget(self.sender, channel).await?;
                Err(error)
            }
            // It may be done all the same.
            Err(error) => Err(error),
        }
    }

    /// A room that one leaves is left for good where it is private; an invitation is declined, and so is a conversation
    /// that another began, until one answers.
    async fn leave(&self, channel: &str) -> Result<String, Error> {
        let refused = || refused(self.who, "leaving", channel);
        match Kind::of(channel) {
            kind @ (Kind::Public | Kind::Private) => {
                let person = self.rules.person(self.sender).await?;
                let noted = person.room(channel).is_some();
                if kind == Kind::Private && !noted {
                    return Err(refused());
                }
                self.leave_room(channel, noted).await?;
            }
            Kind::Direct => {
                let declined = self
                    .rules
                    .change_person(self.sender, |person| Ok(person.decline(channel)));
                if !declined.await? {
                    return Err(refused());
                }
                self.rules.standing_changed(self.sender).await?;
            }
            _ => return Err(refused()),
        }
        Ok(json!({"channel": channel}).to_string())
    }

    /// Who is cut off before it is forgotten leaves again, and their readers are asked about all the same.
    async fn leave_room(&self, channel: &str, noted: bool) -> Result<(), Error> {
        let born = || Ok(Room::plain());
        let left = self
            .rules
            .change_room(channel, born, |room| Ok(room.leave(self.sender)));
        if left.await? || noted {
            self.rules.standing_changed(self.sender).await?;
            self.forget(self.sender, channel).await?;
        }
        Ok(())
    }

    async fn invite(&self, whom: &Whom) -> Result<String, Error> {
        let (channel, sender) = (whom.channel.as_str(), somebody(&whom.sender)?);
        let (by, rank) = match Kind::of(channel) {
            Kind::Public => return Err(not_done(channel, Refusal::Public)),
            Kind::Private => self.standing(channel, "inviting to").await?,
            _ => return Err(refused(self.who, "inviting to", channel)),
        };
        let actor = Actor { sender: by, rank };
        let now = clock::now();
        let invite = |room: &mut Room| {
            let invited = room.invite(actor, sender, now);
            invited.map_err(|refusal| not_done(channel, refusal))?;
            let invitation = room.invitation(sender).cloned();
            Ok(invitation.map(|invitation| (invitation, room.title().map(str::to_owned))))
        };
        // What the room refuses leaves no trace with the person.
        let room = self.rules.room(channel).await?;
        let mut room = room.ok_or_else(|| refused(self.who, "inviting to", channel))?;
        if invite(&mut room)?.is_some() {
            let since = self.head(channel).await?;
            let entry = Entry {
                channel: channel.to_owned(),
                since,
                standing: Standing::Invited,
                other: None,
            };
            let enter = self.rules.change_person(sender, |person| {
                self.heard_by(person)?;
                let entered = person.enter(entry.clone());
                entered.map_err(|refusal| not_done(channel, refusal))
            });
            enter.await?;
            let born = || Err(refused(self.who, "inviting to", channel));
            let invited = self.rules.change_room(channel, born, invite).await?;
            if let Some((Invitation { by, at, .. }, title)) = invited {
                let notice = json!({"invited": {
                    "channel": channel, "title": title, "by": by, "name": self.name,
                }});
                let id = format!("invited-{at}-{channel}");
                self.rules
                    .tell(sender, id.chars().take(64).collect(), &notice)
                    .await;
            }
        }
        Ok(json!({"channel": channel, "sender": sender}).to_string())
    }

    /// Both people of a conversation find the same channel, whoever begins.
    async fn direct(&self, sender: &str) -> Result<String, Error> {
        let other = somebody(sender)?;
        if other == self.sender {
            return Err(Error::Invalid("sender: it is yourself".to_owned()));
        }
        let channel = direct_channel(self.sender, other);
        let place = [outward(&channel, Some(Role::Member))];
        permit(self.who, Action::Publish, &place)?
            .into_iter()
            .collect::<Result<(), _>>()?;
        let since = self.head(&channel).await?;
        let entry = |standing, other: &str| Entry {
            channel: channel.clone(),
            since,
            standing,
            other: Some(other.to_owned()),
        };
        let theirs = self.rules.change_person(other, |person| {
            self.heard_by(person)?;
            let entered = person.enter(entry(Standing::Opened, self.sender));
            entered.map_err(|refusal| not_done(&channel, refusal))?;
            Ok(person.name().map(str::to_owned))
        });
        let name = theirs.await?.unwrap_or_else(|| other.to_owned());
        let ours = self.rules.change_person(self.sender, |person| {
            person.set_name(self.name);
            let entered = person.enter(entry(Standing::In, other));
            entered.map_err(|_| full("your list of rooms"))
        });
        ours.await?;
        let tell = async |whom, sender, name| {
            let notice = json!({"direct": {"channel": channel, "sender": sender, "name": name}});
            self.rules.tell(whom, channel.clone(), &notice).await;
        };
        tell(other, self.sender, self.name).await;
        tell(self.sender, other, &name).await;
        Ok(json!({"channel": channel, "sender": other, "name": name}).to_string())
    }

    async fn block(&self, sender: &str, block: bool) -> Result<String, Error> {
        let other = somebody(sender)?;
        let changed = self.rules.change_person(self.sender, |person| {
            let rooms = person.rooms().len();
            if block {
                let blocked = person.block(other);
                blocked.map_err(|_| full("the list of whom you block"))?;
            } else {
                person.unblock(other);
            }
            Ok((person.blocked().to_vec(), person.rooms().len() < rooms))
        });
        let (blocked, left) = changed.await?;
        if left {
            self.rules.standing_changed(self.sender).await?;
        }
        Ok(json!({"blocked": blocked}).to_string())
    }

    /// Refuses what a person does not want from who asks.
    fn heard_by(&self, person: &Person) -> Result<(), Error> {
        if person.blocks(self.sender) {
            return Err(Error::Forbidden(
                "they take no messages from you".to_owned(),
            ));
        }
        Ok(())
    }

    async fn room(&self, channel: &str) -> Result<String, Error> {
        let channels = [channel.to_owned()];
        let mut places = self.rules.enter(self.who, Action::Read, &channels).await?;
        let Some(Place {
            role, room, other, ..
        }) = places.pop()
        else {
            return Err(refused(self.who, doing(Action::Read), channel));
        };
        let kind = Kind::of(channel);
        let room = room.unwrap_or_else(Room::plain);
        let name = match &other {
            Some(other) => self.rules.person(other).await?.name().map(str::to_owned),
            None => None,
        };
        let mut members: Vec<_> = room.members().iter().map(One::member).collect();
        if let Some(other) = &other {
            members = [
                (self.sender, self.name),
                (other, name.as_deref().unwrap_or(other)),
            ]
            .map(|(sender, name)| One {
                sender,
                name: Some(name),
                role: Some(Role::Member),
                ..One::default()
            })
            .into();
        }
        let now = clock::now();
        let moderates = self.rules.rank(self.who, channel, role)? >= Rank::Moderator;
        let moderation = moderates.then(|| Moderation {
            invited: room.invited().iter().map(One::invited).collect(),
            bans: room.bans(now).map(One::limited).collect(),
            mutes: room.mutes(now).map(One::limited).collect(),
        });
        let told = Told {
            channel,
            title: room.title(),
            private: kind != Kind::Public,
            role,
            slow: room.slow(),
            members,
            moderation,
        };
        Ok(json(&told))
    }

    async fn rooms(&self, after: Option<&str>) -> Result<String, Error> {
        let person = self.rules.person(self.sender).await?;
        let entries = person.rooms();
        let known = after.and_then(|after| entries.iter().position(|one| one.channel == after));
        let entries = &entries[known.map_or(0, |at| at + 1)..];
        let mut rooms = Vec::new();
        let mut bytes = 0;
        let mut next = None;
        let mut rest = entries;
        while !rest.is_empty() && rooms.len() < PAGE && bytes < PAGE_BYTES {
            let count = rest.len().min(AT_ONCE).min(PAGE - rooms.len());
            let (some, behind) = rest.split_at(count);
            let joined = some.iter().filter(|one| one.standing != Standing::Invited);
            for mine in try_join_all(joined.map(|entry| self.mine(&person, entry))).await? {
                bytes += mine
                    .iter()
                    .flat_map(|mine| &mine.last)
                    .map(|m| m.get().len())
                    .sum::<usize>();
                rooms.extend(mine);
            }
            next = some.last().filter(|_| !behind.is_empty());
            rest = behind;
        }
        let first = after.is_none();
        let invited = if first {
            let waiting = entries
                .iter()
                .filter(|one| one.standing == Standing::Invited);
            let invited = try_join_all(waiting.map(|entry| self.waiting(entry))).await?;
            Some(invited.into_iter().flatten().collect())
        } else {
            None
        };
        Ok(json(&Rooms {
            rooms,
            invited,
            blocked: first.then(|| person.blocked().to_vec()),
            next: next.map(|last| last.channel.clone()),
        }))
    }

    /// A room of the asker's; none: they are not in it any more, or may not read it.
    async fn mine(&self, person: &Person, entry: &Entry) -> Result<Option<Mine>, Error> {
        let channel = &entry.channel;
        let place = self
            .rules
            .place(self.who, person, Action::Read, channel)
            .await?;
        let Some((place, role)) = place.and_then(|place| place.role.map(|role| (place, role)))
        else {
            return Ok(None);
        };
        let permitted = permit(self.who, Action::Read, &[place.outward()])?;
        if permitted.iter().any(Result::is_err) {
            return Ok(None);
        }
        let with = match place.other {
            Some(sender) => {
                let name = self.rules.person(&sender).await?.name().map(str::to_owned);
                let name = name.unwrap_or_else(|| sender.clone());
                Some(Other { sender, name })
            }
            None => None,
        };
        let page = self
            .rules
            .mailbox
            .read(channel, Start::Newest(1), 1)
            .await?;
        let document = self.rules.mailbox.documents();
        let document = document.read(&marks_name(channel)).await?;
        let marks = documents::decode::<Marks>(document.as_deref());
        let last = page
            .messages
            .last()
            .map(|(_, message)| envelope(channel, message));
        let head = page.next.offset;
        // A mark in a log that is no more says nothing of this one.
        let read = if marks.epoch == page.next.epoch {
            marks.get(self.sender).read
        } else {
            0
        };
        Ok(Some(Mine {
            channel: channel.clone(),
            title: place.room.as_ref().and_then(Room::title).map(str::to_owned),
            private: Kind::of(channel) != Kind::Public,
            role,
            with,
            unread: head.saturating_sub(entry.since.max(read)),
            head,
            last: last.and_then(|last| RawValue::from_string(last).ok()),
        }))
    }

    /// An invitation of the asker's; none: it was taken back.
    async fn waiting(&self, entry: &Entry) -> Result<Option<Waiting>, Error> {
        let room = self.rules.room(&entry.channel).await?;
        Ok(room.and_then(|room| {
            let invitation = room.invitation(self.sender)?;
            Some(Waiting {
                channel: entry.channel.clone(),
                title: room.title().map(str::to_owned),
                by: invitation.by.clone(),
            })
        }))
    }

    /// What the asker weighs in a channel that they are not out of. Whoever moderates all private rooms does so in those
    /// whose member they are: else they would invite themselves into the others.
    pub(crate) async fn standing(&self, channel: &str, doing: &str) -> Result<(&str, Rank), Error> {
        let channels = [channel.to_owned()];
        let person = self.rules.acquainted(self.who, &channels).await?;
        let place = self
            .rules
            .place(self.who, &person, Action::Moderate, channel)
            .await?;
        let place = place.ok_or_else(|| refused(self.who, doing, channel))?;
        let rank = self.rules.rank(self.who, channel, place.role)?;
        Ok((self.sender, rank))
    }

    /// Notes a room with the asker, who is about to enter it or has done so; false where it was noted.
    async fn note(&self, channel: &str) -> Result<bool, Error> {
        let since = self.head(channel).await?;
        let noted = self.rules.change_person(self.sender, |person| {
            person.set_name(self.name);
            let entry = Entry {
                channel: channel.to_owned(),
                since,
                standing: Standing::In,
                other: None,
            };
            person.enter(entry).map_err(|_| full("your list of rooms"))
        });
        noted.await
    }

    /// Takes a room from what is noted with a person.
    pub(crate) async fn forget(&self, sender: &str, channel: &str) -> Result<(), Error> {
        let forgotten = self
            .rules
            .change_person(sender, |person| Ok(person.forget(channel)));
        forgotten.await.map(|_| ())
    }

    /// The offset of a channel's newest message.
    async fn head(&self, channel: &str) -> Result<u64, Error> {
        let page = self.rules.mailbox.read(channel, Start::Live, 1).await?;
        Ok(page.next.offset)
    }
}

impl<'a> One<'a> {
    fn member(member: &'a Member) -> Self {
        Self {
            sender: &member.sender,
            name: Some(&member.name),
            role: Some(member.role),
            ..Self::default()
        }
    }

    fn invited(invitation: &'a Invitation) -> Self {
        Self {
            sender: &invitation.sender,
            by: Some(&invitation.by),
            ..Self::default()
        }
    }

    fn limited(limit: &'a Limit) -> Self {
        Self {
            sender: &limit.sender,
            until: limit.until,
            ..Self::default()
        }
    }
}

/// An identity that a person may have.
pub(crate) fn somebody(sender: &str) -> Result<&str, Error> {
    if sender == SERVER {
        return Err(Error::Invalid("sender: it is nobody's".to_owned()));
    }
    Ok(sender)
}

/// Text, numbers and what was JSON before: there is nothing in an answer that JSON has not.
fn json(answer: &impl Serialize) -> String {
    serde_json::to_string(answer).unwrap_or_default()
}
