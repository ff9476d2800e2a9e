//! The live state: who is here, who types, who has read how far. Told to those who ask, over every transport.

use std::time::Duration;

use anyhow::{Result, ensure};
use conformance::{Client, Frame, Live, Query, Reader, Session, Socket, Transport};
use futures::future::{Either, select, try_join_all};
use futures::try_join;
use http::Method;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::Corpus;
use crate::world::{CROWD, World, thin};

/// Between two polls of who wants to be here.
const PERIOD: Duration = Duration::from_millis(500);

pub(crate) fn cases(corpus: &mut Corpus<'_>, transport: Transport) {
    corpus.reads(
        transport,
        readers_see_each_other_and_who_leaves_is_told_once,
    );
    corpus.reads(transport, who_changes_the_transport_was_never_away);
    corpus.reads(transport, who_types_is_told_until_it_is_over);
    corpus.reads(transport, marks_are_the_furthest_of_all_devices);
    corpus.reads(transport, a_crowd_sees_all_that_changes_while_some_leave);
    corpus.reads(transport, who_is_nobody_sees_and_is_not_seen);
    corpus.reads(transport, each_channel_has_a_state_of_its_own);
    corpus.reads(transport, the_state_of_a_channel_is_for_its_readers);
    corpus.reads(transport, a_state_that_is_known_is_not_told_again);
    if transport.upgrades() {
        corpus.reads(transport, a_channel_that_is_subscribed_to_is_attended);
    }
}

async fn open(
    client: &Client,
    transport: Transport,
    channel: &str,
    who: Option<&Session>,
) -> Result<Reader> {
    let mut query = Query::of([channel]).present();
    if let Some(who) = who {
        query = query.token(&who.token);
    }
    Ok(Reader::open(client, transport, query).await?)
}

/// Waits until somebody sees such a state, while others stay, who must read for that.
async fn sees_beside(
    reader: &mut Reader,
    channel: &str,
    such: impl Fn(&Live) -> bool,
    others: &mut [&mut Reader],
) -> Result<Live> {
    let mut waits = Box::pin(reader.sees(channel, such));
    loop {
        let stay = Box::pin(async {
            for other in others.iter_mut() {
                // Of a stream that brings nothing, nothing is waited for.
                let _ = tokio::time::timeout(PERIOD, other.next()).await;
            }
            sleep(PERIOD / 10).await;
        });
        match select(waits, stay).await {
            Either::Left((live, _)) => return Ok(live?),
            Either::Right(((), rest)) => waits = rest,
        }
    }
}

async fn readers_see_each_other_and_who_leaves_is_told_once(
    world: &World,
    transport: Transport,
) -> Result<()> {
    let channel = &world.channel();
    let (ann, bob) = (&world.ann, &world.bob);
    let both = |live: &Live| live.here.len() == 2 && live.count == 2;
    let mut first = open(&world.client, transport, channel, Some(ann)).await?;
    let live = first.sees(channel, |live| !live.here.is_empty()).await?;
    ensure!(live.senders() == [ann.sender.as_str()], "{live:?}");
    ensure!(live.here[&ann.sender] == "Ann", "{live:?}");
    let mut second = open(&world.client, transport, channel, Some(bob)).await?;
    let live = sees_beside(&mut first, channel, both, &mut [&mut second]).await?;
    ensure!(live.here[&bob.sender] == "Bob", "{live:?}");
    sees_beside(&mut second, channel, both, &mut [&mut first]).await?;
    // Another device of hers is nobody else.
    let third = open(&world.client, transport, channel, Some(ann)).await?;
    drop((second, third));
    let alone = |live: &Live| live.count == 1;
    let live = first.sees(channel, alone).await?;
    ensure!(live.senders() == [ann.sender.as_str()], "{live:?}");
    ensure!(live.left == [bob.sender.as_str()], "{live:?}");
    ensure!(live.joined.len() == 2, "{live:?}");
    Ok(())
}

