//! Rooms, conversations of two, and who keeps order in them: the same over every transport.

use anyhow::{Context, Result, ensure};
use conformance::{Answer, Envelope, Fault, Query, Reader, Session, Transport};
use serde_json::{Value, json};

use crate::Corpus;
use crate::world::World;

pub(crate) fn cases(corpus: &mut Corpus<'_>, transport: Transport) {
    corpus.reads(transport, a_private_room_is_for_who_is_invited);
    corpus.reads(
        transport,
        whether_a_private_channel_exists_is_told_to_nobody,
    );
    corpus.reads(transport, who_is_put_out_reads_no_more);
    corpus.reads(transport, a_public_room_belongs_to_who_made_it);
    corpus.reads(transport, an_owner_who_leaves_is_succeeded);
    corpus.reads(transport, rooms_are_listed_with_what_is_unread);
    corpus.reads(transport, two_people_find_the_same_channel);
    corpus.reads(transport, nobody_is_written_to_by_whom_they_blocked);
    corpus.reads(transport, a_conversation_is_left_until_it_is_answered);
    corpus.reads(transport, who_never_was_in_a_room_is_told_nothing_of_it);
    corpus.reads(transport, what_concerns_a_person_is_told_to_them_alone);
    corpus.reads(transport, who_is_banned_neither_reads_nor_publishes);
    corpus.reads(transport, who_is_muted_reads_and_does_not_publish);
    corpus.reads(transport, one_speaks_slowly_where_a_moderator_says_so);
    corpus.reads(transport, a_message_is_edited_deleted_and_reacted_to);
    corpus.reads(transport, commands_about_rooms_follow_the_grammar);
}

/// Somebody who reads and commands by one transport.
pub(crate) struct Person<'w> {
    world: &'w World,
    transport: Transport,
    pub(crate) session: Session,
}

impl<'w> Person<'w> {
    /// A new guest: what cases do to people does not meet.
    pub(crate) async fn new(world: &'w World, transport: Transport, name: &str) -> Result<Self> {
        let session = world.client.session(name).await?;
        Ok(Self {
            world,
            transport,
            session,
        })
    }

    pub(crate) fn sender(&self) -> &str {
        &self.session.sender
    }

    /// What comes of a command, an error or not.
    pub(crate) async fn asks(&self, command: Value) -> Result<Value> {
        let token = Some(self.session.token.as_str());
        let client = &self.world.client;
        client.perform(self.transport, token, &command).await
    }

    pub(crate) async fn does(&self, command: Value) -> Result<Value> {
        let answer = self.asks(command.clone()).await?;
        ensure!(answer.get("error").is_none(), "{command}: {answer}");
        Ok(answer)
    }

    pub(crate) async fn is_refused(&self, command: Value, code: &str) -> Result<Value> {
        let answer = self.asks(command.clone()).await?;
        ensure!(
            answer["error"] == code && answer["detail"].is_string(),
            "{command}: {code} was expected: {answer}"
        );
        Ok(answer)
    }

    /// A private room of one's own.
    pub(crate) async fn makes_a_room(&self) -> Result<String> {
        let answer = self
            .does(json!({"create": {"private": true, "title": "Ours"}}))
            .await?;
        let channel = answer["channel"].as_str().context("a channel is drawn")?;
        ensure!(
            channel.len() == 22 && channel.starts_with("@room~"),
            "{answer}"
        );
        Ok(channel.to_owned())
    }

    /// Their own channel.
    pub(crate) async fn own(&self) -> Result<String> {
        let answer = self.does(json!({"me": {}})).await?;
        let own = answer["channel"].as_str().context("everybody has one")?;
        Ok(own.to_owned())
    }

    pub(crate) async fn publishes(&self, channel: &str, draft: Value) -> Result<Answer> {
        let target = format!("/witter/publish?channel={channel}");
        let token = Some(self.session.token.as_str());
        let mut draft = draft;
        if draft.get("id").is_none() {
            draft["id"] = json!(self.world.id());
        }
        self.world
            .client
            .post(&target, token, draft.to_string())
            .await
    }

    /// Says something; where it is stored.
    pub(crate) async fn says(&self, channel: &str, draft: Value) -> Result<u64> {
        let answer = self.publishes(channel, draft).await?;
        ensure!(answer.status == 201, "not stored: {answer:?}");
        let receipt: Value = answer.json()?;
        receipt["offset"].as_u64().context("a receipt has one")
    }

    /// The code with which they are refused to publish.
    pub(crate) async fn may_not_publish(&self, channel: &str) -> Result<String> {
        let answer = self.publishes(channel, json!({"body": 0})).await?;
        answer
            .code()
            .with_context(|| format!("it was stored: {answer:?}"))
    }

    pub(crate) async fn opens(&self, query: Query) -> Result<Reader, Fault> {
        let query = query.token(&self.session.token);
        Reader::open(&self.world.client, self.transport, query).await
    }

    /// The newest messages of a channel.
    pub(crate) async fn reads(&self, channel: &str, count: usize) -> Result<Vec<Envelope>> {
        let query = Query::of([channel]).history(1_000);
        Ok(self.opens(query).await?.messages(count).await?)
    }

