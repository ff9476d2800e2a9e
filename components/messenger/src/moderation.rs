//! Keeping order: roles, and who may not be here, or not speak.

use crate::bindings::exports::witter::messaging::messenger::Error;
use crate::clock;
use crate::place::{not_done, refused};
use crate::rooms::{Asker, somebody};
use membership::{Actor, Kind, Refusal, Role, Room};
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
                let changed = self.change("remove", &whom, json!({}), change).await?;
                self.put_out(
                    &whom,
                    changed,
                    json!({"removed": {"channel": whom.channel.as_str()}}),
                )
                .await?;
                Ok(answer(&whom, json!({})))
            }
            RoomCommand::Role(whom, role) => {
                let role = match role {
                    protocol::Role::Member => Role::Member,
                    protocol::Role::Moderator => Role::Moderator,
                    protocol::Role::Owner => Role::Owner,
                };
                let more = json!({"role": role});
                let change = |room: &mut Room, by: Actor<'_>| room.set_role(by, &whom.sender, role);
                let changed = self.change("role", &whom, more.clone(), change).await?;
                let notice = json!({"role": {"channel": whom.channel.as_str(), "role": role}});
                self.let_know(&whom, changed, notice).await?;
                Ok(answer(&whom, more))
            }
            RoomCommand::Ban(whom, seconds) => {
                let until = end(seconds);
                let more = json!({"until": until});
                let change =
                    |room: &mut Room, by: Actor<'_>| room.ban(by, &whom.sender, until, now);
                let changed = self.change("ban", &whom, more.clone(), change).await?;
                let notice = json!({"banned": {"channel": whom.channel.as_str(), "until": until}});
                self.put_out(&whom, changed, notice).await?;
                Ok(answer(&whom, more))
            }
            RoomCommand::Unban(whom) => {
                let change = |room: &mut Room, by: Actor<'_>| room.unban(by, &whom.sender);
                self.change("unban", &whom, json!({}), change).await?;
                Ok(answer(&whom, json!({})))
            }
            RoomCommand::Mute(whom, seconds) => {
                let until = end(seconds);
                let more = json!({"until": until});
                let change =
                    |room: &mut Room, by: Actor<'_>| room.mute(by, &whom.sender, until, now);
                let changed = self.change("mute", &whom, more.clone(), change).await?;
                let notice = json!({"muted": {"channel": whom.channel.as_str(), "until": until}});
                self.let_know(&whom, changed, notice).await?;
                Ok(answer(&whom, more))
            }
            RoomCommand::Unmute(whom) => {
                let change = |room: &mut Room, by: Actor<'_>| room.unmute(by, &whom.sender);
                self.change("unmute", &whom, json!({}), change).await?;
                Ok(answer(&whom, json!({})))
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

    /// Changes what holds for somebody in a room; whether it was another.
    async fn change(
        &self,
        verb: &str,
        whom: &Whom,
        more: Value,
        change: impl FnMut(&mut Room, Actor<'_>) -> Result<bool, Refusal>,
    ) -> Result<bool, Error> {
        let mut more = more;
        more["sender"] = json!(somebody(&whom.sender)?);
        self.change_channel(verb, &whom.channel, more, change).await
    }

    /// Changes what holds in a room, and notes it for the administrators; whether it was another.
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
        let changed = self.rules.change_room(name, born, |room| {
            change(room, by).map_err(|refusal| match (refusal, kind) {
                // Whoever is out of it is told no more than that.
                (Refusal::Rank, _) if rank < membership::Rank::Moderator => {
                    refused(self.who, DOING, name)
                }
                (refusal, _) => not_done(name, refusal),
            })
        });
        let changed = changed.await?;
        if changed {
            self.rules.audit(self.sender, verb, name, more).await;
        }
        Ok(changed)
    }

    /// Lets somebody know that they are out, and their readers too.
    async fn put_out(&self, whom: &Whom, changed: bool, notice: Value) -> Result<(), Error> {
        // Also where it was done before: whoever did it may have got no further.
        self.forget(&whom.sender, whom.channel.as_str()).await?;
        self.let_know(whom, changed, notice).await
    }

    /// Lets somebody know that they may do other things than before, and their readers too.
    async fn let_know(&self, whom: &Whom, changed: bool, notice: Value) -> Result<(), Error> {
        self.rules.standing_changed(&whom.sender).await?;
        if changed {
            self.rules.tell(&whom.sender, clock::drawn(), &notice).await;
        }
        Ok(())
    }
}

fn answer(whom: &Whom, more: Value) -> String {
    let mut answer = json!({"channel": whom.channel.as_str(), "sender": whom.sender});
    if let (Some(answer), Value::Object(more)) = (answer.as_object_mut(), more) {
        answer.extend(more);
    }
    answer.to_string()
}
