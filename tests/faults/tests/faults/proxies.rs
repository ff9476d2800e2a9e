//! An nginx between a host and its clients.

use std::io::Write;

use anyhow::{Context, Result, ensure};
use conformance::{
    Answer, Batch, Client, Fault, Frame, Query, Reader, Said, Session, Socket, Transport,
};
use faults::{Deployment, HANGS, Nginx};
use flate2::write::GzDecoder;
use futures::StreamExt;
use futures::future::try_join_all;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, ORIGIN};
use http::{HeaderMap, HeaderName, Method};
use http_body_util::{BodyDataStream, Full};
use hyper::body::Incoming;
use rusqlite::Connection;
use serde::Deserialize;
use tokio::time::timeout;

/// What HTTP lets every hop say for itself (RFC 9110, sections 6.6.1, 7.6.1, 7.8 and 10.2.4), and what is said to
/// nginx alone.
const OF_A_HOP: [HeaderName; 6] = [
    http::header::CONNECTION,
    http::header::DATE,
    http::header::SERVER,
    http::header::TRANSFER_ENCODING,
    http::header::UPGRADE,
    HeaderName::from_static("x-accel-buffering"),
];
/// Who is silent for longer is cut.
const CUTS_THE_IDLE: &str = "proxy_read_timeout 10s; send_timeout 10s;";
/// Nobody may ask for anything to be passed on at once.
const HOLDS_BACK: &str = "proxy_buffering on; proxy_ignore_headers X-Accel-Buffering;";

/// Upgrades are passed on (nginx's documentation, "WebSocket proxying"), and the name under which the page knows
/// the server, so that the host knows its own pages.
const PASSES_UPGRADES: &str = "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; \
    proxy_set_header Connection upgrade; proxy_set_header Host $http_host;";

/// A host behind an nginx.
struct Front {
    deployment: Deployment,
    nginx: Nginx,
    /// Speaks to nginx.
    client: Client,
    session: Session,
}

impl Front {
    async fn start(directives: &str) -> Result<Self> {
        let deployment = Deployment::start(&[])?;
        let nginx = Nginx::start(deployment.client().address(), directives).await?;
        let client = nginx.client();
        let session = client.session("Ann").await?;
        Ok(Self {
            deployment,
            nginx,
            client,
            session,
        })
    }

    /// Where something failed.
    fn by(&self, transport: Transport) -> String {
        format!("{}; nginx said:\n{}", transport.name(), self.nginx.log())
    }

    async fn publish(&self, channel: &str, id: &str) -> Result<()> {
        let answer = self.client.publish(&self.session, channel, id, "0").await?;
        ensure!(answer.status == 201, "{answer:?}");
        Ok(())
    }
}

/// The transports whose requests stay open while nothing happens.
fn held() -> impl Iterator<Item = Transport> {
    let all = Transport::ALL.iter().copied();
    all.filter(|transport| *transport != Transport::ShortPolling)
}

fn streams() -> impl Iterator<Item = Transport> {
    held().filter(|transport| !transport.polls() && !transport.upgrades())
}

/// A stream as it comes in.
struct Stream {
    data: BodyDataStream<Incoming>,
    gzip: Option<GzDecoder<Vec<u8>>>,
    text: String,
}

impl Stream {
    /// Asks for a stream with so many seconds of silence between two heartbeats.
    async fn open(
        client: &Client,
        transport: Transport,
        query: &Query,
        heartbeat: u32,
    ) -> Result<Self> {
        let target = query.target(transport);
        let request = client
            .request(Method::GET, &format!("{target}&heartbeat={heartbeat}"))
            .header(ACCEPT_ENCODING, "gzip");
        let response = client.open(request.body(Full::default())?).await?;
        ensure!(response.status() == 200, "{response:?}");
        let is_gzip = response.headers().get(CONTENT_ENCODING).is_some();
        Ok(Self {
            data: BodyDataStream::new(response.into_body()),
            gzip: is_gzip.then(|| GzDecoder::new(Vec::new())),
            text: String::new(),
        })
    }

    /// Reads on until it has said something.
    async fn until(&mut self, said: impl Fn(&str) -> bool) -> Result<()> {
        while !said(&self.text) {
            let next = timeout(HANGS, self.data.next()).await;
            let bytes = next.with_context(|| format!("nothing comes behind {:?}", self.text))?;
            let bytes = bytes.with_context(|| format!("it ends behind {:?}", self.text))??;
            match &mut self.gzip {
                Some(gzip) => {
                    gzip.write_all(&bytes)?;
                    gzip.flush()?;
                    self.text += str::from_utf8(&std::mem::take(gzip.get_mut()))?;
                }
                None => self.text += str::from_utf8(&bytes)?,
            }
        }
        Ok(())
    }
}

