//! Internet Explorer 8 and 9 across origins: a client that can no more than their `XDomainRequest`.

use anyhow::{Context, Result, ensure};
use bytes::{Bytes, BytesMut};
use conformance::{Batch, Envelope, Query, Session, Transport};
use futures::StreamExt;
use futures::stream::BoxStream;
use http::{Method, Response};
use http_body_util::{BodyDataStream, Full};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::Value;

use crate::Corpus;
use crate::world::{Receipt, World};

/// What it keeps back before it hands anything of a body over while that still grows.
const KEPT_BACK: usize = 2048;

pub(crate) fn cases(corpus: &mut Corpus<'_>, transport: Transport) {
    // The others have their own way across origins.
    if transport.callback().is_none() {
        corpus.reads(transport, a_page_of_old_reads_and_publishes);
        corpus.reads(transport, a_page_of_old_is_told_why_it_may_not_read);
    }
}

pub(crate) fn cases_of_sending(corpus: &mut Corpus<'_>) {
    corpus.add(a_page_of_old_is_told_what_became_of_its_messages);
}

struct XDomainRequest<'a>(&'a World);

impl XDomainRequest<'_> {
    /// Sends a `GET`, or a `POST` of text of no type. No header can be added, and of the response none is shown;
    /// a status but 200 is an error of which nothing more is known.
    async fn open(&self, target: &str, body: Option<String>) -> Result<Response<Incoming>> {
        let method = match body {
            Some(_) => Method::POST,
            None => Method::GET,
        };
        let request = self
            .0
            .client
            .request(method, &format!("{target}&errors=inline"))
            .header("accept", "*/*")
            .header("origin", "http://elsewhere.example");
        let body = Full::from(body.unwrap_or_default());
        let response = self.0.client.open(request.body(body)?).await?;
        ensure!(response.status() == 200, "it fails: {response:?}");
        ensure!(
            response.headers().get("access-control-allow-origin") == Some(&"*".parse()?),
            "it may not be seen: {response:?}"
        );
        Ok(response)
    }

    /// The whole text of a body.
    async fn text(&self, target: &str, body: Option<String>) -> Result<String> {
        let mut pieces = BodyDataStream::new(self.open(target, body).await?.into_body());
        let mut text = BytesMut::new();
        while let Some(piece) = pieces.next().await {
            text.extend(piece?);
        }
        Ok(String::from_utf8(text.into())?)
    }

    /// A body that grows, piece by piece as it is handed over.
    async fn progress(
        &self,
        target: &str,
    ) -> Result<BoxStream<'static, Result<Bytes, hyper::Error>>> {
        let pieces = BodyDataStream::new(self.open(target, None).await?.into_body());
        let mut kept = Some(BytesMut::new());
        let pieces = pieces.filter_map(move |piece| {
            let piece = piece.map(|piece| match &mut kept {
                None => Some(piece),
                Some(back) => {
                    back.extend(piece);
                    (back.len() > KEPT_BACK).then(|| kept.take().unwrap_or_default().freeze())
                }
            });
            async { piece.transpose() }
        });
        Ok(pieces.boxed())
    }
}

/// What it reads by a transport, from a place on: messages until there are so many.
async fn read(
    page: &XDomainRequest<'_>,
    transport: Transport,
    query: Query,
    count: usize,
) -> Result<Vec<Envelope>> {
    #[derive(Deserialize)]
    struct Frame {
        envelope: Option<Envelope>,
    }
    let mut read = Vec::new();
    let Some(mut parser) = transport.parser() else {
        let mut query = query;
        while read.len() < count {
            let text = page.text(&query.target(transport), None).await?;
            let batch: Batch = serde_json::from_str(&text).context(text)?;
            read.extend(batch.envelopes);
            query.after = batch.cursor;
        }
        return Ok(read);
    };
    let mut pieces = page.progress(&query.target(transport)).await?;
    while read.len() < count {
        let piece = pieces.next().await.context("it ended")??;
        for frame in parser.feed(&piece)? {
            let frame: Frame = serde_json::from_str(&frame).context(frame)?;
            read.extend(frame.envelope);
        }
    }
    Ok(read)
}

