//! What each route says of itself, and what it refuses.

use anyhow::{Context, Result, ensure};
use conformance::{Answer, Query, Transport};
use http::Method;
use http_body_util::Full;

use crate::Corpus;
use crate::world::World;

pub(crate) fn cases(corpus: &mut Corpus<'_>, transport: Transport) {
    corpus.reads(transport, queries_against_the_grammar_are_refused);
    corpus.reads(transport, credentials_that_do_not_hold_are_refused);
    corpus.reads(transport, one_forbidden_channel_refuses_them_all);
    corpus.reads(transport, answers_stay_out_of_caches_and_referrers);
    corpus.reads(transport, pages_of_any_origin_may_ask);
    corpus.reads(transport, other_methods_are_told_which_there_are);
    corpus.reads(transport, unknown_parameters_are_ignored);
}

/// The codes of this protocol's statuses.
const CODES: &[(u16, &str)] = &[
    (400, "invalid-request"),
    (401, "unauthorized"),
    (403, "forbidden"),
    (404, "not-found"),
    (405, "method-not-allowed"),
    (409, "id-reused"),
    (413, "too-large"),
    (415, "unsupported-media-type"),
    (422, "unprocessable"),
    (429, "rate-limited"),
    (503, "unavailable"),
];

/// An error as it is documented: status, code and headers belong together.
pub(crate) fn check_error(answer: &Answer, status: u16) -> Result<()> {
    ensure!(answer.status == status, "{status} was expected: {answer:?}");
    let (_, code) = CODES
        .iter()
        .find(|(known, _)| *known == status)
        .context("a documented status")?;
    ensure!(
        answer.code().as_deref() == Some(*code),
        "{code} was expected: {answer:?}"
    );
    ensure!(
        answer.header("content-type") == Some("application/json"),
        "{answer:?}"
    );
    ensure!(
        answer.header("allow").is_some() == (status == 405),
        "{answer:?}"
    );
    ensure!(
        answer.header("retry-after").is_some() == [429, 503].contains(&status),
        "{answer:?}"
    );
    check_headers(answer)
}

/// The headers that every answer has, and those that none may have.
fn check_headers(answer: &Answer) -> Result<()> {
    let has = |name: &str, part: &str| {
        answer
            .header(name)
            .is_some_and(|value| value.contains(part))
    };
    ensure!(has("cache-control", "no-store"), "{answer:?}");
    ensure!(has("referrer-policy", "no-referrer"), "{answer:?}");
    ensure!(has("x-content-type-options", "nosniff"), "{answer:?}");
    ensure!(
        answer.header("access-control-allow-origin") == Some("*"),
        "{answer:?}"
    );
    ensure!(answer.header("set-cookie").is_none(), "{answer:?}");
    ensure!(
        answer.header("access-control-allow-credentials").is_none(),
        "{answer:?}"
    );
    Ok(())
}

/// The answer to a `GET`; of one whose body does not end, the head.
async fn get(world: &World, target: &str, token: Option<&str>) -> Result<Answer> {
    let mut request = world
        .client
        .request(Method::GET, target)
        .header("origin", "https://elsewhere.example");
    if let Some(token) = token {
        request = request.header("authorization", token);
    }
    let response = world.client.open(request.body(Full::default())?).await?;
    if response.status() == 200 && response.headers()["content-type"] == "text/event-stream" {
        let (head, _) = response.into_parts();
        return Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: Default::default(),
        });
    }
    Answer::read(response).await
}

async fn queries_against_the_grammar_are_refused(
    world: &World,
    transport: Transport,
) -> Result<()> {
    let many: String = (0..65)
        .map(|number| format!("channel=c{number}&"))
        .collect();
    let long = format!("channel={}", "x".repeat(65));
    let huge = format!("channel=a&after={}", "A".repeat(10_000));
    let cases = [
        "",
        "channel",
        "channel=",
        "channel=%40",
        "channel=a%20b",
        "channel=a+b",
        "channel=a/b",
        "channel=a@b",
        "channel=%C3%A9",
        "channel=%ff",
        "channel=%00",
        "channel=a&channel=a",
        "channel=a&channel=",
        "channel=%",
        "channel=a&x=%2",
        "channel=a&after=nonsense",
        "channel=a&after=%20",
        "channel=a&after=AA",
        "channel=a&after=AQ==",
        "channel=a&after=AQ&after=AQ",
        "channel=a&history=-1",
        "channel=a&history=1001",
        "channel=a&history=",
        "channel=a&history=1&history=1",
        "channel=a&limit=0",
        "channel=a&limit=1001",
        "channel=a&limit=1.5",
        "channel=a&limit=99999999999999999999",
        "channel=a&limit=0x10",
        "channel=a&wait=56",
        "channel=a&wait=+1",
        "channel=a&wait=%EF%BC%91",
        "channel=a&before=-1",
        "channel=a&before=18446744073709551616",
        "channel=a&before=1&history=1",
        "channel=a&channel=b&before=1",
        "channel=a&token=a&token=b",
        "channel=a&token=%0a",
        &many,
        &long,
        &huge,
    ];
    for query in cases {
        let answer = get(
            world,
            &format!("/witter/{}?{query}", transport.name()),
            None,
        )
        .await?;
        check_error(&answer, 400).with_context(|| query.to_owned())?;
    }
    Ok(())
}

