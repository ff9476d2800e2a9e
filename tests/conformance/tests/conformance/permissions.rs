//! Who may do what, all of it: everybody there is, in every kind of channel, by every operation.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use conformance::{Answer, Client, Deployed, Query, Reader, Transport};
use futures::{StreamExt, TryStreamExt, stream};
use http::StatusCode;
use serde_json::{Value, json};

const SECRET: &str = "a secret that is long enough for HS256";
/// How many cells are tried at once.
const AT_ONCE: usize = 8;

/// What is tried, in the order of the columns.
const OPERATIONS: [&str; 16] = [
    "read", "history", "publish", "delete", "join", "leave", "room", "invite", "remove", "role",
    "ban", "unban", "mute", "unmute", "slow", "create",
];

/// Who tries, and what comes of it: `.` it is done, `u` 401, `f` 403, `i` 400.
type Table = &'static [(&'static str, &'static str)];

/// Whose credential does not hold is nobody, and nobody commands anything.
const NOBODY: [&str; 7] = [
    "forged",
    "expired",
    "not yet",
    "another algorithm",
    "no algorithm",
    "for somebody else",
    "the server",
];

//                       read, history, publish, delete | join, leave, room | invite, remove, role | ban … slow | create
const PLAIN: Table = &[
    ("anonymous", "..uu uuu uuu uuuuu u"),
    ("stranger", "..ff ... iff fffff f"),
    ("guest", "...f ... iff fffff ."),
    ("moderating", ".... ... i.f ..... ."),
    ("administering", "...f ... iff fffff ."),
];
const PUBLIC: Table = &[
    ("anonymous", "..uu uuu uuu uuuuu u"),
    ("stranger", "..ff ... iff fffff f"),
    ("guest", "...f ... iff fffff f"),
    ("member", "...f ... iff fffff f"),
    ("moderator", ".... ... i.f ..... f"),
    ("owner", ".... ... i.. ..... ."),
    ("banned", "ffff f.f iff fffff f"),
    ("muted", "..ff ... iff fffff f"),
    ("moderating", ".... ... i.. ..... f"),
    ("administering", "...f ... iff fffff f"),
];
const PRIVATE: Table = &[
    ("anonymous", "uuuu uuu uuu uuuuu u"),
    ("stranger", "ffff fff fff fffff f"),
    ("guest", "ffff fff fff fffff f"),
    ("invited", "ffff ..f fff fffff f"),
    ("member", "...f ... fff fffff f"),
    ("moderator", ".... ... ..f ..... f"),
    ("owner", ".... ... ... ..... f"),
    ("removed", "ffff fff fff fffff f"),
    ("banned", "ffff fff fff fffff f"),
    ("muted", "..ff ... fff fffff f"),
    ("moderating", "ffff fff fff fffff f"),
    ("moderating member", ".... ... ... ..... f"),
    ("administering", "ffff fff fff fffff f"),
];
const NOT_THERE: Table = &[
    ("anonymous", "uuuu uuu uuu uuuuu u"),
    ("stranger", "ffff fff fff fffff f"),
    ("guest", "ffff fff fff fffff f"),
    ("moderating", "ffff fff fff fffff f"),
    ("administering", "ffff fff fff fffff f"),
];
const DIRECT: Table = &[
    ("anonymous", "uuuu uuu uuu uuuuu u"),
    ("stranger", "ffff fff fff fffff f"),
    ("one", "...f ff. fff fffff f"),
    // It was begun by the other side, and they have not answered.
    ("other", "...f f.. fff fffff f"),
    ("blocked", "..ff ff. fff fffff f"),
    ("moderating", "ffff fff fff fffff f"),
    ("administering", "ffff fff fff fffff f"),
];
const OWN: Table = &[
    ("anonymous", "uuuu uuu uuu uuuuu u"),
    ("owner", "..ff ff. fff fffff f"),
    ("stranger", "ffff fff fff fffff f"),
    ("moderating", "ffff fff fff fffff f"),
    ("administering", "ffff fff fff fffff f"),
];
const AUDIT: Table = &[
    ("anonymous", "uuuu uuu uuu uuuuu u"),
    ("stranger", "ffff fff fff fffff f"),
    ("moderating", "ffff fff fff fffff f"),
    ("administering", "..ff ff. fff fffff f"),
];
/// `@staff`, which a pattern names.
const KEPT: Table = &[
    ("anonymous", "uuuu uuu uuu uuuuu u"),
    ("stranger", "ffff fff fff fffff f"),
    ("guest", "ffff fff fff fffff f"),
    ("staff", "...f ff. fff fffff f"),
    ("moderating", "ffff fff f.f ..... f"),
];

