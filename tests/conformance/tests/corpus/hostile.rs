//! Bodies that break framings, and bodies that a parser would change.

use anyhow::{Result, ensure};
use conformance::{Query, Reader, Transport};

use crate::Corpus;
use crate::world::World;

pub(crate) fn cases(corpus: &mut Corpus<'_>, transport: Transport) {
    corpus.reads(transport, bodies_come_out_token_for_token);
    corpus.reads(transport, white_space_between_tokens_goes);
    corpus.reads(transport, the_largest_bodies_come_out_whole);
    corpus.reads(transport, names_are_as_hostile_as_bodies);
}

/// JSON without white space between its tokens: each comes out as it went in.
pub(crate) const BODIES: &[&str] = &[
    // Empty and small.
    r#""""#,
    "{}",
    "[]",
    "null",
    "true",
    "0",
    // What ends a script, a comment, a callback.
    r#""</script><script>alert(1)</script>""#,
    r#""<!--<script>-->]]>""#,
    r#""*/alert(1)//""#,
    r#"");alert(1);(""#,
    r#""'\"\\\/`${x}""#,
    // Line ends and NUL, escaped in every way that JSON has.
    r#""\r\n\n\r""#,
    r#""\u000d\u000A\u0000\b\f\t""#,
    r#""data: x\n\nevent: end\ndata: {}\n\n""#,
    // Line ends of JavaScript and of Unicode, as they are and escaped.
    "\"\u{2028}\u{2029}\u{85}\"",
    r#""\u2028\u2029""#,
    // A byte order mark, the end of the BMP and beyond, what joins and what turns around.
    "\"\u{feff}\u{ffff}\u{10ffff}\"",
    "\"👩‍👩‍👧‍👦🇩🇪 e\u{301} \u{202e}abc\u{7f}\"",
    // Surrogates: a pair, each half alone, the wrong way round.
    r#""\ud83d\ude00""#,
    r#""\ud800""#,
    r#""\udc00\uD800x""#,
    // Numbers that no type holds.
    "1e400",
    "-0",
    "-0.0e-0",
    "1.0",
    "1E+2",
    "0.1000000000000000055511151231257827021181583404541015625",
    "123456789012345678901234567890123456789012345678901234567890",
    // Names twice, empty, and such as objects have anyway.
    r#"{"a":1,"a":2,"":3}"#,
    r#"{"__proto__":{"x":1},"constructor":0,"toJSON":0}"#,
    // As if it were an envelope or a frame.
    r#"{"channel":"x","offset":0,"id":"x","sender":"x","name":"x","sent_at":0,"body":0}"#,
    r#"{"end":"reopen"}"#,
    r#"[[[[[[[[[[{"a":[{"b":[]}]}]]]]]]]]]]"#,
];

/// Publishes bodies, reads them live and again as history, and compares.
async fn check(world: &World, transport: Transport, bodies: &[(String, String)]) -> Result<()> {
    let channel = world.channel();
    let mut live = Reader::open(&world.client, transport, Query::of([&channel])).await?;
    for (sent, _) in bodies {
        world.say(&channel, sent).await?;
    }
    let query = Query::of([&channel]).history(1000);
    let mut history = Reader::open(&world.client, transport, query).await?;
    for reader in [&mut live, &mut history] {
        let read = reader.messages(bodies.len()).await?;
        assert_eq!(read.len(), bodies.len());
        for (envelope, (sent, expected)) in read.iter().zip(bodies) {
            assert_eq!(envelope.body.get(), expected, "{sent}");
        }
    }
    Ok(())
}

async fn bodies_come_out_token_for_token(world: &World, transport: Transport) -> Result<()> {
    let bodies: Vec<_> = BODIES
        .iter()
        .map(|body| ((*body).to_owned(), (*body).to_owned()))
        .collect();
    check(world, transport, &bodies).await
}

async fn white_space_between_tokens_goes(world: &World, transport: Transport) -> Result<()> {
    let bodies = [
        (
            " \t\r\n[ 1 ,\r\n\t2 , { \"a b\" : \" \\u0020 \" } ]\n",
            r#"[1,2,{"a b":" \u0020 "}]"#,
        ),
        ("  \" a  b \"  ", r#"" a  b ""#),
        ("\r\n1.0\r\n", "1.0"),
    ];
    let bodies = bodies.map(|(sent, expected)| (sent.to_owned(), expected.to_owned()));
    check(world, transport, &bodies).await
}

async fn the_largest_bodies_come_out_whole(world: &World, transport: Transport) -> Result<()> {
    const MOST: usize = 65_536;
    let text = |unit: &str| {
        let count = (MOST - 2) / unit.len();
        let rest = MOST - 2 - count * unit.len();
        format!("\"{}{}\"", unit.repeat(count), "x".repeat(rest))
    };
    let deep = format!("{}{}", "[".repeat(MOST / 2), "]".repeat(MOST / 2));
    let objects = format!("{}0{}", r#"{"a":"#.repeat(10_000), "}".repeat(10_000));
    let number = format!("1{}", "0".repeat(MOST - 1));
    let bodies = [
        text("x"),
        text("\\u2028"),
        text("😀"),
        text("</script>"),
        text("\\n"),
        deep,
        objects,
        number,
    ];
    let bodies = bodies.map(|body| (body.clone(), body));
    assert!(
        bodies.iter().all(|(body, _)| body.len() <= MOST),
        "the cases keep to the limit"
    );
    check(world, transport, &bodies).await?;

    // The limit counts what is kept, not the white space that goes.
    let largest = text("y");
    check(
        world,
        transport,
        &[(format!("{}{largest}", " ".repeat(1000)), largest.clone())],
    )
    .await?;
    let channel = world.channel();
    let larger = format!("\"{}\"", "x".repeat(MOST - 1));
    let answer = world
        .client
        .publish(&world.ann, &channel, &world.id(), &larger)
        .await?;
    assert_eq!(
        (answer.status.as_u16(), answer.code().as_deref()),
        (413, Some("too-large"))
    );
    Ok(())
}

async fn names_are_as_hostile_as_bodies(world: &World, transport: Transport) -> Result<()> {
    let channel = world.channel();
    let mut reader = Reader::open(&world.client, transport, Query::of([&channel])).await?;
    for name in [
        "</script>\"'\\",
        "Zo\u{eb} \u{2028}\u{2029}Z",
        "😀\u{202e}",
        "data: x",
    ] {
        let session = world.client.session(name).await?;
        assert_eq!(session.name, name);
        // An id too may be any printable ASCII.
        let id = format!("\"\\</script>'{}", world.id());
        let answer = world.client.publish(&session, &channel, &id, "0").await?;
        ensure!(answer.status == 201, "{answer:?}");
        let envelope = &reader.messages(1).await?[0];
        assert_eq!(
            (envelope.name.as_str(), envelope.id.as_str()),
            (name, id.as_str())
        );
        assert_eq!(envelope.sender, session.sender);
    }
    Ok(())
}