    /// What they are told when they are refused to read.
    pub(crate) async fn may_not_read(&self, channel: &str) -> Result<Value> {
        match self.opens(Query::of([channel])).await {
            Err(Fault::Refused(answer)) => {
                let mut told: Value = answer.json()?;
                // A document is told by its end.
                if let Some(code) = told.as_object_mut().and_then(|told| told.remove("end")) {
                    told["error"] = code;
                }
                Ok(told)
            }
            Err(fault) => Err(fault.into()),
            Ok(_) => anyhow::bail!("{channel} was opened"),
        }
    }

    /// The notices in their own channel, as JSON.
    pub(crate) async fn notices(&self, count: usize) -> Result<Vec<Value>> {
        let own = self.own().await?;
        let read = self.reads(&own, count).await?;
        read.iter()
            .map(|envelope| {
                ensure!(envelope.sender == "witter", "{envelope:?}");
                Ok(serde_json::from_str(envelope.body.get())?)
            })
            .collect()
    }
}

async fn people<'w, const N: usize>(
    world: &'w World,
    transport: Transport,
    names: [&str; N],
) -> Result<[Person<'w>; N]> {
    let people = names.map(|name| Person::new(world, transport, name));
    let people = futures::future::try_join_all(people).await?;
    people
        .try_into()
        .map_err(|_| anyhow::anyhow!("as many as there are names"))
}

async fn a_private_room_is_for_who_is_invited(world: &World, transport: Transport) -> Result<()> {
    let [ann, bob, eve] = people(world, transport, ["Ann", "Bob", "Eve"]).await?;
    let channel = ann.makes_a_room().await?;
    ann.says(&channel, json!({"body": "first"})).await?;

    // Nobody else is in it, not even who knows its name.
    for person in [&bob, &eve] {
        ensure!(person.may_not_read(&channel).await?["error"] == "forbidden");
        assert_eq!(person.may_not_publish(&channel).await?, "forbidden");
        person
            .is_refused(json!({"join": {"channel": channel}}), "forbidden")
            .await?;
    }

    let invite = json!({"invite": {"channel": channel, "sender": bob.sender()}});
    bob.is_refused(invite.clone(), "forbidden").await?;
    ann.does(invite.clone()).await?;
    ann.does(invite).await?;
    let notices = bob.notices(1).await?;
    assert_eq!(
        notices,
        [
            json!({"invited": {"channel": channel, "title": "Ours", "by": ann.sender(), "name": "Ann"}})
        ]
    );
    let rooms = bob.does(json!({"rooms": {}})).await?;
    assert_eq!(rooms["rooms"], json!([]));
    assert_eq!(
        rooms["invited"],
        json!([{"channel": channel, "title": "Ours", "by": ann.sender()}])
    );
    // An invitation is no membership.
    ensure!(bob.may_not_read(&channel).await?["error"] == "forbidden");

    let joined = bob.does(json!({"join": {"channel": channel}})).await?;
    assert_eq!(
        joined,
        json!({
            "channel": channel, "title": "Ours", "private": true, "role": "member", "slow": 0,
            "members": [
                {"sender": ann.sender(), "name": "Ann", "role": "owner"},
                {"sender": bob.sender(), "name": "Bob", "role": "member"},
            ],
        })
    );
    bob.says(&channel, json!({"body": "second"})).await?;
    let read = bob.reads(&channel, 2).await?;
    assert_eq!(read[1].sender, bob.sender());
    ann.reads(&channel, 2).await?;
    ensure!(eve.may_not_read(&channel).await?["error"] == "forbidden");

    // A member keeps no order.
    for command in [
        json!({"invite": {"channel": channel, "sender": eve.sender()}}),
        json!({"remove": {"channel": channel, "sender": ann.sender()}}),
        json!({"role": {"channel": channel, "sender": bob.sender(), "role": "owner"}}),
        json!({"ban": {"channel": channel, "sender": ann.sender()}}),
        json!({"slow": {"channel": channel, "seconds": 1}}),
    ] {
        bob.is_refused(command, "forbidden").await?;
    }

    ann.does(json!({"remove": {"channel": channel, "sender": bob.sender()}}))
        .await?;
    ensure!(bob.may_not_read(&channel).await?["error"] == "forbidden");
    assert_eq!(bob.may_not_publish(&channel).await?, "forbidden");
    bob.is_refused(json!({"join": {"channel": channel}}), "forbidden")
        .await?;
    assert_eq!(
        bob.notices(2).await?[1],
        json!({"removed": {"channel": channel}})
    );
    assert_eq!(bob.does(json!({"rooms": {}})).await?["rooms"], json!([]));
    Ok(())
}

