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
    corpus.reads(transport, errors_are_told_inline_where_asked);
    corpus.reads(transport, one_forbidden_channel_refuses_them_all);
    corpus.reads(transport, answers_stay_out_of_caches_and_referrers);
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
    (426, "upgrade-required"),
    (429, "rate-limited"),
    (503, "unavailable"),
];

/// An error as it is documented: status, code and headers belong together.
pub(crate) fn check_error(answer: &Answer, status: u16) -> Result<()> {
    ensure!(answer.status == status, "{status} was expected: {answer:?}");
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
    ensure!(
        answer.header("www-authenticate") == (status == 401).then_some("Bearer"),
        "{answer:?}"
    );
    check_code(answer, status)
}

/// An error that is told as if it were none, in the transport's framing: what the headers would say is left out.
fn check_inline(transport: Transport, answer: &Answer, status: u16) -> Result<()> {
    let accepted = transport.accepted();
    ensure!(
        answer.status == accepted,
        "{accepted} was expected: {answer:?}"
    );
    ensure!(
        answer.header("content-type") == transport.content_type(),
        "{answer:?}"
    );
    for header in ["allow", "retry-after", "www-authenticate"] {
        ensure!(answer.header(header).is_none(), "{answer:?}");
    }
    check_code(answer, status)
}

fn check_code(answer: &Answer, status: u16) -> Result<()> {
    let (_, code) = CODES
        .iter()
        .find(|(known, _)| *known == status)
        .context("a documented status")?;
    ensure!(
        answer.code().as_deref() == Some(*code),
        "{code} was expected: {answer:?}"
    );
    check_headers(answer)
}

/// A refused request, told as the transport tells it.
fn check_refused(transport: Transport, answer: &Answer, status: u16) -> Result<()> {
    match transport.callback() {
        None => check_error(answer, status),
        Some(_) => check_inline(transport, answer, status),
    }
}

/// The headers that every answer has, and those that none may have.
pub(crate) fn check_headers(answer: &Answer) -> Result<()> {
    let has = |name: &str, part: &str| {
        answer
            .header(name)
            .is_some_and(|value| value.contains(part))
    };
    ensure!(
        answer.header("cache-control") == Some("no-store, no-transform"),
        "{answer:?}"
    );
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

/// What a `GET` is answered first, with its JSON out of the framing.
async fn get(
    world: &World,
    transport: Transport,
    target: &str,
    token: Option<&str>,
) -> Result<Answer> {
    let mut request = transport.request(&world.client, target);
    // Where pages of other origins are let in, they are answered as all are.
    if !transport.upgrades() {
        request = request.header("origin", "https://elsewhere.example");
    }
    if let Some(token) = token {
        request = request.header("authorization", token);
    }
    let response = world.client.open(request.body(Full::default())?).await?;
    Ok(transport.first(response).await?)
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
        "channel=%00",
        "channel=a&channel=a",
        "channel=a&channel=",
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
        "channel=a&heartbeat=0",
        "channel=a&heartbeat=56",
        "channel=a&heartbeat=",
        "channel=a&heartbeat=1&heartbeat=1",
        "channel=a&presence=%20",
        "channel=a&presence=a.b",
        "channel=a&presence=0&presence=0",
        &many,
        &long,
        &huge,
    ];
    for query in cases {
        let answer = get(world, transport, &transport.target(query), None).await?;
        check_refused(transport, &answer, 400).with_context(|| query.to_owned())?;
    }
    // Of what cannot be read at all no callback is known.
    for query in ["channel=%", "channel=%ff", "channel=a&x=%2"] {
        let answer = get(world, transport, &transport.target(query), None).await?;
        check_error(&answer, 400).with_context(|| query.to_owned())?;
    }
    Ok(())
}