fn opens(text: &str) -> bool {
    text.contains("cursor")
}

fn heartbeats(text: &str) -> usize {
    text.matches("event: heartbeat\n").count() + text.matches("\"heartbeat\":true").count()
}

#[test]
fn behind_nginx_as_debian_ships_it_every_transport_delivers_at_once() -> Result<()> {
    faults::run(async {
        let front = Front::start("").await?;
        let plain = Transport::ALL.iter().filter(|known| !known.upgrades());
        for &transport in plain {
            deliver_at_once(&front, transport)
                .await
                .with_context(|| front.by(transport))?;
        }
        Ok(())
    })
}

/// Nothing here can go on before a message is passed on: each is published when the one before was read.
async fn deliver_at_once(front: &Front, transport: Transport) -> Result<()> {
    let channel = transport.name();
    let ids = ["first", "second", "third"];
    if transport.polls() {
        let mut reader = Reader::open(&front.client, transport, Query::of([channel])).await?;
        ensure!(
            reader.next().await?.envelopes.is_empty(),
            "there is nothing yet"
        );
        for id in ids {
            let place = reader.cursor().to_owned();
            let target = Query::of([channel]).after(place).wait(55).target(transport);
            let request = front.client.request(Method::GET, &target);
            // The host sends the head of an answer that it holds, so whoever has it waits for a message.
            let held = match transport {
                Transport::ShortPolling => None,
                _ => Some(front.client.open(request.body(Full::default())?).await?),
            };
            front.publish(channel, id).await?;
            if let Some(held) = held {
                let batch: Batch = transport.first(held).await?.json()?;
                let [message] = &batch.envelopes[..] else {
                    anyhow::bail!("the time was over: {batch:?}");
                };
                ensure!(message.id == id, "{message:?}");
            }
            ensure!(
                reader.messages(1).await?[0].id == id,
                "the same is read again"
            );
        }
    } else {
        let mut stream = Stream::open(&front.client, transport, &Query::of([channel]), 55).await?;
        stream.until(opens).await?;
        // Of the media types that streams have, nginx compresses this one.
        ensure!(
            stream.gzip.is_some() == (transport == Transport::Htmlfile),
            "it is compressed"
        );
        for id in ids {
            front.publish(channel, id).await?;
            stream.until(|text| text.contains(id)).await?;
        }
        // The first comes soon after the beginning, the second too late to carry a message along.
        ensure!(
            heartbeats(&stream.text) <= 1,
            "it came no sooner than a heartbeat: {:?}",
            stream.text
        );
    }
    Ok(())
}

/// A request, a header of it, its body, and the status that it gets.
const ANSWERED: [(&str, &str, &str, u16); 24] = [
    ("GET /", "", "", 200),
    ("GET /witter/nowhere", "", "", 404),
    (
        "OPTIONS /witter/publish",
        "origin: https://chat.example",
        "",
        204,
    ),
    ("GET /witter/publish?channel=c", "", "", 405),
    ("POST /witter/publish?channel=c", "", "{", 400),
    ("POST /witter/publish?channel=c", "", DRAFT, 401),
    ("POST /witter/publish?channel=c", FORGED, DRAFT, 401),
    (
        "POST /witter/publish?channel=c",
        "content-type: text/html",
        DRAFT,
        415,
    ),
    (
        "POST /witter/publish?channel=c&errors=inline",
        "",
        DRAFT,
        200,
    ),
    ("POST /witter/session", "", "[]", 422),
    ("GET /witter/long-polling", "", "", 400),
    ("GET /witter/long-polling?channel=c", FORGED, "", 401),
    ("GET /witter/sse?channel=", "", "", 400),
    ("GET /witter/sse?channel=&errors=inline", "", "", 200),
    (
        "GET /witter/xhr-streaming?channel=c&heartbeat=0",
        "",
        "",
        400,
    ),
    ("GET /witter/htmlfile?channel=c", "", "", 400),
    (
        "GET /witter/websocket?channel=c",
        "sec-websocket-version: 13",
        "",
        426,
    ),
    ("POST /witter/websocket?channel=c", "", "", 405),
    (
        "GET /witter/htmlfile?channel=&callback=received",
        "",
        "",
        200,
    ),
    (
        "GET /witter/jsonp-polling?channel=c&callback=a-b",
        "",
        "",
        400,
    ),
    (
        "GET /witter/jsonp-publish?channel=c&callback=received",
        "",
        "",
        200,
    ),
    ("GET /witter/short-polling?channel=c&history=1", "", "", 200),
    (
        "GET /witter/short-polling?channel=c&history=1",
        GZIP,
        "",
        200,
    ),
    (
        "GET /witter/jsonp-polling?channel=c&history=1&callback=received",
        GZIP,
        "",
        200,
    ),
];
const DRAFT: &str = r#"{"id":"id","body":0}"#;
const FORGED: &str = "authorization: Bearer forged";
const GZIP: &str = "accept-encoding: gzip";