/// A deployment whose backend signs for its users, with guests.
fn start() -> Result<Deployed> {
    Deployed::start(&[("token_secret", SECRET), ("anonymous_read", "*")])
}

fn sign(secret: &str, header: Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(claims));
    let mac = hmac_sha256::HMAC::mac(&signed, secret);
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac))
}

/// The credential of somebody with these grants.
fn token(sender: &str, grants: Value) -> String {
    let mut claims = json!({"sub": sender, "name": sender});
    if let (Some(claims), Value::Object(grants)) = (claims.as_object_mut(), grants) {
        claims.extend(grants);
    }
    sign(SECRET, json!({"alg": "HS256"}), &claims)
}

/// The credential of who is nobody all the same.
fn nobody(who: &str) -> String {
    let everything = json!(["*", "@*"]);
    let mut claims = json!({
        "sub": "eve", "read": everything, "publish": everything, "create": everything,
        "moderate": everything, "administer": true,
    });
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_secs());
    let good = json!({"alg": "HS256"});
    match who {
        "forged" => sign("another secret, as long as the right one", good, &claims),
        "another algorithm" => sign(SECRET, json!({"alg": "HS512"}), &claims),
        "no algorithm" => sign(SECRET, json!({"alg": "none"}), &claims),
        other => {
            match other {
                "expired" => claims["exp"] = json!(now - 3_600),
                "not yet" => claims["nbf"] = json!(now + 3_600),
                "for somebody else" => claims["aud"] = json!("else"),
                _ => claims["sub"] = json!("witter"),
            }
            sign(SECRET, good, &claims)
        }
    }
}

/// What everybody may who uses the deployment as it is.
fn everybody() -> Value {
    json!({"read": ["*"], "publish": ["*"], "create": ["*"]})
}

/// A channel with people in it, made for one cell.
struct Scene<'c> {
    client: &'c Client,
    channel: String,
    /// Whom others act on: a member.
    target: String,
    /// Whose message others take away.
    message: u64,
    token: Option<String>,
}

impl Scene<'_> {
    async fn command(&self, token: &str, command: Value) -> Result<Value> {
        let answer = self
            .client
            .post("/witter/command", Some(token), command.to_string())
            .await?;
        ensure!(answer.status == 200, "{command}: {answer:?}");
        answer.json()
    }

    /// What one operation comes to.
    async fn try_it(&self, operation: &str) -> Result<Answer> {
        let Self {
            client,
            channel,
            target,
            message,
            token,
        } = self;
        let token = token.as_deref();
        let query = |more: &str| {
            let token = token.map(|token| format!("&token={token}"));
            let token = token.unwrap_or_default();
            format!("/witter/short-polling?channel={channel}{token}{more}")
        };
        let whom = json!({"channel": channel, "sender": target});
        let command = match operation {
            "read" => return client.get(&query("&history=1")).await,
            "history" => return client.get(&query("&before=9")).await,
            "publish" | "delete" => {
                let draft = if operation == "publish" {
                    json!({"id": "x", "body": 0})
                } else {
                    let refers = json!({"kind": "delete", "offset": message});
                    json!({"id": "x", "body": null, "refers": refers})
                };
                let target = format!("/witter/publish?channel={channel}");
                return client.post(&target, token, draft.to_string()).await;
            }
            "join" | "leave" | "room" | "create" => json!({operation: {"channel": channel}}),
            "invite" => json!({"invite": {"channel": channel, "sender": "somebody"}}),
            "role" => {
                json!({"role": {"channel": channel, "sender": target, "role": "moderator"}})
            }
            "slow" => json!({"slow": {"channel": channel, "seconds": 1}}),
            verb => json!({verb: whom}),
        };
        client
            .post("/witter/command", token, command.to_string())
            .await
    }
}

