//! Keeping order: roles, and who may not be here, or not speak.

use crate::bindings::exports::witter::messaging::messenger::Error;
use crate::clock;
use crate::place::{not_done, refused};
use crate::rooms::{Asker, somebody};
use membership::{Actor, Deed, Done, Kind, Rank, Refusal, Role, Room};
use protocol::{Channel, RoomCommand, Whom};
use serde_json::{Value, json};

const DOING: &str = "moderating";

impl Asker<'_> {
    /// Moderators and owners keep order in their rooms, and whoever the policy lets do so, in public channels that
    /// nobody made a room of too.
    pub(crate) async fn moderate(&self, command: RoomCommand) -> Result<String, Error> {
        let now = clock::now();
        let end = |seconds: Option<u64>| seconds.map(|seconds| now + seconds * 1_000);
        match command {
            RoomCommand::Remove(whom) => {
                let change = |room: &mut Room, by: Actor<'_>| room.remove(by, &whom.sender);
                self.act(Deed::Remove, &whom, json!({}), change).await
            }
            RoomCommand::Role(whom, role) => {
                let role = match role {
                    protocol::Role::Member => Role::Member,
                    protocol::Role::Moderator => Role::Moderator,
                    protocol::Role::Owner => Role::Owner,
                };
                let change = |room: &mut Room, by: Actor<'_>| room.set_role(by, &whom.sender, role);
                let more = json!({"role": role});
                self.act(Deed::Role, &whom, more, change).await
            }
            RoomCommand::Ban(whom, seconds) => {
                let until = end(seconds);
                let change =
                    |room: &mut Room, by: Actor<'_>| room.ban(by, &whom.sender, until, now);
                let more = json!({"until": until});
                self.act(Deed::Ban, &whom, more, change).await
            }
            RoomCommand::Unban(whom) => {
                let change = |room: &mut Room, by: Actor<'_>| room.unban(by, &whom.sender);
                self.change("unban", &whom, &json!({}), change).await?;
                Ok(about(&whom, json!({})).to_string())
            }
            RoomCommand::Mute(whom, seconds) => {
                let until = end(seconds);
                let change =
                    |room: &mut Room, by: Actor<'_>| room.mute(by, &whom.sender, until, now);
                let more = json!({"until": until});
                self.act(Deed::Mute, &whom, more, change).await
            }
            RoomCommand::Unmute(whom) => {
                let change = |room: &mut Room, by: Actor<'_>| room.unmute(by, &whom.sender);
                self.change("unmute", &whom, &json!({}), change).await?;
                Ok(about(&whom, json!({})).to_string())
            }
            RoomCommand::Slow(channel, seconds) => {
                let change = |room: &mut Room, by: Actor<'_>| room.set_slow(by, seconds);
                let more = json!({"seconds": seconds});
                self.change_channel("slow", &channel, more, change).await?;
                Ok(json!({"channel": channel.as_str(), "seconds": seconds}).to_string())
            }
            _ => Err(Error::Invalid("no command about rooms".to_owned())),
        }
    }

    /// Does something to somebody, and what follows from it for them; the answer is JSON text.
    async fn act(
        &self,
        deed: Deed,
        whom: &Whom,
        more: Value,
        mut change: impl FnMut(&mut Room, Actor<'_>) -> Result<bool, Refusal>,
    ) -> Result<String, Error> {
        let (verb, told) = match deed {
            Deed::Remove => ("remove", "removed"),
            Deed::Role => ("role", "role"),
            Deed::Ban => ("ban", "banned"),
            Deed::Mute => ("mute", "muted"),
        };
        let (channel, sender) = (whom.channel.as_str(), whom.sender.as_str());
        let mut was_there = false;
        let change = |room: &mut Room, by: Actor<'_>| {
            was_there = room.knows(sender);
            change(room, by)
        };
        let changed = self.change(verb, whom, &more, change).await?;
        let done = Done {
            deed,
            by: self.sender,
            channel,
            changed,
            was_there,
        };
        let left = done.leaves(&self.rules.person(sender).await?);
        if left.ask {
            self.rules.standing_changed(sender).await?;
        }
        if left.forget {
            self.forget(sender, channel).await?;
        }
        if left.tell {
            let notice = extended(json!({"channel": channel}), more.clone());
            let notice = json!({told: notice});
            self.rules.tell(sender, clock::drawn(), &notice).await;
        }
        Ok(about(whom, more).to_string())
    }

    /// Changes what holds for somebody in a room; whether it was another.
    async fn change(
        &self,
        verb: &str,
        whom: &Whom,
        more: &Value,
        change: impl FnMut(&mut Room, Actor<'_>) -> Result<bool, Refusal>,
    ) -> Result<bool, Error> {
        let sender = json!({"sender": somebody(&whom.sender)?});
        let more = extended(sender, more.clone());
        self.change_channel(verb, &whom.channel, more, change).await
    }

    /// Changes what holds in a room; whether it was another. The administrators are told, before, where that is done by
    /// the power that the deployment gives: what people do in rooms of their own would drive all else out of the one log.
    async fn change_channel(
        &self,
        verb: &str,
        channel: &Channel,
        more: Value,
        mut change: impl FnMut(&mut Room, Actor<'_>) -> Result<bool, Refusal>,
    ) -> Result<bool, Error> {
        let name = channel.as_str();
        let kind = Kind::of(name);
        if !matches!(kind, Kind::Public | Kind::Private | Kind::Kept) {
            return Err(refused(self.who, DOING, name));
        }
        let (sender, rank) = self.standing(name, DOING).await?;
        let by = Actor { sender, rank };
        let born = || match kind {
            Kind::Private => Err(refused(self.who, DOING, name)),
            _ => Ok(Room::plain()),
        };
        let mut change = |room: &mut Room| {
            change(room, by).map_err(|refusal| match (refusal, kind) {
                // Whoever is out of it is told no more than that.
                (Refusal::Rank, _) if rank < Rank::Moderator => refused(self.who, DOING, name),
                (refusal, _) => not_done(name, refusal),
            })
        };
        if rank == Rank::Deployment {
            let mut room = self.rules.room(name).await?.map_or_else(born, Ok)?;
            if change(&mut room)? {
                self.rules.audit(self.sender, verb, name, more).await?;
            }
        }
        self.rules.change_room(name, born, change).await
    }
}

fn about(whom: &Whom, more: Value) -> Value {
    extended(
        json!({"channel": whom.channel.as_str(), "sender": whom.sender}),
        more,
    )
}

/// An object with the members of another.
pub(crate) fn extended(object: Value, more: Value) -> Value {
    let mut object = object;
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
    object
}
