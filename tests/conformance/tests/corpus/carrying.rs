//! How answers get through what stands between: compression, proxies that hold back, HTTP/1.0.

use std::io::Read;

use anyhow::{Context, Result, ensure};
use conformance::{Answer, Batch, Envelope, Query, RawAnswer, Reader, Transport, read_head};
use flate2::read::GzDecoder;
use futures::StreamExt;
use http::{Method, Response};
use http_body_util::{BodyDataStream, Full};
use hyper::body::Incoming;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Corpus;
use crate::world::World;

/// An answer shorter than this fills no packet.
const SMALL: usize = 1400;

pub(crate) fn cases(corpus: &mut Corpus<'_>, transport: Transport) {
    corpus.reads(transport, a_reader_of_http_1_0_gets_no_chunks);
    if transport.polls() {
        corpus.reads(
            transport,
            a_large_answer_is_compressed_where_that_is_asked_for,
        );
        corpus.reads(transport, a_small_answer_is_not_compressed);
    } else {
        corpus.reads(transport, a_stream_is_neither_compressed_nor_held_back);
        corpus.reads(transport, a_stream_that_pages_keep_ends_before_it_is_large);
    }
    if holds(transport) {
        corpus.reads(transport, a_held_answer_is_neither_compressed_nor_held_back);
    }
}

/// Whether an answer may come later than its head.
fn holds(transport: Transport) -> bool {
    match transport {
        Transport::ShortPolling => false,
        Transport::LongPolling | Transport::JsonpPolling => true,
        Transport::Sse | Transport::XhrStreaming | Transport::Htmlfile | Transport::Websocket => {
            false
        }
    }
}

async fn open(world: &World, target: &str, encoding: &str) -> Result<Response<Incoming>> {
    let request = world
        .client
        .request(Method::GET, target)
        .header("accept-encoding", encoding);
    world.client.open(request.body(Full::default())?).await
}

/// Whether a cache is told that the answer depends on the request's `Accept-Encoding`.
fn varies(answer: &Answer) -> bool {
    let values = answer.headers.get_all("vary").iter();
    values
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.eq_ignore_ascii_case("accept-encoding"))
}

async fn a_large_answer_is_compressed_where_that_is_asked_for(
    world: &World,
    transport: Transport,
) -> Result<()> {
    let channel = world.channel();
    world.count(&channel, 0..5).await?;
    world
        .say(&channel, &format!("\"{}\"", "é </script>".repeat(1000)))
        .await?;
    let target = Query::of([&channel]).history(9).target(transport);
    let plain = Answer::read(open(world, &target, "identity").await?).await?;
    ensure!(
        plain.header("content-encoding").is_none() && varies(&plain),
        "{plain:?}"
    );
    for (encoding, compressed) in [
        ("gzip", true),
        ("gzip, deflate, br, zstd", true),
        ("deflate, GZIP;q=0.5", true),
        ("gzip ; q=0.001", true),
        ("*", true),
        ("identity;q=0.5, *;q=0.1", true),
        ("", false),
        ("br", false),
        ("gzip;q=0", false),
        ("gzip;q=0.000, *", false),
        ("gzip;Q=0", false),
        ("*;q=0", false),
        ("xgzip, gzipx", false),
    ] {
        let answer = Answer::read(open(world, &target, encoding).await?).await?;
        ensure!(varies(&answer), "{encoding}: {answer:?}");
        let told = answer.header("content-encoding");
        assert_eq!(told, compressed.then_some("gzip"), "{encoding}");
        let mut body = answer.body.to_vec();
        if compressed {
            ensure!(
                body.len() < plain.body.len() / 4,
                "{encoding}: {}",
                body.len()
            );
            body.clear();
            GzDecoder::new(&answer.body[..]).read_to_end(&mut body)?;
        }
        assert_eq!(body, plain.body, "{encoding}");
    }
    Ok(())
}

async fn a_small_answer_is_not_compressed(world: &World, transport: Transport) -> Result<()> {
    let channel = world.channel();
    world.count(&channel, 0..1).await?;
    let query = Query::of([&channel]).history(1);
    for target in [query.target(transport), transport.target("channel=")] {
        let answer = Answer::read(open(world, &target, "gzip").await?).await?;
        ensure!(answer.body.len() < SMALL, "{answer:?}");
        ensure!(
            answer.header("content-encoding").is_none() && !varies(&answer),
            "{answer:?}"
        );
    }
    Ok(())
}

/// What is written later reaches the reader as it is written.
fn check_unbuffered(response: &Response<Incoming>) -> Result<()> {
    let headers = response.headers();
    ensure!(!headers.contains_key("content-encoding"), "{response:?}");
    ensure!(!headers.contains_key("content-length"), "{response:?}");
    ensure!(
        headers.get("x-accel-buffering") == Some(&"no".parse()?),
        "{response:?}"
    );
    ensure!(
        headers.get("cache-control") == Some(&"no-store, no-transform".parse()?),
        "{response:?}"
    );
    Ok(())
}

fn large() -> String {
    format!("\"{}\"", "x".repeat(3 * SMALL))
}

async fn a_stream_is_neither_compressed_nor_held_back(
    world: &World,
    transport: Transport,
) -> Result<()> {
    let channel = world.channel();
    let target = Query::of([&channel]).target(transport);
    let response = open(world, &target, "gzip").await?;
    check_unbuffered(&response)?;
    let mut body = BodyDataStream::new(response.into_body());
    let mut parser = transport.parser().context("this is a stream")?;
    let mut frames = parser.feed(&body.next().await.context("it ended")??)?;
    // Each is delivered before the next one is published.
    for told in 2..6 {
        world.say(&channel, &large()).await?;
        while frames.len() < told {
            let bytes = body.next().await.context("it ended")??;
            frames.extend(parser.feed(&bytes)?);
        }
    }
    Ok(())
}

