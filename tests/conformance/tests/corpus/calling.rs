//! Transports that call a function of the page: JSONP and the forever iframe.

use anyhow::{Context, Result, ensure};
use conformance::{Answer, Query, Reader, Session, Transport};
use futures::StreamExt;
use http::Method;
use http_body_util::{BodyDataStream, Full};
use parsers::{Htmlfile, Parser, Window, jsonp};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Corpus;
use crate::refusing::{check_error, check_headers};
use crate::world::{Receipt, World};

const SCRIPT: &str = "text/javascript; charset=utf-8";
/// The routes that take a callback.
const ROUTES: [&str; 5] = [
    "jsonp-command",
    "jsonp-polling",
    "jsonp-publish",
    "jsonp-session",
    "htmlfile",
];

pub(crate) fn cases(corpus: &mut Corpus<'_>) {
    corpus.add(a_script_element_publishes_and_is_told_where);
    corpus.add(a_script_element_publishes_whatever_json_there_is);
    corpus.add(a_script_element_is_told_why_its_message_is_refused);
    corpus.add(a_script_element_becomes_a_guest);
    corpus.add(the_page_names_the_function_that_is_called);
    corpus.add(what_is_no_name_is_refused_as_no_script);
    corpus.add(a_document_names_a_function_or_an_origin);
    corpus.add(a_document_posts_to_the_origin_that_was_named_alone);
    corpus.add(a_document_that_is_no_frame_delivers_nothing);
}

/// A query of these parameters.
fn query(parameters: &[(&str, &str)]) -> String {
    let encode = |text: &str| {
        text.bytes()
            .map(|byte| format!("%{byte:02x}"))
            .collect::<String>()
    };
    parameters
        .iter()
        .map(|(name, value)| format!("{name}={}", encode(value)))
        .collect::<Vec<_>>()
        .join("&")
}

/// What a script element's page is called with.
async fn call<T: DeserializeOwned>(
    world: &World,
    route: &str,
    parameters: &[(&str, &str)],
) -> Result<T> {
    let target = format!("/witter/{route}?callback=page.told&{}", query(parameters));
    let answer = world.client.get(&target).await?;
    told(&answer, "page.told")
}

/// What a script calls this function with.
fn told<T: DeserializeOwned>(answer: &Answer, callback: &str) -> Result<T> {
    // A browser runs no script of another status or, as it was told not to guess, of another type.
    ensure!(answer.status == 200, "{answer:?}");
    ensure!(answer.header("content-type") == Some(SCRIPT), "{answer:?}");
    ensure!(answer.body.starts_with(b"/**/"), "{answer:?}");
    ensure!(
        answer.header("cross-origin-resource-policy") == Some("cross-origin"),
        "{answer:?}"
    );
    check_headers(answer)?;
    let text = jsonp(&answer.body, callback)?;
    serde_json::from_str(&text).context(text)
}

async fn a_script_element_publishes_and_is_told_where(world: &World) -> Result<()> {
    let (channel, id) = (world.channel(), world.id());
    let mut reader = Reader::open(
        &world.client,
        Transport::JsonpPolling,
        Query::of([&channel]),
    )
    .await?;
    let parameters = [
        ("channel", channel.as_str()),
        ("id", id.as_str()),
        ("body", "[1, 2]"),
        ("token", world.ann.token.as_str()),
    ];
    let first: Receipt = call(world, "jsonp-publish", &parameters).await?;
    assert_eq!((&first.channel, &first.id), (&channel, &id));
    // A browser that loads the script again, or a proxy, sends nothing twice.
    for _ in 0..2 {
        let again: Receipt = call(world, "jsonp-publish", &parameters).await?;
        assert_eq!(again, first);
    }
    // Nor does who goes another way.
    let answer = world
        .client
        .publish(&world.ann, &channel, &id, "[1,2]")
        .await?;
    assert_eq!(
        (answer.status.as_u16(), answer.json::<Receipt>()?),
        (200, first.clone())
    );
    world.say(&channel, "0").await?;
    let read = reader.messages(2).await?;
    let bodies: Vec<&str> = read.iter().map(|envelope| envelope.body.get()).collect();
    assert_eq!(bodies, ["[1,2]", "0"]);
    assert_eq!(
        (read[0].offset, &read[0].sender),
        (first.offset, &world.ann.sender)
    );
    Ok(())
}

async fn a_script_element_publishes_whatever_json_there_is(world: &World) -> Result<()> {
    let channel = world.channel();
    let mut reader = Reader::open(
        &world.client,
        Transport::JsonpPolling,
        Query::of([&channel]),
    )
    .await?;
    let long = format!("\"{}\"", "x".repeat(4000));
    for body in crate::hostile::BODIES
        .iter()
        .copied()
        .chain([long.as_str()])
    {
        let id = world.id();
        let parameters = [
            ("channel", channel.as_str()),
            ("id", id.as_str()),
            ("body", body),
            ("token", world.ann.token.as_str()),
        ];
        let _: Receipt = call(world, "jsonp-publish", &parameters).await?;
        assert_eq!(reader.messages(1).await?[0].body.get(), body);
    }
    Ok(())
}