async fn who_changes_the_transport_was_never_away(
    world: &World,
    transport: Transport,
) -> Result<()> {
    let channel = &world.channel();
    let (ann, bob) = (&world.ann, &world.bob);
    let mut watching = open(&world.client, Transport::Sse, channel, Some(ann)).await?;
    watching.sees(channel, |live| live.count == 1).await?;
    // By each transport, and back.
    for by in Transport::ALL.iter().copied().chain([transport]) {
        let mut reader = open(&world.client, by, channel, Some(bob)).await?;
        let live = reader.sees(channel, |live| live.count == 2).await?;
        ensure!(live.here.contains_key(&bob.sender), "{live:?}");
        drop(reader);
        sleep(PERIOD).await;
    }
    let live = watching.sees(channel, |live| !live.left.is_empty()).await?;
    ensure!(live.left == [bob.sender.as_str()], "{live:?}");
    let joined = live.joined.iter().filter(|who| **who == bob.sender);
    ensure!(joined.count() == 1, "{live:?}");
    Ok(())
}

async fn perform(
    world: &World,
    transport: Transport,
    who: &Session,
    command: Value,
) -> Result<Value> {
    let token = Some(who.token.as_str());
    world.client.perform(transport, token, &command).await
}

async fn who_types_is_told_until_it_is_over(world: &World, transport: Transport) -> Result<()> {
    let channel = &world.channel();
    let mut bob = open(&world.client, transport, channel, Some(&world.bob)).await?;
    let types = |live: &Live| live.typing.contains(&world.ann.sender);
    let says = async || {
        let command = json!({"typing": {"channel": channel}});
        let answer = perform(world, transport, &world.ann, command).await?;
        let expected = json!({"channel": channel, "typing": true, "seconds": 6});
        ensure!(answer == expected, "{answer}");
        Ok(())
    };
    // Until a message, until it is over, and until it lapses.
    for tries in 1.. {
        says().await?;
        bob.sees(channel, types).await?;
        let typed = Instant::now();
        world.say(channel, "1").await?;
        bob.sees(channel, |live| !types(live)).await?;
        if typed.elapsed() < Duration::from_secs(6) {
            break;
        }
        // It may have lapsed before, on a busy machine.
        ensure!(tries < 5, "it lapses");
    }
    says().await?;
    bob.sees(channel, types).await?;
    let command = json!({"typing": {"channel": channel, "over": true}});
    let answer = perform(world, transport, &world.ann, command).await?;
    ensure!(
        answer == json!({"channel": channel, "typing": false}),
        "{answer}"
    );
    bob.sees(channel, |live| !types(live)).await?;
    says().await?;
    bob.sees(channel, types).await?;
    bob.sees(channel, |live| !types(live)).await?;
    Ok(())
}

async fn marks_are_the_furthest_of_all_devices(world: &World, transport: Transport) -> Result<()> {
    let channel = &world.channel();
    let first = world.say(channel, "1").await?;
    world.count(channel, 1..5).await?;
    let marks = async |arguments: Value, read: u64, delivered: u64| {
        let mut arguments = arguments;
        arguments["channel"] = json!(channel);
        let command = json!({"read": arguments});
        let answer = perform(world, transport, &world.bob, command).await?;
        let expected = json!({"channel": channel, "read": read, "delivered": delivered});
        ensure!(answer == expected, "{answer}");
        Ok(())
    };
    let mut ann = open(&world.client, transport, channel, Some(&world.ann)).await?;
    marks(json!({"delivered": first + 2}), 0, first + 2).await?;
    marks(json!({"offset": first}), first, first + 2).await?;
    let is = |read, delivered| {
        let bob = world.bob.sender.clone();
        move |live: &Live| live.marks.get(&bob) == Some(&(read, delivered))
    };
    ann.sees(channel, is(first, first + 2)).await?;
    // Another device is behind, and says more of one thing than of the other.
    marks(json!({"offset": 0}), first, first + 2).await?;
    marks(json!({"offset": first + 3}), first + 3, first + 3).await?;
    ann.sees(channel, is(first + 3, first + 3)).await?;
    // Who comes later is told, too.
    let mut late = open(&world.client, transport, channel, None).await?;
    late.sees(channel, is(first + 3, first + 3)).await?;
    for arguments in [json!({"offset": first + 5}), json!({"delivered": u64::MAX})] {
        let mut arguments = arguments;
        arguments["channel"] = json!(channel);
        let command = json!({"read": arguments});
        let answer = perform(world, transport, &world.bob, command).await?;
        ensure!(answer["error"] == "invalid-request", "{answer}");
    }
    for command in [
        json!({"read": {"channel": channel}}),
        json!({"read": {"channel": channel, "offset": "1"}}),
        json!({"typing": {}}),
    ] {
        let answer = perform(world, transport, &world.bob, command).await?;
        ensure!(answer["error"] == "unprocessable", "{answer}");
    }
    Ok(())
}