/// Makes a channel of a kind, and has somebody in it.
async fn stage<'c>(client: &'c Client, kind: &str, who: &str, cell: usize) -> Result<Scene<'c>> {
    let name = |who: &str| format!("{who} {kind} {cell}");
    let own = |who: &str| token(&name(who), everybody());
    let (boss, target, sender) = (own("boss"), name("target"), name(who));
    let mut scene = Scene {
        client,
        channel: format!("{kind}-{cell}"),
        target,
        message: 1,
        token: None,
    };
    scene.token = match who {
        "anonymous" => None,
        "guest" => Some(client.session("Guest").await?.token),
        "stranger" => Some(token(&sender, json!({}))),
        "staff" => Some(token(
            &sender,
            json!({"read": ["@staff*"], "publish": ["@staff*"]}),
        )),
        "moderating" | "moderating member" => {
            let all = json!(["*", "@*"]);
            let mut grants = everybody();
            grants["moderate"] = all;
            Some(token(&sender, grants))
        }
        "administering" => {
            let mut grants = everybody();
            grants["administer"] = json!(true);
            Some(token(&sender, grants))
        }
        who if NOBODY.contains(&who) => Some(nobody(who)),
        _ => Some(own(who)),
    };
    let says = async |token: &str, channel: &str| -> Result<()> {
        let target = format!("/witter/publish?channel={channel}");
        let answer = client
            .post(&target, Some(token), r#"{"id":"first","body":0}"#)
            .await?;
        ensure!(answer.status == 201, "{answer:?}");
        Ok(())
    };
    match kind {
        "plain" => says(&boss, &scene.channel).await?,
        "public" | "private" => {
            let private = kind == "private";
            let create = if private {
                json!({"create": {"private": true}})
            } else {
                json!({"create": {"channel": scene.channel}})
            };
            let room = scene.command(&boss, create).await?;
            scene.channel = room["channel"].as_str().context("a channel")?.to_owned();
            says(&boss, &scene.channel).await?;
            let come = async |person: &str, whom: &str| -> Result<()> {
                if private {
                    let invite = json!({"channel": scene.channel, "sender": whom});
                    scene.command(&boss, json!({"invite": invite})).await?;
                }
                let join = json!({"join": {"channel": scene.channel}});
                scene.command(person, join).await?;
                Ok(())
            };
            come(&own("target"), &scene.target).await?;
            let own = own(who);
            let whom = json!({"channel": scene.channel, "sender": sender});
            match who {
                "invited" => {
                    scene.command(&boss, json!({"invite": whom})).await?;
                }
                "member" | "moderating member" | "moderator" | "owner" | "removed" | "banned"
                | "muted" => {
                    come(&own, &sender).await?;
                    let verb = match who {
                        "removed" => "remove",
                        "banned" => "ban",
                        "muted" => "mute",
                        _ => "role",
                    };
                    if !who.ends_with("member") {
                        let mut whom = whom;
                        whom["role"] = json!(who);
                        scene.command(&boss, json!({verb: whom})).await?;
                    }
                }
                _ => {}
            }
        }
        "not there" => scene.channel = "@room~AAAAAAAAAAAAAAAA".to_owned(),
        "direct" => {
            let (one, other) = if who == "other" {
                (own("one"), sender.clone())
            } else {
                (own(who), name("other"))
            };
            let is_one = matches!(who, "one" | "other" | "blocked");
            let one = if is_one { one } else { own("one") };
            let found = scene
                .command(&one, json!({"direct": {"sender": other}}))
                .await?;
            scene.channel = found["channel"].as_str().context("a channel")?.to_owned();
            // By the side that does not try.
            let speaker = if who == "other" { &one } else { &own("other") };
            says(speaker, &scene.channel).await?;
            if who == "blocked" {
                let block = json!({"block": {"sender": sender}});
                scene.command(&own("other"), block).await?;
            }
        }
        "own" => {
            let person = if who == "owner" { "owner" } else { "boss" };
            let me = scene.command(&own(person), json!({"me": {}})).await?;
            scene.channel = me["channel"].as_str().context("a channel")?.to_owned();
        }
        "audit" => scene.channel = "@audit".to_owned(),
        _ => {
            scene.channel = format!("@staff-{cell}");
            let staff = json!({"read": ["@staff*"], "publish": ["@staff*"]});
            says(&token("a member of the staff", staff), &scene.channel).await?;
        }
    }
    Ok(scene)
}

