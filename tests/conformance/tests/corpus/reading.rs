//! What every reader may rely on, whatever its transport.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use conformance::{Batch, Envelope, Gap, Query, Reader, Transport};
use futures::future::try_join_all;
use futures::{StreamExt, try_join};
use http::Method;
use http_body_util::{BodyDataStream, Full};
use protocol::{Channel, Cursor, Position};

use crate::Corpus;
use crate::world::{CROWD, World, thin};

pub(crate) fn cases(corpus: &mut Corpus<'_>, transport: Transport) {
    corpus.reads(transport, what_is_published_is_read);
    corpus.reads(transport, a_reader_without_a_place_begins_now);
    corpus.reads(transport, history_begins_with_the_newest);
    corpus.reads(
        transport,
        history_of_many_channels_is_whole_in_batches_of_any_size,
    );
    corpus.reads(transport, a_batch_holds_at_most_its_limit);
    corpus.reads(transport, every_cursor_is_a_place_to_go_on_from);
    corpus.reads(transport, a_cursor_goes_on_on_any_transport);
    corpus.reads(
        transport,
        a_channel_that_was_not_born_is_read_from_its_first_message,
    );
    corpus.reads(transport, one_reader_follows_many_channels);
    corpus.reads(
        transport,
        a_channel_that_the_cursor_does_not_name_begins_now,
    );
    corpus.reads(
        transport,
        a_channel_no_longer_asked_for_is_dropped_from_the_cursor,
    );
    corpus.reads(transport, all_readers_see_one_order);
    corpus.reads(transport, a_crowd_hears_all_in_order_while_some_leave);
    corpus.reads(transport, a_message_sent_twice_is_read_once);
    corpus.reads(transport, a_cursor_of_another_incarnation_reports_a_gap);
    corpus.reads(transport, a_cursor_of_a_wiped_store_reports_a_gap_at_once);
    corpus.reads(transport, a_cursor_beyond_the_tail_reports_a_gap);
    corpus.reads(transport, a_cursor_with_another_tag_reports_a_gap);
    corpus.reads(transport, reopening_from_a_trimmed_cursor_reports_a_gap);
    corpus.reads(transport, a_long_backlog_is_read_without_holes);
    corpus.reads(
        transport,
        a_backlog_of_one_channel_leaves_room_for_the_others,
    );
    corpus.reads(transport, a_loud_channel_does_not_hold_up_the_others);
    if transport.polls() {
        corpus.reads(transport, history_is_read_backwards_page_by_page);
        corpus.reads(transport, a_poll_without_a_place_answers_at_once);
        corpus.reads(
            transport,
            a_poll_whose_time_is_over_is_empty_and_keeps_its_place,
        );
        corpus.reads(transport, a_loud_channel_alone_fills_a_batch);
        corpus.reads(
            transport,
            a_gap_comes_before_all_that_a_batch_has_of_its_channel,
        );
    } else {
        corpus.reads(transport, last_event_id_wins_over_after_and_history);
        if !transport.upgrades() {
            corpus.reads(transport, an_idle_stream_beats_as_often_as_asked);
        }
    }
    if transport == Transport::Sse {
        corpus.reads(transport, beats_that_were_not_asked_for_are_comments_alone);
    }
}

/// The numbers that `count` said.
fn numbers(envelopes: &[Envelope]) -> Result<Vec<u64>> {
    envelopes
        .iter()
        .map(|envelope| Ok(envelope.body.get().parse()?))
        .collect()
}

