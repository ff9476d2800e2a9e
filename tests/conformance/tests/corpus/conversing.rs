//! What is particular to a WebSocket: both sides speak, on one connection.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use conformance::{
    Answer, Envelope, Frame, Gap, Query, Reader, Said, Socket, Transport, read_head,
};
use futures::future::try_join_all;
use http::Method;
use http_body_util::Full;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Corpus;
use crate::hostile::BODIES;
use crate::refusing::check_error;
use crate::world::{Receipt, World};

/// The most that a body has.
const LONGEST_BODY: usize = 65_536;
/// The most that a message has.
const LONGEST_MESSAGE: usize = 1024 * 1024;

pub(crate) fn cases(corpus: &mut Corpus<'_>, transport: Transport) {
    corpus.reads(transport, what_is_said_is_acknowledged_and_delivered);
    corpus.reads(transport, what_is_said_on_one_connection_keeps_its_order);
    corpus.reads(transport, what_is_said_twice_is_stored_once);
    corpus.reads(
        transport,
        drafts_in_an_array_are_stored_and_answered_in_order,
    );
    corpus.reads(transport, an_array_is_answered_as_one_that_is_posted);
    corpus.reads(transport, arrays_of_the_longest_wait_for_their_turn);
    corpus.reads(transport, what_cannot_be_done_is_answered_and_no_more);
    corpus.reads(transport, who_shows_no_credential_reads_alone);
    corpus.reads(transport, channels_come_and_go_on_an_open_connection);
    corpus.reads(transport, a_channel_begins_where_its_subscriber_says);
    corpus.reads(transport, subscribing_from_the_cursor_loses_nothing);
    corpus.reads(
        transport,
        a_connection_follows_as_many_channels_as_a_request_may,
    );
    corpus.reads(transport, bodies_go_in_token_for_token);
    corpus.reads(transport, a_message_may_come_in_fragments);
    corpus.reads(transport, messages_are_compressed_where_that_is_agreed);
    corpus.reads(transport, what_is_no_text_of_ours_closes);
    corpus.reads(transport, a_close_is_answered);
    corpus.reads(transport, a_refusal_inline_is_an_end_and_a_close);
    corpus.reads(transport, pages_of_other_origins_stay_outside);
    corpus.reads(transport, a_request_without_an_upgrade_is_sent_elsewhere);
    corpus.reads(transport, a_handshake_against_its_standard_is_refused);
    corpus.reads(transport, a_protocol_that_is_not_spoken_is_not_agreed);
    corpus.reads(transport, an_idle_connection_beats_as_often_as_asked);
    corpus.reads(transport, who_answers_no_ping_is_dropped);
    corpus.reads(transport, who_is_in_the_middle_of_a_message_is_heard);
}

/// One connection, whose client reads and asks.
struct Conversation {
    socket: Socket,
    /// The last cursor that was told.
    cursor: String,
    /// Messages of the channels, as they came.
    heard: Vec<Envelope>,
}

/// Anything that a server says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    #[serde(rename = "ref")]
    reference: Option<Value>,
    published: Option<Published>,
    subscribed: Option<String>,
    unsubscribed: Option<String>,
    error: Option<String>,
    detail: Option<String>,
    open: Option<bool>,
    envelope: Option<Envelope>,
    gap: Option<Gap>,
    #[serde(rename = "heartbeat")]
    _heartbeat: Option<bool>,
    end: Option<String>,
    cursor: Option<String>,
}

/// What became of a draft, or of each in an array.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(untagged)]
enum Published {
    One(Receipt),
    Many(Vec<Value>),
}

impl Published {
    /// Each in its order; the first that is no receipt is the error.
    fn receipts(self) -> Result<Vec<Receipt>> {
        match self {
            Self::One(receipt) => Ok(vec![receipt]),
            Self::Many(told) => told
                .into_iter()
                .map(|told| Ok(serde_json::from_value(told)?))
                .collect(),
        }
    }
}

impl Conversation {
    /// Opens a connection as Ann.
    async fn open(world: &World, transport: Transport, query: Query) -> Result<Self> {
        let query = query.token(&world.ann.token);
        Self::begin(connect(world, transport, &query.target(transport), &[]).await?).await
    }

    async fn begin(mut socket: Socket) -> Result<Self> {
        let told: Told = read(&mut socket).await?;
        ensure!(told.open == Some(true), "it begins with {told:?}");
        Ok(Self {
            socket,
            cursor: told.cursor.context("a place is told first")?,
            heard: Vec::new(),
        })
    }

    async fn say(&mut self, text: impl Into<String>) -> Result<()> {
        Ok(self.socket.send(Frame::text(text.into())).await?)
    }

    /// What the server says next. A message is kept, too.
    async fn told(&mut self) -> Result<Told> {
        let mut told: Told = read(&mut self.socket).await?;
        self.heard.extend(told.envelope.take());
        if let Some(cursor) = &told.cursor {
            self.cursor = cursor.clone();
        }
        Ok(told)
    }

    /// What is answered next.
    async fn answer(&mut self) -> Result<Told> {
        loop {
            let told = self.told().await?;
            ensure!(told.gap.is_none() && told.end.is_none(), "{told:?}");
            if told.detail.is_some()
                || told.published.is_some()
                || told.subscribed.is_some()
                || told.unsubscribed.is_some()
            {
                return Ok(told);
            }
        }
    }

    /// Asks, and waits for the answer to it.
    async fn ask(&mut self, what: Value) -> Result<Told> {
        let mut what = what;
        let reference = json!(fastrand::u64(..));
        what["ref"] = reference.clone();
        self.say(what.to_string()).await?;
        let answer = self.answer().await?;
        ensure!(answer.reference == Some(reference), "{answer:?}");
        Ok(answer)
    }

    /// Follows one more channel; the answer has the whole cursor.
    async fn subscribe(&mut self, what: Value) -> Result<()> {
        let channel = what["channel"].clone();
        let answer = self.ask(json!({ "subscribe": what })).await?;
        ensure!(
            answer.subscribed.is_some_and(|name| channel == name) && answer.cursor.is_some(),
            "{channel} is not followed: {:?}",
            answer.error
        );
        Ok(())
    }