/// A poll that is held, since nothing stands behind its place.
async fn held(world: &World, transport: Transport, channel: &str) -> Result<String> {
    let query = Query::of([channel]);
    let reader = Reader::open(&world.client, transport, query.clone()).await?;
    Ok(query.after(reader.cursor()).wait(55).target(transport))
}

async fn a_held_answer_is_neither_compressed_nor_held_back(
    world: &World,
    transport: Transport,
) -> Result<()> {
    let channel = world.channel();
    let target = held(world, transport, &channel).await?;
    let response = open(world, &target, "gzip").await?;
    check_unbuffered(&response)?;
    world.say(&channel, &large()).await?;
    let batch: Batch = transport.first(response).await?.json()?;
    assert_eq!(batch.envelopes.len(), 1);
    Ok(())
}

/// A response to a request of HTTP/1.0, and what came with its head.
async fn old(world: &World, target: &str) -> Result<(RawAnswer, TcpStream, Vec<u8>)> {
    let mut socket = TcpStream::connect(world.client.address()).await?;
    let request = format!("GET {target} HTTP/1.0\r\nhost: x\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    let (answer, length) = read_head(&mut socket, &mut bytes)
        .await?
        .context("the host closed")?;
    ensure!(answer.status == 200, "{answer:?}");
    ensure!(answer.header("transfer-encoding").is_none(), "{answer:?}");
    ensure!(
        answer.header("connection") != Some("keep-alive"),
        "{answer:?}"
    );
    Ok((answer, socket, bytes.split_off(length)))
}

/// What comes until the connection ends.
async fn rest(socket: &mut TcpStream, mut bytes: Vec<u8>) -> Result<Vec<u8>> {
    socket.read_to_end(&mut bytes).await?;
    Ok(bytes)
}

async fn a_reader_of_http_1_0_gets_no_chunks(world: &World, transport: Transport) -> Result<()> {
    let channel = world.channel();
    world.say(&channel, &large()).await?;
    let target = Query::of([&channel]).history(1).target(transport);
    let (_, mut socket, mut bytes) = old(world, &target).await?;
    let Some(mut parser) = transport.parser() else {
        let texts = transport.texts(&rest(&mut socket, bytes).await?)?;
        let batch: Batch = serde_json::from_str(&texts[0])?;
        assert_eq!(batch.envelopes.len(), 1);
        if holds(transport) {
            let target = held(world, transport, &channel).await?;
            let (_, mut socket, bytes) = old(world, &target).await?;
            world.say(&channel, "7").await?;
            let texts = transport.texts(&rest(&mut socket, bytes).await?)?;
            let batch: Batch = serde_json::from_str(&texts[0])?;
            assert_eq!(batch.envelopes[0].body.get(), "7");
        }
        return Ok(());
    };
    let mut frames = parser.feed(&bytes)?;
    for told in 2..5 {
        while frames.len() < told {
            bytes.clear();
            ensure!(
                socket.read_buf(&mut bytes).await? > 0,
                "the connection ended"
            );
            frames.extend(parser.feed(&bytes)?);
        }
        assert_eq!(frames.len(), told, "nothing else is told");
        world.say(&channel, "7").await?;
    }
    // A stream that is refused ends, and the connection with it.
    let refused = Query::of([&channel]).token("nonsense").target(transport);
    let (_, mut socket, bytes) = old(world, &format!("{refused}&errors=inline")).await?;
    let texts = transport.texts(&rest(&mut socket, bytes).await?)?;
    assert_eq!(texts.len(), 1);
    Ok(())
}

async fn a_stream_that_pages_keep_ends_before_it_is_large(
    world: &World,
    transport: Transport,
) -> Result<()> {
    /// What a page keeps at most, but for what the last step was.
    const MOST: usize = 1024 * 1024;
    /// A step is at most so large, and ends with a message that may be as large again.
    const STEP: usize = 3 * 64 * 1024;
    /// Three times as much as a page keeps.
    const COUNT: usize = 48;
    #[derive(Deserialize)]
    struct Frame {
        envelope: Option<Envelope>,
        cursor: Option<String>,
        end: Option<String>,
    }
    let channel = world.channel();
    let query = Query::of([&channel]);
    let mut place = Reader::open(&world.client, transport, query.clone())
        .await?
        .cursor()
        .to_owned();
    let large = format!("\"{}\"", "x".repeat(65_534));
    for _ in 0..COUNT {
        world.say(&channel, &large).await?;
    }
    let (mut read, mut ends) = (0, 0);
    while read < COUNT {
        let target = query.clone().after(&place).target(transport);
        let (_, mut socket, mut bytes) = old(world, &target).await?;
        let mut parser = transport.parser().context("this is a stream")?;
        let (mut kept, mut end) = (0, None);
        loop {
            kept += bytes.len();
            for frame in parser.feed(&bytes)? {
                let frame: Frame = serde_json::from_str(&frame)?;
                ensure!(end.is_none(), "something comes behind the end");
                read += usize::from(frame.envelope.is_some());
                place = frame.cursor.unwrap_or(place);
                end = frame.end;
            }
            bytes.clear();
            if read == COUNT || socket.read_buf(&mut bytes).await? == 0 {
                break;
            }
        }
        if read < COUNT {
            assert_eq!(end.as_deref(), Some("reopen"));
            ensure!((MOST..MOST + STEP).contains(&kept), "it ends after {kept}");
            ends += 1;
        }
    }
    assert_eq!(
        read, COUNT,
        "nothing is lost between, and nothing comes twice"
    );
    // Of events a page keeps nothing.
    let expected = if transport == Transport::Sse { 0 } else { 2 };
    assert_eq!(ends, expected);
    Ok(())
}