async fn a_crowd_sees_all_that_changes_while_some_leave(
    world: &World,
    transport: Transport,
) -> Result<()> {
    let channel = &world.channel();
    let first = world.say(channel, "1").await?;
    world.count(channel, 1..3).await?;
    let read = async |offset: u64| {
        let command = json!({"read": {"channel": channel, "offset": offset}});
        perform(world, transport, &world.bob, command).await
    };
    let has_read = |offset: u64| {
        let bob = world.bob.sender.clone();
        move |live: &Live| {
            live.marks
                .get(&bob)
                .is_some_and(|(read, _)| *read == offset)
        }
    };
    let open = |_| open(&world.client, transport, channel, None);
    let mut crowd = try_join_all((0..CROWD).map(open)).await?;
    read(first).await?;
    try_join_all(
        crowd
            .iter_mut()
            .map(|reader| reader.sees(channel, has_read(first))),
    )
    .await?;
    let leave = async {
        thin(&mut crowd);
        let seen = crowd
            .iter_mut()
            .map(|reader| reader.sees(channel, has_read(first + 1)));
        Ok(try_join_all(seen).await?)
    };
    let (_, seen) = try_join!(read(first + 1), leave)?;
    ensure!(seen.len() == CROWD - CROWD / 3, "{}", seen.len());
    Ok(())
}

async fn who_is_nobody_sees_and_is_not_seen(world: &World, transport: Transport) -> Result<()> {
    let channel = &world.channel();
    let mut nobody = open(&world.client, transport, channel, None).await?;
    let live = nobody.sees(channel, |_| true).await?;
    ensure!(live.here.is_empty() && live.count == 0, "{live:?}");
    // Nor is who does not ask for it; which nobody's reader would notice, too.
    let query = Query::of([channel]).token(&world.bob.token);
    let _unseen = Reader::open(&world.client, transport, query).await?;
    let mut ann = open(&world.client, transport, channel, Some(&world.ann)).await?;
    let one = |live: &Live| live.count == 1;
    let live = sees_beside(&mut nobody, channel, one, &mut [&mut ann]).await?;
    ensure!(live.senders() == [world.ann.sender.as_str()], "{live:?}");
    for command in [
        json!({"typing": {"channel": channel}}),
        json!({"read": {"channel": channel, "offset": 0}}),
    ] {
        let answer = world.client.perform(transport, None, &command).await?;
        ensure!(answer["error"] == "unauthorized", "{answer}");
    }
    Ok(())
}