#[test]
fn answers_pass_through_nginx_as_they_are() -> Result<()> {
    faults::run(async {
        let front = Front::start("").await?;
        let direct = front.deployment.client();
        // Long enough to be compressed.
        let body = format!("\"{}\"", "x".repeat(3000));
        let published = front.client.publish(&front.session, "c", "long", &body);
        ensure!(published.await?.status == 201, "it is stored");
        for (line, header, body, status) in ANSWERED {
            let send = async |client: &Client| {
                let (method, target) = line.split_once(' ').context("a method and a target")?;
                let mut request = client.request(method.parse()?, target);
                if let Some((name, value)) = header.split_once(": ") {
                    request = request.header(name, value);
                }
                client.send(request.body(Full::from(body))?).await
            };
            let (direct, proxied) = (send(&direct).await?, send(&front.client).await?);
            check_same(&direct, &proxied, status).with_context(|| format!("{line} {header}"))?;
            let is_gzip = proxied.header(CONTENT_ENCODING.as_str()) == Some("gzip");
            ensure!(is_gzip == (header == GZIP), "{line} {header}: {proxied:?}");
        }
        Ok(())
    })
}

#[test]
fn publishing_and_refusals_for_a_while_pass_through_nginx() -> Result<()> {
    faults::run(async {
        let front = Front::start("").await?;
        front.publish("publishing", "one").await?;
        let again = front
            .client
            .publish(&front.session, "publishing", "one", "0")
            .await?;
        ensure!(again.status == 200, "{again:?}");
        let session = front
            .client
            .get("/witter/jsonp-session?name=Bob&callback=received")
            .await?;
        check_script(&session, "token")?;
        let target = format!(
            "/witter/jsonp-publish?channel=publishing&id=two&body=0&callback=received&token={}",
            front.session.token
        );
        check_script(&front.client.get(&target).await?, "offset")?;
        let query = Query::of(["publishing"]).history(10);
        let read = Reader::open(&front.client, Transport::ShortPolling, query)
            .await?
            .messages(2)
            .await?;
        let ids: Vec<&str> = read.iter().map(|message| message.id.as_str()).collect();
        ensure!(ids == ["one", "two"], "{ids:?}");
        // Away, and when it may be back.
        let lock = Connection::open(front.deployment.file())?;
        lock.execute_batch("BEGIN IMMEDIATE")?;
        let direct = front.deployment.client();
        let (direct, proxied) = tokio::try_join!(
            direct.publish(&front.session, "publishing", "three", "0"),
            front
                .client
                .publish(&front.session, "publishing", "three", "0")
        )?;
        ensure!(proxied.header("retry-after").is_some(), "{proxied:?}");
        check_same(&direct, &proxied, 503)
    })
}

/// Whether a script that calls the page says something.
fn check_script(answer: &Answer, member: &str) -> Result<()> {
    let text = str::from_utf8(&answer.body)?;
    ensure!(
        answer.status == 200 && text.starts_with("/**/received(") && text.contains(member),
        "{answer:?}"
    );
    Ok(())
}

fn check_same(direct: &Answer, proxied: &Answer, status: u16) -> Result<()> {
    ensure!(direct.status == status, "{direct:?}");
    ensure!(
        proxied.status == status
            && proxied.body == direct.body
            && lasting(proxied) == lasting(direct),
        "{direct:?}\nbecomes {proxied:?}"
    );
    Ok(())
}

/// The headers that are for the reader.
fn lasting(answer: &Answer) -> HeaderMap {
    let mut headers = answer.headers.clone();
    OF_A_HOP.iter().for_each(|name| drop(headers.remove(name)));
    headers
}

#[test]
fn streams_with_heartbeats_and_short_waits_outlive_a_proxy_that_cuts_the_idle() -> Result<()> {
    faults::run(async { behind_proxies_that_cut_the_idle(outlive).await })
}