async fn what_is_published_is_read(world: &World, transport: Transport) -> Result<()> {
    let channel = world.channel();
    let mut reader = Reader::open(&world.client, transport, Query::of([&channel])).await?;
    let id = world.id();
    let before = now();
    let answer = world
        .client
        .publish(&world.bob, &channel, &id, r#"{"text":"hello"}"#)
        .await?;
    let after = now();
    let [envelope] = &reader.messages(1).await?[..] else {
        panic!("one message was published")
    };
    assert_eq!(envelope.channel, channel);
    assert_eq!(envelope.id, id);
    assert_eq!(envelope.sender, world.bob.sender);
    assert_eq!(envelope.name, "Bob");
    assert_eq!(envelope.body.get(), r#"{"text":"hello"}"#);
    assert_eq!(
        envelope.offset,
        answer.json::<crate::world::Receipt>()?.offset
    );
    ensure!(
        (before..=after).contains(&envelope.sent_at),
        "{before} {} {after}",
        envelope.sent_at
    );
    Ok(())
}

fn now() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("it is later than 1970");
    u64::try_from(since.as_millis()).expect("it is not that late")
}

async fn a_reader_without_a_place_begins_now(world: &World, transport: Transport) -> Result<()> {
    let channel = world.channel();
    world.count(&channel, 0..3).await?;
    let mut reader = Reader::open(&world.client, transport, Query::of([&channel])).await?;
    world.count(&channel, 3..5).await?;
    assert_eq!(numbers(&reader.messages(2).await?)?, [3, 4]);
    Ok(())
}

async fn history_begins_with_the_newest(world: &World, transport: Transport) -> Result<()> {
    let channel = world.channel();
    world.count(&channel, 0..5).await?;
    for (history, first) in [(1, 4), (2, 3), (5, 0), (6, 0), (1000, 0)] {
        let query = Query::of([&channel]).history(history);
        let mut reader = Reader::open(&world.client, transport, query).await?;
        let expected: Vec<u64> = (first..5).collect();
        assert_eq!(
            numbers(&reader.messages(expected.len()).await?)?,
            expected,
            "history={history}"
        );
    }
    let mut reader =
        Reader::open(&world.client, transport, Query::of([&channel]).history(0)).await?;
    world.count(&channel, 5..6).await?;
    assert_eq!(numbers(&reader.messages(1).await?)?, [5]);
    Ok(())
}

async fn history_of_many_channels_is_whole_in_batches_of_any_size(
    world: &World,
    transport: Transport,
) -> Result<()> {
    const CHANNELS: usize = 64;
    /// More than is read of so many at once.
    const LONG: u64 = 30;
    let channels: Vec<String> = (0..CHANNELS).map(|_| world.channel()).collect();
    // One that says much among many that say little, and one that says nothing.
    let count = |index: usize| match index {
        0 => 0,
        7 => LONG,
        _ => 2,
    };
    let says = channels.iter().enumerate();
    try_join_all(says.map(|(index, channel)| world.count(channel, 0..count(index)))).await?;
    let some = &channels[6..9];
    for (channels, limit) in [
        (some, 1),
        (some, 4),
        (&channels[..], 5),
        (&channels[..], 1_000),
    ] {
        let query = Query::of(channels).history(LONG as u32 - 1).limit(limit);
        let mut reader = Reader::open(&world.client, transport, query).await?;
        let mut read: HashMap<String, Vec<u64>> = HashMap::new();
        let all = match channels.len() {
            CHANNELS => 2 * (CHANNELS - 2) + LONG as usize - 1,
            few => 2 * (few - 1) + LONG as usize - 1,
        };
        for envelope in reader.messages(all).await? {
            let numbers = numbers(std::slice::from_ref(&envelope))?;
            read.entry(envelope.channel).or_default().extend(numbers);
        }
        for (channel, read) in read {
            let first = u64::from(channel == some[1]);
            let last = if first == 1 { LONG } else { 2 };
            assert_eq!(read, Vec::from_iter(first..last), "{limit} of {channel}");
        }
    }
    Ok(())
}

async fn a_batch_holds_at_most_its_limit(world: &World, transport: Transport) -> Result<()> {
    let channel = world.channel();
    world.count(&channel, 0..7).await?;
    let query = Query::of([&channel]).history(7).limit(3);
    let mut reader = Reader::open(&world.client, transport, query).await?;
    let mut read = Vec::new();
    while read.len() < 7 {
        let batch = reader.news().await?;
        ensure!(batch.envelopes.len() <= 3, "{batch:?}");
        read.extend(batch.envelopes);
    }
    assert_eq!(numbers(&read)?, Vec::from_iter(0..7));
    Ok(())
}

async fn every_cursor_is_a_place_to_go_on_from(world: &World, transport: Transport) -> Result<()> {
    let channel = world.channel();
    world.count(&channel, 0..6).await?;
    let query = Query::of([&channel]).history(6).limit(1);
    let mut reader = Reader::open(&world.client, transport, query).await?;
    for read in 1..=6 {
        reader.messages(1).await?;
        if read == 6 {
            world.count(&channel, 6..7).await?;
        }
        let query = Query::of([&channel]).after(reader.cursor());
        let mut resumed = Reader::open(&world.client, transport, query).await?;
        let expected = Vec::from_iter(read..6.max(read + 1));
        assert_eq!(numbers(&resumed.messages(expected.len()).await?)?, expected);
    }
    Ok(())
}

async fn a_cursor_goes_on_on_any_transport(world: &World, transport: Transport) -> Result<()> {
    let channel = world.channel();
    world.count(&channel, 0..2).await?;
    let query = Query::of([&channel]).history(2).limit(1);
    let mut reader = Reader::open(&world.client, transport, query).await?;
    reader.messages(1).await?;
    for &other in Transport::ALL {
        let query = Query::of([&channel]).after(reader.cursor());
        let mut resumed = Reader::open(&world.client, other, query).await?;
        assert_eq!(
            numbers(&resumed.messages(1).await?)?,
            [1],
            "{}",
            other.name()
        );
    }
    Ok(())
}

async fn a_channel_that_was_not_born_is_read_from_its_first_message(
    world: &World,
    transport: Transport,
) -> Result<()> {
    let channel = world.channel();
    let reader = Reader::open(&world.client, transport, Query::of([&channel])).await?;
    let query = Query::of([&channel]).after(reader.cursor());
    let mut waits = Reader::open(&world.client, transport, query.clone()).await?;
    world.count(&channel, 0..3).await?;
    assert_eq!(numbers(&waits.messages(3).await?)?, [0, 1, 2]);
    let mut comes_later = Reader::open(&world.client, transport, query).await?;
    assert_eq!(numbers(&comes_later.messages(3).await?)?, [0, 1, 2]);
    Ok(())
}

async fn one_reader_follows_many_channels(world: &World, transport: Transport) -> Result<()> {
    let channels: Vec<String> = (0..64).map(|_| world.channel()).collect();
    let mut reader = Reader::open(&world.client, transport, Query::of(&channels)).await?;
    try_join_all(channels.iter().map(|channel| world.count(channel, 0..2))).await?;
    let mut read: HashMap<String, Vec<u64>> = HashMap::new();
    let (half, rest) = (64, 128);
    for envelope in reader.messages(half).await? {
        read.entry(envelope.channel.clone())
            .or_default()
            .extend(numbers(&[envelope])?);
    }
    // One cursor holds the place in each of the channels.
    let query = Query::of(&channels).after(reader.cursor());
    let mut resumed = Reader::open(&world.client, transport, query).await?;
    let count: usize = read.values().map(Vec::len).sum();
    for envelope in resumed.messages(rest - count).await? {
        read.entry(envelope.channel.clone())
            .or_default()
            .extend(numbers(&[envelope])?);
    }
    for channel in &channels {
        assert_eq!(read[channel], [0, 1], "{channel}");
    }
    Ok(())
}

async fn a_channel_that_the_cursor_does_not_name_begins_now(
    world: &World,
    transport: Transport,
) -> Result<()> {
    let (named, added, recalled) = (world.channel(), world.channel(), world.channel());
    let reader = Reader::open(&world.client, transport, Query::of([&named])).await?;
    world.count(&named, 0..1).await?;
    world.count(&added, 10..11).await?;
    world.count(&recalled, 20..22).await?;

    let query = Query::of([&named, &added]).after(reader.cursor());
    let mut resumed = Reader::open(&world.client, transport, query).await?;
    assert_eq!(numbers(&resumed.messages(1).await?)?, [0]);
    world.count(&added, 11..12).await?;
    assert_eq!(numbers(&resumed.messages(1).await?)?, [11]);

    // `history` counts for the channels that the cursor does not name.
    let query = Query::of([&named, &recalled])
        .after(reader.cursor())
        .history(1);
    let mut resumed = Reader::open(&world.client, transport, query).await?;
    let mut read = numbers(&resumed.messages(2).await?)?;
    read.sort_unstable();
    assert_eq!(read, [0, 21]);
    Ok(())
}

async fn a_channel_no_longer_asked_for_is_dropped_from_the_cursor(
    world: &World,
    transport: Transport,
) -> Result<()> {
    let (kept, left) = (world.channel(), world.channel());
    let both = Reader::open(&world.client, transport, Query::of([&kept, &left])).await?;
    world.count(&left, 0..1).await?;
    world.count(&kept, 1..2).await?;
    let query = Query::of([&kept]).after(both.cursor());
    let mut one = Reader::open(&world.client, transport, query).await?;
    assert_eq!(numbers(&one.messages(1).await?)?, [1]);
    // Back again, it begins now: its place was given up.
    let query = Query::of([&kept, &left]).after(one.cursor());
    let mut back = Reader::open(&world.client, transport, query).await?;
    if transport.polls() {
        back.next().await?;
    }
    world.count(&left, 2..3).await?;
    assert_eq!(numbers(&back.messages(1).await?)?, [2]);
    Ok(())
}

async fn all_readers_see_one_order(world: &World, transport: Transport) -> Result<()> {
    const WRITERS: u64 = 4;
    const EACH: u64 = 20;
    let channel = world.channel();
    let open = || Reader::open(&world.client, transport, Query::of([&channel]));
    let mut readers = [open().await?, open().await?];
    try_join_all(
        (0..WRITERS).map(|writer| world.count(&channel, writer * 100..writer * 100 + EACH)),
    )
    .await?;
    let mut orders = Vec::new();
    for reader in &mut readers {
        let read = reader.messages((WRITERS * EACH) as usize).await?;
        let first = read[0].offset;
        let offsets: Vec<u64> = read.iter().map(|envelope| envelope.offset).collect();
        assert_eq!(
            offsets,
            Vec::from_iter(first..first + WRITERS * EACH),
            "offsets are dense"
        );
        orders.push(numbers(&read)?);
    }
    assert_eq!(orders[0], orders[1]);
    for writer in 0..WRITERS {
        let said: Vec<u64> = orders[0]
            .iter()
            .copied()
            .filter(|number| number / 100 == writer)
            .collect();
        assert_eq!(
            said,
            Vec::from_iter(writer * 100..writer * 100 + EACH),
            "a writer's own order"
        );
    }
    Ok(())
}

/// They are woken some at a time: those who leave meanwhile keep nobody from hearing all.
async fn a_crowd_hears_all_in_order_while_some_leave(
    world: &World,
    transport: Transport,
) -> Result<()> {
    let channel = world.channel();
    let open = |_| Reader::open(&world.client, transport, Query::of([&channel]));
    let mut crowd = try_join_all((0..CROWD).map(open)).await?;
    world.count(&channel, 0..1).await?;
    let heard = try_join_all(crowd.iter_mut().map(|reader| reader.messages(1))).await?;
    for read in heard {
        assert_eq!(numbers(&read)?, [0]);
    }
    let leave = async {
        thin(&mut crowd);
        Ok(try_join_all(crowd.iter_mut().map(|reader| reader.messages(10))).await?)
    };
    let (_, heard) = try_join!(world.count(&channel, 1..11), leave)?;
    assert_eq!(heard.len(), CROWD - CROWD / 3);
    for read in heard {
        assert_eq!(numbers(&read)?, Vec::from_iter(1..11));
    }
    Ok(())
}

async fn a_message_sent_twice_is_read_once(world: &World, transport: Transport) -> Result<()> {
    let channel = world.channel();
    let mut reader = Reader::open(&world.client, transport, Query::of([&channel])).await?;
    let id = world.id();
    for _ in 0..3 {
        world.client.publish(&world.ann, &channel, &id, "0").await?;
    }
    world.count(&channel, 1..2).await?;
    assert_eq!(numbers(&reader.messages(2).await?)?, [0, 1]);
    Ok(())
}

/// The position in a channel that a cursor names.
fn position(cursor: &str, channel: &str) -> Result<(Channel, Position)> {
    let channel: Channel = channel.parse()?;
    let position = Cursor::decode(cursor)?.get(&channel);
    Ok((channel, position.expect("the cursor names the channel")))
}

/// Reads from a wrong place behind `changed` of the last of five messages: a gap is told, and the reader
/// misses nothing of what comes behind it.
async fn check_gap(
    world: &World,
    transport: Transport,
    change: impl FnOnce(Position) -> Position,
) -> Result<()> {
    let name = world.channel();
    world.count(&name, 0..5).await?;
    let query = Query::of([&name]).history(1);
    let mut reader = Reader::open(&world.client, transport, query).await?;
    reader.messages(1).await?;
    let (channel, right) = position(reader.cursor(), &name)?;
    let wrong = change(right);
    let cursor = Cursor::from_iter([(channel, wrong)]).encode();
    read_gap(world, transport, &name, &cursor, right.offset).await?;
    Ok(())
}

/// Reads from a place that yields a gap, and on behind the gap to what is published then.
async fn read_gap(
    world: &World,
    transport: Transport,
    channel: &str,
    cursor: &str,
    tail: u64,
) -> Result<Gap> {
    let mut reader =
        Reader::open(&world.client, transport, Query::of([channel]).after(cursor)).await?;
    let Batch {
        envelopes: mut read,
        gaps,
        ..
    } = reader.news().await?;
    let [gap] = <[Gap; 1]>::try_from(gaps).expect("one gap is told");
    assert_eq!(gap.channel, channel);
    ensure!(
        gap.resumed <= tail,
        "{gap:?} goes on beyond the tail, {tail}"
    );
    // The place behind a gap is one that works.
    let mut resumed = Reader::open(
        &world.client,
        transport,
        Query::of([channel]).after(reader.cursor()),
    )
    .await?;
    world.count(channel, 5..6).await?;
    let behind = tail - gap.resumed + 1;
    read.extend(resumed.messages(behind as usize - read.len()).await?);
    let offsets: Vec<u64> = read.iter().map(|envelope| envelope.offset).collect();
    let first = offsets[0];
    assert_eq!(
        offsets,
        Vec::from_iter(first..first + behind),
        "nothing is missing behind {gap:?}"
    );
    assert_eq!(numbers(&read[read.len() - 1..])?, [5]);
    Ok(gap)
}

async fn a_cursor_of_another_incarnation_reports_a_gap(
    world: &World,
    transport: Transport,
) -> Result<()> {
    check_gap(world, transport, |at| Position {
        epoch: at.epoch ^ 1 << 17,
        ..at
    })
    .await
}

/// Whether the channel was begun anew by then or not: a poll is not held before the gap is told, and the gap
/// is told before anything else.
async fn a_cursor_of_a_wiped_store_reports_a_gap_at_once(
    world: &World,
    transport: Transport,
) -> Result<()> {
    const LEFT: u64 = 7;
    for anew in [0, 2] {
        let name = world.channel();
        world.count(&name, 0..anew).await?;
        let left = Position {
            epoch: 1 << 40,
            offset: LEFT,
            tag: 5,
        };
        let cursor = Cursor::from_iter([(name.parse()?, left)]).encode();
        let query = Query::of([&name]).after(cursor).wait(55);
        // Held, it would outlast the time after which a case hangs.
        let told = tokio::time::timeout(std::time::Duration::from_secs(50), async {
            let mut reader = Reader::open(&world.client, transport, query).await?;
            let batch = reader.news().await?;
            anyhow::Ok((reader, batch))
        });
        let (mut reader, batch) = told.await??;
        let gap = Gap {
            channel: name.clone(),
            after: if anew == 0 { LEFT } else { 0 },
            resumed: 0,
        };
        assert_eq!(batch.gaps, [gap]);
        let mut read = batch.envelopes;
        ensure!(transport.polls() || read.is_empty(), "{read:?}");
        world.count(&name, anew..anew + 1).await?;
        read.extend(reader.messages(anew as usize + 1 - read.len()).await?);
        assert_eq!(numbers(&read)?, Vec::from_iter(0..=anew));
    }
    Ok(())
}

async fn a_cursor_beyond_the_tail_reports_a_gap(world: &World, transport: Transport) -> Result<()> {
    check_gap(world, transport, |at| Position {
        offset: at.offset + 1,
        ..at
    })
    .await?;
    check_gap(world, transport, |at| Position {
        offset: u64::MAX,
        ..at
    })
    .await
}

async fn a_cursor_with_another_tag_reports_a_gap(
    world: &World,
    transport: Transport,
) -> Result<()> {
    check_gap(world, transport, |at| Position {
        tag: at.tag ^ 1,
        ..at
    })
    .await
}

async fn reopening_from_a_trimmed_cursor_reports_a_gap(
    world: &World,
    transport: Transport,
) -> Result<()> {
    let channel = world.channel();
    world.count(&channel, 0..1).await?;
    // By a transport that takes no seat: a room goes on telling what it heard before that was trimmed.
    let place = place(world, std::slice::from_ref(&channel)).await?;
    let count = mailbox::Window::default().retention.messages as usize + 200;
    let tail = world.fill(&channel, count).await?;
    let left = position(&place, &channel)?.1.offset;
    let gap = read_gap(world, transport, &channel, &place, tail).await?;
    assert_eq!(gap.after, left);
    ensure!(gap.after < gap.resumed, "{gap:?}");
    Ok(())
}

async fn a_long_backlog_is_read_without_holes(world: &World, transport: Transport) -> Result<()> {
    let channel = world.channel();
    let reader = Reader::open(&world.client, transport, Query::of([&channel])).await?;
    let last = world.fill(&channel, 900).await?;
    let query = Query::of([&channel]).after(reader.cursor()).limit(1000);
    let mut reader = Reader::open(&world.client, transport, query).await?;
    let offsets: Vec<u64> = reader
        .messages(900)
        .await?
        .iter()
        .map(|envelope| envelope.offset)
        .collect();
    assert_eq!(offsets, Vec::from_iter(last - 899..=last));
    Ok(())
}

async fn history_is_read_backwards_page_by_page(world: &World, transport: Transport) -> Result<()> {
    let channel = world.channel();
    world.count(&channel, 0..10).await?;
    let target = |before: u64| {
        format!(
            "{}&before={before}",
            Query::of([&channel]).limit(4).target(transport)
        )
    };
    let mut before = u64::MAX;
    let mut pages = Vec::new();
    loop {
        let page: Batch = world.first(transport, &target(before)).await?.json()?;
        ensure!(page.gaps.is_empty() && page.cursor.is_none(), "{page:?}");
        pages.push(numbers(&page.envelopes)?);
        let Some(next) = page.before else { break };
        assert_eq!(next, page.envelopes[0].offset);
        before = next;
    }
    assert_eq!(pages, [vec![6, 7, 8, 9], vec![2, 3, 4, 5], vec![0, 1]]);

    let unborn = format!(
        "{}&before=5",
        Query::of([world.channel()]).target(transport)
    );
    let page: Batch = world.first(transport, &unborn).await?.json()?;
    ensure!(
        page.envelopes.is_empty() && page.before.is_none(),
        "{page:?}"
    );
    Ok(())
}

async fn a_poll_without_a_place_answers_at_once(world: &World, transport: Transport) -> Result<()> {
    // Held, it would outlast the time after which a case hangs.
    let held = tokio::time::timeout(std::time::Duration::from_secs(50), async {
        let query = Query::of([world.channel(), world.channel()]).wait(55);
        let batch: Batch = world
            .first(transport, &query.target(transport))
            .await?
            .json()?;
        ensure!(
            batch.envelopes.is_empty() && batch.cursor.is_some(),
            "{batch:?}"
        );
        // Nor is one held that names a place in only one of its channels.
        let query = Query::of([world.channel(), query.channels[0].clone()]).wait(55);
        let query = query.after(batch.cursor.expect("it was just seen"));
        let batch: Batch = world
            .first(transport, &query.target(transport))
            .await?
            .json()?;
        ensure!(
            batch.envelopes.is_empty() && batch.cursor.is_some(),
            "{batch:?}"
        );
        Ok(())
    });
    held.await?
}

async fn a_poll_whose_time_is_over_is_empty_and_keeps_its_place(
    world: &World,
    transport: Transport,
) -> Result<()> {
    let channel = world.channel();
    let mut reader = Reader::open(&world.client, transport, Query::of([&channel]).wait(1)).await?;
    for _ in 0..2 {
        let batch = reader.next().await?;
        ensure!(
            batch.envelopes.is_empty() && batch.gaps.is_empty(),
            "{batch:?}"
        );
    }
    let query = Query::of([&channel]).after(reader.cursor()).wait(0);
    let mut asks_once = Reader::open(&world.client, transport, query).await?;
    ensure!(
        asks_once.next().await?.envelopes.is_empty(),
        "nothing was published"
    );
    world.count(&channel, 0..1).await?;
    assert_eq!(numbers(&reader.messages(1).await?)?, [0]);
    Ok(())
}

async fn last_event_id_wins_over_after_and_history(
    world: &World,
    transport: Transport,
) -> Result<()> {
    let channel = world.channel();
    let start = Reader::open(&world.client, transport, Query::of([&channel]))
        .await?
        .cursor()
        .to_owned();
    world.count(&channel, 0..3).await?;
    let mut newest =
        Reader::open(&world.client, transport, Query::of([&channel]).history(3)).await?;
    newest.messages(2).await?;
    let seen = newest.cursor();
    for query in [
        Query::of([&channel]).after(&start),
        Query::of([&channel]).history(3),
        Query::of([&channel]),
        Query::of([&channel]).after(&start).history(3),
    ] {
        let mut reader = Reader::reopen(&world.client, transport, query, seen).await?;
        assert_eq!(numbers(&reader.messages(1).await?)?, [2]);
    }
    Ok(())
}

async fn an_idle_stream_beats_as_often_as_asked(world: &World, transport: Transport) -> Result<()> {
    // As often as by default, they would outlast the time after which a case hangs.
    const BEATS: usize = 7;
    let target = Query::of([world.channel()]).target(transport) + "&heartbeat=1";
    let request = world.client.request(Method::GET, &target);
    let response = world.client.open(request.body(Full::default())?).await?;
    let mut body = BodyDataStream::new(response.into_body());
    let mut parser = transport.parser().expect("this is a stream");
    let mut frames = Vec::new();
    while frames.len() <= BEATS {
        let bytes = body.next().await.context("it ended")??;
        frames.extend(parser.feed(&bytes)?);
    }
    let beats = frames.split_off(1);
    ensure!(frames[0].starts_with(r#"{"open":true,"#), "{frames:?}");
    assert_eq!(beats, [r#"{"heartbeat":true}"#; BEATS]);
    Ok(())
}

/// To parsers that show every event to their callers, they are none; a browser's page sees no comment.
async fn beats_that_were_not_asked_for_are_comments_alone(
    world: &World,
    transport: Transport,
) -> Result<()> {
    let target = Query::of([world.channel()]).target(transport);
    let text = world.client.stream_until(&target, "\n:hb\n").await?;
    let (_, behind) = text.split_once("\n\n").expect("the first event ends");
    assert_eq!(behind, ":hb\n", "the comment has no empty line behind it");
    Ok(())
}

/// The channels of a reader that follows as many as it may; the first one is the loud one.
fn crowd(world: &World) -> Vec<String> {
    (0..64).map(|_| world.channel()).collect()
}

/// The place before all that a case publishes.
async fn place(world: &World, channels: &[String]) -> Result<String> {
    let reader = Reader::open(&world.client, Transport::ShortPolling, Query::of(channels)).await?;
    Ok(reader.cursor().to_owned())
}

async fn a_backlog_of_one_channel_leaves_room_for_the_others(
    world: &World,
    transport: Transport,
) -> Result<()> {
    const LIMIT: u32 = 100;
    let channels = crowd(world);
    let (loud, quiet) = (&channels[0], &channels[1..]);
    let place = place(world, &channels).await?;
    // One less than the window, of which nothing then is trimmed.
    world
        .fill(
            loud,
            mailbox::Window::default().retention.messages as usize - 1,
        )
        .await?;
    try_join_all(quiet.iter().map(|channel| world.count(channel, 7..8))).await?;

    let query = Query::of(&channels).after(place).limit(LIMIT);
    let mut reader = Reader::open(&world.client, transport, query).await?;
    let first = reader.messages(LIMIT as usize).await?;
    let heard: HashSet<&str> = first
        .iter()
        .map(|envelope| envelope.channel.as_str())
        .collect();
    assert_eq!(
        heard.len(),
        channels.len(),
        "one of each is among the first"
    );
    ensure!(
        !transport.polls() || first.len() == LIMIT as usize,
        "what the quiet ones leave is the loud one's: {}",
        first.len()
    );
    Ok(())
}

async fn a_loud_channel_does_not_hold_up_the_others(
    world: &World,
    transport: Transport,
) -> Result<()> {
    let channels = crowd(world);
    let (loud, quiet) = (&channels[0], &channels[1..]);
    let place = place(world, &channels).await?;
    let query = Query::of(&channels).after(place).limit(100);
    let mut reader = Reader::open(&world.client, transport, query.clone()).await?;
    let all_heard = AtomicBool::new(false);
    // Held up, they would not be heard before it ends, and it would not end.
    let speaks = async {
        while !all_heard.load(Ordering::Relaxed) {
            world.fill(loud, 40).await?;
        }
        anyhow::Ok(())
    };
    let whispers = try_join_all(quiet.iter().map(|channel| world.count(channel, 7..8)));
    let hears = async {
        let mut heard = HashSet::new();
        while heard.len() < quiet.len() {
            let batch = reader.news().await?;
            // So loud it may be that a window is full before it is read.
            ensure!(
                batch.gaps.iter().all(|gap| gap.channel == *loud),
                "{batch:?}"
            );
            for envelope in batch.envelopes {
                ensure!(
                    envelope.channel == *loud || heard.insert(envelope.channel.clone()),
                    "{envelope:?} comes twice"
                );
            }
            // With a place in each of so many channels, what a page keeps soon is too much.
            if let Some(reason) = batch.end {
                assert_eq!(reason, "reopen");
                let query = query.clone().after(reader.cursor());
                reader = Reader::open(&world.client, transport, query).await?;
            }
        }
        all_heard.store(true, Ordering::Relaxed);
        Ok(())
    };
    try_join!(speaks, whispers, hears)?;
    Ok(())
}

async fn a_loud_channel_alone_fills_a_batch(world: &World, transport: Transport) -> Result<()> {
    const LIMIT: usize = 100;
    let channels = crowd(world);
    let place = place(world, &channels).await?;
    world.fill(&channels[0], 3 * LIMIT).await?;
    let query = Query::of(&channels).after(place).limit(LIMIT as u32);
    let mut reader = Reader::open(&world.client, transport, query).await?;
    for _ in 0..3 {
        let batch = reader.news().await?;
        assert_eq!(batch.envelopes.len(), LIMIT);
        ensure!(
            batch
                .envelopes
                .iter()
                .all(|envelope| envelope.channel == channels[0]),
            "nobody else spoke"
        );
    }
    Ok(())
}

/// The window moves on while a batch is read. Where the gap is, the batch's reader looks.
async fn a_gap_comes_before_all_that_a_batch_has_of_its_channel(
    world: &World,
    transport: Transport,
) -> Result<()> {
    /// Were nothing done against it, about one of eight would lie between messages: over all transports and
    /// hosts these are enough.
    const GAPS: usize = 10;
    let channels = crowd(world);
    let all_told = AtomicBool::new(false);
    let speaks = async {
        while !all_told.load(Ordering::Relaxed) {
            world.fill(&channels[0], 100).await?;
        }
        anyhow::Ok(())
    };
    let hears = async {
        for _ in 0..GAPS {
            let place = place(world, &channels).await?;
            let query = Query::of(&channels).after(place).limit(1000).wait(0);
            loop {
                let mut reader = Reader::open(&world.client, transport, query.clone()).await?;
                if !reader.next().await?.gaps.is_empty() {
                    break;
                }
            }
        }
        all_told.store(true, Ordering::Relaxed);
        Ok(())
    };
    try_join!(speaks, hears)?;
    Ok(())
}