async fn a_page_of_old_reads_and_publishes(world: &World, transport: Transport) -> Result<()> {
    let page = XDomainRequest(world);
    let name = Some(r#"{"name":"Ann"}"#.to_owned());
    let session = page.text("/witter/session?", name).await?;
    let session: Session = serde_json::from_str(&session).context(session)?;

    let channel = world.channel();
    let query = Query::of([&channel]).token(&session.token);
    let place = page
        .text(&query.target(Transport::ShortPolling), None)
        .await?;
    let place: Batch = serde_json::from_str(&place).context(place)?;
    let query = query.after(place.cursor.context("a place is told")?);

    let publish = async {
        let target = format!("/witter/publish?channel={channel}&token={}", session.token);
        for number in 0..3 {
            let draft = format!(r#"{{"id":"{number}","body":{number}}}"#);
            let receipt = page.text(&target, Some(draft)).await?;
            let receipt: Receipt = serde_json::from_str(&receipt).context(receipt)?;
            assert_eq!(receipt.id, number.to_string());
        }
        anyhow::Ok(())
    };
    let (read, ()) = futures::try_join!(read(&page, transport, query, 3), publish)?;
    let bodies: Vec<&str> = read.iter().map(|envelope| envelope.body.get()).collect();
    assert_eq!(bodies, ["0", "1", "2"]);
    ensure!(
        read.iter()
            .all(|envelope| envelope.sender == session.sender),
        "{read:?}"
    );
    Ok(())
}

async fn a_page_of_old_is_told_why_it_may_not_read(
    world: &World,
    transport: Transport,
) -> Result<()> {
    let page = XDomainRequest(world);
    for (query, code) in [
        (Query::of(["@system"]).token(&world.ann.token), "forbidden"),
        (Query::of(["a"]).token("nonsense"), "unauthorized"),
        (Query::of(["a/b"]), "invalid-request"),
    ] {
        let target = query.target(transport);
        let error = match transport.parser() {
            None => page.text(&target, None).await?,
            Some(mut parser) => {
                let mut pieces = page.progress(&target).await?;
                let piece = pieces.next().await.context("nothing is handed over")??;
                parser.feed(&piece)?.concat()
            }
        };
        let told: Value = serde_json::from_str(&error).context(error)?;
        assert_eq!(told.get("error").or(told.get("end")), Some(&code.into()));
    }
    Ok(())
}

async fn a_page_of_old_is_told_what_became_of_its_messages(world: &World) -> Result<()> {
    let page = XDomainRequest(world);
    let channel = world.channel();
    let token = &world.ann.token;
    let send = async |query: &str, body: &str| -> Result<Value> {
        let target = format!("/witter/publish?channel={channel}{query}");
        let text = page.text(&target, Some(body.to_owned())).await?;
        serde_json::from_str(&text).context(text)
    };
    let query = format!("&token={token}");
    let first = send(&query, r#"{"id":"a","body":1}"#).await?;
    assert_eq!(first["channel"], channel);
    // A duplicate is told from a new message by its status alone, which it does not see.
    assert_eq!(send(&query, r#"{"id":"a","body":1}"#).await?, first);
    for (query, body, code) in [
        (query.as_str(), r#"{"id":"a","body":2}"#, "id-reused"),
        (query.as_str(), r#"{"id":"a""#, "invalid-request"),
        (query.as_str(), r#"{"body":2}"#, "unprocessable"),
        ("", r#"{"id":"b","body":2}"#, "unauthorized"),
        ("&token=nonsense", r#"{"id":"b","body":2}"#, "unauthorized"),
    ] {
        assert_eq!(send(query, body).await?["error"], code, "{query} {body}");
    }
    // An array of which none is stored is refused as its first one is.
    let refused = send(&query, r#"[{"id":"a","body":2}]"#).await?;
    assert_eq!(refused[0]["error"], "id-reused");

    let session = page
        .text("/witter/session?", Some(r#"{"name":""}"#.to_owned()))
        .await?;
    let session: Value = serde_json::from_str(&session)?;
    assert_eq!(session["error"], "unprocessable");
    Ok(())
}