async fn errors_are_told_inline_where_asked(world: &World, transport: Transport) -> Result<()> {
    let forbidden = Query::of(["@system"]).token(&world.ann.token);
    for (target, status) in [
        (transport.target("limit=1"), 400),
        (
            Query::of([world.channel()]).token("x").target(transport),
            401,
        ),
        (forbidden.target(transport), 403),
    ] {
        let answer = get(world, transport, &format!("{target}&errors=inline"), None).await?;
        check_inline(transport, &answer, status).with_context(|| target.clone())?;
    }
    // What is not refused is as ever.
    let target = Query::of([world.channel()]).target(transport) + "&errors=inline";
    let answer = get(world, transport, &target, None).await?;
    ensure!(
        answer.status == transport.accepted() && answer.code().is_none(),
        "{answer:?}"
    );
    // Another method is known not to be answered before anything else is.
    let request = world.client.request(Method::PUT, &target);
    let response = world.client.open(request.body(Full::default())?).await?;
    let answer = transport.first(response).await?;
    // Nobody asked for the upgrade that the framing needs.
    if transport.upgrades() {
        check_error(&answer, 405)?;
    } else {
        check_inline(transport, &answer, 405)?;
    }
    for errors in ["errors=", "errors=status", "errors=inline&errors=inline"] {
        let query = format!("channel={}&{errors}", world.channel());
        let answer = get(world, transport, &transport.target(&query), None).await?;
        check_refused(transport, &answer, 400).with_context(|| errors.to_owned())?;
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
        let bearer = format!("Bearer {forged}");
        let answer = get(world, transport, &target, Some(&bearer)).await?;
        check_refused(transport, &answer, 401).with_context(|| forged.clone())?;
        let target = format!("{target}&token={forged}");
        let answer = get(world, transport, &target, None).await?;
        check_refused(transport, &answer, 401).with_context(|| forged.clone())?;
    }
    for scheme in ["Basic QW5uOng=", "Bearer", "x"] {
        let answer = get(world, transport, &target, Some(scheme)).await?;
        check_refused(transport, &answer, 401).with_context(|| scheme.to_owned())?;
    }
    for holds in [Some(format!("Bearer {token}")), None] {
        let answer = get(world, transport, &target, holds.as_deref()).await?;
        ensure!(
            answer.status == transport.accepted() && answer.code().is_none(),
            "{answer:?}"
        );
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
        let answer = get(world, transport, &target, Some(&bearer)).await?;
        check_refused(transport, &answer, 403)?;
        // Nobody in particular might have leave with a credential.
        let answer = get(world, transport, &target, None).await?;
        check_refused(transport, &answer, 401)?;
    }
    Ok(())
}

async fn answers_stay_out_of_caches_and_referrers(
    world: &World,
    transport: Transport,
) -> Result<()> {
    let target = Query::of([world.channel()]).target(transport);
    let answer = get(world, transport, &target, None).await?;
    ensure!(answer.status == transport.accepted(), "{answer:?}");
    check_headers(&answer)?;
    ensure!(
        answer.header("content-type") == transport.content_type(),
        "{answer:?}"
    );
    Ok(())
}

async fn other_methods_are_told_which_there_are(world: &World, transport: Transport) -> Result<()> {
    let target = Query::of([world.channel()]).target(transport);
    for method in ["POST", "PUT", "DELETE", "PATCH", "PROPFIND"] {
        let request = world.client.request(method.parse()?, &target);
        let response = world.client.open(request.body(Full::from("{}"))?).await?;
        let answer = transport.first(response).await?;
        check_refused(transport, &answer, 405).with_context(|| method.to_owned())?;
        if transport.callback().is_none() {
            let allow = answer.header("allow").unwrap_or_default();
            ensure!(
                allow.split(", ").any(|method| method == "GET"),
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
        "&Callback=1",
    ] {
        let answer = get(world, transport, &format!("{target}{query}"), None).await?;
        ensure!(
            answer.status == transport.accepted() && answer.code().is_none(),
            "{query}: {answer:?}"
        );
    }
    Ok(())
}