async fn who_is_put_out_reads_no_more(world: &World, transport: Transport) -> Result<()> {
    let [ann, bob, eve] = people(world, transport, ["Ann", "Bob", "Eve"]).await?;
    let private = ann.makes_a_room().await?;
    for person in [&bob, &eve] {
        let invite = json!({"invite": {"channel": private, "sender": person.sender()}});
        ann.does(invite).await?;
        person.does(json!({"join": {"channel": private}})).await?;
    }
    let public = world.channel();
    ann.does(json!({"create": {"channel": public}})).await?;
    let whom = |channel: &str| json!({"channel": channel, "sender": bob.sender()});
    let out = [
        (&private, json!({"remove": whom(&private)})),
        (&public, json!({"ban": whom(&public)})),
    ];
    for (channel, command) in out {
        let query = Query::of([channel]).wait(55);
        let mut stays = eve.opens(query.clone()).await?;
        let mut reader = bob.opens(query).await?;
        ann.says(channel, json!({"body": 1})).await?;
        reader.messages(1).await?;
        ann.does(command).await?;
        let code = match reader.news().await {
            Ok(batch) => batch.denied.map(|denied| denied.error).or(batch.end),
            Err(Fault::Refused(answer)) => answer.code(),
            Err(fault) => return Err(fault.into()),
        };
        assert_eq!(code.as_deref(), Some("forbidden"));
        // Whoever stays goes on.
        ann.says(channel, json!({"body": 2})).await?;
        stays.messages(2).await?;
    }
    Ok(())
}

/// Everything that somebody may try with a channel, and what they are told.
async fn tried(person: &Person<'_>, channel: &str, other: &str) -> Result<Vec<String>> {
    let mut told = vec![person.may_not_read(channel).await?.to_string()];
    let history = Query::of([channel]).token(&person.session.token);
    for query in ["history=1", "before=9", "after="] {
        let target = history.target(Transport::ShortPolling);
        let answer = person
            .world
            .client
            .get(&format!("{target}&{query}"))
            .await?;
        told.push(format!("{} {:?}", answer.status, answer.body));
    }
    // Another channel besides, which they may read.
    let both = Query::of(["lobby", channel]);
    match person.opens(both).await {
        Err(Fault::Refused(answer)) => told.push(answer.json::<Value>()?.to_string()),
        other => anyhow::bail!("{:?}", other.map(|_| ()).err()),
    }
    for draft in [
        json!({"id": "a", "body": 0}),
        json!([{"id": "a", "body": 0}, {"id": "b", "body": 0}]),
        json!({"id": "a", "body": null, "refers": {"kind": "delete", "offset": 1}}),
        json!({"id": "a", "body": 0, "refers": {"kind": "reply", "offset": 9}}),
    ] {
        let target = format!("/witter/publish?channel={channel}");
        let token = Some(person.session.token.as_str());
        let client = &person.world.client;
        let answer = client.post(&target, token, draft.to_string()).await?;
        ensure!(answer.status == 403, "{answer:?}");
        told.push(format!("{:?}", answer.body));
    }
    let whom = json!({"channel": channel, "sender": other});
    for verb in ["join", "leave", "room"] {
        told.push(
            person
                .asks(json!({verb: {"channel": channel}}))
                .await?
                .to_string(),
        );
    }
    for verb in ["invite", "remove", "ban", "unban", "mute", "unmute"] {
        told.push(person.asks(json!({verb: whom})).await?.to_string());
    }
    let role = json!({"channel": channel, "sender": other, "role": "member"});
    told.push(person.asks(json!({"role": role})).await?.to_string());
    let slow = json!({"slow": {"channel": channel, "seconds": 1}});
    told.push(person.asks(slow).await?.to_string());
    told.push(
        person
            .asks(json!({"create": {"channel": channel}}))
            .await?
            .to_string(),
    );
    for said in &told {
        ensure!(said.contains("forbidden"), "{said}");
    }
    Ok(told)
}

async fn whether_a_private_channel_exists_is_told_to_nobody(
    world: &World,
    transport: Transport,
) -> Result<()> {
    let [ann, bob, eve] = people(world, transport, ["Ann", "Bob", "Eve"]).await?;
    // A conversation of two: anybody can work its name out.
    let other = Person::new(world, transport, "Other").await?;
    let direct = ann
        .does(json!({"direct": {"sender": other.sender()}}))
        .await?;
    let never = direct["channel"]
        .as_str()
        .context("it has a channel")?
        .replace(|letter: char| letter.is_ascii_lowercase(), "x")
        .replace("@xxxxxx~", "@direct~");
    ann.says(
        direct["channel"].as_str().unwrap_or_default(),
        json!({"body": 0}),
    )
    .await?;
    let there = tried(
        &eve,
        direct["channel"].as_str().unwrap_or_default(),
        ann.sender(),
    )
    .await?;
    let not_there = tried(&eve, &never, ann.sender()).await?;
    let named = |told: &[String], name: &str| -> Vec<String> {
        told.iter().map(|said| said.replace(name, "NAME")).collect()
    };
    assert_eq!(
        named(&there, direct["channel"].as_str().unwrap_or_default()),
        named(&not_there, &never)
    );
    // A room: before there is somebody in it that eve knows of, while there is, and when it is over.
    let channel = ann.makes_a_room().await?;
    ann.does(json!({"invite": {"channel": channel, "sender": bob.sender()}}))
        .await?;
    let empty = tried(&eve, &channel, ann.sender()).await?;
    bob.does(json!({"join": {"channel": channel}})).await?;
    for person in [&ann, &bob] {
        person.says(&channel, json!({"body": 0})).await?;
    }
    let full = tried(&eve, &channel, ann.sender()).await?;
    for person in [&ann, &bob] {
        person.does(json!({"leave": {"channel": channel}})).await?;
    }
    let over = tried(&eve, &channel, ann.sender()).await?;
    assert_eq!(empty, full);
    assert_eq!(full, over);
    let never = "@room~AAAAAAAAAAAAAAAA";
    let not_there = tried(&eve, never, ann.sender()).await?;
    assert_eq!(named(&over, &channel), named(&not_there, never));
    // Those who were in it are told the same.
    assert_eq!(tried(&bob, &channel, ann.sender()).await?, over);
    Ok(())
}

