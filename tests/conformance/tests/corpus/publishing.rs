//! What publishers may rely on, and what guests are given.

use anyhow::{Result, ensure};
use conformance::{Answer, Query, Reader, Session, Transport, nodes};
use http::Method;
use http_body_util::Full;
use serde_json::Value;

use crate::Corpus;
use crate::world::{Receipt, World};

pub(crate) fn cases(corpus: &mut Corpus<'_>) {
    corpus.add(the_same_id_again_finds_the_first_offset);
    corpus.add(the_same_id_with_another_body_is_refused);
    corpus.add(two_senders_may_use_one_id);
    corpus.add(one_id_may_be_used_in_two_channels);
    corpus.add(an_array_is_stored_in_order);
    corpus.add(a_draft_that_fails_in_an_array_fails_alone);
    corpus.add(an_array_of_duplicates_answers_as_before);
    corpus.add(publishing_at_once_is_dense);
    corpus.add(one_id_published_at_once_is_stored_once);
    corpus.add(a_page_publishes_as_plain_text);
    corpus.add(who_sends_is_the_credentials_word);
    corpus.add(guests_of_one_name_are_two_identities);
    corpus.add(credentials_come_by_header_or_query);
    corpus.add(drafts_against_the_grammar_are_refused);
    corpus.add(guests_against_the_grammar_are_refused);
    corpus.add(the_page_answers_what_is_no_route);
}

fn receipt(answer: &Answer, status: u16) -> Result<Receipt> {
    ensure!(answer.status == status, "{status} was expected: {answer:?}");
    answer.json()
}

async fn the_same_id_again_finds_the_first_offset(world: &World) -> Result<()> {
    let (channel, id) = (world.channel(), world.id());
    let first = receipt(
        &world
            .client
            .publish(&world.ann, &channel, &id, "[1, 2]")
            .await?,
        201,
    )?;
    assert_eq!(
        (first.channel.as_str(), first.id.as_str()),
        (channel.as_str(), id.as_str())
    );
    world.count(&channel, 0..3).await?;
    // White space does not make another body.
    for body in ["[1, 2]", "[1,2]", "[ 1,\n2 ]"] {
        let again = receipt(
            &world
                .client
                .publish(&world.ann, &channel, &id, body)
                .await?,
            200,
        )?;
        assert_eq!(again, first);
    }
    // Nor does it get lost where the newest messages have moved on.
    world.fill(&channel, 300).await?;
    assert_eq!(
        receipt(
            &world
                .client
                .publish(&world.ann, &channel, &id, "[1,2]")
                .await?,
            200
        )?,
        first
    );
    Ok(())
}

async fn the_same_id_with_another_body_is_refused(world: &World) -> Result<()> {
    let (channel, id) = (world.channel(), world.id());
    receipt(
        &world.client.publish(&world.ann, &channel, &id, "1").await?,
        201,
    )?;
    for filled in [0, 300] {
        world.fill(&channel, filled).await?;
        let answer = world
            .client
            .publish(&world.ann, &channel, &id, "1.0")
            .await?;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_deref()),
            (409, Some("id-reused"))
        );
    }
    Ok(())
}

async fn two_senders_may_use_one_id(world: &World) -> Result<()> {
    let (channel, id) = (world.channel(), world.id());
    let ann = receipt(
        &world.client.publish(&world.ann, &channel, &id, "1").await?,
        201,
    )?;
    let bob = receipt(
        &world.client.publish(&world.bob, &channel, &id, "2").await?,
        201,
    )?;
    assert_eq!(bob.offset, ann.offset + 1);
    Ok(())
}

async fn one_id_may_be_used_in_two_channels(world: &World) -> Result<()> {
    let id = world.id();
    for body in ["1", "2"] {
        receipt(
            &world
                .client
                .publish(&world.ann, &world.channel(), &id, body)
                .await?,
            201,
        )?;
    }
    Ok(())
}