async fn credentials_that_do_not_hold_are_refused(
    world: &World,
    transport: Transport,
) -> Result<()> {
    let target = Query::of([world.channel()]).wait(0).target(transport);
    let token = &world.ann.token;
    let (rest, signature) = token.rsplit_once('.').context("a token is signed")?;
    let (header, _) = rest.split_once('.').context("a token has a header")?;
    // The same signature under another payload, another signature, none, and `alg` `none`.
    let forged = [
        format!("{header}.eyJzdWIiOiJyb290In0.{signature}"),
        format!("{rest}.{}", signature.chars().rev().collect::<String>()),
        format!("{rest}."),
        rest.to_owned(),
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJyb290In0.".to_owned(),
        "..".to_owned(),
        "x".repeat(5000),
    ];
    for forged in forged {
        let answer = get(world, &target, Some(&format!("Bearer {forged}"))).await?;
        check_error(&answer, 401).with_context(|| forged.clone())?;
        ensure!(
            answer.header("www-authenticate") == Some("Bearer"),
            "{answer:?}"
        );
        let answer = get(world, &format!("{target}&token={forged}"), None).await?;
        check_error(&answer, 401).with_context(|| forged.clone())?;
    }
    for scheme in ["Basic QW5uOng=", "Bearer", "x"] {
        let answer = get(world, &target, Some(scheme)).await?;
        check_error(&answer, 401).with_context(|| scheme.to_owned())?;
    }
    for holds in [
        get(world, &target, Some(&format!("Bearer {token}"))).await?,
        get(world, &target, None).await?,
    ] {
        ensure!(holds.status == 200, "{holds:?}");
    }
    Ok(())
}

async fn one_forbidden_channel_refuses_them_all(world: &World, transport: Transport) -> Result<()> {
    let open = world.channel();
    let bearer = format!("Bearer {}", world.ann.token);
    for channels in [
        vec!["@system"],
        vec![&open, "@system"],
        vec!["@system", &open],
    ] {
        let target = Query::of(channels).target(transport);
        check_error(&get(world, &target, Some(&bearer)).await?, 403)?;
        // Nobody in particular might have leave with a credential.
        check_error(&get(world, &target, None).await?, 401)?;
    }
    Ok(())
}

async fn answers_stay_out_of_caches_and_referrers(
    world: &World,
    transport: Transport,
) -> Result<()> {
    let answer = get(world, &Query::of([world.channel()]).target(transport), None).await?;
    ensure!(answer.status == 200, "{answer:?}");
    check_headers(&answer)?;
    let expected = if transport.polls() {
        "application/json"
    } else {
        "text/event-stream"
    };
    ensure!(
        answer.header("content-type") == Some(expected),
        "{answer:?}"
    );
    Ok(())
}

async fn pages_of_any_origin_may_ask(world: &World, transport: Transport) -> Result<()> {
    for (route, method) in [
        (transport.name(), "GET"),
        ("publish", "POST"),
        ("session", "POST"),
    ] {
        let request = world
            .client
            .request(Method::OPTIONS, &format!("/witter/{route}"))
            .header("origin", "https://elsewhere.example")
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
        check_headers(&answer)?;
    }
    Ok(())
}

async fn other_methods_are_told_which_there_are(world: &World, transport: Transport) -> Result<()> {
    let target = Query::of([world.channel()]).target(transport);
    for (target, allowed) in [
        (target.as_str(), "GET"),
        ("/witter/publish?channel=a", "POST"),
        ("/witter/session", "POST"),
    ] {
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "PROPFIND"] {
            if method == allowed {
                continue;
            }
            let request = world
                .client
                .request(method.parse()?, target)
                .body(Full::from("{}"))?;
            let answer = world.client.send(request).await?;
            check_error(&answer, 405).with_context(|| format!("{method} {target}"))?;
            let allow = answer.header("allow").unwrap_or_default();
            ensure!(
                allow.split(", ").any(|method| method == allowed),
                "{answer:?}"
            );
        }
    }
    Ok(())
}

async fn unknown_parameters_are_ignored(world: &World, transport: Transport) -> Result<()> {
    let target = Query::of([world.channel()]).target(transport);
    for query in [
        "&newer=1",
        "&&newer&newer=2&=&",
        "&after=&token=",
        "&Channel=a%2Fb",
        "&callback=x.y",
    ] {
        let answer = get(world, &format!("{target}{query}"), None).await?;
        ensure!(answer.status == 200, "{query}: {answer:?}");
    }
    Ok(())
}