/// Tries every cell of a table, each in a channel of its own.
async fn check(kind: &str, table: Table) -> Result<()> {
    let host = start()?;
    let client = host.client();
    let nobody = NOBODY.map(|who| (who, "uuuu uuu uuu uuuuu u"));
    let mut cells = Vec::new();
    for (who, expected) in table.iter().chain(&nobody) {
        let expected: Vec<char> = expected.chars().filter(|one| *one != ' ').collect();
        assert_eq!(expected.len(), OPERATIONS.len(), "{kind}, {who}");
        cells.extend(OPERATIONS.iter().zip(expected).map(|cell| (*who, cell)));
    }
    let client = &client;
    let wrong: Vec<String> = stream::iter(cells.into_iter().enumerate())
        .map(async |(cell, (who, (operation, expected)))| {
            let scene = stage(client, kind, who, cell).await;
            let scene = scene.with_context(|| format!("{kind}, {who}, {operation}"))?;
            let answer = scene.try_it(operation).await?;
            let wanted: &[u16] = match expected {
                '.' => &[200, 201],
                'u' => &[401],
                'f' => &[403],
                _ => &[400],
            };
            let wrong = !wanted.contains(&answer.status.as_u16());
            anyhow::Ok(wrong.then(|| format!("{who} {operation}: {expected}, {answer:?}")))
        })
        .buffered(AT_ONCE)
        .try_filter_map(async |wrong| Ok(wrong))
        .try_collect()
        .await?;
    ensure!(wrong.is_empty(), "{kind}:\n{}", wrong.join("\n"));
    Ok(())
}

macro_rules! tables {
    ($($name:ident: $kind:literal, $table:ident;)*) => {
        $(#[tokio::test]
        async fn $name() -> Result<()> {
            check($kind, $table).await
        })*
    };
}

tables! {
    in_a_public_channel_that_nobody_made_a_room_of: "plain", PLAIN;
    in_a_public_room: "public", PUBLIC;
    in_a_private_room: "private", PRIVATE;
    in_a_private_room_that_is_not_there: "not there", NOT_THERE;
    in_a_conversation_of_two: "direct", DIRECT;
    in_somebodys_own_channel: "own", OWN;
    in_the_audit: "audit", AUDIT;
    in_a_channel_that_a_pattern_names: "kept", KEPT;
}

/// Reading is the same by every transport.
#[tokio::test]
async fn whoever_may_read_may_read_by_every_transport() -> Result<()> {
    let host = start()?;
    let client = host.client();
    for (kind, table) in [
        ("plain", PLAIN),
        ("public", PUBLIC),
        ("private", PRIVATE),
        ("direct", DIRECT),
        ("own", OWN),
    ] {
        for (cell, (who, expected)) in table.iter().enumerate() {
            let scene = stage(&client, kind, who, cell).await?;
            for &transport in Transport::ALL {
                let mut query = Query::of([&scene.channel]).history(1);
                if let Some(token) = &scene.token {
                    query = query.token(token);
                }
                let opened = Reader::open(&client, transport, query).await;
                let told = match opened {
                    Ok(_) => '.',
                    Err(conformance::Fault::Refused(answer)) => match answer.code().as_deref() {
                        Some("unauthorized") => 'u',
                        Some("forbidden") => 'f',
                        _ => '?',
                    },
                    Err(fault) => return Err(fault.into()),
                };
                ensure!(
                    expected.starts_with(told),
                    "{kind}, {who}, {}: {told}",
                    transport.name()
                );
            }
        }
    }
    Ok(())
}