async fn a_public_room_belongs_to_who_made_it(world: &World, transport: Transport) -> Result<()> {
    let [ann, bob] = people(world, transport, ["Ann", "Bob"]).await?;
    let channel = world.channel();
    let create = json!({"create": {"channel": channel, "title": "A room"}});
    let room = json!({
        "channel": channel, "title": "A room", "private": false, "role": "owner", "slow": 0,
        "members": [{"sender": ann.sender(), "name": "Ann", "role": "owner"}],
        "moderation": {"invited": [], "bans": [], "mutes": []},
    });
    assert_eq!(ann.does(create.clone()).await?, room);
    // Whoever asks again, since an answer was lost, is told the same.
    assert_eq!(ann.does(create.clone()).await?, room);
    bob.is_refused(create.clone(), "forbidden").await?;
    // It is still public.
    bob.says(&channel, json!({"body": 0})).await?;
    let seen = bob.does(json!({"room": {"channel": channel}})).await?;
    assert_eq!(seen["role"], Value::Null);
    ensure!(seen.get("moderation").is_none(), "{seen}");
    bob.does(json!({"join": {"channel": channel}})).await?;
    // To be refused takes nobody out of it.
    bob.is_refused(create, "forbidden").await?;
    let rooms = bob.does(json!({"rooms": {}})).await?.to_string();
    ensure!(rooms.contains(&channel), "{rooms}");
    ann.does(json!({"role": {"channel": channel, "sender": bob.sender(), "role": "moderator"}}))
        .await?;
    let seen = bob.does(json!({"room": {"channel": channel}})).await?;
    assert_eq!(seen["role"], "moderator");
    ensure!(seen.get("moderation").is_some(), "{seen}");
    assert_eq!(
        bob.notices(1).await?,
        [json!({"role": {"channel": channel, "role": "moderator"}})]
    );
    // A moderator gives no roles, and puts no owner out.
    for command in [
        json!({"role": {"channel": channel, "sender": ann.sender(), "role": "member"}}),
        json!({"remove": {"channel": channel, "sender": ann.sender()}}),
        json!({"mute": {"channel": channel, "sender": ann.sender()}}),
    ] {
        bob.is_refused(command, "forbidden").await?;
    }
    ann.is_refused(
        json!({"role": {"channel": channel, "sender": ann.sender(), "role": "member"}}),
        "forbidden",
    )
    .await?;
    ann.is_refused(
        json!({"invite": {"channel": channel, "sender": bob.sender()}}),
        "invalid-request",
    )
    .await?;
    for name in ["@audit", "@anything", "@room~AAAAAAAAAAAAAAAA", "@me~x"] {
        ann.is_refused(json!({"create": {"channel": name}}), "forbidden")
            .await?;
    }
    Ok(())
}

async fn an_owner_who_leaves_is_succeeded(world: &World, transport: Transport) -> Result<()> {
    let [ann, bob, eve] = people(world, transport, ["Ann", "Bob", "Eve"]).await?;
    let channel = world.channel();
    ann.does(json!({"create": {"channel": channel}})).await?;
    for person in [&bob, &eve] {
        person.does(json!({"join": {"channel": channel}})).await?;
    }
    ann.does(json!({"role": {"channel": channel, "sender": eve.sender(), "role": "moderator"}}))
        .await?;
    for (gone, heir) in [(&ann, &eve), (&eve, &bob)] {
        for _ in 0..2 {
            gone.does(json!({"leave": {"channel": channel}})).await?;
        }
        let room = heir.does(json!({"room": {"channel": channel}})).await?;
        assert_eq!(room["role"], "owner");
    }
    // Where nobody is left, it is anybody's.
    bob.does(json!({"leave": {"channel": channel}})).await?;
    let room = ann.does(json!({"create": {"channel": channel}})).await?;
    assert_eq!(room["members"].as_array().map(Vec::len), Some(1));
    Ok(())
}