/// Reads by every transport that stays open: by what upgrades, where that is passed on.
async fn behind_proxies_that_cut_the_idle(
    read: impl AsyncFn(&Front, Transport) -> Result<()>,
) -> Result<()> {
    let upgrading = format!("{CUTS_THE_IDLE} {PASSES_UPGRADES}");
    let (plain, upgrading) =
        tokio::try_join!(Front::start(CUTS_THE_IDLE), Front::start(&upgrading))?;
    let readers = held().map(async |transport| {
        let front = if transport.upgrades() {
            &upgrading
        } else {
            &plain
        };
        let read = read(front, transport).await;
        read.with_context(|| front.by(transport))
    });
    try_join_all(readers).await?;
    Ok(())
}

/// Is silent for longer than the proxy waits, and then delivers.
async fn outlive(front: &Front, transport: Transport) -> Result<()> {
    let channel = transport.name();
    if transport.polls() {
        let query = Query::of([channel]).wait(5);
        let mut reader = Reader::open(&front.client, transport, query).await?;
        for empty in 0..3 {
            // The first answer tells the place, each later one that nothing came.
            let batch = reader.next().await?;
            ensure!(batch.envelopes.is_empty(), "answer {empty}: {batch:?}");
        }
        front.publish(channel, "late").await?;
        ensure!(reader.messages(1).await?[0].id == "late", "it is read");
    } else if transport.upgrades() {
        let query = Query::of([channel]).heartbeat(5);
        let mut socket = converse(front, &query, None).await?;
        for _ in 0..3 {
            while socket.next().await? != Said::Ping {}
        }
        front.publish(channel, "late").await?;
        while !socket.text().await?.contains("late") {}
    } else {
        let mut stream = Stream::open(&front.client, transport, &Query::of([channel]), 5).await?;
        stream.until(|text| heartbeats(text) >= 3).await?;
        front.publish(channel, "late").await?;
        stream.until(|text| text.contains("late")).await?;
    }
    Ok(())
}

#[test]
fn readers_that_a_proxy_cuts_are_told_of_a_fault_and_lose_nothing() -> Result<()> {
    faults::run(async { behind_proxies_that_cut_the_idle(lose_nothing).await })
}

/// Heartbeats and waits are as long as they are by themselves: the proxy cuts first.
async fn lose_nothing(front: &Front, transport: Transport) -> Result<()> {
    let channel = transport.name();
    let query = Query::of([channel]);
    let mut reader = Reader::open(&front.client, transport, query.clone()).await?;
    front.publish(channel, "before").await?;
    let mut read = reader.messages(1).await?;
    let cut = timeout(HANGS, reader.next()).await.context("it hangs")?;
    match cut {
        Err(Fault::Broken(_)) => {}
        Err(Fault::Refused(answer)) if answer.status == 504 => {}
        other => anyhow::bail!("no fault is told: {other:?}"),
    }
    front.publish(channel, "meanwhile").await?;
    let query = query.after(reader.cursor());
    let mut reader = Reader::open(&front.client, transport, query).await?;
    front.publish(channel, "after").await?;
    while read.len() < 3 {
        read.extend(reader.messages(1).await?);
    }
    let ids: Vec<&str> = read.iter().map(|message| message.id.as_str()).collect();
    ensure!(ids == ["before", "meanwhile", "after"], "{ids:?}");
    Ok(())
}

/// A WebSocket through nginx, for a page of an origin or for no page.
async fn converse(front: &Front, query: &Query, origin: Option<&str>) -> Result<Socket, Fault> {
    let transport = Transport::Websocket;
    let mut request = transport.request(&front.client, &query.target(transport));
    if let Some(origin) = origin {
        request = request.header(ORIGIN, origin);
    }
    let broken = |error: anyhow::Error| Fault::Broken(error.to_string());
    let request = request
        .body(Full::default())
        .map_err(|error| broken(error.into()))?;
    let response = front.client.open(request).await.map_err(broken)?;
    if response.status() != transport.accepted() {
        let answer = transport.first(response).await?;
        return Err(Fault::Refused(Box::new(answer)));
    }
    Socket::accepted(response).await
}

