//! Credentials that the deployment's own server signs.

use anyhow::Result;
use conformance::{Deployed, Fault, Query, Reader, SECRET, Transport, sign, token};

/// A deployment that knows everybody.
fn start() -> Result<Deployed> {
    Deployed::start(&[
        ("token_secret", SECRET),
        ("guests", "false"),
        ("anonymous_read", ""),
    ])
}

#[tokio::test]
async fn a_signed_credential_says_who_it_is_and_what_it_may() -> Result<()> {
    let host = start()?;
    let client = host.client();
    let ann = token(r#"{"sub":"ann","name":"Ann","read":["room-*","@ann"],"publish":["room-1"]}"#);
    for (channel, read, published) in [
        ("room-1", 200, 201),
        ("room-2", 200, 403),
        ("@ann", 200, 403),
        ("@bob", 403, 403),
        ("else", 403, 403),
    ] {
        let query = Query::of([channel]).token(&ann);
        let answer = client.get(&query.target(Transport::ShortPolling)).await?;
        assert_eq!(answer.status, read, "{channel}: {answer:?}");
        let target = format!("/witter/publish?channel={channel}");
        let answer = client
            .post(&target, Some(&ann), r#"{"id":"a","body":0}"#)
            .await?;
        assert_eq!(answer.status, published, "{channel}: {answer:?}");
    }
    for &transport in Transport::ALL {
        let query = Query::of(["room-1"]).history(1).token(&ann);
        let read = Reader::open(&client, transport, query)
            .await?
            .messages(1)
            .await?;
        assert_eq!(
            (read[0].sender.as_str(), read[0].name.as_str()),
            ("ann", "Ann")
        );
    }
    Ok(())
}

#[tokio::test]
async fn what_does_not_hold_is_refused_on_every_transport() -> Result<()> {
    let host = start()?;
    let client = host.client();
    let holds = r#"{"sub":"ann","read":["*"],"publish":["*"]}"#;
    let refused = [
        ("nothing", String::new()),
        (
            "another secret",
            sign(
                "another secret, as long as the right one",
                r#"{"alg":"HS256"}"#,
                holds,
            ),
        ),
        ("no algorithm", sign(SECRET, r#"{"alg":"none"}"#, holds)),
        (
            "another algorithm",
            sign(SECRET, r#"{"alg":"HS512"}"#, holds),
        ),
        (
            "a guest's key",
            sign(SECRET, r#"{"alg":"HS256","kid":"witter-guest-1"}"#, holds),
        ),
        (
            "expired",
            token(r#"{"sub":"ann","read":["*"],"publish":["*"],"exp":1700000000}"#),
        ),
        (
            "not yet",
            token(r#"{"sub":"ann","read":["*"],"publish":["*"],"nbf":99999999999}"#),
        ),
        (
            "for somebody else",
            token(r#"{"sub":"ann","read":["*"],"publish":["*"],"aud":"else"}"#),
        ),
        ("nobody", token(r#"{"read":["*"],"publish":["*"]}"#)),
        (
            "a guest's name",
            token(r#"{"sub":"guest~1","read":["*"],"publish":["*"]}"#),
        ),
        ("no claims", token("7")),
    ];
    for (case, token) in &refused {
        let bearer = Some(token.as_str()).filter(|token| !token.is_empty());
        let answer = client
            .post(
                "/witter/publish?channel=a",
                bearer,
                r#"{"id":"a","body":0}"#,
            )
            .await?;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_deref()),
            (401, Some("unauthorized")),
            "{case}"
        );
        for &transport in Transport::ALL {
            let query = Query::of(["a"]).token(token);
            match Reader::open(&client, transport, query).await {
                Err(Fault::Refused(answer)) if answer.code().as_deref() == Some("unauthorized") => {
                }
                other => panic!("{case} by {}: {other:?}", transport.name()),
            }
        }
    }
    let answer = client
        .post(
            "/witter/publish?channel=a",
            Some(&token(holds)),
            r#"{"id":"a","body":0}"#,
        )
        .await?;
    assert_eq!(answer.status, 201, "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn a_deployment_without_guests_makes_none() -> Result<()> {
    let host = start()?;
    let answer = host
        .client()
        .post("/witter/session", None, r#"{"name":"Ann"}"#)
        .await?;
    assert_eq!(
        (answer.status.as_u16(), answer.code().as_deref()),
        (403, Some("forbidden"))
    );
    Ok(())
}