async fn rooms_are_listed_with_what_is_unread(world: &World, transport: Transport) -> Result<()> {
    let [ann, bob] = people(world, transport, ["Ann", "Bob"]).await?;
    let public = world.channel();
    ann.says(&public, json!({"body": "before"})).await?;
    bob.does(json!({"join": {"channel": public}})).await?;
    let private = ann.makes_a_room().await?;
    ann.does(json!({"invite": {"channel": private, "sender": bob.sender()}}))
        .await?;
    bob.does(json!({"join": {"channel": private}})).await?;
    for (channel, count) in [(&public, 2), (&private, 3)] {
        for number in 0..count {
            ann.says(channel, json!({"body": number})).await?;
        }
    }
    let direct = ann
        .does(json!({"direct": {"sender": bob.sender()}}))
        .await?;
    let direct = direct["channel"].as_str().context("it has a channel")?;
    ann.says(direct, json!({"body": "psst"})).await?;
    let told = bob.does(json!({"rooms": {}})).await?;
    ensure!(told.get("next").is_none(), "{told}");
    let rooms = told["rooms"].as_array().context("an array")?;
    let mut brief: Vec<_> = rooms
        .iter()
        .map(|room| {
            let Value::Object(room) = room else {
                return Value::Null;
            };
            let mut room = room.clone();
            let last = room.remove("last").unwrap_or_default();
            room.insert("body".to_owned(), last["body"].clone());
            Value::Object(room)
        })
        .collect();
    brief.sort_by_key(|room| room["head"].as_u64());
    assert_eq!(
        brief,
        [
            json!({
                "channel": direct, "title": null, "private": true, "role": "member",
                "with": {"sender": ann.sender(), "name": "Ann"},
                "unread": 1, "head": 1, "body": "psst",
            }),
            json!({
                "channel": public, "title": null, "private": false, "role": "member",
                "unread": 2, "head": 3, "body": 1,
            }),
            json!({
                "channel": private, "title": "Ours", "private": true, "role": "member",
                "unread": 3, "head": 3, "body": 2,
            }),
        ]
    );
    // What is read is unread no longer, on any device.
    bob.does(json!({"read": {"channel": private, "offset": 2}}))
        .await?;
    let told = bob.does(json!({"rooms": {}})).await?;
    let rooms = told["rooms"].as_array().context("an array")?;
    let room = rooms.iter().find(|room| room["channel"] == json!(private));
    assert_eq!(room.map(|room| &room["unread"]), Some(&json!(1)));
    bob.does(json!({"leave": {"channel": private}})).await?;
    let told = bob.does(json!({"rooms": {}})).await?;
    assert_eq!(told["rooms"].as_array().map(Vec::len), Some(2));
    let after = told["rooms"][0]["channel"].clone();
    let told = bob.does(json!({"rooms": {"after": after}})).await?;
    assert_eq!(told["rooms"].as_array().map(Vec::len), Some(1));
    ensure!(told.get("invited").is_none(), "{told}");
    Ok(())
}

async fn two_people_find_the_same_channel(world: &World, transport: Transport) -> Result<()> {
    let [ann, bob, eve] = people(world, transport, ["Ann", "Bob", "Eve"]).await?;
    let found = ann
        .does(json!({"direct": {"sender": bob.sender()}}))
        .await?;
    assert_eq!(found["sender"], bob.sender());
    let channel = found["channel"].as_str().context("it has a channel")?;
    // He is away; it is kept for him.
    ann.says(channel, json!({"body": "hello"})).await?;
    let notices = bob.notices(1).await?;
    assert_eq!(
        notices,
        [json!({"direct": {"channel": channel, "sender": ann.sender(), "name": "Ann"}})]
    );
    // On two devices at once.
    for _ in 0..2 {
        let read = bob.reads(channel, 1).await?;
        assert_eq!(
            (read[0].sender.as_str(), read[0].body.get()),
            (ann.sender(), "\"hello\"")
        );
    }
    bob.says(channel, json!({"body": "oh"})).await?;
    let again = bob
        .does(json!({"direct": {"sender": ann.sender()}}))
        .await?;
    assert_eq!(
        again,
        json!({"channel": channel, "sender": ann.sender(), "name": "Ann"})
    );
    ann.reads(channel, 2).await?;
    let room = ann.does(json!({"room": {"channel": channel}})).await?;
    assert_eq!(
        room["members"],
        json!([
            {"sender": ann.sender(), "name": "Ann", "role": "member"},
            {"sender": bob.sender(), "name": "Bob", "role": "member"},
        ])
    );
    // It is nobody else's, and nobody's to lead.
    ensure!(eve.may_not_read(channel).await?["error"] == "forbidden");
    assert_eq!(eve.may_not_publish(channel).await?, "forbidden");
    for command in [
        json!({"leave": {"channel": channel}}),
        json!({"join": {"channel": channel}}),
        json!({"ban": {"channel": channel, "sender": bob.sender()}}),
        json!({"slow": {"channel": channel, "seconds": 1}}),
        json!({"invite": {"channel": channel, "sender": eve.sender()}}),
    ] {
        ann.is_refused(command, "forbidden").await?;
    }
    for sender in [ann.sender(), "witter"] {
        ann.is_refused(json!({"direct": {"sender": sender}}), "invalid-request")
            .await?;
    }
    Ok(())
}

async fn nobody_is_written_to_by_whom_they_blocked(
    world: &World,
    transport: Transport,
) -> Result<()> {
    let [ann, bob, eve] = people(world, transport, ["Ann", "Bob", "Eve"]).await?;
    let begin = json!({"direct": {"sender": bob.sender()}});
    let found = ann.does(begin.clone()).await?;
    let channel = found["channel"].as_str().context("it has a channel")?;
    ann.says(channel, json!({"body": 0})).await?;
    let blocked = bob.does(json!({"block": {"sender": ann.sender()}})).await?;
    assert_eq!(blocked, json!({"blocked": [ann.sender()]}));
    assert_eq!(
        bob.does(json!({"rooms": {}})).await?["blocked"],
        blocked["blocked"]
    );
    assert_eq!(ann.may_not_publish(channel).await?, "forbidden");
    ann.is_refused(begin.clone(), "forbidden").await?;
    let room = ann.makes_a_room().await?;
    ann.is_refused(
        json!({"invite": {"channel": room, "sender": bob.sender()}}),
        "forbidden",
    )
    .await?;
    // Others are heard. What he has not answered is gone, until he wants to see it.
    eve.does(begin.clone()).await?;
    ensure!(bob.may_not_read(channel).await?["error"] == "forbidden");
    let answer = json!({"direct": {"sender": ann.sender()}});
    bob.does(answer).await?;
    bob.reads(channel, 1).await?;
    // What he has answered stays.
    bob.does(json!({"block": {"sender": ann.sender()}})).await?;
    bob.reads(channel, 1).await?;
    let blocked = bob
        .does(json!({"unblock": {"sender": ann.sender()}}))
        .await?;
    assert_eq!(blocked, json!({"blocked": []}));
    ann.does(begin).await?;
    ann.says(channel, json!({"body": 0})).await?;
    Ok(())
}