    /// Follows a channel no longer.
    async fn unsubscribe(&mut self, channel: &str) -> Result<()> {
        let answer = self
            .ask(json!({ "unsubscribe": { "channel": channel } }))
            .await?;
        ensure!(
            answer.unsubscribed.as_deref() == Some(channel) && answer.cursor.is_some(),
            "{answer:?}"
        );
        Ok(())
    }

    /// The numbers that `World::count` said, until there are so many new ones; with their channels.
    async fn numbers(&mut self, count: usize) -> Result<Vec<(String, u64)>> {
        while self.heard.len() < count {
            let told = self.told().await?;
            ensure!(told.gap.is_none() && told.end.is_none(), "{told:?}");
        }
        let heard = self.heard.drain(..);
        heard
            .map(|envelope| Ok((envelope.channel, envelope.body.get().parse()?)))
            .collect()
    }
}

/// The next text that a server says, read as JSON.
async fn read<T: for<'a> Deserialize<'a>>(socket: &mut Socket) -> Result<T> {
    let text = socket.text().await?;
    serde_json::from_str(&text).context(text)
}

/// A connection that was let in, with more headers.
async fn connect(
    world: &World,
    transport: Transport,
    target: &str,
    headers: &[(&str, &str)],
) -> Result<Socket> {
    let mut request = transport.request(&world.client, target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = world.client.open(request.body(Full::default())?).await?;
    Ok(Socket::accepted(response).await?)
}

fn publish(reference: &str, channel: &str, id: &str, body: &str) -> String {
    format!(
        r#"{{"ref":{reference},"publish":{{"channel":"{channel}","id":"{id}","body":{body}}}}}"#
    )
}

/// The same for drafts in an array, each an id and a body.
fn publish_all(reference: u64, channel: &str, drafts: &[(&str, &str)]) -> String {
    let drafts = array(drafts);
    format!(r#"{{"ref":{reference},"publish":{{"channel":"{channel}","drafts":{drafts}}}}}"#)
}

fn array(drafts: &[(&str, &str)]) -> String {
    let drafts: Vec<String> = drafts
        .iter()
        .map(|(id, body)| format!(r#"{{"id":"{id}","body":{body}}}"#))
        .collect();
    format!("[{}]", drafts.join(","))
}

/// The bodies of a channel's messages, read by a transport from the first one on.
async fn stored(
    world: &World,
    transport: Transport,
    channel: &str,
    count: usize,
) -> Result<Vec<Envelope>> {
    let query = Query::of([channel]).history(1000).limit(1000);
    let mut reader = Reader::open(&world.client, transport, query).await?;
    Ok(reader.messages(count).await?)
}

async fn what_is_said_is_acknowledged_and_delivered(
    world: &World,
    transport: Transport,
) -> Result<()> {
    let channel = world.channel();
    let mut other =
        Reader::open(&world.client, Transport::LongPolling, Query::of([&channel])).await?;
    let mut ann = Conversation::open(world, transport, Query::of([&channel])).await?;
    // Whatever is a reference comes back as it is.
    for reference in ["1", "-1.50", r#""a""#, r#""\u00e9""#, "1e400"] {
        let id = world.id();
        ann.say(publish(reference, &channel, &id, r#"{"a":[1]}"#))
            .await?;
        let mut acknowledged = None;
        while acknowledged.is_none() || ann.heard.is_empty() {
            let text = ann.socket.text().await?;
            match text.strip_prefix(&format!(r#"{{"ref":{reference},"published":"#)) {
                Some(receipt) => {
                    let receipt = receipt.strip_suffix('}').context("an object ends")?;
                    acknowledged = Some(serde_json::from_str::<Receipt>(receipt)?);
                }
                None => ann
                    .heard
                    .extend(serde_json::from_str::<Told>(&text)?.envelope),
            }
        }
        let own = ann.heard.remove(0);
        let others = other.messages(1).await?.remove(0);
        let expected = Receipt {
            channel: channel.clone(),
            offset: own.offset,
            id: id.clone(),
        };
        assert_eq!(acknowledged, Some(expected));
        for envelope in [&own, &others] {
            assert_eq!((&envelope.channel, &envelope.id), (&channel, &id));
            assert_eq!(envelope.offset, own.offset);
            assert_eq!(
                (&envelope.sender, envelope.name.as_str()),
                (&world.ann.sender, "Ann")
            );
            assert_eq!(envelope.body.get(), r#"{"a":[1]}"#);
        }
    }
    // Without one, it is told by nothing but the id which message that was.
    let id = world.id();
    ann.say(json!({ "publish": { "channel": channel, "id": id, "body": 0 } }).to_string())
        .await?;
    let answer = ann.answer().await?;
    ensure!(answer.reference.is_none(), "{answer:?}");
    let receipts = answer.published.context("it is stored")?.receipts()?;
    assert_eq!(receipts[0].id, id);
    Ok(())
}

async fn what_is_said_on_one_connection_keeps_its_order(
    world: &World,
    transport: Transport,
) -> Result<()> {
    const COUNT: usize = 600;
    let channels = [(); 4].map(|()| world.channel());
    let mut ann = Conversation::open(world, transport, Query::of(&channels)).await?;
    // In runs of one and of several: those of one channel may be stored together.
    let said: Vec<&String> = (0..COUNT)
        .map(|number| &channels[(number * number / 7) % channels.len()])
        .collect();
    for (number, channel) in said.iter().enumerate() {
        let number = number.to_string();
        ann.say(publish(&number, channel, &world.id(), &number))
            .await?;
    }
    let mut offsets = HashMap::new();
    while offsets.len() < COUNT {
        let answer = ann.answer().await?;
        let number = answer.reference.as_ref().and_then(Value::as_u64);
        let number = number.with_context(|| format!("a number was sent: {answer:?}"))?;
        let receipt = answer
            .published
            .with_context(|| format!("{:?}", answer.error))?
            .receipts()?
            .remove(0);
        ensure!(
            offsets.insert(number, receipt.offset).is_none(),
            "{number} is answered twice"
        );
    }
    for channel in &channels {
        let expected: Vec<u64> = (0..)
            .zip(&said)
            .filter(|(_, to)| **to == channel)
            .map(|(number, _)| number)
            .collect();
        let read = stored(world, Transport::ShortPolling, channel, expected.len()).await?;
        let bodies = read.iter().map(|envelope| Ok(envelope.body.get().parse()?));
        assert_eq!(bodies.collect::<Result<Vec<u64>>>()?, expected);
        for (envelope, number) in read.iter().zip(&expected) {
            assert_eq!(
                envelope.offset, offsets[number],
                "{number} is where it was told"
            );
        }
    }
    // Its own messages come to it in the same order.
    for (channel, number) in ann.numbers(COUNT).await? {
        assert_eq!(*said[number as usize], channel);
        ensure!(
            offsets.remove(&number).is_some(),
            "{number} comes twice to who said it"
        );
    }
    Ok(())
}

async fn what_is_said_twice_is_stored_once(world: &World, transport: Transport) -> Result<()> {
    let channel = world.channel();
    let id = world.id();
    let mut ann = Conversation::open(world, transport, Query::of([&channel])).await?;
    let again = json!({ "publish": { "channel": channel, "id": id, "body": [1, 2] } });
    let first = ann.ask(again.clone()).await?.published;
    ensure!(first.is_some(), "it is stored");
    for _ in 0..3 {
        assert_eq!(ann.ask(again.clone()).await?.published, first);
    }
    // Nor by another connection, by plain HTTP, or both at once.
    let mut other = Conversation::open(world, transport, Query::of([&channel])).await?;
    assert_eq!(other.ask(again.clone()).await?.published, first);
    let posted = world
        .client
        .publish(&world.ann, &channel, &id, "[1, 2]")
        .await?;
    assert_eq!(posted.status, 200);
    assert_eq!(Some(posted.json::<Published>()?), first);
    for number in 0..2 {
        ann.say(publish(&number.to_string(), &channel, "pipelined", "0"))
            .await?;
    }
    let receipts = [ann.answer().await?.published, ann.answer().await?.published];
    ensure!(
        receipts[0].is_some() && receipts[0] == receipts[1],
        "{receipts:?}"
    );

    let reused = json!({ "publish": { "channel": channel, "id": id, "body": [1, 3] } });
    let answer = ann.ask(reused).await?;
    assert_eq!(answer.error.as_deref(), Some("id-reused"));
    assert_eq!(stored(world, transport, &channel, 2).await?.len(), 2);
    Ok(())
}

async fn drafts_in_an_array_are_stored_and_answered_in_order(
    world: &World,
    transport: Transport,
) -> Result<()> {
    let channels = [world.channel(), world.channel()];
    let mut ann = Conversation::open(world, transport, Query::of(&channels)).await?;
    let mut expected = [const { Vec::new() }; 2];
    // Between them some that are said alone: all of it is done in its order.
    let sizes = [1, 100, 0, 0, 7, 99, 1, 0, 50, 50, 50, 0, 100, 100, 2, 0];
    for (reference, size) in (0..).zip(sizes) {
        let to = usize::from(reference % 7 > 4);
        let from = expected[to].len();
        let bodies: Vec<String> = (from..from + size.max(1)).map(|n| n.to_string()).collect();
        let ids: Vec<String> = bodies.iter().map(|_| world.id()).collect();
        let drafts: Vec<_> = (ids.iter().zip(&bodies))
            .map(|(id, body)| (id.as_str(), body.as_str()))
            .collect();
        let text = match size {
            0 => publish(&reference.to_string(), &channels[to], &ids[0], &bodies[0]),
            _ => publish_all(reference, &channels[to], &drafts),
        };
        ann.say(text).await?;
        expected[to].extend(ids);
    }
    let mut told = [const { Vec::new() }; 2];
    for (reference, size) in (0..).zip(sizes) {
        let answer = ann.answer().await?;
        assert_eq!(answer.reference, Some(json!(reference)));
        let published = answer
            .published
            .with_context(|| format!("{:?}", answer.error))?;
        assert_eq!(matches!(published, Published::One(_)), size == 0);
        let receipts = published.receipts()?;
        assert_eq!(receipts.len(), size.max(1));
        told[usize::from(reference % 7 > 4)].extend(receipts);
    }
    for ((channel, ids), told) in channels.iter().zip(&expected).zip(&told) {
        let read = stored(world, Transport::ShortPolling, channel, ids.len()).await?;
        for (n, ((envelope, id), receipt)) in read.iter().zip(ids).zip(told).enumerate() {
            assert_eq!((&envelope.id, envelope.body.get()), (id, &*n.to_string()));
            let expected = Receipt {
                channel: channel.clone(),
                offset: envelope.offset,
                id: id.clone(),
            };
            assert_eq!(*receipt, expected);
        }
    }
    Ok(())
}

async fn an_array_is_answered_as_one_that_is_posted(
    world: &World,
    transport: Transport,
) -> Result<()> {
    let channel = world.channel();
    let mut ann = Conversation::open(world, transport, Query::of([&channel])).await?;
    let large = format!("\"{}\"", "x".repeat(LONGEST_BODY - 1));
    let first = [
        ("a", "1"),
        ("large", large.as_str()),
        ("b", "2"),
        ("a", "1"),
    ];
    let second = [("c", "3"), ("b", "0"), ("a", "1"), ("d", "4")];
    for (reference, drafts, codes) in [
        (1, first, [None, Some("too-large"), None, None]),
        (2, second, [None, Some("id-reused"), None, None]),
        // All of it again changes nothing.
        (3, first, [None, Some("too-large"), None, None]),
    ] {
        ann.say(publish_all(reference, &channel, &drafts)).await?;
        let answer = ann.answer().await?;
        assert_eq!(answer.reference, Some(json!(reference)));
        let Some(Published::Many(told)) = answer.published else {
            anyhow::bail!("no array: {answer:?}");
        };
        let failed: Vec<_> = told.iter().map(|told| told["error"].as_str()).collect();
        assert_eq!(failed, codes);
        let target = format!("/witter/publish?channel={channel}");
        let token = Some(world.ann.token.as_str());
        let posted = world.client.post(&target, token, array(&drafts)).await?;
        assert_eq!(posted.json::<Vec<Value>>()?, told);
    }
    let read = stored(world, transport, &channel, 4).await?;
    let ids: Vec<&str> = read.iter().map(|envelope| envelope.id.as_str()).collect();
    assert_eq!(ids, ["a", "b", "c", "d"]);
    Ok(())
}

/// What a client says before it hears anything is more than the server holds of it.
async fn arrays_of_the_longest_wait_for_their_turn(
    world: &World,
    transport: Transport,
) -> Result<()> {
    const COUNT: u64 = 6;
    let channel = world.channel();
    let mut ann = Conversation::open(world, transport, Query::of([world.channel()])).await?;
    let body = longest("x");
    let together = (LONGEST_MESSAGE - 100) / (body.len() + 100);
    let mut expected = Vec::new();
    for reference in 0..COUNT {
        let ids: Vec<String> = (0..together).map(|_| world.id()).collect();
        let drafts: Vec<_> = ids.iter().map(|id| (id.as_str(), body.as_str())).collect();
        ann.say(publish_all(reference, &channel, &drafts)).await?;
        expected.extend(ids);
    }
    let mut told = Vec::new();
    for reference in 0..COUNT {
        let answer = ann.answer().await?;
        assert_eq!(answer.reference, Some(json!(reference)));
        let published = answer
            .published
            .with_context(|| format!("{:?}", answer.error))?;
        told.extend(published.receipts()?);
    }
    let ids: Vec<&String> = told.iter().map(|receipt| &receipt.id).collect();
    assert_eq!(ids, Vec::from_iter(&expected));
    let first = told[0].offset;
    let offsets: Vec<u64> = told.iter().map(|receipt| receipt.offset).collect();
    assert_eq!(offsets, Vec::from_iter(first..first + told.len() as u64));
    Ok(())
}

async fn what_cannot_be_done_is_answered_and_no_more(
    world: &World,
    transport: Transport,
) -> Result<()> {
    let channel = world.channel();
    let mut ann = Conversation::open(world, transport, Query::of([&channel])).await?;
    let large = format!("\"{}\"", "x".repeat(LONGEST_BODY - 1));
    let long = "x".repeat(63);
    let cursorless = r#"{"ref":7,"subscribe":{"channel":"a","after":"nonsense"}}"#;
    let known = Some(json!(7));
    for (ask, reference, code) in [
        (publish("7", &channel, "large", &large), &known, "too-large"),
        (publish("7", "@system", "a", "0"), &known, "forbidden"),
        (publish("7", "a/b", "a", "0"), &known, "invalid-request"),
        (publish("7", &channel, "", "0"), &known, "unprocessable"),
        (publish("7", &channel, "a b", "0"), &known, "unprocessable"),
        (
            r#"{"ref":7,"publish":{"channel":"a","id":"a"}}"#.to_owned(),
            &known,
            "unprocessable",
        ),
        (
            r#"{"ref":7,"publish":{"id":"a","body":0}}"#.to_owned(),
            &known,
            "unprocessable",
        ),
        (
            r#"{"ref":7,"publish":{"channel":1,"id":"a","body":0}}"#.to_owned(),
            &known,
            "unprocessable",
        ),
        (
            r#"{"ref":7,"publish":[]}"#.to_owned(),
            &known,
            "unprocessable",
        ),
        (publish_all(7, "@system", &[("a", "0")]), &known, "forbidden"),
        (publish_all(7, "a/b", &[("a", "0")]), &known, "invalid-request"),
        (publish_all(7, &channel, &[]), &known, "unprocessable"),
        (
            publish_all(7, &channel, &[("a", "0"); 101]),
            &known,
            "unprocessable",
        ),
        (
            publish_all(7, &channel, &[("a", "0"), ("a b", "0")]),
            &known,
            "unprocessable",
        ),
        (
            r#"{"ref":7,"publish":{"channel":"a","drafts":{"id":"a","body":0}}}"#.to_owned(),
            &known,
            "unprocessable",
        ),
        (
            r#"{"ref":7,"publish":{"channel":"a","id":"a","body":0,"drafts":[{"id":"a","body":0}]}}"#
                .to_owned(),
            &known,
            "unprocessable",
        ),
        (
            r#"{"ref":7,"subscribe":{"channel":"@system"}}"#.to_owned(),
            &known,
            "forbidden",
        ),
        (
            r#"{"ref":7,"subscribe":{"channel":"a b"}}"#.to_owned(),
            &known,
            "invalid-request",
        ),
        (
            r#"{"ref":7,"subscribe":{"channel":"a","history":1001}}"#.to_owned(),
            &known,
            "invalid-request",
        ),
        (
            r#"{"ref":7,"subscribe":{"channel":"a","history":"1"}}"#.to_owned(),
            &known,
            "invalid-request",
        ),
        (cursorless.to_owned(), &known, "invalid-request"),
        (
            r#"{"ref":7,"unsubscribe":{}}"#.to_owned(),
            &known,
            "unprocessable",
        ),
        (
            r#"{"ref":7,"shout":{}}"#.to_owned(),
            &known,
            "unprocessable",
        ),
        (r#"{"ref":7}"#.to_owned(), &known, "unprocessable"),
        (
            r#"{"ref":7,"subscribe":{"channel":"a"},"unsubscribe":{"channel":"a"}}"#.to_owned(),
            &known,
            "unprocessable",
        ),
        // What is no reference is told to none.
        (
            publish(&format!("\"{long}\""), &channel, "a", "0"),
            &None,
            "unprocessable",
        ),
        (publish("{}", &channel, "a", "0"), &None, "unprocessable"),
        (publish("null", &channel, "a", "0"), &None, "unprocessable"),
        (
            r#"{"ref":7,"ref":7,"shout":{}}"#.to_owned(),
            &None,
            "unprocessable",
        ),
        // What is no object has none.
        (String::new(), &None, "invalid-request"),
        ("{".to_owned(), &None, "invalid-request"),
        (
            r#"{"ref":7,"publish":{"channel":"a","id":"a","body":01}}"#.to_owned(),
            &None,
            "invalid-request",
        ),
        (
            publish("7", &channel, "a", "0") + "{}",
            &None,
            "invalid-request",
        ),
        ("[]".to_owned(), &None, "unprocessable"),
        ("null".to_owned(), &None, "unprocessable"),
        ("[".repeat(100_000), &None, "invalid-request"),
    ] {
        let shown: String = ask.chars().take(200).collect();
        ann.say(ask).await?;
        let answer = ann.answer().await.with_context(|| shown.clone())?;
        assert_eq!(
            (&answer.reference, answer.error.as_deref()),
            (reference, Some(code)),
            "{shown} {answer:?}"
        );
        ensure!(
            answer.detail.is_some_and(|detail| !detail.is_empty()),
            "{shown}"
        );
    }
    // Who leaves what it does not follow has left it.
    ann.unsubscribe(&world.channel()).await?;
    world.count(&channel, 0..1).await?;
    assert_eq!(ann.numbers(1).await?, [(channel.clone(), 0)]);
    assert_eq!(stored(world, transport, &channel, 1).await?.len(), 1);
    Ok(())
}

async fn who_shows_no_credential_reads_alone(world: &World, transport: Transport) -> Result<()> {
    let channel = world.channel();
    let target = Query::of([&channel]).target(transport);
    let mut nobody = Conversation::begin(connect(world, transport, &target, &[]).await?).await?;
    let answer = nobody
        .ask(json!({ "publish": { "channel": channel, "id": "a", "body": 0 } }))
        .await?;
    assert_eq!(answer.error.as_deref(), Some("unauthorized"));
    world.count(&channel, 1..2).await?;
    assert_eq!(nobody.numbers(1).await?, [(channel.clone(), 1)]);

    // A header shows one as a parameter does.
    let bearer = format!("Bearer {}", world.bob.token);
    let headers = [("authorization", bearer.as_str())];
    let mut bob = Conversation::begin(connect(world, transport, &target, &headers).await?).await?;
    let answer = bob
        .ask(json!({ "publish": { "channel": channel, "id": "a", "body": 2 } }))
        .await?;
    ensure!(answer.published.is_some(), "{answer:?}");
    let read = stored(world, transport, &channel, 2).await?;
    assert_eq!(read[1].sender, world.bob.sender);
    Ok(())
}

async fn channels_come_and_go_on_an_open_connection(
    world: &World,
    transport: Transport,
) -> Result<()> {
    let (first, second) = (world.channel(), world.channel());
    world.count(&second, 0..2).await?;
    let mut ann = Conversation::open(world, transport, Query::of([&first])).await?;
    ann.subscribe(json!({ "channel": second })).await?;
    // From now on alone.
    world.count(&second, 2..3).await?;
    world.count(&first, 10..11).await?;
    let mut heard = ann.numbers(2).await?;
    heard.sort();
    let mut expected = [(first.clone(), 10), (second.clone(), 2)];
    expected.sort();
    assert_eq!(heard, expected);

    let both = ann.cursor.clone();
    ann.unsubscribe(&first).await?;
    world.count(&first, 11..13).await?;
    world.count(&second, 3..4).await?;
    assert_eq!(ann.numbers(1).await?, [(second.clone(), 3)]);
    // The cursor names those that are followed, and no other.
    let one = ann.cursor.clone();
    world.count(&first, 13..14).await?;
    let query = Query::of([&first, &second]);
    let mut reopened = Conversation::open(world, transport, query.clone().after(&one)).await?;
    world.count(&first, 14..15).await?;
    assert_eq!(reopened.numbers(1).await?, [(first.clone(), 14)]);
    // And the one before named both.
    let mut reopened = Conversation::open(world, transport, query.after(&both)).await?;
    let mut heard = reopened.numbers(5).await?;
    heard.sort_by_key(|(_, number)| *number);
    let numbers: Vec<u64> = heard.into_iter().map(|(_, number)| number).collect();
    assert_eq!(numbers, [3, 11, 12, 13, 14]);

    // Back again, and left without one.
    ann.subscribe(json!({ "channel": first })).await?;
    world.count(&first, 15..16).await?;
    assert_eq!(ann.numbers(1).await?, [(first.clone(), 15)]);
    ann.unsubscribe(&first).await?;
    ann.unsubscribe(&second).await?;
    world.count(&first, 16..17).await?;
    world.count(&second, 4..5).await?;
    let third = world.channel();
    ann.subscribe(json!({ "channel": third })).await?;
    world.count(&third, 20..21).await?;
    assert_eq!(ann.numbers(1).await?, [(third, 20)]);
    Ok(())
}

async fn a_channel_begins_where_its_subscriber_says(
    world: &World,
    transport: Transport,
) -> Result<()> {
    let (first, second) = (world.channel(), world.channel());
    world.count(&second, 0..3).await?;
    let query = Query::of([&second]).history(3).limit(1);
    let mut reader = Reader::open(&world.client, transport, query).await?;
    reader.messages(1).await?;
    let place = reader.cursor();
    let elsewhere = Reader::open(&world.client, transport, Query::of([&first])).await?;
    let mut ann = Conversation::open(world, transport, Query::of([&first])).await?;
    for (from, expected) in [
        (json!({ "channel": second, "history": 2 }), vec![1, 2]),
        (json!({ "channel": second, "history": 1000 }), vec![0, 1, 2]),
        (json!({ "channel": second, "after": place }), vec![1, 2]),
        (
            json!({ "channel": second, "after": place, "history": 3 }),
            vec![1, 2],
        ),
        // A cursor that does not name it tells no place in it.
        (
            json!({ "channel": second, "after": elsewhere.cursor(), "history": 1 }),
            vec![2],
        ),
        (json!({ "channel": second, "history": 0 }), vec![]),
    ] {
        ann.subscribe(from.clone()).await?;
        let heard = ann.numbers(expected.len()).await?;
        let expected = expected.into_iter().map(|number| (second.clone(), number));
        assert_eq!(heard, expected.collect::<Vec<_>>(), "{from}");
        ann.unsubscribe(&second).await?;
    }
    Ok(())
}

async fn subscribing_from_the_cursor_loses_nothing(
    world: &World,
    transport: Transport,
) -> Result<()> {
    const COUNT: u64 = 30;
    let channels = [world.channel(), world.channel()];
    let comes = &channels[1];
    let mut ann = Conversation::open(world, transport, Query::of(&channels)).await?;
    let says = async {
        for number in 0..COUNT {
            for channel in &channels {
                world.count(channel, number..number + 1).await?;
            }
        }
        anyhow::Ok(())
    };
    let hears = async {
        let mut heard = Vec::new();
        while heard.len() < 2 * COUNT as usize {
            heard.extend(ann.numbers(1).await?);
            let leaves = json!({ "unsubscribe": { "channel": comes } });
            ann.say(leaves.to_string()).await?;
            // Messages of it come until that is answered.
            let place = loop {
                let place = ann.cursor.clone();
                if ann.told().await?.unsubscribed.is_some() {
                    break place;
                }
            };
            ann.subscribe(json!({ "channel": comes, "after": place }))
                .await?;
        }
        Ok(heard)
    };
    let ((), heard) = futures::try_join!(says, hears)?;
    for channel in &channels {
        let own = heard.iter().filter(|(from, _)| from == channel);
        let numbers: Vec<u64> = own.map(|(_, number)| *number).collect();
        assert_eq!(numbers, Vec::from_iter(0..COUNT));
    }
    Ok(())
}

async fn a_connection_follows_as_many_channels_as_a_request_may(
    world: &World,
    transport: Transport,
) -> Result<()> {
    const MOST: usize = 64;
    let channels: Vec<String> = (0..=MOST).map(|_| world.channel()).collect();
    let mut ann = Conversation::open(world, transport, Query::of(&channels[..1])).await?;
    for channel in &channels[1..MOST] {
        ann.subscribe(json!({ "channel": channel })).await?;
    }
    // One more, and one that is followed.
    for channel in [&channels[MOST], &channels[0], &channels[MOST - 1]] {
        let answer = ann
            .ask(json!({ "subscribe": { "channel": channel } }))
            .await?;
        assert_eq!(answer.error.as_deref(), Some("invalid-request"));
    }
    ann.unsubscribe(&channels[0]).await?;
    ann.subscribe(json!({ "channel": channels[MOST] })).await?;
    let followed = &channels[1..];
    try_join_all(channels.iter().map(|channel| world.count(channel, 0..1))).await?;
    let mut heard = ann.numbers(MOST).await?;
    heard.sort();
    let mut expected: Vec<_> = followed
        .iter()
        .map(|channel| (channel.clone(), 0))
        .collect();
    expected.sort();
    assert_eq!(heard, expected);
    Ok(())
}

/// Says bodies on one connection, and reads them from there and by others.
async fn check_bodies(
    world: &World,
    ann: &mut Conversation,
    channel: &str,
    bodies: &[String],
    expected: &[String],
) -> Result<()> {
    for body in bodies {
        ann.say(publish("0", channel, &world.id(), body)).await?;
        let answer = ann.answer().await?;
        ensure!(answer.published.is_some(), "{answer:?}");
    }
    while ann.heard.len() < bodies.len() {
        ann.told().await?;
    }
    let mut read = vec![std::mem::take(&mut ann.heard)];
    for transport in [Transport::ShortPolling, Transport::Sse, Transport::Htmlfile] {
        read.push(stored(world, transport, channel, bodies.len()).await?);
    }
    for read in read {
        let read: Vec<&str> = read.iter().map(|envelope| envelope.body.get()).collect();
        assert_eq!(read, expected);
    }
    Ok(())
}

fn longest(unit: &str) -> String {
    let count = (LONGEST_BODY - 2) / unit.len();
    let rest = LONGEST_BODY - 2 - count * unit.len();
    format!("\"{}{}\"", unit.repeat(count), "x".repeat(rest))
}

async fn bodies_go_in_token_for_token(world: &World, transport: Transport) -> Result<()> {
    let channel = world.channel();
    let mut ann = Conversation::open(world, transport, Query::of([&channel])).await?;
    let deep = format!(
        "{}{}",
        "[".repeat(LONGEST_BODY / 2),
        "]".repeat(LONGEST_BODY / 2)
    );
    let bodies: Vec<String> = BODIES
        .iter()
        .map(|body| (*body).to_owned())
        .chain(["x", "😀", "\\u2028", "</script>"].map(longest))
        .chain([deep])
        .collect();
    check_bodies(world, &mut ann, &channel, &bodies, &bodies).await?;

    let channel = world.channel();
    ann.subscribe(json!({ "channel": channel })).await?;
    let spacious = [
        " \t\r\n[ 1 ,\r\n\t2 , { \"a b\" : \" \\u0020 \" } ]\n".to_owned(),
        format!("{}{}", " ".repeat(1000), longest("y")),
    ];
    let expected = [r#"[1,2,{"a b":" \u0020 "}]"#.to_owned(), longest("y")];
    check_bodies(world, &mut ann, &channel, &spacious, &expected).await
}

async fn a_message_may_come_in_fragments(world: &World, transport: Transport) -> Result<()> {
    let channel = world.channel();
    let mut ann = Conversation::open(world, transport, Query::of([&channel])).await?;
    let text = publish("1", &channel, "fragments", r#""é 😀 \ud83d\ude00""#);
    let bytes = text.as_bytes();
    // Every byte by itself, so that characters are cut too, and with other frames between.
    for (at, byte) in bytes.iter().enumerate() {
        let payload = vec![*byte];
        let frame = if at == 0 {
            Frame::text(payload)
        } else {
            Frame::continuation(payload)
        };
        ann.socket
            .send(frame.with_fin(at + 1 == bytes.len()))
            .await?;
        if at % 50 == 0 {
            ann.socket.send(Frame::ping(vec![*byte])).await?;
            let pong = ann.socket.next().await?;
            ensure!(pong == Said::Pong, "{pong:?}");
        }
    }
    let answer = ann.answer().await?;
    ensure!(answer.published.is_some(), "{answer:?}");
    let read = stored(world, Transport::ShortPolling, &channel, 1).await?;
    assert_eq!(read[0].body.get(), r#""é 😀 \ud83d\ude00""#);
    Ok(())
}

async fn messages_are_compressed_where_that_is_agreed(
    world: &World,
    transport: Transport,
) -> Result<()> {
    let channel = world.channel();
    let query = Query::of([&channel]).token(&world.ann.token);
    let offer = "permessage-deflate; client_no_context_takeover; server_no_context_takeover";
    let mut request = transport.request(&world.client, &query.target(transport));
    request = request.header("sec-websocket-extensions", offer);
    let response = world.client.open(request.body(Full::default())?).await?;
    ensure!(
        response
            .headers()
            .get("sec-websocket-extensions")
            .is_some_and(|agreed| agreed.as_bytes().starts_with(b"permessage-deflate")),
        "{response:?}"
    );
    let mut ann = Conversation::begin(Socket::accepted(response).await?).await?;
    let bodies: Vec<String> = BODIES
        .iter()
        .map(|body| (*body).to_owned())
        .chain(["x", "😀", "</script>"].map(longest))
        .collect();
    check_bodies(world, &mut ann, &channel, &bodies, &bodies).await
}

/// Reads until the server closes.
async fn closed(socket: &mut Socket) -> Result<(u16, String)> {
    loop {
        if let Said::Close { code, reason } = socket.next().await? {
            return Ok((code, reason));
        }
    }
}

async fn what_is_no_text_of_ours_closes(world: &World, transport: Transport) -> Result<()> {
    let channel = world.channel();
    let fits = publish("1", &channel, "fits", "0");
    let fits = format!("{fits}{}", " ".repeat(LONGEST_MESSAGE - fits.len()));
    let too_long = format!("{fits} ");
    let halves = |text: &str| {
        let (one, other) = text.split_at(text.len() / 2);
        vec![
            Frame::text(one.to_owned()).with_fin(false),
            Frame::continuation(other.to_owned()),
        ]
    };
    for (frames, expected) in [
        (vec![Frame::binary(fits.clone())], 1003),
        (vec![Frame::text(too_long.clone())], 1009),
        (halves(&too_long), 1009),
        (vec![Frame::text(vec![b'"', 0xff, b'"'])], 1007),
        (vec![Frame::text(vec![b'"', 0xed, 0xa0, 0x80, b'"'])], 1007),
        // A continuation of nothing, and a message within another.
        (vec![Frame::continuation("x")], 1002),
        (
            vec![Frame::text("x").with_fin(false), Frame::text("x")],
            1002,
        ),
    ] {
        let mut ann = Conversation::open(world, transport, Query::of([&channel])).await?;
        for frame in frames {
            ann.socket.send(frame).await?;
        }
        let (code, reason) = closed(&mut ann.socket).await?;
        assert_eq!(code, expected, "{reason}");
    }
    for frames in [vec![Frame::text(fits.clone())], halves(&fits)] {
        let mut ann = Conversation::open(world, transport, Query::of([&channel])).await?;
        for frame in frames {
            ann.socket.send(frame).await?;
        }
        let answer = ann.answer().await?;
        ensure!(answer.published.is_some(), "{answer:?}");
    }
    Ok(())
}

async fn a_close_is_answered(world: &World, transport: Transport) -> Result<()> {
    for code in [1000, 1001, 3000, 4999] {
        let mut ann = Conversation::open(world, transport, Query::of([world.channel()])).await?;
        ann.socket.send(Frame::close(code.into(), "enough")).await?;
        assert_eq!(closed(&mut ann.socket).await?.0, code);
    }
    Ok(())
}

async fn a_refusal_inline_is_an_end_and_a_close(world: &World, transport: Transport) -> Result<()> {
    let channel = world.channel();
    for (query, code) in [
        (Query::of(["@system"]).token(&world.ann.token), "forbidden"),
        (
            Query::of([&channel, "@system"]).token(&world.ann.token),
            "forbidden",
        ),
        (Query::of([&channel]).token("nonsense"), "unauthorized"),
        (Query::of(["a/b"]), "invalid-request"),
        (Query::of([&channel]).after("nonsense"), "invalid-request"),
    ] {
        let target = query.target(transport) + "&errors=inline";
        let mut socket = connect(world, transport, &target, &[]).await?;
        let told: Told = read(&mut socket).await?;
        assert_eq!(told.end.as_deref(), Some(code), "{told:?}");
        ensure!(told.detail.is_some(), "{told:?}");
        let close = Said::Close {
            code: 1008,
            reason: code.to_owned(),
        };
        assert_eq!(socket.next().await?, close);
    }
    Ok(())
}

async fn pages_of_other_origins_stay_outside(world: &World, transport: Transport) -> Result<()> {
    let target = Query::of([world.channel()]).target(transport);
    let address = world.client.address();
    let own = [format!("http://{address}"), format!("https://{address}")];
    for origin in &own {
        connect(world, transport, &target, &[("origin", origin)]).await?;
    }
    for origin in [
        "https://elsewhere.example",
        "http://127.0.0.1",
        &format!("http://127.0.0.1:{}", address.port() ^ 1),
        &format!("http://localhost:{}", address.port()),
        &format!("http://{address}.elsewhere.example"),
        &format!("http://elsewhere.example@{address}"),
        &format!("ftp://{address}"),
        &format!("{address}"),
        "null",
        "*",
        "",
    ] {
        // Nor are they told why by a message.
        for target in [target.clone(), format!("{target}&errors=inline")] {
            let request = transport
                .request(&world.client, &target)
                .header("origin", origin);
            let response = world.client.open(request.body(Full::default())?).await?;
            let answer = transport.first(response).await?;
            check_error(&answer, 403).with_context(|| origin.to_owned())?;
        }
    }
    Ok(())
}

async fn a_request_without_an_upgrade_is_sent_elsewhere(
    world: &World,
    transport: Transport,
) -> Result<()> {
    #[derive(Deserialize)]
    struct Next {
        next: String,
    }
    let target = Query::of([world.channel()]).target(transport);
    let without = [
        vec!["upgrade"],
        vec!["connection"],
        vec!["upgrade", "connection"],
    ];
    for missing in &without {
        let mut request = world.client.request(Method::GET, &target);
        for (name, value) in transport.headers() {
            if !missing.contains(name) {
                request = request.header(*name, *value);
            }
        }
        let answer = world.client.send(request.body(Full::default())?).await?;
        check_upgrade_required(&answer)?;
        // Without waiting, a client knows which way to try next, and it works.
        let next = answer.json::<Next>()?.next;
        let known = Transport::ALL.iter().find(|known| known.name() == next);
        let known = known.with_context(|| format!("{next} is a transport"))?;
        Reader::open(&world.client, *known, Query::of([world.channel()])).await?;
    }
    Ok(())
}

/// RFC 9110, section 15.5.22, and RFC 6455, section 4.4.
fn check_upgrade_required(answer: &Answer) -> Result<()> {
    check_error(answer, 426)?;
    for (name, value) in [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
    ] {
        ensure!(answer.header(name) == Some(value), "{name}: {answer:?}");
    }
    Ok(())
}

async fn a_handshake_against_its_standard_is_refused(
    world: &World,
    transport: Transport,
) -> Result<()> {
    let target = Query::of([world.channel()]).target(transport);
    for (name, value, status) in [
        ("sec-websocket-key", None, 400),
        ("sec-websocket-key", Some(""), 400),
        ("sec-websocket-key", Some("c2hvcnQ="), 400),
        ("sec-websocket-key", Some("dGhlIHNhbXBsZSBub25jZQ"), 400),
        ("sec-websocket-version", None, 400),
        ("sec-websocket-version", Some("12"), 426),
        ("sec-websocket-version", Some("14"), 426),
        ("sec-websocket-version", Some("13, 12"), 426),
        ("sec-websocket-protocol", Some("a b"), 400),
        (
            "sec-websocket-extensions",
            Some("permessage-deflate; ="),
            400,
        ),
    ] {
        let mut request = world.client.request(Method::GET, &target);
        let kept = transport.headers().iter().copied();
        for (name, value) in kept
            .filter(|(kept, _)| *kept != name)
            .chain(value.map(|value| (name, value)))
        {
            request = request.header(name, value);
        }
        let answer = world.client.send(request.body(Full::default())?).await?;
        let case = || format!("{name}: {value:?}");
        check_error(&answer, status).with_context(case)?;
        if status == 426 {
            check_upgrade_required(&answer).with_context(case)?;
        }
    }
    Ok(())
}

async fn a_protocol_that_is_not_spoken_is_not_agreed(
    world: &World,
    transport: Transport,
) -> Result<()> {
    const NAME: &str = "sec-websocket-protocol";
    let target = Query::of([world.channel()]).target(transport);
    for (asked, agreed) in [
        (None, None),
        (Some("witter.v2"), None),
        (Some("chat, witter.v1 , witter.v2"), Some("witter.v1")),
    ] {
        let mut request = world.client.request(Method::GET, &target);
        let kept = transport.headers().iter().copied();
        for (name, value) in kept
            .filter(|(kept, _)| *kept != NAME)
            .chain(asked.map(|asked| (NAME, asked)))
        {
            request = request.header(name, value);
        }
        let response = world.client.open(request.body(Full::default())?).await?;
        ensure!(response.status() == transport.accepted(), "{response:?}");
        let told = response.headers().get(NAME);
        assert_eq!(
            told.map(|value| value.as_bytes()),
            agreed.map(str::as_bytes)
        );
    }
    Ok(())
}

async fn an_idle_connection_beats_as_often_as_asked(
    world: &World,
    transport: Transport,
) -> Result<()> {
    // More than one that answers nothing lives for.
    const BEATS: usize = 5;
    let target = Query::of([world.channel()]).heartbeat(2).target(transport);
    let mut ann = Conversation::begin(connect(world, transport, &target, &[]).await?).await?;
    for _ in 0..BEATS {
        // A page sees the frame, and its browser answers the ping.
        let beat = Said::Text(r#"{"heartbeat":true}"#.to_owned());
        assert_eq!(
            [ann.socket.next().await?, ann.socket.next().await?],
            [beat, Said::Ping]
        );
    }
    Ok(())
}

/// A connection that answers nothing by itself, and what came behind the head of the response.
async fn connect_raw(
    world: &World,
    transport: Transport,
    query: Query,
) -> Result<(TcpStream, Vec<u8>)> {
    let target = query.target(transport);
    let mut head = format!("GET {target} HTTP/1.1\r\nhost: x\r\n");
    for (name, value) in transport.headers() {
        head += &format!("{name}: {value}\r\n");
    }
    let mut stream = TcpStream::connect(world.client.address()).await?;
    stream.write_all(format!("{head}\r\n").as_bytes()).await?;
    let mut bytes = Vec::new();
    let (answer, length) = read_head(&mut stream, &mut bytes)
        .await?
        .context("the host closed")?;
    ensure!(answer.status == 101, "{answer:?}");
    Ok((stream, bytes.split_off(length)))
}

async fn who_answers_no_ping_is_dropped(world: &World, transport: Transport) -> Result<()> {
    /// A ping without a payload (RFC 6455, section 5.5.2); in text and in its lengths there is no such thing.
    const PING: &[u8] = &[0x89, 0];
    let query = Query::of([world.channel()]).heartbeat(1);
    let (mut silent, mut said) = connect_raw(world, transport, query).await?;
    silent.read_to_end(&mut said).await?;
    let pings = said.windows(PING.len()).filter(|bytes| *bytes == PING);
    let text = String::from_utf8_lossy(&said);
    assert_eq!(
        (pings.count(), text.matches(r#"{"heartbeat":true}"#).count()),
        (2, 2),
        "{text}"
    );
    Ok(())
}

/// Inside a frame, however long that takes, nobody can answer a ping.
async fn who_is_in_the_middle_of_a_message_is_heard(
    world: &World,
    transport: Transport,
) -> Result<()> {
    /// More than one that says nothing lives for.
    const PIECES: usize = 6;
    let channel = world.channel();
    let query = Query::of([world.channel()])
        .heartbeat(2)
        .token(&world.ann.token);
    let (mut slow, mut said) = connect_raw(world, transport, query).await?;
    let text = publish("1", &channel, "slow", &longest("x"));
    // One text message in one frame, masked by zeros (RFC 6455, section 5.2).
    let mut frame = vec![0x81, 0x80 | 127];
    frame.extend((text.len() as u64).to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    let pieces = frame.chunks(frame.len().div_ceil(PIECES));
    // Each piece when one more beat has come.
    for (beats, piece) in pieces.enumerate() {
        let counts = |said: &[u8]| String::from_utf8_lossy(said).matches("heartbeat").count();
        while counts(&said) < beats {
            ensure!(slow.read_buf(&mut said).await? > 0, "it is dropped");
        }
        slow.write_all(piece).await?;
    }
    while !String::from_utf8_lossy(&said).contains(r#"{"ref":1,"published":"#) {
        ensure!(slow.read_buf(&mut said).await? > 0, "it is dropped");
    }
    Ok(())
}
