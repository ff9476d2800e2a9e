//! Where somebody stands in a channel: by its name, by their own document, and by that of its room.
//!
//! Whether there is a private channel is told to nobody who is not in it. Who is not is refused by what their own
//! document says: the channel's is not even read, so that an answer takes as long whether there is one or not.

use crate::bindings::exports::witter::messaging::messenger::Error;
use crate::bindings::witter::messaging::policy::{self, Action, Identity};
use crate::bindings::witter::messaging::types;
use crate::clock;
use crate::rules::{Rules, permit};
use futures::future::try_join_all;
use membership::{
    Damaged, Kind, Person, Rank, Refusal, Role, Room, Standing, direct_channel, own_channel,
    person_document, room_document,
};

/// Who speaks where nobody does: what the server tells. No credential stands for it.
pub(crate) const SERVER: &str = "witter";

/// A channel, as somebody has it.
pub(crate) struct Place {
    pub(crate) channel: String,
    pub(crate) role: Option<Role>,
    /// None: nobody made anything of the channel, or it is of a kind that keeps no room.
    pub(crate) room: Option<Room>,
    /// Who is on the other side of a conversation of two.
    pub(crate) other: Option<String>,
    /// The other side began it, and was not answered.
    pub(crate) opened: bool,
}

impl Place {
    fn new(channel: &str, role: Option<Role>) -> Self {
        Self {
            channel: channel.to_owned(),
            role,
            room: None,
            other: None,
            opened: false,
        }
    }

    fn with(channel: &str, role: Option<Role>, room: Option<Room>) -> Self {
        Self {
            room,
            ..Self::new(channel, role)
        }
    }

    /// As the policy is told.
    pub(crate) fn outward(&self) -> policy::Place {
        outward(&self.channel, self.role)
    }
}

pub(crate) fn outward(channel: &str, role: Option<Role>) -> policy::Place {
    policy::Place {
        channel: channel.to_owned(),
        role: role.map(|role| match role {
            Role::Member => types::Role::Member,
            Role::Moderator => types::Role::Moderator,
            Role::Owner => types::Role::Owner,
        }),
    }
}

impl Rules {
    /// All of these channels as somebody who may do this in each, or the error of the first that is refused.
    pub(crate) async fn enter(
        &self,
        who: &Identity,
        action: Action,
        channels: &[String],
    ) -> Result<Vec<Place>, Error> {
        let person = self.acquainted(who, channels).await?;
        let found = channels
            .iter()
            .map(|channel| self.place(who, &person, action, channel));
        let found = try_join_all(found).await?;
        let asked: Vec<_> = found.iter().flatten().map(Place::outward).collect();
        let mut answers = permit(who, action, &asked)?.into_iter();
        let mut places = Vec::with_capacity(channels.len());
        for (place, channel) in found.into_iter().zip(channels) {
            let place = place.ok_or_else(|| refused(who, doing(action), channel))?;
            answers.next().transpose()?;
            places.push(place);
        }
        for place in &mut places {
            // Nothing of a channel is looked at for who may not enter it.
            if Kind::of(&place.channel) == Kind::Kept {
                place.room = self.room(&place.channel).await?;
            }
            if let Some(room) = &place.room {
                room.may_read(who.sender.as_deref(), clock::now())
                    .map_err(|refusal| not_done(&place.channel, refusal))?;
            }
        }
        Ok(places)
    }

    /// What is known of somebody, where that decides about any of the channels.
    pub(crate) async fn acquainted(
        &self,
        who: &Identity,
        channels: &[String],
    ) -> Result<Person, Error> {
        let decides = |channel: &String| matches!(Kind::of(channel), Kind::Private | Kind::Direct);
        match &who.sender {
            Some(sender) if channels.iter().any(decides) => self.person(sender).await,
            _ => Ok(Person::default()),
        }
    }

    /// Where somebody stands; none: out of a private channel, whether there is one or not.
    pub(crate) async fn place(
        &self,
        who: &Identity,
        person: &Person,
        action: Action,
        channel: &str,
    ) -> Result<Option<Place>, Error> {
        let sender = who.sender.as_deref();
        let member = || Some(Place::new(channel, Some(Role::Member)));
        let told = action == Action::Read;
        Ok(match Kind::of(channel) {
            Kind::Public => {
                let room = self.room(channel).await?;
                let role = room.as_ref().zip(sender);
                let role = role.and_then(|(room, sender)| room.role(sender));
                Some(Place::with(channel, role, room))
            }
            Kind::Kept => Some(Place::new(channel, None)),
            Kind::Own if told && sender.is_some_and(|sender| own_channel(sender) == channel) => {
                member()
            }
            Kind::Audit if told && who.administers => member(),
            Kind::Own | Kind::Audit => None,
            Kind::Private | Kind::Direct => {
                let Some(sender) = sender else {
                    return Ok(None);
                };
                let Some(entry) = person.room(channel) else {
                    return Ok(None);
                };
                match &entry.other {
                    Some(other) => (direct_channel(sender, other) == channel).then(|| Place {
                        other: Some(other.clone()),
                        opened: entry.standing == Standing::Opened,
                        ..Place::new(channel, Some(Role::Member))
                    }),
                    None => {
                        let room = self.room(channel).await?;
                        let role = room.as_ref().and_then(|room| room.role(sender));
                        role.map(|role| Place::with(channel, Some(role), room))
                    }
                }
            }
        })
    }