async fn a_conversation_is_left_until_it_is_answered(
    world: &World,
    transport: Transport,
) -> Result<()> {
    let [ann, bob] = people(world, transport, ["Ann", "Bob"]).await?;
    let begin = json!({"direct": {"sender": bob.sender()}});
    let found = ann.does(begin.clone()).await?;
    let channel = found["channel"].as_str().context("it has a channel")?;
    let leave = json!({"leave": {"channel": channel}});
    ann.says(channel, json!({"body": 1})).await?;
    ann.is_refused(leave.clone(), "forbidden").await?;
    let left = bob.does(leave.clone()).await?;
    assert_eq!(left, json!({"channel": channel}));
    assert_eq!(bob.does(json!({"rooms": {}})).await?["rooms"], json!([]));
    ensure!(bob.may_not_read(channel).await?["error"] == "forbidden");
    assert_eq!(bob.may_not_publish(channel).await?, "forbidden");
    bob.is_refused(leave.clone(), "forbidden").await?;
    // It is there again when it is begun again, and all that was said.
    ann.does(begin).await?;
    ann.says(channel, json!({"body": 2})).await?;
    bob.reads(channel, 2).await?;
    bob.says(channel, json!({"body": 3})).await?;
    bob.is_refused(leave, "forbidden").await?;
    Ok(())
}

async fn who_never_was_in_a_room_is_told_nothing_of_it(
    world: &World,
    transport: Transport,
) -> Result<()> {
    let [ann, bob, eve] = people(world, transport, ["Ann", "Bob", "Eve"]).await?;
    let channel = world.channel();
    eve.does(json!({"create": {"channel": channel}})).await?;
    let whom = |more: Value| {
        let mut whom = json!({"channel": channel, "sender": ann.sender()});
        for (name, value) in more.as_object().into_iter().flatten() {
            whom[name] = value.clone();
        }
        whom
    };
    let join = json!({"join": {"channel": channel}});
    for seconds in [60, 61] {
        for verb in ["mute", "ban", "remove"] {
            let whom = whom(json!({"seconds": seconds}));
            eve.does(json!({verb: whom})).await?;
        }
    }
    for verb in ["unmute", "unban"] {
        eve.does(json!({verb: whom(json!({}))})).await?;
    }
    // Nor who is in it, by whom they do not hear.
    ann.does(json!({"block": {"sender": eve.sender()}})).await?;
    for (verb, more) in [
        ("mute", json!({"seconds": 60})),
        ("role", json!({"role": "moderator"})),
        ("remove", json!({})),
        ("ban", json!({})),
    ] {
        ann.does(join.clone()).await?;
        eve.does(json!({verb: whom(more)})).await?;
    }
    let begun = bob
        .does(json!({"direct": {"sender": ann.sender()}}))
        .await?;
    let direct =
        json!({"direct": {"channel": begun["channel"], "sender": bob.sender(), "name": "Bob"}});
    assert_eq!(ann.notices(1).await?, [direct]);

    // Who is in it and hears them is told.
    ann.does(json!({"unblock": {"sender": eve.sender()}}))
        .await?;
    for verb in ["unmute", "unban"] {
        eve.does(json!({verb: whom(json!({}))})).await?;
    }
    ann.does(join).await?;
    let muted = eve
        .does(json!({"mute": whom(json!({"seconds": 60}))}))
        .await?;
    assert_eq!(
        ann.notices(2).await?[1],
        json!({"muted": {"channel": channel, "until": muted["until"]}})
    );
    Ok(())
}

async fn what_concerns_a_person_is_told_to_them_alone(
    world: &World,
    transport: Transport,
) -> Result<()> {
    let [ann, bob] = people(world, transport, ["Ann", "Bob"]).await?;
    let own = ann.own().await?;
    ensure!(own.starts_with("@me~") && own != bob.own().await?, "{own}");
    let mut reader = ann.opens(Query::of([&own])).await?;
    bob.does(json!({"direct": {"sender": ann.sender()}}))
        .await?;
    let told = reader.messages(1).await?;
    assert_eq!(
        (told[0].sender.as_str(), told[0].name.as_str()),
        ("witter", "witter")
    );
    for person in [&ann, &bob] {
        assert_eq!(person.may_not_publish(&own).await?, "forbidden");
        assert_eq!(person.may_not_publish("@audit").await?, "forbidden");
        ensure!(person.may_not_read("@audit").await?["error"] == "forbidden");
    }
    ensure!(bob.may_not_read(&own).await?["error"] == "forbidden");
    Ok(())
}