/// What everybody may do with themselves.
#[tokio::test]
async fn commands_of_ones_own_need_a_credential_that_holds() -> Result<()> {
    let host = start()?;
    let client = host.client();
    let commands = [
        json!({"me": {}}),
        json!({"rooms": {}}),
        json!({"direct": {"sender": "bob"}}),
        json!({"block": {"sender": "eve"}}),
        json!({"unblock": {"sender": "eve"}}),
        json!({"create": {"private": true}}),
    ];
    let guest = client.session("Guest").await?.token;
    let own = token("ann", everybody());
    let none: Vec<String> = NOBODY.iter().map(|who| nobody(who)).collect();
    let people = [(Some(&guest), 200), (Some(&own), 200), (None, 401)];
    let none = none.iter().map(|token| (Some(token), 401));
    for (token, status) in people.into_iter().chain(none) {
        for command in &commands {
            let token = token.map(String::as_str);
            let answer = client
                .post("/witter/command", token, command.to_string())
                .await?;
            ensure!(
                answer.status == StatusCode::from_u16(status)?,
                "{command}: {answer:?}"
            );
        }
    }
    // Who may not create makes no private room either.
    let stranger = token("stranger", json!({"read": ["*"], "publish": ["*"]}));
    let create = json!({"create": {"private": true}}).to_string();
    let answer = client
        .post("/witter/command", Some(&stranger), create)
        .await?;
    ensure!(answer.status == 403, "{answer:?}");
    Ok(())
}

/// Whoever may moderate every room there is comes into a private one as others do, and learns of none.
#[tokio::test]
async fn no_pattern_opens_a_private_room() -> Result<()> {
    let host = start()?;
    let client = host.client();
    let all = json!(["*", "@*"]);
    let grants = json!({"read": all, "publish": all, "create": all, "moderate": ["@room~*"]});
    let token = token("mod", grants);
    let room = stage(&client, "private", "stranger", 1).await?;
    let never = "@room~AAAAAAAAAAAAAAAA";
    let mut told = Vec::new();
    for channel in [room.channel.as_str(), never] {
        let target = format!("/witter/short-polling?channel={channel}&history=1&token={token}");
        let mut answers = vec![client.get(&target).await?];
        for sender in ["mod", "somebody", &room.target] {
            let whom = json!({"channel": channel, "sender": sender});
            for command in [
                json!({"invite": whom}),
                json!({"remove": whom}),
                json!({"ban": whom}),
                json!({"unmute": whom}),
                json!({"role": {"channel": channel, "sender": sender, "role": "owner"}}),
                json!({"slow": {"channel": channel, "seconds": 1}}),
                json!({"join": {"channel": channel}}),
            ] {
                let command = command.to_string();
                let answer = client.post("/witter/command", Some(&token), command);
                answers.push(answer.await?);
            }
        }
        for answer in &answers {
            ensure!(answer.status == 403, "{answer:?}");
        }
        let bodies = answers
            .iter()
            .map(|answer| Ok(str::from_utf8(&answer.body)?.replace(channel, "NAME")));
        told.push(bodies.collect::<Result<Vec<_>>>()?);
    }
    assert_eq!(told[0], told[1]);
    Ok(())
}

#[tokio::test]
async fn what_the_deployments_moderators_did_is_told_to_who_administers() -> Result<()> {
    let host = start()?;
    let client = host.client();
    // What people do in rooms of their own is not: the log is one for all.
    for (cell, who) in ["owner", "moderator", "moderating"].into_iter().enumerate() {
        let scene = stage(&client, "public", who, cell).await?;
        for operation in ["mute", "unmute", "slow", "delete", "ban", "unban"] {
            let answer = scene.try_it(operation).await?;
            ensure!(answer.status.is_success(), "{operation}: {answer:?}");
        }
    }
    let administrator = token("administrator", json!({"administer": true}));
    let query = Query::of(["@audit"]).history(100).token(administrator);
    let mut reader = Reader::open(&client, Transport::ShortPolling, query).await?;
    let told = reader.messages(6).await?;
    let records = told.iter().map(|envelope| {
        ensure!(envelope.sender == "witter", "{envelope:?}");
        Ok(serde_json::from_str::<Value>(envelope.body.get())?)
    });
    let records: Vec<Value> = records.collect::<Result<_>>()?;
    let verbs: Vec<_> = records.iter().map(|record| &record["verb"]).collect();
    assert_eq!(verbs, ["mute", "unmute", "slow", "delete", "ban", "unban"]);
    for record in &records {
        ensure!(
            record["by"] == "moderating public 2" && record["channel"] == "public-2",
            "{record}"
        );
    }
    ensure!(records[4]["sender"] == "target public 2", "{records:?}");
    Ok(())
}
