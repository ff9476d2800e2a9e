//! What pages of other origins may do.

use anyhow::{Context, Result, ensure};
use conformance::{Answer, Query, Transport};
use http::Method;
use http_body_util::Full;
use serde_json::Value;

use crate::Corpus;
use crate::refusing::check_headers;
use crate::world::World;

const ELSEWHERE: &str = "https://elsewhere.example";

/// The routes that receive nothing, and their methods.
const SENDING: [(&str, &str); 6] = [
    ("publish", "POST"),
    ("command", "POST"),
    ("session", "POST"),
    ("jsonp-publish", "GET"),
    ("jsonp-command", "GET"),
    ("jsonp-session", "GET"),
];

pub(crate) fn cases(corpus: &mut Corpus<'_>, transport: Transport) {
    corpus.reads(transport, pages_of_any_origin_may_ask);
    corpus.reads(transport, pages_of_any_origin_see_the_answer);
}

pub(crate) fn cases_of_sending(corpus: &mut Corpus<'_>) {
    corpus.add(pages_of_any_origin_may_send);
    corpus.add(pages_of_any_origin_see_what_became_of_it);
    corpus.add(pages_of_any_origin_send_without_asking_first);
}

/// Asks as a browser does before a page of another origin sends what a form could not.
async fn check_preflight(world: &World, route: &str, method: &str) -> Result<()> {
    let request = world
        .client
        .request(Method::OPTIONS, &format!("/witter/{route}"))
        .header("origin", ELSEWHERE)
        .header("access-control-request-method", method)
        .header(
            "access-control-request-headers",
            "authorization,content-type",
        );
    let answer = world.client.send(request.body(Full::default())?).await?;
    ensure!(answer.status == 204 && answer.body.is_empty(), "{answer:?}");
    let lists = |name: &str, part: &str| {
        let value = answer.header(name).unwrap_or_default().to_ascii_lowercase();
        value.split(',').any(|item| item.trim() == part)
    };
    ensure!(
        lists("access-control-allow-methods", &method.to_ascii_lowercase()),
        "{answer:?}"
    );
    for header in ["authorization", "content-type", "last-event-id"] {
        ensure!(
            lists("access-control-allow-headers", header),
            "{header}: {answer:?}"
        );
    }
    ensure!(
        answer.header("access-control-max-age") == Some("7200"),
        "{answer:?}"
    );
    check_shared(&answer)
}

/// Any page sees the answer, whoever asked: nothing in it depends on the origin.
fn check_shared(answer: &Answer) -> Result<()> {
    ensure!(
        answer.header("access-control-expose-headers") == Some("retry-after"),
        "{answer:?}"
    );
    let varies = answer.headers.get_all("vary").iter();
    ensure!(
        varies
            .filter_map(|value| value.to_str().ok())
            .all(|value| !value.to_ascii_lowercase().contains("origin")),
        "{answer:?}"
    );
    check_headers(answer)
}

async fn pages_of_any_origin_may_ask(world: &World, transport: Transport) -> Result<()> {
    check_preflight(world, transport.name(), "GET").await
}

async fn pages_of_any_origin_see_the_answer(world: &World, transport: Transport) -> Result<()> {
    for (token, refused) in [("", false), ("nonsense", true)] {
        let target = Query::of([world.channel()]).token(token).target(transport);
        for origin in [None, Some(ELSEWHERE), Some("null")] {
            let mut request = world.client.request(Method::GET, &target);
            if let Some(origin) = origin {
                request = request.header("origin", origin);
            }
            let response = world.client.open(request.body(Full::default())?).await?;
            let answer = transport.first(response).await?;
            ensure!(answer.code().is_some() == refused, "{answer:?}");
            check_shared(&answer)?;
        }
    }
    Ok(())
}

async fn pages_of_any_origin_may_send(world: &World) -> Result<()> {
    for (route, method) in SENDING {
        check_preflight(world, route, method).await.context(route)?;
    }
    Ok(())
}