#[test]
fn a_websocket_passes_an_nginx_that_passes_upgrades_on() -> Result<()> {
    faults::run(async {
        let front = Front::start(PASSES_UPGRADES).await?;
        let query = Query::of(["both-ways"]).token(&front.session.token);
        let own = format!("http://{}", front.nginx.address());
        let mut socket = converse(&front, &query, Some(&own)).await?;
        ensure!(opens(&socket.text().await?), "it opens");
        // Larger than what nginx reads at once, and not to be guessed from what came before.
        for id in ["first", "second", "third"] {
            let body = format!("{id}{}", "x".repeat(60_000));
            let ask = format!(
                r#"{{"ref":1,"publish":{{"channel":"both-ways","id":"{id}","body":"{body}"}}}}"#
            );
            socket.send(Frame::text(ask)).await?;
            let (mut acknowledged, mut delivered) = (false, false);
            while !(acknowledged && delivered) {
                let text = timeout(HANGS, socket.text()).await.context("it hangs")??;
                acknowledged |= text.contains("\"published\"") && text.contains(id);
                delivered |= text.contains(&body);
            }
        }
        // What ends for a reason is closed for it.
        front.deployment.process().terminate()?;
        while !socket.text().await?.contains("reopen") {}
        let closed = socket.next().await?;
        let going_away = Said::Close {
            code: 1001,
            reason: "reopen".to_owned(),
        };
        ensure!(closed == going_away, "{closed:?}");
        Ok(())
    })
}

#[test]
fn an_nginx_that_hides_the_servers_name_keeps_its_own_pages_out() -> Result<()> {
    faults::run(async {
        let nameless = PASSES_UPGRADES.replace("proxy_set_header Host $http_host;", "");
        let front = Front::start(&nameless).await?;
        let own = format!("http://{}", front.nginx.address());
        let query = Query::of(["nameless"]);
        match converse(&front, &query, Some(&own)).await {
            Err(Fault::Refused(answer)) if answer.code().as_deref() == Some("forbidden") => {}
            other => anyhow::bail!("{:?}", other.err()),
        }
        // Who is no page is known by the credential alone.
        converse(&front, &query, None).await?;
        Ok(())
    })
}

#[test]
fn behind_nginx_as_debian_ships_it_a_websocket_is_sent_elsewhere() -> Result<()> {
    faults::run(async {
        #[derive(Deserialize)]
        struct Next {
            next: String,
        }
        let front = Front::start("").await?;
        let query = Query::of(["elsewhere"]);
        let refused = match converse(&front, &query, None).await {
            Err(Fault::Refused(answer)) => answer,
            other => anyhow::bail!("{:?}", other.err()),
        };
        ensure!(
            refused.status == 426 && refused.code().as_deref() == Some("upgrade-required"),
            "{refused:?}"
        );
        let next = refused.json::<Next>()?.next;
        let mut known = streams();
        let next = known.find(|known| known.name() == next);
        let next = next.with_context(|| format!("{refused:?} names a stream"))?;
        deliver_at_once(&front, next).await
    })
}

#[test]
fn behind_a_proxy_that_holds_back_streams_do_not_open_and_polls_deliver() -> Result<()> {
    faults::run(async {
        let mut front = Front::start(HOLDS_BACK).await?;
        let query = Query::of(["held"]);
        let reader = Reader::open(&front.client, Transport::ShortPolling, query.clone()).await?;
        let query = query.after(reader.cursor());
        front.publish("held", "message").await?;
        let mut held_back = Vec::new();
        for transport in streams() {
            let (client, query) = (front.client.clone(), query.clone());
            let opened = async move {
                let mut stream = Stream::open(&client, transport, &query, 1).await?;
                stream.until(opens).await?;
                Ok::<_, anyhow::Error>(stream)
            };
            held_back.push((transport, tokio::spawn(opened)));
        }
        // Who asks without the proxy sees what it holds back: the beginning, the message, and heartbeats.
        let direct = front.deployment.client();
        let witnesses = streams().map(async |transport| {
            let mut witness = Stream::open(&direct, transport, &query, 1).await?;
            let seen = |text: &str| text.contains("message") && heartbeats(text) >= 3;
            witness.until(seen).await.context(transport.name())
        });
        try_join_all(witnesses).await?;
        for &transport in Transport::ALL.iter().filter(|transport| transport.polls()) {
            let delivered = deliver_by_poll(&front, transport).await;
            delivered.with_context(|| front.by(transport))?;
        }
        for (transport, stream) in &held_back {
            ensure!(!stream.is_finished(), "{} opens", transport.name());
        }
        // All of it comes when the host ends its streams in order.
        front.deployment.terminate()?;
        for (transport, stream) in held_back {
            let mut stream = stream.await?.context(transport.name())?;
            let ended = |text: &str| text.contains("message") && text.contains("reopen");
            stream.until(ended).await.context(transport.name())?;
        }
        Ok(())
    })
}

async fn deliver_by_poll(front: &Front, transport: Transport) -> Result<()> {
    let mut reader = Reader::open(&front.client, transport, Query::of([transport.name()])).await?;
    for id in ["first", "second", "third"] {
        front.publish(transport.name(), id).await?;
        ensure!(reader.messages(1).await?[0].id == id, "{id} is read");
    }
    Ok(())
}