async fn who_is_banned_neither_reads_nor_publishes(
    world: &World,
    transport: Transport,
) -> Result<()> {
    let [ann, bob] = people(world, transport, ["Ann", "Bob"]).await?;
    let channel = world.channel();
    ann.does(json!({"create": {"channel": channel}})).await?;
    bob.does(json!({"join": {"channel": channel}})).await?;
    let whom = json!({"channel": channel, "sender": bob.sender()});
    bob.is_refused(json!({"ban": whom}), "forbidden").await?;
    let banned = ann.does(json!({"ban": whom})).await?;
    assert_eq!(banned["until"], Value::Null);
    ensure!(bob.may_not_read(&channel).await?["error"] == "forbidden");
    assert_eq!(bob.may_not_publish(&channel).await?, "forbidden");
    for verb in ["join", "room"] {
        let told = bob
            .is_refused(json!({verb: {"channel": channel}}), "forbidden")
            .await?;
        ensure!(
            told["detail"]
                .as_str()
                .is_some_and(|detail| detail.contains("banned")),
            "{told}"
        );
    }
    assert_eq!(
        bob.notices(1).await?,
        [json!({"banned": {"channel": channel, "until": null}})]
    );
    let room = ann.does(json!({"room": {"channel": channel}})).await?;
    assert_eq!(
        room["moderation"]["bans"],
        json!([{"sender": bob.sender()}])
    );
    ann.does(json!({"unban": whom})).await?;
    bob.does(json!({"join": {"channel": channel}})).await?;
    bob.says(&channel, json!({"body": 0})).await?;

    // One that ends.
    let mut whom = whom;
    whom["seconds"] = json!(1);
    let banned = ann.does(json!({"ban": whom})).await?;
    ensure!(banned["until"].is_u64(), "{banned}");
    while bob.publishes(&channel, json!({"body": 0})).await?.status != 201 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    Ok(())
}

async fn who_is_muted_reads_and_does_not_publish(
    world: &World,
    transport: Transport,
) -> Result<()> {
    let [ann, bob] = people(world, transport, ["Ann", "Bob"]).await?;
    let channel = ann.makes_a_room().await?;
    ann.does(json!({"invite": {"channel": channel, "sender": bob.sender()}}))
        .await?;
    bob.does(json!({"join": {"channel": channel}})).await?;
    bob.says(&channel, json!({"body": 0})).await?;
    let whom = json!({"channel": channel, "sender": bob.sender(), "seconds": 1_000});
    ann.does(json!({"mute": whom})).await?;
    let answer = bob.publishes(&channel, json!({"body": 0})).await?;
    let told: Value = answer.json()?;
    ensure!(
        answer.status == 403
            && told["detail"]
                .as_str()
                .is_some_and(|detail| detail.contains("muted for another")),
        "{told}"
    );
    bob.reads(&channel, 1).await?;
    ann.does(json!({"unmute": whom})).await?;
    bob.says(&channel, json!({"body": 0})).await?;
    Ok(())
}

async fn one_speaks_slowly_where_a_moderator_says_so(
    world: &World,
    transport: Transport,
) -> Result<()> {
    let [ann, bob] = people(world, transport, ["Ann", "Bob"]).await?;
    let channel = world.channel();
    ann.does(json!({"create": {"channel": channel}})).await?;
    bob.is_refused(
        json!({"slow": {"channel": channel, "seconds": 1}}),
        "forbidden",
    )
    .await?;
    ann.does(json!({"slow": {"channel": channel, "seconds": 600}}))
        .await?;
    let first = bob
        .says(&channel, json!({"id": "first", "body": 0}))
        .await?;
    let answer = bob.publishes(&channel, json!({"body": 0})).await?;
    assert_eq!(answer.code().as_deref(), Some("rate-limited"));
    let wait: u64 = answer
        .header("retry-after")
        .context("it says when")?
        .parse()?;
    ensure!((500..=600).contains(&wait), "{wait}");
    // The same message is the same, and what takes it away may always be said.
    let again = bob
        .publishes(&channel, json!({"id": "first", "body": 0}))
        .await?;
    assert_eq!(again.status, 200);
    bob.says(
        &channel,
        json!({"body": null, "refers": {"kind": "delete", "offset": first}}),
    )
    .await?;
    // One who owns the room does not wait.
    for _ in 0..2 {
        ann.says(&channel, json!({"body": 0})).await?;
    }
    ann.does(json!({"slow": {"channel": channel, "seconds": 0}}))
        .await?;
    bob.says(&channel, json!({"body": 0})).await?;
    Ok(())
}