    /// What somebody weighs in a channel that they are not out of: who moderates there is the policy's decision, by their
    /// role or without. A conversation of two is moderated by nobody.
    pub(crate) fn rank(
        &self,
        who: &Identity,
        channel: &str,
        role: Option<Role>,
    ) -> Result<Rank, Error> {
        if Kind::of(channel) == Kind::Direct {
            return Ok(Rank::from(role));
        }
        let places = [outward(channel, None), outward(channel, role)];
        let answers = permit(who, Action::Moderate, &places)?;
        Ok(match &answers[..] {
            [Ok(()), _] => Rank::Deployment,
            [_, Ok(())] => Rank::from(role).max(Rank::Moderator),
            _ => Rank::from(role).min(Rank::Member),
        })
    }

    /// The room of a channel, if there is one.
    pub(crate) async fn room(&self, channel: &str) -> Result<Option<Room>, Error> {
        let document = self
            .mailbox
            .documents()
            .read(&room_document(channel))
            .await?;
        Ok(document
            .map(|document| Room::decode(&document))
            .transpose()?)
    }

    /// What is known of a person; nothing yet, of most.
    pub(crate) async fn person(&self, sender: &str) -> Result<Person, Error> {
        let document = self
            .mailbox
            .documents()
            .read(&person_document(sender))
            .await?;
        Ok(document
            .map(|document| Person::decode(&document))
            .transpose()?
            .unwrap_or_default())
    }

    /// Changes what is known of a person.
    pub(crate) async fn change_person<T>(
        &self,
        sender: &str,
        mut change: impl FnMut(&mut Person) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut outcome = None;
        let documents = self.mailbox.documents();
        documents
            .update(&person_document(sender), |old| {
                let mut person = old.map(Person::decode).transpose()?.unwrap_or_default();
                let before = person.clone();
                outcome = Some(change(&mut person)?);
                let changed = person != before;
                let bytes = changed.then(|| person.encode()).transpose();
                bytes.map_err(|_| full("the list of rooms and people"))
            })
            .await?;
        outcome.ok_or_else(|| Error::Unavailable("nothing was changed".to_owned()))
    }

    /// Changes the room of a channel, which begins as `born` where there is none.
    pub(crate) async fn change_room<T>(
        &self,
        channel: &str,
        born: impl Fn() -> Result<Room, Error>,
        mut change: impl FnMut(&mut Room) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut outcome = None;
        let documents = self.mailbox.documents();
        documents
            .update(&room_document(channel), |old| {
                let mut room = match old {
                    Some(old) => Room::decode(old)?,
                    None => born()?,
                };
                // What says nothing is not written.
                let before = old.map_or_else(Room::plain, |_| room.clone());
                outcome = Some(change(&mut room)?);
                let changed = room != before;
                let bytes = changed.then(|| room.encode()).transpose();
                bytes.map_err(|refusal| not_done(channel, refusal))
            })
            .await?;
        outcome.ok_or_else(|| Error::Unavailable("nothing was changed".to_owned()))
    }
}

/// What is said of an action.
pub(crate) fn doing(action: Action) -> &'static str {
    match action {
        Action::Read => "reading",
        Action::Publish => "publishing in",
        Action::Create => "creating",
        Action::Moderate => "moderating",
    }
}

/// What who is out of a private channel is told, whether there is one or not.
pub(crate) fn refused(who: &Identity, doing: &str, channel: &str) -> Error {
    match who.sender {
        Some(_) => Error::Forbidden(format!("{doing} {channel} is not allowed")),
        None => Error::Unauthorized(format!("{doing} {channel} needs a credential")),
    }
}

/// Why something is not done in a room.
pub(crate) fn not_done(channel: &str, refusal: Refusal) -> Error {
    let until = match refusal {
        Refusal::Banned { until } | Refusal::Muted { until } => until,
        _ => None,
    };
    let why = match until {
        Some(until) => {
            let seconds = until.saturating_sub(clock::now()).div_ceil(1_000);
            format!("{channel}: {refusal} for another {seconds} s")
        }
        None => format!("{channel}: {refusal}"),
    };
    match refusal {
        Refusal::Public => Error::Invalid(why),
        _ => Error::Forbidden(why),
    }
}

pub(crate) fn full(what: &str) -> Error {
    Error::Forbidden(format!("{what} is full"))
}

impl From<Damaged> for Error {
    fn from(error: Damaged) -> Self {
        Error::Unavailable(error.to_string())
    }
}