async fn each_channel_has_a_state_of_its_own(world: &World, transport: Transport) -> Result<()> {
    let (one, other) = (&world.channel(), &world.channel());
    let query = Query::of([one, other]).present().token(&world.ann.token);
    let mut ann = Reader::open(&world.client, transport, query).await?;
    let mut bob = open(&world.client, transport, other, Some(&world.bob)).await?;
    let two = |live: &Live| live.count == 2;
    sees_beside(&mut ann, other, two, &mut [&mut bob]).await?;
    let live = sees_beside(&mut ann, one, |live| live.count == 1, &mut [&mut bob]).await?;
    ensure!(live.senders() == [world.ann.sender.as_str()], "{live:?}");
    let command = json!({"typing": {"channel": one}});
    perform(world, transport, &world.bob, command).await?;
    let types = |live: &Live| !live.typing.is_empty();
    sees_beside(&mut ann, one, types, &mut [&mut bob]).await?;
    ensure!(ann.live(other).typing.is_empty(), "{:?}", ann.live(other));
    Ok(())
}

async fn the_state_of_a_channel_is_for_its_readers(
    world: &World,
    transport: Transport,
) -> Result<()> {
    // Guests are let into no channel of this kind.
    let channel = "@private";
    let query = Query::of([channel]).present().token(&world.ann.token);
    match Reader::open(&world.client, transport, query).await {
        Err(conformance::Fault::Refused(answer)) => {
            ensure!(answer.code().as_deref() == Some("forbidden"), "{answer:?}");
        }
        other => panic!("{other:?}"),
    }
    for command in [
        json!({"typing": {"channel": channel}}),
        json!({"read": {"channel": channel, "offset": 0}}),
    ] {
        let answer = perform(world, transport, &world.ann, command).await?;
        ensure!(answer["error"] == "forbidden", "{answer}");
    }
    Ok(())
}

async fn a_state_that_is_known_is_not_told_again(
    world: &World,
    transport: Transport,
) -> Result<()> {
    let channel = &world.channel();
    let mut ann = open(&world.client, transport, channel, Some(&world.ann)).await?;
    ann.sees(channel, |live| live.count == 1).await?;
    if transport.polls() {
        // The answer that told it, which the reader had kept.
        ann.next().await?;
    }
    world.say(channel, "1").await?;
    loop {
        let batch = ann.next().await?;
        ensure!(batch.state.is_empty(), "{batch:?}");
        ensure!(batch.presence.is_some() == transport.polls(), "{batch:?}");
        if !batch.envelopes.is_empty() {
            break;
        }
    }
    // What is no digest of ours, or of other channels, knows nothing; on a stream it is no matter.
    for presence in ["0", "", "AAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAA"] {
        let mut query = Query::of([channel]).token(&world.ann.token);
        query.presence = Some(presence.to_owned());
        let mut reader = Reader::open(&world.client, transport, query).await?;
        let live = reader.sees(channel, |_| true).await?;
        ensure!(live.here.contains_key(&world.ann.sender), "{live:?}");
    }
    Ok(())
}

async fn a_channel_that_is_subscribed_to_is_attended(
    world: &World,
    transport: Transport,
) -> Result<()> {
    let (one, other) = (&world.channel(), &world.channel());
    let query = Query::of([one]).present().token(&world.ann.token);
    let request = transport.request(&world.client, &query.target(transport));
    let response = world
        .client
        .open(request.method(Method::GET).body(Full::default())?)
        .await?;
    let mut socket = Socket::accepted(response).await?;
    let asks = async |socket: &mut Socket, verb: &str| {
        let question = json!({"ref": 1, verb: {"channel": other}}).to_string();
        socket.send(Frame::text(question)).await
    };
    asks(&mut socket, "subscribe").await?;
    let mut bob = open(&world.client, transport, other, Some(&world.bob)).await?;
    bob.sees(other, |live| live.count == 2).await?;
    loop {
        let told: Value = serde_json::from_str(&socket.text().await?)?;
        if told["state"]["channel"] == json!(other) {
            ensure!(told["state"]["here"].is_array(), "{told}");
            break;
        }
    }
    asks(&mut socket, "unsubscribe").await?;
    let live = bob.sees(other, |live| live.count == 1).await?;
    ensure!(live.left == [world.ann.sender.as_str()], "{live:?}");
    Ok(())
}