async fn pages_of_any_origin_see_what_became_of_it(world: &World) -> Result<()> {
    let channel = world.channel();
    let token = &world.ann.token;
    for (route, method) in SENDING {
        for refused in [false, true] {
            let token = if refused { "" } else { token };
            let id = world.id();
            let name = if refused { "" } else { "Ann" };
            let query = format!(
                "channel={channel}&token={token}&callback=f&id={id}&body=0&name={name}\
                 &command=%7b%22me%22:%7b%7d%7d"
            );
            let body = match route {
                "command" => r#"{"me":{}}"#.to_owned(),
                "session" => format!(r#"{{"name":"{name}"}}"#),
                _ => format!(r#"{{"id":"{id}","body":0}}"#),
            };
            let request = world
                .client
                .request(method.parse()?, &format!("/witter/{route}?{query}"))
                .header("origin", ELSEWHERE);
            let answer = world.client.send(request.body(Full::from(body))?).await?;
            let is_error = str::from_utf8(&answer.body)?.contains("\"error\"");
            ensure!(is_error == refused, "{route}: {answer:?}");
            check_shared(&answer).context(route)?;
        }
    }
    Ok(())
}

/// Sends what needs no preflight (Fetch standard, "CORS-safelisted request-header"), and is told in the body
/// alone what became of it.
async fn simple(world: &World, method: Method, target: &str, body: &str) -> Result<Value> {
    let separator = if target.contains('?') { '&' } else { '?' };
    let request = world
        .client
        .request(method, &format!("{target}{separator}errors=inline"))
        .header("origin", ELSEWHERE)
        .header("content-type", "text/plain;charset=UTF-8");
    let body = Full::from(body.to_owned());
    let answer = world.client.send(request.body(body)?).await?;
    ensure!(answer.status == 200, "{answer:?}");
    check_shared(&answer)?;
    let told = match answer.header("content-type") {
        Some("application/json") => str::from_utf8(&answer.body)?.to_owned(),
        _ => parsers::jsonp(&answer.body, "f")?,
    };
    serde_json::from_str(&told).context(told)
}

async fn pages_of_any_origin_send_without_asking_first(world: &World) -> Result<()> {
    let post = async |target: &str, body: &str| simple(world, Method::POST, target, body).await;
    let get = async |target: &str| simple(world, Method::GET, target, "").await;

    let ann = post("/witter/session", r#"{"name":"Ann"}"#).await?;
    let token = ann["token"].as_str().context("a credential is told")?;
    for told in [
        post("/witter/session", r#"{"name":""}"#).await?,
        get("/witter/jsonp-session?callback=f&name=").await?,
    ] {
        assert_eq!(told["error"], "unprocessable", "{told}");
    }

    let channel = world.channel();
    let target = format!("/witter/publish?channel={channel}&token={token}");
    let jsonp = format!("/witter/jsonp-publish?callback=f&channel={channel}&token={token}");
    let large = format!("\"{}\"", "x".repeat(65_535));
    let one = post(&target, r#"{"id":"a","body":1}"#).await?;
    assert_eq!(one["id"], "a");
    assert_eq!(get(&format!("{jsonp}&id=a&body=1")).await?, one);
    let drafts = format!(
        r#"[{{"id":"a","body":1}},{{"id":"a","body":2}},{{"id":"b","body":{large}}},{{"id":"c","body":3}}]"#
    );
    let many = post(&target, &drafts).await?;
    assert_eq!(many[0], one);
    let codes = [&many[1]["error"], &many[2]["error"]];
    assert_eq!(codes, ["id-reused", "too-large"]);
    assert_eq!(many[3]["id"], "c");

    let too_large = format!(r#"{{"id":"d","body":{large}}}"#);
    for (told, code) in [
        (post(&target, r#"{"id":"a","body":2}"#).await?, "id-reused"),
        (get(&format!("{jsonp}&id=a&body=2")).await?, "id-reused"),
        (post(&target, &too_large).await?, "too-large"),
        (post(&target, "[]").await?, "unprocessable"),
        (
            get(&format!("{jsonp}&id=a+b&body=2")).await?,
            "unprocessable",
        ),
        (post(&target, "{").await?, "invalid-request"),
        (
            get(&format!("{jsonp}&id=e&body=x")).await?,
            "invalid-request",
        ),
        (
            post(&format!("/witter/publish?channel={channel}&token=x"), "[]").await?,
            "unprocessable",
        ),
        (
            post(
                &format!("/witter/publish?channel={channel}&token=x"),
                r#"[{"id":"f","body":0}]"#,
            )
            .await?,
            "unauthorized",
        ),
        (
            post(
                &format!("/witter/publish?channel=@system&token={token}"),
                r#"[{"id":"f","body":0}]"#,
            )
            .await?,
            "forbidden",
        ),
    ] {
        assert_eq!(told["error"], code, "{told}");
        ensure!(told["detail"].is_string(), "{told}");
    }
    Ok(())
}