async fn a_script_element_is_told_why_its_message_is_refused(world: &World) -> Result<()> {
    let channel = world.channel();
    let token = world.ann.token.as_str();
    let known = [
        ("channel", channel.as_str()),
        ("id", "known"),
        ("body", "1"),
        ("token", token),
    ];
    let _: Receipt = call(world, "jsonp-publish", &known).await?;
    let long = "x".repeat(65);
    let cases: &[(&[(&str, &str)], &str)] = &[
        (
            &[("id", "known"), ("body", "1.0"), ("token", token)],
            "id-reused",
        ),
        (
            &[("id", "a"), ("body", "{"), ("token", token)],
            "invalid-request",
        ),
        (
            &[("id", "a"), ("body", ""), ("token", token)],
            "invalid-request",
        ),
        (
            &[("id", "a"), ("body", "'x'"), ("token", token)],
            "invalid-request",
        ),
        (
            &[("id", "a"), ("body", "1"), ("body", "1"), ("token", token)],
            "invalid-request",
        ),
        (&[("id", "a"), ("token", token)], "unprocessable"),
        (&[("body", "1"), ("token", token)], "unprocessable"),
        (
            &[("id", ""), ("body", "1"), ("token", token)],
            "unprocessable",
        ),
        (
            &[("id", "a b"), ("body", "1"), ("token", token)],
            "unprocessable",
        ),
        (
            &[("id", &long), ("body", "1"), ("token", token)],
            "unprocessable",
        ),
        (&[("id", "a"), ("body", "1")], "unauthorized"),
        (
            &[("id", "a"), ("body", "1"), ("token", "nonsense")],
            "unauthorized",
        ),
        (
            &[
                ("channel", "b"),
                ("id", "a"),
                ("body", "1"),
                ("token", token),
            ],
            "invalid-request",
        ),
    ];
    for (parameters, code) in cases {
        let parameters = [&[("channel", channel.as_str())], *parameters].concat();
        let told: Value = call(world, "jsonp-publish", &parameters).await?;
        assert_eq!(told["error"], *code, "{parameters:?}");
        ensure!(told["detail"].is_string(), "{told}");
    }
    for (channel, code) in [("@system", "forbidden"), ("a/b", "invalid-request")] {
        let parameters = [
            ("channel", channel),
            ("id", "a"),
            ("body", "1"),
            ("token", token),
        ];
        let told: Value = call(world, "jsonp-publish", &parameters).await?;
        assert_eq!(told["error"], code, "{channel}");
    }
    // A script element sends nothing but GET; who sends more is told as it asked to be.
    let request = world
        .client
        .request(Method::POST, "/witter/jsonp-publish?callback=f");
    let answer = world.client.send(request.body(Full::from("{}"))?).await?;
    assert_eq!(told::<Value>(&answer, "f")?["error"], "method-not-allowed");
    // Only the first was stored.
    let query = Query::of([&channel]).history(9).wait(0);
    let page: conformance::Batch = world
        .first(
            Transport::ShortPolling,
            &query.target(Transport::ShortPolling),
        )
        .await?
        .json()?;
    assert_eq!(page.envelopes.len(), 1);
    Ok(())
}

async fn a_script_element_becomes_a_guest(world: &World) -> Result<()> {
    let name = "Zo\u{eb} </script>'\"\\";
    let session: Session = call(world, "jsonp-session", &[("name", name)]).await?;
    assert_eq!(session.name, name);
    let channel = world.channel();
    let answer = world.client.publish(&session, &channel, "a", "0").await?;
    ensure!(answer.status == 201, "{answer:?}");
    let long = "é".repeat(65);
    for parameters in [
        vec![],
        vec![("name", "")],
        vec![("name", " \n")],
        vec![("name", "a\0b")],
        vec![("name", &long)],
    ] {
        let told: Value = call(world, "jsonp-session", &parameters).await?;
        assert_eq!(told["error"], "unprocessable", "{parameters:?}");
    }
    Ok(())
}

async fn the_page_names_the_function_that_is_called(world: &World) -> Result<()> {
    let channel = world.channel();
    let most = "a".repeat(128);
    for callback in [
        "f",
        "$",
        "_",
        "a1",
        "a.b.c",
        "jQuery1234_5678",
        "$._.$1",
        &most,
    ] {
        let parameters = query(&[("callback", callback), ("channel", &channel)]);
        let answer = world
            .client
            .get(&format!("/witter/jsonp-polling?{parameters}"))
            .await?;
        let batch: Value = told(&answer, callback).with_context(|| callback.to_owned())?;
        ensure!(batch["cursor"].is_string(), "{batch}");
    }
    Ok(())
}

