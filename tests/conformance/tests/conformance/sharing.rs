//! Deployments that share with some pages only.

use anyhow::{Context, Result, ensure};
use conformance::{Answer, Client, Deployed, Query, Transport};
use futures::StreamExt;
use http::Method;
use http_body_util::{BodyDataStream, Full};

const LISTED: [&str; 2] = ["https://chat.example", "http://127.0.0.1:3000"];
/// The routes that receive nothing.
const SENDING: [&str; 7] = [
    "publish",
    "command",
    "webhook",
    "session",
    "jsonp-publish",
    "jsonp-command",
    "jsonp-session",
];

/// What is answered to a page of this origin; of a stream, the beginning.
async fn ask(
    client: &Client,
    method: Method,
    target: &str,
    origin: Option<&str>,
) -> Result<Answer> {
    let mut request = client.request(method, target);
    if let Some(origin) = origin {
        request = request.header("origin", origin);
    }
    let response = client.open(request.body(Full::default())?).await?;
    let (head, _) = response.into_parts();
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        body: Default::default(),
    })
}

/// A page sees the answer if it is listed, and no cache takes one page's answer for another's.
fn check(answer: &Answer, origin: Option<&str>) -> Result<()> {
    let listed = origin.filter(|origin| LISTED.contains(origin));
    ensure!(
        answer.header("access-control-allow-origin") == listed,
        "{answer:?}"
    );
    ensure!(
        answer.header("access-control-allow-credentials").is_none(),
        "{answer:?}"
    );
    ensure!(answer.header("set-cookie").is_none(), "{answer:?}");
    let varies = answer.headers.get_all("vary").iter();
    ensure!(
        varies
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|name| name.trim().eq_ignore_ascii_case("origin")),
        "{answer:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_page_that_is_not_listed_sees_nothing_on_any_route() -> Result<()> {
    let host = Deployed::start(&[("origins", &LISTED.join(" , "))])?;
    let client = host.client();
    let reading = Transport::ALL.iter().flat_map(|&transport| {
        [
            Query::of(["a"]).target(transport),
            Query::of(["a"]).token("nonsense").target(transport),
            transport.target(""),
        ]
    });
    let sending = SENDING
        .iter()
        .map(|route| format!("/witter/{route}?channel=a&callback=f"));
    for target in reading.chain(sending) {
        for origin in [
            None,
            Some(LISTED[0]),
            Some(LISTED[1]),
            Some("https://elsewhere.example"),
            Some("http://chat.example"),
            Some("https://chat.example:8443"),
            Some("https://chat.example.elsewhere.example"),
            Some("https://CHAT.example"),
            Some("null"),
            Some("*"),
            Some(""),
        ] {
            for method in [Method::GET, Method::POST, Method::OPTIONS] {
                let case = || format!("{method} {target} {origin:?}");
                let answer = ask(&client, method.clone(), &target, origin).await?;
                check(&answer, origin).with_context(case)?;
                ensure!(
                    method != Method::OPTIONS || answer.status == 204,
                    "{}: {answer:?}",
                    case()
                );
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_list_with_something_else_in_it_shares_with_nobody() -> Result<()> {
    for origins in [
        "https://chat.example/",
        "chat.example",
        "*, https://chat.example",
        ",",
    ] {
        let host = Deployed::start(&[("origins", origins)])?;
        let client = host.client();
        for &transport in Transport::ALL {
            let target = Query::of(["a"]).target(transport);
            let answer = ask(&client, Method::GET, &target, Some(LISTED[0])).await?;
            ensure!(answer.status == 503, "{origins}: {answer:?}");
            ensure!(
                answer.header("access-control-allow-origin").is_none(),
                "{origins}: {answer:?}"
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn pages_that_are_listed_open_websockets() -> Result<()> {
    /// What is answered to a page of an origin; to none, whoever is no browser.
    async fn status(host: &Deployed, origin: Option<&str>) -> Result<u16> {
        let transport = Transport::Websocket;
        let client = host.client();
        let mut request = transport.request(&client, &Query::of(["a"]).target(transport));
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        let response = client.open(request.body(Full::default())?).await?;
        Ok(response.status().as_u16())
    }
    const OTHERS: [&str; 6] = [
        "https://elsewhere.example",
        "http://chat.example",
        "https://chat.example:8443",
        "https://chat.example.elsewhere.example",
        "null",
        "",
    ];
    // Which pages see answers is another question.
    for (listed, is_listed) in [
        (LISTED.join(" , "), [101, 403]),
        ("*".to_owned(), [101, 101]),
        (String::new(), [403, 403]),
        // Nobody is let in where it is not known who may.
        ("*, https://chat.example".to_owned(), [503, 503]),
        ("chat.example".to_owned(), [503, 503]),
    ] {
        let host = Deployed::start(&[("websocket_origins", &listed), ("origins", "*")])?;
        let own = format!("http://{}", host.address());
        let [listed_ones, others] = is_listed;
        let is_known = if others == 503 { 503 } else { 101 };
        for (origins, expected) in [
            (&[own.as_str()][..], is_known),
            (&LISTED, listed_ones),
            (&OTHERS, others),
        ] {
            for origin in origins {
                let case = format!("{listed:?}: {origin:?}");
                assert_eq!(status(&host, Some(origin)).await?, expected, "{case}");
            }
        }
        assert_eq!(status(&host, None).await?, is_known, "{listed:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_page_that_is_not_listed_is_posted_nothing() -> Result<()> {
    let host = Deployed::start(&[("origins", &LISTED.join(" , "))])?;
    let client = host.client();
    let ann = client.session("Ann").await?;
    let answer = client.publish(&ann, "posted", "1", "\"secret\"").await?;
    ensure!(answer.status == 201, "{answer:?}");
    let target = |origin: &str| {
        let origin: String = origin.bytes().map(|byte| format!("%{byte:02x}")).collect();
        format!("/witter/htmlfile?channel=posted&history=1&origin={origin}")
    };
    let own = format!("http://{}", host.address());
    let own_by_tls = own.replace("http:", "https:");
    for origin in [LISTED[0], LISTED[1], &own, &own_by_tls] {
        let request = client.request(Method::GET, &target(origin));
        let response = client.open(request.body(Full::default())?).await?;
        let mut body = BodyDataStream::new(response.into_body());
        let mut text = String::new();
        while !text.contains("secret") {
            let bytes = body.next().await.context("the stream ended")??;
            text += str::from_utf8(&bytes)?;
        }
        ensure!(text.contains(&format!(",'{origin}')")), "{origin}: {text}");
    }
    for origin in [
        "https://elsewhere.example",
        "http://chat.example",
        "https://chat.example:8443",
        "https://chat.example.elsewhere.example",
        "http://127.0.0.1",
        "http://localhost:3000",
    ] {
        for inline in ["", "&errors=inline"] {
            let answer = client.get(&format!("{}{inline}", target(origin))).await?;
            ensure!(answer.status == 403, "{origin}: {answer:?}");
            let told = str::from_utf8(&answer.body)?;
            ensure!(
                answer.code().as_deref() == Some("forbidden") && !told.contains("secret"),
                "{origin}: {told}"
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_documents_domain_is_the_deployments_word() -> Result<()> {
    const DOMAIN: &str = "document.domain=";
    let target = Query::of(["a"]).target(Transport::Htmlfile);
    for (domain, script) in [
        ("", None),
        ("chat.example", Some("document.domain='chat.example'")),
    ] {
        let host = Deployed::start(&[("document_domain", domain)])?;
        let client = host.client();
        let text = client.stream_until(&target, "</script>\n").await?;
        assert_eq!(text.contains(DOMAIN), script.is_some());
        ensure!(text.contains(script.unwrap_or_default()), "{text}");
        let answer = ask(&client, Method::GET, &target, None).await?;
        let cluster = script.map(|_| "?0");
        assert_eq!(answer.header("origin-agent-cluster"), cluster);
    }
    for domain in ["chat.example'", "</script>", "chat example"] {
        let host = Deployed::start(&[("document_domain", domain)])?;
        let answer = host.client().get(&target).await?;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_deref()),
            (503, Some("unavailable")),
            "{domain}"
        );
    }
    Ok(())
}