/// The answer to an array of drafts, each an id and a body.
async fn publish_all(world: &World, channel: &str, drafts: &[(&str, &str)]) -> Result<Answer> {
    let drafts: Vec<String> = drafts
        .iter()
        .map(|(id, body)| format!(r#"{{"id":"{id}","body":{body}}}"#))
        .collect();
    let target = format!("/witter/publish?channel={channel}");
    world
        .client
        .post(
            &target,
            Some(&world.ann.token),
            format!("[{}]", drafts.join(",")),
        )
        .await
}

async fn an_array_is_stored_in_order(world: &World) -> Result<()> {
    let channel = world.channel();
    let query = Query::of([&channel]);
    let mut reader = Reader::open(&world.client, Transport::ALL[0], query).await?;
    let answer = publish_all(world, &channel, &[("a", "1"), ("b", "2"), ("c", "3")]).await?;
    ensure!(answer.status == 201, "{answer:?}");
    let receipts: Vec<Receipt> = answer.json()?;
    let ids: Vec<&str> = receipts.iter().map(|receipt| receipt.id.as_str()).collect();
    assert_eq!(ids, ["a", "b", "c"]);
    let first = receipts[0].offset;
    let offsets: Vec<u64> = receipts.iter().map(|receipt| receipt.offset).collect();
    assert_eq!(offsets, [first, first + 1, first + 2]);
    let read: Vec<_> = reader
        .messages(3)
        .await?
        .into_iter()
        .map(|envelope| envelope.id)
        .collect();
    assert_eq!(read, ["a", "b", "c"]);
    Ok(())
}

async fn a_draft_that_fails_in_an_array_fails_alone(world: &World) -> Result<()> {
    let channel = world.channel();
    let large = format!("\"{}\"", "x".repeat(65_536));
    receipt(
        &world
            .client
            .publish(&world.ann, &channel, "known", "0")
            .await?,
        201,
    )?;
    let drafts = [
        ("a", "1"),
        ("large", large.as_str()),
        ("known", "1"),
        ("known", "0"),
        ("a", "1"),
        ("b", "2"),
    ];
    let answer = publish_all(world, &channel, &drafts).await?;
    ensure!(answer.status == 201, "{answer:?}");
    let told: Vec<Value> = answer.json()?;
    assert_eq!(told.len(), drafts.len());
    let codes: Vec<_> = told.iter().map(|item| item["error"].as_str()).collect();
    assert_eq!(
        codes,
        [None, Some("too-large"), Some("id-reused"), None, None, None]
    );
    for (item, (id, _)) in told.iter().zip(drafts) {
        assert_eq!(item["id"], id);
    }
    assert_eq!(told[4], told[0], "an id that comes twice is stored once");
    assert_eq!(
        told[5]["offset"].as_u64(),
        told[0]["offset"].as_u64().map(|offset| offset + 1)
    );

    let answer = publish_all(world, &channel, &[("known", "1"), ("large", &large)]).await?;
    assert_eq!(
        answer.status, 409,
        "where all fail it is the first one's status"
    );
    let told: Vec<Value> = answer.json()?;
    let codes: Vec<_> = told.iter().map(|item| item["error"].as_str()).collect();
    assert_eq!(codes, [Some("id-reused"), Some("too-large")]);
    Ok(())
}

async fn an_array_of_duplicates_answers_as_before(world: &World) -> Result<()> {
    let channel = world.channel();
    let drafts = [("a", "1"), ("b", "2")];
    let first = publish_all(world, &channel, &drafts).await?;
    let again = publish_all(world, &channel, &drafts).await?;
    assert_eq!((first.status.as_u16(), again.status.as_u16()), (201, 200));
    assert_eq!(again.body, first.body);
    let partly = publish_all(world, &channel, &[("a", "1"), ("c", "3")]).await?;
    assert_eq!(partly.status, 201, "one of them is new");
    Ok(())
}

async fn publishing_at_once_is_dense(world: &World) -> Result<()> {
    const COUNT: u64 = 64;
    let channel = world.channel();
    let says = (0..COUNT).map(|number| world.count(&channel, number..number + 1));
    let mut offsets: Vec<u64> = futures::future::try_join_all(says).await?.concat();
    offsets.sort_unstable();
    assert_eq!(offsets, Vec::from_iter(offsets[0]..offsets[0] + COUNT));
    Ok(())
}

async fn one_id_published_at_once_is_stored_once(world: &World) -> Result<()> {
    let (channel, id) = (world.channel(), world.id());
    let says = (0..16).map(|_| world.client.publish(&world.ann, &channel, &id, "0"));
    let answers = futures::future::try_join_all(says).await?;
    let receipts: Vec<Receipt> = answers.iter().map(Answer::json).collect::<Result<_>>()?;
    ensure!(
        receipts.iter().all(|receipt| *receipt == receipts[0]),
        "{receipts:?}"
    );
    let created = answers.iter().filter(|answer| answer.status == 201).count();
    // Hosts that store it in the same millisecond cannot tell which of them it was.
    ensure!(
        (1..=nodes()).contains(&created),
        "{created} say that they stored it"
    );
    assert_eq!(world.say(&channel, "1").await?, receipts[0].offset + 1);
    Ok(())
}

async fn a_page_publishes_as_plain_text(world: &World) -> Result<()> {
    let channel = world.channel();
    for media_type in [
        "text/plain",
        "text/plain;charset=UTF-8",
        "TEXT/PLAIN; charset=utf-8",
        "Application/JSON",
    ] {
        let target = format!(
            "/witter/publish?channel={channel}&token={}",
            world.ann.token
        );
        let body = format!(r#"{{"id":"{}","body":0}}"#, world.id());
        let request = world
            .client
            .request(Method::POST, &target)
            .header("content-type", media_type);
        let answer = world.client.send(request.body(Full::from(body))?).await?;
        ensure!(answer.status == 201, "{media_type}: {answer:?}");
    }
    Ok(())
}

async fn who_sends_is_the_credentials_word(world: &World) -> Result<()> {
    let channel = world.channel();
    let query = Query::of([&channel]);
    let mut reader = Reader::open(&world.client, Transport::ALL[0], query).await?;
    let draft = r#"{"id":"a","sender":"root","name":"Root","offset":7,"sent_at":0,"channel":"other","body":0}"#;
    let target = format!("/witter/publish?channel={channel}&sender=root&name=Root");
    let told = receipt(
        &world
            .client
            .post(&target, Some(&world.bob.token), draft)
            .await?,
        201,
    )?;
    let envelope = &reader.messages(1).await?[0];
    assert_eq!(
        (&envelope.sender, envelope.name.as_str()),
        (&world.bob.sender, "Bob")
    );
    assert_eq!(
        (&envelope.channel, envelope.offset),
        (&channel, told.offset)
    );
    ensure!(envelope.sent_at > 0, "the time is the server's");
    Ok(())
}

async fn guests_of_one_name_are_two_identities(world: &World) -> Result<()> {
    let (one, other) = (
        world.client.session("Ann").await?,
        world.client.session(" Ann\n").await?,
    );
    assert_eq!((one.name.as_str(), other.name.as_str()), ("Ann", "Ann"));
    ensure!(
        one.sender != other.sender && one.token != other.token,
        "{one:?} {other:?}"
    );
    ensure!(
        one.expires_at > 1_700_000_000_000,
        "milliseconds: {}",
        one.expires_at
    );
    Ok(())
}

async fn credentials_come_by_header_or_query(world: &World) -> Result<()> {
    let channel = world.channel();
    let publish = async |query: &str, header: Option<&str>| -> Result<u16> {
        let target = format!("/witter/publish?channel={channel}{query}");
        let mut request = world
            .client
            .request(Method::POST, &target)
            .header("content-type", "application/json");
        if let Some(header) = header {
            request = request.header("authorization", header);
        }
        let body = format!(r#"{{"id":"{}","body":0}}"#, world.id());
        Ok(world
            .client
            .send(request.body(Full::from(body))?)
            .await?
            .status
            .as_u16())
    };
    let Session { token, .. } = &world.ann;
    let (query, bearer) = (format!("&token={token}"), format!("Bearer {token}"));
    assert_eq!(publish(&query, None).await?, 201);
    assert_eq!(publish("", Some(&bearer)).await?, 201);
    assert_eq!(publish("", Some(&format!("bearer {token}"))).await?, 201);
    assert_eq!(publish("", None).await?, 401);
    assert_eq!(publish("&token=", None).await?, 401);
    assert_eq!(
        publish(&query, Some("Bearer nonsense")).await?,
        401,
        "the header wins"
    );
    assert_eq!(
        publish("&token=nonsense", Some(&bearer)).await?,
        201,
        "the header wins"
    );
    assert_eq!(publish("", Some("Basic QW5uOng=")).await?, 401);
    Ok(())
}

async fn drafts_against_the_grammar_are_refused(world: &World) -> Result<()> {
    let long = "x".repeat(65);
    let many = format!("[{}]", vec![r#"{"id":"a","body":0}"#; 101].join(","));
    let cases: &[(&[u8], u16)] = &[
        (b"", 400),
        (b"{", 400),
        (b"{}}", 400),
        (br#"{"id":"a","body":01}"#, 400),
        (br#"{"id":"a","body":'x'}"#, 400),
        (b"{\"id\":\"a\",\"body\":\"\n\"}", 400),
        (b"{\"id\":\"a\",\"body\":\"\xff\"}", 400),
        (b"\xef\xbb\xbf{\"id\":\"a\",\"body\":0}", 400),
        (br#"{"id":"a","body":NaN}"#, 400),
        (b"0", 422),
        (b"null", 422),
        (b"\"x\"", 422),
        (b"{}", 422),
        (br#"{"id":"a"}"#, 422),
        (br#"{"body":0}"#, 422),
        (br#"{"id":"","body":0}"#, 422),
        (br#"{"id":"a b","body":0}"#, 422),
        (br#"{"id":"a\u0000","body":0}"#, 422),
        ("{\"id\":\"é\",\"body\":0}".as_bytes(), 422),
        (br#"{"id":7,"body":0}"#, 422),
        (br#"{"id":"\ud800","body":0}"#, 422),
        (br#"{"id":"a","id":"b","body":0}"#, 422),
        (br#"{"id":"a","body":0,"body":1}"#, 422),
        (b"[]", 422),
        (b"[[]]", 422),
        (br#"[{"id":"a","body":0},{"id":"b"}]"#, 422),
        (many.as_bytes(), 422),
    ];
    let channel = world.channel();
    let target = format!("/witter/publish?channel={channel}");
    let long = format!(r#"{{"id":"{long}","body":0}}"#);
    for &(body, status) in cases.iter().chain([&(long.as_bytes(), 422)]) {
        let answer = world
            .client
            .post(&target, Some(&world.ann.token), body.to_vec())
            .await?;
        check_error(&answer, status, &String::from_utf8_lossy(body))?;
    }
    for (media_type, status) in [
        ("application/xml", 415),
        ("application/jsonp", 415),
        ("text/html", 415),
    ] {
        let request = world
            .client
            .request(Method::POST, &target)
            .header("content-type", media_type);
        let request = request.header("authorization", format!("Bearer {}", world.ann.token));
        let answer = world
            .client
            .send(request.body(Full::from(r#"{"id":"a","body":0}"#))?)
            .await?;
        check_error(&answer, status, media_type)?;
    }
    for (query, status) in [
        ("", 400),
        ("?channel=", 400),
        ("?channel=a&channel=b", 400),
        ("?channel=a/b", 400),
        ("?channel=%40", 400),
        ("?channel=a%4", 400),
        ("?channel=@system", 403),
    ] {
        let body = r#"{"id":"a","body":0}"#;
        let answer = world
            .client
            .post(
                &format!("/witter/publish{query}"),
                Some(&world.ann.token),
                body,
            )
            .await?;
        check_error(&answer, status, query)?;
    }
    // Nothing of all this was stored.
    let query = Query::of([&channel]).history(1);
    let page = world
        .client
        .get(&query.wait(0).target(Transport::ShortPolling))
        .await?;
    let page: Value = page.json()?;
    assert_eq!(page["envelopes"], Value::Array(Vec::new()));
    Ok(())
}

async fn guests_against_the_grammar_are_refused(world: &World) -> Result<()> {
    let long = format!(r#"{{"name":"{}"}}"#, "é".repeat(65));
    for (body, status) in [
        ("", 400),
        ("{", 400),
        ("{}", 422),
        ("[]", 422),
        ("\"Ann\"", 422),
        (r#"{"name":7}"#, 422),
        (r#"{"name":""}"#, 422),
        (r#"{"name":" \n "}"#, 422),
        (r#"{"name":"a\u0000b"}"#, 422),
        (r#"{"name":"\ud800"}"#, 422),
        (r#"{"name":"a","name":"b"}"#, 422),
        (long.as_str(), 422),
    ] {
        let answer = world
            .client
            .post("/witter/session", None, body.to_owned())
            .await?;
        check_error(&answer, status, body)?;
    }
    let session = world.client.session(&"é".repeat(64)).await?;
    assert_eq!(session.name, "é".repeat(64));
    Ok(())
}

fn check_error(answer: &Answer, status: u16, case: &str) -> Result<()> {
    crate::refusing::check_error(answer, status).map_err(|error| error.context(case.to_owned()))
}

async fn the_page_answers_what_is_no_route(world: &World) -> Result<()> {
    let answer = world.client.get("/").await?;
    ensure!(answer.status == 200, "{answer:?}");
    ensure!(
        answer
            .header("content-type")
            .is_some_and(|kind| kind.starts_with("text/html")),
        "{answer:?}"
    );
    for target in [
        "/witter",
        "/witter/",
        "/witter/nothing",
        "/witter/sse/more",
        "/nothing?channel=a",
    ] {
        let answer = world.client.get(target).await?;
        ensure!(answer.status == 404, "{target}: {answer:?}");
    }
    Ok(())
}