async fn a_message_is_edited_deleted_and_reacted_to(
    world: &World,
    transport: Transport,
) -> Result<()> {
    let [ann, bob] = people(world, transport, ["Ann", "Bob"]).await?;
    let channel = world.channel();
    bob.does(json!({"create": {"channel": channel}})).await?;
    let about = |kind: &str, offset: u64, body: Value| json!({"body": body, "refers": {"kind": kind, "offset": offset}});
    let first = ann.says(&channel, json!({"body": "tpyo"})).await?;
    let edit = ann
        .says(&channel, about("edit", first, json!("typo")))
        .await?;
    let reply = bob
        .says(&channel, about("reply", first, json!("yes")))
        .await?;
    let reaction = bob
        .says(&channel, about("reaction", reply, json!("\u{1f44d}")))
        .await?;
    bob.says(&channel, about("reaction", reply, Value::Null))
        .await?;
    bob.says(&channel, about("edit", reply, json!("no")))
        .await?;
    // The owner takes a member's message away, and a member their own.
    bob.says(&channel, about("delete", first, Value::Null))
        .await?;
    let last = ann.says(&channel, json!({"body": "x"})).await?;
    ann.says(&channel, about("delete", last, Value::Null))
        .await?;

    let read = ann.reads(&channel, 9).await?;
    let refers: Vec<_> = read
        .iter()
        .map(|envelope| envelope.refers.clone())
        .collect();
    let at = |kind: &str, offset: u64| Some(json!({"kind": kind, "offset": offset}));
    assert_eq!(
        refers,
        [
            None,
            at("edit", first),
            at("reply", first),
            at("reaction", reply),
            at("reaction", reply),
            at("edit", reply),
            at("delete", first),
            None,
            at("delete", last),
        ]
    );
    // What is not one's own, not there, or itself about another.
    for (person, draft, status) in [
        (&bob, about("edit", first, json!("x")), 403),
        (&ann, about("edit", reply, json!("x")), 403),
        (&ann, about("delete", reply, Value::Null), 403),
        (&ann, about("edit", edit, json!("x")), 400),
        (&ann, about("reply", edit, json!("x")), 400),
        (&bob, about("delete", reaction, Value::Null), 400),
        (&ann, about("reply", 10_000, json!("x")), 400),
        (&ann, about("reaction", reply, json!(1)), 422),
        (&ann, about("delete", first, json!("x")), 422),
        (&ann, about("fly", first, json!("x")), 422),
    ] {
        let answer = person.publishes(&channel, draft.clone()).await?;
        ensure!(answer.status == status, "{status} for {draft}: {answer:?}");
    }
    // The same id about another message is another message.
    let draft = json!({"id": "same", "body": 1, "refers": {"kind": "reply", "offset": first}});
    let stored = ann.says(&channel, draft.clone()).await?;
    let again = ann.publishes(&channel, draft.clone()).await?;
    assert_eq!(again.status, 200);
    assert_eq!(again.json::<Value>()?["offset"], stored);
    for refers in [json!({"kind": "reply", "offset": reply}), Value::Null] {
        let mut other = draft.clone();
        other["refers"] = refers;
        if other["refers"].is_null() {
            other.as_object_mut().context("a draft")?.remove("refers");
        }
        let answer = ann.publishes(&channel, other).await?;
        assert_eq!(answer.code().as_deref(), Some("id-reused"));
    }
    // In an array one that fails does so alone.
    let drafts = json!([
        {"id": "one", "body": 0, "refers": {"kind": "reply", "offset": 10_000}},
        {"id": "two", "body": 0, "refers": {"kind": "reply", "offset": reply}},
    ]);
    let target = format!("/witter/publish?channel={channel}");
    let token = Some(ann.session.token.as_str());
    let answer = world
        .client
        .post(&target, token, drafts.to_string())
        .await?;
    let told: Vec<Value> = answer.json()?;
    ensure!(
        told[0]["error"] == "invalid-request" && told[1]["offset"].is_u64(),
        "{told:?}"
    );
    Ok(())
}

async fn commands_about_rooms_follow_the_grammar(
    world: &World,
    transport: Transport,
) -> Result<()> {
    let ann = Person::new(world, transport, "Ann").await?;
    let long = "x".repeat(65);
    for (command, code) in [
        (json!({"create": {}}), "unprocessable"),
        (json!({"create": {"private": 1}}), "unprocessable"),
        (
            json!({"create": {"private": true, "channel": "a"}}),
            "unprocessable",
        ),
        (
            json!({"create": {"channel": "a", "title": ""}}),
            "unprocessable",
        ),
        (
            json!({"create": {"channel": "a", "title": long}}),
            "unprocessable",
        ),
        (json!({"create": {"channel": "a/b"}}), "invalid-request"),
        (json!({"join": {}}), "unprocessable"),
        (json!({"join": {"channel": 7}}), "unprocessable"),
        (json!({"join": {"channel": ""}}), "invalid-request"),
        (json!({"invite": {"channel": "a"}}), "unprocessable"),
        (
            json!({"ban": {"channel": "a", "sender": ""}}),
            "unprocessable",
        ),
        (
            json!({"ban": {"channel": "a", "sender": "b", "seconds": 0}}),
            "unprocessable",
        ),
        (
            json!({"ban": {"channel": "a", "sender": "b", "seconds": "1"}}),
            "unprocessable",
        ),
        (json!({"slow": {"channel": "a"}}), "unprocessable"),
        (
            json!({"slow": {"channel": "a", "seconds": 1e9}}),
            "unprocessable",
        ),
        (
            json!({"role": {"channel": "a", "sender": "b", "role": "king"}}),
            "unprocessable",
        ),
        (json!({"direct": {"sender": "\u{e9}"}}), "unprocessable"),
        (json!({"rooms": {"after": "a/b"}}), "invalid-request"),
        (json!({"rooms": {}, "me": {}}), "unprocessable"),
    ] {
        ann.is_refused(command, code).await?;
    }
    Ok(())
}