async fn what_is_no_name_is_refused_as_no_script(world: &World) -> Result<()> {
    let long = "a".repeat(129);
    for route in ROUTES {
        for callback in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "1a",
            "a b",
            "a-b",
            "a(b)",
            "a[0]",
            "a;b",
            "a,b",
            "a=b",
            "a`b`",
            "a/b",
            "a\n",
            "a\0",
            "\u{e9}",
            "\u{2028}",
            "a\\u0062",
            "alert(1)//",
            "eval('1')",
            "';alert(1)//",
            "</script><script>alert(1)</script>",
            "<img src=x onerror=alert(1)>",
            "*/alert(1)/*",
            &long,
        ] {
            let parameters = query(&[("callback", callback), ("channel", "a"), ("name", "Ann")]);
            let answer = world
                .client
                .get(&format!("/witter/{route}?{parameters}"))
                .await?;
            check_error(&answer, 400).with_context(|| format!("{route} {callback}"))?;
            ensure!(
                callback.len() < 3 || !str::from_utf8(&answer.body)?.contains(callback),
                "{answer:?}"
            );
        }
        let answer = world
            .client
            .get(&format!("/witter/{route}?channel=a&name=Ann"))
            .await?;
        check_error(&answer, 400).context(route)?;
        let twice = format!("/witter/{route}?channel=a&name=Ann&callback=f&callback=f");
        check_error(&world.client.get(&twice).await?, 400).context(route)?;
    }
    Ok(())
}

async fn a_document_names_a_function_or_an_origin(world: &World) -> Result<()> {
    let long = format!("https://{}.example", "a".repeat(300));
    for parameters in [
        // The parent's own function, of no object.
        vec![("callback", "a.b")],
        vec![("callback", "f"), ("origin", "https://chat.example")],
        vec![("origin", "")],
        vec![("origin", "*")],
        vec![("origin", "/")],
        vec![("origin", "null")],
        vec![("origin", "chat.example")],
        vec![("origin", "//chat.example")],
        vec![("origin", "https://")],
        vec![("origin", "https://chat.example/")],
        vec![("origin", "https://chat.example:443")],
        vec![("origin", "https://chat.example:x")],
        vec![("origin", "https://chat.example:99999")],
        vec![("origin", "https://Chat.example")],
        vec![("origin", "https://ann@chat.example")],
        vec![("origin", "https://chat.example'")],
        vec![("origin", "https://chat.example\\")],
        vec![("origin", "https://chat.example</script>")],
        vec![("origin", "https://chat.example\n")],
        vec![("origin", "https://chat.\u{e9}xample")],
        vec![("origin", "javascript:alert(1)")],
        vec![("origin", &long)],
    ] {
        let target = format!("/witter/htmlfile?channel=a&{}", query(&parameters));
        let answer = world.client.get(&target).await?;
        check_error(&answer, 400).with_context(|| format!("{parameters:?}"))?;
    }
    Ok(())
}

/// What arrives in each of these windows from one document, once it has delivered to the first one.
async fn deliver(world: &World, parameter: (&str, &str), windows: &[Window]) -> Result<Vec<usize>> {
    const MESSAGES: usize = 3;
    let channel = world.channel();
    world.count(&channel, 0..MESSAGES as u64).await?;
    let query = query(&[("channel", &channel), ("history", "9"), parameter]);
    let request = world
        .client
        .request(Method::GET, &format!("/witter/htmlfile?{query}"));
    let response = world.client.open(request.body(Full::default())?).await?;
    ensure!(response.status() == 200, "{response:?}");
    let mut body = BodyDataStream::new(response.into_body());
    let mut documents: Vec<_> = windows
        .iter()
        .map(|window| (Htmlfile::new(window.clone()), 0))
        .collect();
    // The message behind the open frame.
    while documents[0].1 <= MESSAGES {
        let bytes = body.next().await.context("it ended")??;
        for (document, told) in &mut documents {
            *told += document.feed(&bytes)?.len();
        }
    }
    Ok(documents.into_iter().map(|(_, told)| told).collect())
}

async fn a_document_posts_to_the_origin_that_was_named_alone(world: &World) -> Result<()> {
    for origin in [
        "https://chat.example",
        "http://127.0.0.1:3000",
        "http://[::1]:3000",
        "https://xn--bcher-kva.example",
    ] {
        let windows = [
            Window::Posts(origin.to_owned()),
            Window::Posts("https://elsewhere.example".to_owned()),
        ];
        let told = deliver(world, ("origin", origin), &windows).await?;
        assert_eq!(told, [4, 0], "{origin}");
    }
    Ok(())
}

async fn a_document_that_is_no_frame_delivers_nothing(world: &World) -> Result<()> {
    for callback in ["received", "eval", "alert"] {
        let windows = [
            Window::Calls(callback.to_owned()),
            Window::Own(callback.to_owned()),
        ];
        let told = deliver(world, ("callback", callback), &windows).await?;
        assert_eq!(told, [4, 0], "{callback}");
    }
    let windows = [
        Window::Posts("https://chat.example".to_owned()),
        Window::Own("postMessage".to_owned()),
    ];
    let told = deliver(world, ("origin", "https://chat.example"), &windows).await?;
    assert_eq!(told, [4, 0]);
    Ok(())
}
