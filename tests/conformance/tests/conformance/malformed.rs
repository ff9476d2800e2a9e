//! Requests against the grammar, by the thousand: each gets its documented error, and the host stays well.
//!
//! A request is drawn from the seed and its number alone: `WITTER_SEED` takes another seed,
//! `WITTER_REQUESTS` another count, and `WITTER_REQUEST` sends one of them by itself. The same goes for what is
//! asked on a WebSocket.

use std::env;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use conformance::{
    Client, Frame, Query, RawAnswer, Reader, Server, Session, Socket, Transport, Wakeup, exchange,
};
use fastrand::Rng;
use futures::{StreamExt, stream};
use http_body_util::Full;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use tokio::time::timeout;

/// Enough for every generator and each of its branches many times over.
const REQUESTS: u64 = 6_000;
/// After so many the host shows that it is well.
const CHUNK: u64 = 250;
const AT_ONCE: usize = 24;
/// Beyond this a request hangs. The host's own limits for a slow request are shorter.
const HANGS: Duration = Duration::from_secs(60);

/// Every status that the protocol knows, and its code.
const DOCUMENTED: &[(u16, Option<&str>)] = &[
    (101, None),
    (200, None),
    (201, None),
    (204, None),
    (400, Some("invalid-request")),
    (401, Some("unauthorized")),
    (403, Some("forbidden")),
    (404, Some("not-found")),
    (405, Some("method-not-allowed")),
    (408, Some("timeout")),
    (409, Some("id-reused")),
    (413, Some("too-large")),
    (414, Some("uri-too-long")),
    (415, Some("unsupported-media-type")),
    (422, Some("unprocessable")),
    (426, Some("upgrade-required")),
    (429, Some("rate-limited")),
    (431, Some("head-too-large")),
];

/// What requests are made from.
struct Material {
    ann: Session,
    channel: String,
    cursor: String,
}

/// A request, and the statuses that it may get; none named: any documented one.
struct Case {
    bytes: Vec<u8>,
    statuses: &'static [u16],
    /// How an answer is read that may tell an error with the status 200; none: no answer may.
    by: Option<Transport>,
}

type Generator = fn(&mut Rng, &Material) -> Case;

const GENERATORS: &[Generator] = &[
    path,
    parameter,
    channel,
    cursor,
    cursor_in_header,
    token,
    token_in_header,
    query_noise,
    inline,
    callback,
    origin,
    script_draft,
    script_guest,
    command,
    script_command,
    draft_noise,
    draft_shape,
    draft_size,
    guest,
    media_type,
    method,
    header,
];

#[test]
fn malformed_requests_get_their_documented_errors() -> Result<()> {
    tokio::runtime::Runtime::new()?.block_on(async {
        let (seed, requests) = chosen()?;
        let (server, client, material) = start().await?;
        for begin in requests.clone().step_by(CHUNK as usize) {
            let chunk = begin..requests.end.min(begin + CHUNK);
            let results: Vec<Result<()>> = stream::iter(chunk)
                .map(|number| {
                    let case = draw(seed, number, &material);
                    let address = server.address();
                    async move {
                        send(address, &case).await.with_context(|| {
                            format!(
                                "WITTER_SEED={seed} WITTER_REQUEST={number}\n{}",
                                shown(&case.bytes)
                            )
                        })
                    }
                })
                .buffer_unordered(AT_ONCE)
                .collect()
                .await;
            let failures: Vec<String> = results
                .into_iter()
                .filter_map(Result::err)
                .map(|e| format!("{e:#}"))
                .collect();
            ensure!(
                failures.is_empty(),
                "{} of {CHUNK}:\n\n{}",
                failures.len(),
                failures.join("\n\n")
            );
            is_well(&client, &material)
                .await
                .with_context(|| format!("after request {begin} and on"))?;
        }
        println!(
            "{} malformed requests, seed {seed}: each got its documented answer",
            requests.end - requests.start
        );
        Ok(())
    })
}

/// The seed, and the numbers of what is drawn from it.
fn chosen() -> Result<(u64, std::ops::Range<u64>)> {
    let number = |name| env::var(name).ok().map(|text| text.parse::<u64>());
    let seed = number("WITTER_SEED").transpose()?.unwrap_or(7);
    let one = number("WITTER_REQUEST").transpose()?;
    let count = number("WITTER_REQUESTS").transpose()?.unwrap_or(REQUESTS);
    Ok((seed, one.map_or(0..count, |one| one..one + 1)))
}

#[test]
fn malformed_asks_get_one_documented_answer_each() -> Result<()> {
    tokio::runtime::Runtime::new()?.block_on(async {
        let (seed, asks) = chosen()?;
        let (_server, client, material) = start().await?;
        let transport = Transport::Websocket;
        let query = Query::of([&material.channel]).token(&material.ann.token);
        let request = transport.request(&client, &query.target(transport));
        let response = client.open(request.body(Full::default())?).await?;
        let mut socket = Socket::accepted(response).await?;
        let count = asks.end - asks.start;
        for number in asks {
            let ask = ask(&mut rng(seed, number), &material);
            timeout(HANGS, answered(&mut socket, &ask))
                .await
                .context("it hangs")
                .and_then(|answered| answered)
                .with_context(|| {
                    let ask = shown(ask.as_bytes());
                    format!("WITTER_SEED={seed} WITTER_REQUEST={number}\n{ask}")
                })?;
        }
        println!("{count} malformed asks on one connection, seed {seed}: each got its answer");
        is_well(&client, &material).await
    })
}

/// Asks, and reads up to the answer: an error that is documented, or what was asked for.
async fn answered(socket: &mut Socket, ask: &str) -> Result<()> {
    /// Bodies hold what no type does.
    #[derive(Deserialize)]
    struct Told {
        published: Option<IgnoredAny>,
        subscribed: Option<String>,
        unsubscribed: Option<String>,
        error: Option<String>,
        detail: Option<String>,
    }
    socket.send(Frame::text(ask.to_owned())).await?;
    loop {
        let text = socket.text().await?;
        let told: Told = serde_json::from_str(&text).with_context(|| text.clone())?;
        if let Some(code) = told.error {
            let mut known = DOCUMENTED.iter().filter_map(|(_, code)| *code);
            let is_told = told.detail.is_some_and(|detail| !detail.is_empty());
            ensure!(is_told && known.any(|known| known == code), "{text}");
            return Ok(());
        }
        if told.published.is_some() || told.subscribed.is_some() || told.unsubscribed.is_some() {
            return Ok(());
        }
    }
}

/// An ask with something changed; some of them the grammar lets pass.
fn ask(rng: &mut Rng, material: &Material) -> String {
    let value = json(rng, 3);
    let cursor = changed_cursor(rng, material);
    let word = word(rng, 20);
    let channel = pick(rng, &[material.channel.as_str(), &word]);
    let inner = match rng.u8(..5) {
        0 => format!(r#"{{"channel":"{channel}","id":"{word}","body":{value}}}"#),
        4 => {
            let draft = format!(r#"{{"id":"{word}","body":{value}}},"#).repeat(rng.usize(..102));
            let drafts = draft.trim_end_matches(',');
            format!(r#"{{"channel":"{channel}","drafts":[{drafts}]}}"#)
        }
        1 => format!(r#"{{"channel":"{channel}","after":"{cursor}"}}"#),
        2 => format!(r#"{{"channel":"{channel}","history":{}}}"#, rng.u16(..)),
        _ => format!(r#"{{"channel":"{channel}"}}"#),
    };
    let verb = pick(rng, &["publish", "subscribe", "unsubscribe", &word]);
    let ask = format!(r#"{{"ref":{},"{verb}":{inner}}}"#, rng.u64(..));
    match rng.u8(..8) {
        0 => value,
        1 => format!(r#"{{"ref":{value},"{verb}":{inner}}}"#),
        2 => format!(
            r#"{{"ref":"{}","{verb}":{inner}}}"#,
            "x".repeat(rng.usize(63..9000))
        ),
        3 => format!(r#"{{"ref":1,"{verb}":{value}}}"#),
        4 => format!(r#"{{"{verb}":{inner},"{verb}":{inner}}}"#),
        5 => ask.repeat(rng.usize(2..50)),
        _ => {
            let mut ask = ask.into_bytes();
            edit(rng, &mut ask);
            String::from_utf8_lossy(&ask).into_owned()
        }
    }
}

async fn start() -> Result<(Server, Client, Material)> {
    // Who stops in the middle of a request is given up sooner than by default.
    let server = Server::built(
        Wakeup::Native,
        &["--head-timeout", "2", "--body-timeout", "5"],
    )?;
    let client = Client::new(server.address());
    let ann = client.session("Ann").await?;
    let channel = "malformed".to_owned();
    for number in 0..3 {
        client
            .publish(&ann, &channel, &format!("first-{number}"), "0")
            .await?;
    }
    let query = Query::of([&channel]).history(2).limit(1);
    let mut reader = Reader::open(&client, Transport::ShortPolling, query).await?;
    reader.messages(1).await?;
    let cursor = reader.cursor().to_owned();
    Ok((
        server,
        client,
        Material {
            ann,
            channel,
            cursor,
        },
    ))
}

fn draw(seed: u64, number: u64, material: &Material) -> Case {
    let generator = GENERATORS[(number % GENERATORS.len() as u64) as usize];
    generator(&mut rng(seed, number), material)
}

fn rng(seed: u64, number: u64) -> Rng {
    // Seeds that differ by one are far apart after the multiplication.
    Rng::with_seed(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

async fn send(address: SocketAddr, case: &Case) -> Result<()> {
    let Case {
        bytes,
        statuses,
        by,
    } = case;
    let answer = timeout(HANGS, exchange(address, bytes))
        .await
        .context("it hangs")??;
    let answer = answer.context("the host closed without an answer")?;
    check_documented(&answer, bytes.starts_with(b"HEAD "))
        .with_context(|| shown_answer(&answer))?;
    let inline = by.map(|transport| told_inline(transport, &answer));
    let status = match inline.transpose().with_context(|| shown_answer(&answer))? {
        Some(Some(status)) => status,
        _ => answer.status,
    };
    ensure!(
        statuses.is_empty() || statuses.contains(&status),
        "{statuses:?} was expected: {}",
        shown_answer(&answer)
    );
    Ok(())
}

/// The status of the error that an answer with another one tells in its framing.
fn told_inline(transport: Transport, answer: &RawAnswer) -> Result<Option<u16>> {
    // Of a stream that goes on nothing was read.
    if answer.status != 200 || answer.body.is_empty() {
        return Ok(None);
    }
    // A batch may have bodies that no type holds.
    #[derive(Deserialize)]
    struct Told {
        #[serde(alias = "end")]
        error: Option<String>,
        detail: Option<String>,
    }
    let texts = transport.texts(&answer.body)?;
    let told: Told = serde_json::from_str(texts.last().context("nothing is told")?)?;
    let Some(code) = told.error else {
        return Ok(None);
    };
    ensure!(
        told.detail.is_some_and(|detail| !detail.is_empty()),
        "no detail"
    );
    let known = DOCUMENTED
        .iter()
        .find(|(_, known)| *known == Some(code.as_str()));
    Ok(Some(known.context("no documented code")?.0))
}

/// Status, code and headers belong together.
fn check_documented(answer: &RawAnswer, headless: bool) -> Result<()> {
    let (_, code) = DOCUMENTED
        .iter()
        .find(|(status, _)| *status == answer.status)
        .context("no documented status")?;
    ensure!(answer.header("set-cookie").is_none(), "a cookie");
    let Some(code) = code else { return Ok(()) };
    ensure!(
        answer
            .header("cache-control")
            .is_some_and(|value| value.contains("no-store")),
        "it may be stored"
    );
    ensure!(
        (answer.status == 405) == answer.header("allow").is_some(),
        "allow"
    );
    ensure!(
        (answer.status == 429) == answer.header("retry-after").is_some(),
        "retry-after"
    );
    if headless {
        return Ok(());
    }
    let told: Value = serde_json::from_slice(&answer.body)?;
    // Of an array of drafts that all failed, the first one's status is the answer's.
    let told = told.get(0).unwrap_or(&told);
    ensure!(told["error"] == *code, "the code is not {code}");
    ensure!(
        told["detail"]
            .as_str()
            .is_some_and(|detail| !detail.is_empty()),
        "no detail"
    );
    Ok(())
}

/// Good requests are answered as ever.
async fn is_well(client: &Client, material: &Material) -> Result<()> {
    let works = async {
        for &transport in Transport::ALL {
            let query = Query::of([&material.channel]);
            let mut reader = Reader::open(client, transport, query).await?;
            let id = format!("well-{:x}", fastrand::u128(..));
            let answer = client
                .publish(&material.ann, &material.channel, &id, "0")
                .await?;
            ensure!(answer.status == 201, "{answer:?}");
            // Others may have published before it.
            while reader
                .messages(1)
                .await?
                .iter()
                .all(|envelope| envelope.id != id)
            {}
        }
        Ok(())
    };
    timeout(HANGS, works).await.context("good requests hang")?
}

/// Bytes for a message, cut short.
fn shown(bytes: &[u8]) -> String {
    let more = if bytes.len() > 600 {
        format!("... {} bytes", bytes.len())
    } else {
        String::new()
    };
    format!("{}{more}", bytes[..bytes.len().min(600)].escape_ascii())
}

fn shown_answer(answer: &RawAnswer) -> String {
    format!(
        "{} {:?} {}",
        answer.status,
        answer.headers,
        shown(&answer.body)
    )
}

fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} {target} HTTP/1.1\r\nhost: localhost\r\n").into_bytes();
    if !headers.iter().any(|(name, _)| *name == "connection") {
        bytes.extend_from_slice(b"connection: close\r\n");
    }
    for (name, value) in headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    if !body.is_empty() || method == "POST" {
        bytes.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}

fn pick<'a, T: ?Sized>(rng: &mut Rng, from: &[&'a T]) -> &'a T {
    from[rng.usize(..from.len())]
}

fn transport(rng: &mut Rng) -> Transport {
    Transport::ALL[rng.usize(..Transport::ALL.len())]
}

/// A request by any transport.
fn read(rng: &mut Rng, query: &str, headers: &[(&str, &str)], statuses: &'static [u16]) -> Case {
    let transport = transport(rng);
    read_by(transport, query, headers, statuses)
}

fn read_by(
    transport: Transport,
    query: &str,
    headers: &[(&str, &str)],
    statuses: &'static [u16],
) -> Case {
    let headers = [transport.headers(), headers].concat();
    Case {
        bytes: request("GET", &transport.target(query), &headers, b""),
        statuses,
        by: Some(transport),
    }
}

/// Every byte percent-encoded, in both cases of hexadecimal digits.
fn encode(rng: &mut Rng, bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| {
            if rng.bool() {
                format!("%{byte:02X}")
            } else {
                format!("%{byte:02x}")
            }
        })
        .collect()
}

/// Between 0 and `most` bytes of any kind.
fn bytes(rng: &mut Rng, most: usize) -> Vec<u8> {
    let length = rng.usize(..=most);
    (0..length).map(|_| rng.u8(..)).collect()
}

fn word(rng: &mut Rng, most: usize) -> String {
    let length = rng.usize(1..=most);
    (0..length).map(|_| rng.alphanumeric()).collect()
}

/// Replaces, inserts, takes away or cuts off, a few times.
fn edit(rng: &mut Rng, text: &mut Vec<u8>) {
    for _ in 0..rng.usize(1..=4) {
        let at = rng.usize(..=text.len());
        match rng.u8(..4) {
            0 if at < text.len() => text[at] = rng.u8(..),
            1 if at < text.len() => drop(text.remove(at)),
            2 if rng.u8(..4) == 0 => text.truncate(at),
            _ => text.insert(at, rng.u8(..)),
        }
    }
}

fn path(rng: &mut Rng, _: &Material) -> Case {
    let transport = transport(rng).name();
    let route = pick(
        rng,
        &[
            "publish",
            "command",
            "webhook",
            "session",
            "jsonp-publish",
            "jsonp-command",
            "jsonp-session",
            transport,
        ],
    );
    let word = word(rng, 40);
    let noise = bytes(rng, 60);
    let target = match rng.u8(..10) {
        0 => format!("/witter/{word}"),
        1 => format!("/witter/{route}/{word}"),
        2 => format!("/witter/{route}{word}"),
        3 => format!("/witter/{}", encode(rng, &noise)),
        4 => format!("/{word}/{route}"),
        5 => format!("/witter/{}", route.to_uppercase()),
        6 => format!("/witter/{}{route}", "../".repeat(rng.usize(1..20))),
        7 => format!("/witter/{word}{}", "/x".repeat(rng.usize(1..4000))),
        8 => format!("/WITTER/{route}"),
        _ => format!("//witter//{route}"),
    };
    let method = pick(rng, &["GET", "POST", "PUT", "OPTIONS"]);
    Case {
        bytes: request(method, &target, &[], b""),
        statuses: &[204, 400, 404, 405],
        by: None,
    }
}

/// One parameter whose value is none of its kind.
fn parameter(rng: &mut Rng, material: &Material) -> Case {
    let name = pick(rng, &["history", "limit", "wait", "before", "heartbeat"]);
    let number = rng.u32(..);
    let value = match rng.u8(..13) {
        0 => format!("-{number}"),
        1 => format!("+{number}"),
        2 => format!("{number}.0"),
        3 => String::new(),
        4 => format!("%20{number}"),
        5 => format!("{number}%20"),
        6 => format!("0x{number:x}"),
        7 => format!("{number}e1"),
        8 => format!("{number}{}", "0".repeat(rng.usize(20..2000))),
        9 => format!("%D9%A1{number}"),
        10 => format!("{number}_000"),
        11 => "Infinity".to_owned(),
        _ => format!("{}x", word(rng, 10)),
    };
    let mut pairs = [
        format!("channel={}", material.channel),
        format!("{name}={value}"),
        format!("x={}", word(rng, 5)),
    ];
    rng.shuffle(&mut pairs);
    read(rng, &pairs.join("&"), &[], &[400])
}

/// A channel that is none.
fn channel(rng: &mut Rng, material: &Material) -> Case {
    let word = word(rng, 20);
    let channel = match rng.u8(..8) {
        0 => word.repeat(65),
        1 => format!("{word}@"),
        2 => format!("@@{word}"),
        3 => "@".to_owned(),
        4 => format!(
            "{word}%{:02x}",
            pick(rng, &[&b'/', &b' ', &b'%', &b'"', &0, &0x7f, &0xff, &b'@'])
        ),
        5 => format!(
            "{word}{}",
            pick(
                rng,
                &[
                    "*",
                    "!",
                    "'",
                    "(",
                    "$",
                    ":",
                    "+",
                    "%C3%A9",
                    "%ED%A0%80",
                    "%C0%AF"
                ]
            )
        ),
        6 => format!("{word}&channel={word}"),
        _ => String::new(),
    };
    if rng.bool() {
        return read(rng, &format!("channel={channel}&wait=0"), &[], &[400]);
    }
    let target = format!(
        "/witter/publish?channel={channel}&token={}",
        material.ann.token
    );
    let headers = [("content-type", "application/json")];
    Case {
        bytes: request("POST", &target, &headers, br#"{"id":"a","body":0}"#),
        statuses: &[400],
        by: None,
    }
}

/// A cursor with something changed: none of ours, or a place that yields a gap.
fn changed_cursor(rng: &mut Rng, material: &Material) -> String {
    let mut raw = URL_SAFE_NO_PAD
        .decode(&material.cursor)
        .expect("cursors are base64url");
    match rng.u8(..8) {
        0 => {
            let at = rng.usize(..raw.len());
            raw[at] ^= 1 << rng.u8(..8);
        }
        1 => raw.truncate(rng.usize(1..raw.len())),
        2 => raw.extend(bytes(rng, 200)),
        3 => raw = raw.repeat(rng.usize(2..200)),
        4 => edit(rng, &mut raw),
        5 => raw = bytes(rng, 300),
        6 => return format!("{}{}", material.cursor, "=".repeat(rng.usize(1..4))),
        _ => return word(rng, 2000),
    }
    URL_SAFE_NO_PAD.encode(raw)
}

fn cursor(rng: &mut Rng, material: &Material) -> Case {
    let cursor = changed_cursor(rng, material);
    let query = format!("channel={}&wait=0&after={cursor}", material.channel);
    read(rng, &query, &[], &[101, 200, 400])
}

fn cursor_in_header(rng: &mut Rng, material: &Material) -> Case {
    let cursor = if rng.u8(..4) == 0 {
        "\u{e9}\u{1f600}".to_owned()
    } else {
        changed_cursor(rng, material)
    };
    let query = format!("channel={}&wait=0", material.channel);
    read(rng, &query, &[("last-event-id", &cursor)], &[101, 200, 400])
}

/// A credential that does not hold.
fn forged(rng: &mut Rng, material: &Material) -> String {
    let mut token = material.ann.token.clone().into_bytes();
    match rng.u8(..6) {
        0 | 1 => {
            // The last character has bits that no byte has.
            let at = rng.usize(..token.len() - 1);
            let other = if token[at] == b'A' { b'B' } else { b'A' };
            token[at] = other;
        }
        2 => token.truncate(rng.usize(1..token.len() - 1)),
        3 => token.rotate_left(1),
        4 => return word(rng, 4000),
        _ => return format!("{}.{}.{}", word(rng, 50), word(rng, 50), word(rng, 50)),
    }
    String::from_utf8(token).expect("tokens are ASCII")
}

fn token(rng: &mut Rng, material: &Material) -> Case {
    let token = forged(rng, material);
    let query = format!("channel={}&wait=0&token={token}", material.channel);
    read(rng, &query, &[], &[401])
}

fn token_in_header(rng: &mut Rng, material: &Material) -> Case {
    let scheme = pick(
        rng,
        &[
            "Bearer ",
            "bearer ",
            "Basic ",
            "Bearer",
            "Digest x=",
            "Bearer  .",
        ],
    );
    let value = format!("{scheme}{}", forged(rng, material));
    let headers = [
        ("authorization", value.as_str()),
        ("content-type", "text/plain"),
    ];
    let target = format!("/witter/publish?channel={}", material.channel);
    Case {
        bytes: request("POST", &target, &headers, br#"{"id":"a","body":0}"#),
        statuses: &[401],
        by: None,
    }
}

/// A query with a few bytes changed; some of them the grammar lets pass.
fn query_noise(rng: &mut Rng, material: &Material) -> Case {
    let query = format!(
        "channel={}&wait=0&limit=5&history=2&after=",
        material.channel
    );
    let mut query = query.into_bytes();
    edit(rng, &mut query);
    let query: String = query
        .into_iter()
        .map(|byte| match byte {
            b'&' | b'=' | b'%' | b'+' => char::from(byte).to_string(),
            _ if byte.is_ascii_graphic() && byte != b'#' => char::from(byte).to_string(),
            _ => format!("%{byte:02x}"),
        })
        .collect();
    // A poll that lost its `wait` has no place, and is answered at once.
    read(rng, &query, &[], &[101, 200, 400, 401, 403])
}

/// A query whose errors are told with the status 200, where it can be read at all.
fn inline(rng: &mut Rng, material: &Material) -> Case {
    let fault = match rng.u8(..5) {
        0 => "limit=0".to_owned(),
        1 => format!("after={}", word(rng, 40) + "="),
        2 => format!("channel=%{}", pick(rng, &["", "4", "g0", "ff"])),
        3 => format!("errors={}", word(rng, 8)),
        _ => format!("{}=1&{0}=2", pick(rng, &["token", "wait", "before"])),
    };
    let query = format!("channel={}&wait=0&errors=inline&{fault}", material.channel);
    // Behind an upgrade there is nothing that could be read as the body of an answer.
    let transport = loop {
        let transport = transport(rng);
        if !transport.upgrades() {
            break transport;
        }
    };
    read_by(transport, &query, &[], &[400])
}

/// A text that is no name, on a route that takes one.
fn callback(rng: &mut Rng, material: &Material) -> Case {
    let word = word(rng, 20);
    let odd = format!(
        "{word}%{:02x}",
        pick(rng, &[&b'(', &b' ', &b';', &b'<', &0, &0x80])
    );
    let callback = match rng.u8(..8) {
        0 => format!("1{word}"),
        1 => format!(".{word}"),
        2 => format!("{word}."),
        3 => format!("{word}..{word}"),
        4 => format!("{}{word}", "a".repeat(rng.usize(128..5000))),
        5 => format!("{word}&callback={word}"),
        6 => String::new(),
        _ => odd,
    };
    let route = pick(
        rng,
        &[
            "jsonp-polling",
            "jsonp-publish",
            "jsonp-command",
            "jsonp-session",
            "htmlfile",
        ],
    );
    let target = format!(
        "/witter/{route}?channel={}&name=Ann&id=a&body=0&token={}&callback={callback}",
        material.channel, material.ann.token
    );
    Case {
        bytes: request("GET", &target, &[], b""),
        statuses: &[400],
        by: None,
    }
}

/// A text that is no origin: none that a script could be written with.
fn origin(rng: &mut Rng, material: &Material) -> Case {
    let word = word(rng, 20).to_lowercase();
    let noise = bytes(rng, 40);
    let origin = match rng.u8(..8) {
        0 => word,
        1 => format!("https://{word}/"),
        2 => format!("https://{word}:{}", rng.u32(65_536..)),
        3 => format!("https://{word}.Example"),
        4 => format!("https://{word}@{word}"),
        5 => format!(
            "https://{word}%{:02x}",
            pick(rng, &[b"'", b"\\", b"<", b"\n"])[0]
        ),
        6 => format!("{}://{word}'", pick(rng, &["https", "javascript", "data"])),
        _ => format!("'{}", encode(rng, &noise)),
    };
    let target = format!(
        "/witter/htmlfile?channel={}&origin={origin}",
        material.channel
    );
    Case {
        bytes: request("GET", &target, &[], b""),
        statuses: &[400],
        by: None,
    }
}

/// A request of a script element: an error is told in a script.
fn script(route: &str, query: &str, statuses: &'static [u16]) -> Case {
    let by = Transport::JsonpPolling;
    let target = by.target(query).replace(by.name(), route);
    Case {
        bytes: request("GET", &target, &[], b""),
        statuses,
        by: Some(by),
    }
}

/// A draft in a query, of a shape that none has.
fn script_draft(rng: &mut Rng, material: &Material) -> Case {
    let noise = bytes(rng, 100);
    let value = json(rng, 3);
    let value = encode(rng, value.as_bytes());
    let draft = match rng.u8(..7) {
        0 => format!("id=a&body={value}%2c"),
        1 => format!("id=a&body={value}&body={value}"),
        2 => format!("body={value}"),
        3 => "id=a".to_owned(),
        4 => format!("id={}&body=0", "x".repeat(rng.usize(65..5000))),
        5 => format!("id=%{:02x}&body=0", pick(rng, &[&b' ', &0, &b'\n', &0x7f])),
        _ => format!("id=a&body=%5b{}", encode(rng, &noise)),
    };
    let query = format!(
        "channel={}&token={}&{draft}",
        material.channel, material.ann.token
    );
    script("jsonp-publish", &query, &[400, 422])
}

/// The name of a guest that is none.
fn script_guest(rng: &mut Rng, _: &Material) -> Case {
    let word = word(rng, 20);
    let query = match rng.u8(..6) {
        0 => String::new(),
        1 => format!("Name={word}"),
        2 => "name=+%20".to_owned(),
        3 => format!("name={word}%{:02x}{word}", rng.u8(..32)),
        4 => format!("name={}", "%C3%A9".repeat(rng.usize(65..3000))),
        _ => format!("name={word}&name={word}"),
    };
    script("jsonp-session", &query, &[400, 422])
}

/// A command that is damaged, or none.
fn command(rng: &mut Rng, material: &Material) -> Case {
    let mut body = command_text(rng).into_bytes();
    if rng.bool() {
        edit(rng, &mut body);
    }
    post(material, "/witter/command", &body, &[200, 400, 413, 422])
}

fn script_command(rng: &mut Rng, material: &Material) -> Case {
    let text = command_text(rng);
    let noise = bytes(rng, 20);
    let command = match rng.u8(..4) {
        0 => String::new(),
        1 => format!("command={}%", encode(rng, text.as_bytes())),
        2 => format!("command={}", encode(rng, &noise)),
        _ => format!("command={}&command=1", encode(rng, text.as_bytes())),
    };
    let query = format!("token={}&{command}", material.ann.token);
    script("jsonp-command", &query, &[400, 422])
}

fn command_text(rng: &mut Rng) -> String {
    let value = json(rng, 3);
    match rng.u8(..5) {
        0 => value,
        1 => format!(r#"{{"me":{value}}}"#),
        2 => format!(r#"{{"{}":{value}}}"#, word(rng, 12)),
        3 => format!(r#"{{"me":{{}},"me":{value}}}"#),
        _ => format!(r#"{{"me":{{"x":"{}"}}}}"#, "x".repeat(rng.usize(..6000))),
    }
}

fn publish(material: &Material, body: &[u8], statuses: &'static [u16]) -> Case {
    let target = format!("/witter/publish?channel={}", material.channel);
    post(material, &target, body, statuses)
}

/// JSON from who is let in.
fn post(material: &Material, target: &str, body: &[u8], statuses: &'static [u16]) -> Case {
    let bearer = format!("Bearer {}", material.ann.token);
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    Case {
        bytes: request("POST", target, &headers, body),
        statuses,
        by: None,
    }
}

fn draft_noise(rng: &mut Rng, material: &Material) -> Case {
    let mut body = format!(
        r#"{{"id":"{}","body":{{"text":"héllo \ud83d\ude00","n":[1.0,-2e3,null]}}}}"#,
        word(rng, 20)
    );
    if rng.bool() {
        body = format!("[{body},{body}]");
    }
    let mut body = body.into_bytes();
    edit(rng, &mut body);
    publish(material, &body, &[200, 201, 400, 409, 422])
}

/// JSON of a shape that no draft has.
fn draft_shape(rng: &mut Rng, material: &Material) -> Case {
    let value = json(rng, 4);
    let body = match rng.u8(..9) {
        0 => pick(rng, &["null", "true", "0", "-1.5e300", "\"x\"", "[]", "{}"]).to_owned(),
        1 => format!(
            r#"{{"id":"x"{}}}"#,
            pick(rng, &["", r#","Body":0"#, r#","body2":0"#])
        ),
        2 => format!(r#"{{"body":{value}}}"#),
        3 => format!(
            r#"{{"id":{},"body":{value}}}"#,
            pick(
                rng,
                &[
                    "null",
                    "1",
                    "[]",
                    "{}",
                    "\"\"",
                    "\" \"",
                    "\"é\"",
                    "\"\\u0000\""
                ]
            )
        ),
        4 => format!(
            r#"{{"id":"{}","body":{value}}}"#,
            "x".repeat(rng.usize(65..5000))
        ),
        5 => format!(r#"{{"id":"a","body":{value},"body":{value}}}"#),
        6 => format!(
            r#"[{{"id":"a","body":0}},{}]"#,
            pick(rng, &["null", "0", "[]", "{}", "\"x\""])
        ),
        7 => "[".repeat(rng.usize(1..100_000)),
        _ => {
            let depth = rng.usize(2..50_000);
            format!("{}{}", "[".repeat(depth), "]".repeat(depth))
        }
    };
    publish(material, body.as_bytes(), &[400, 422])
}

/// Any JSON.
fn json(rng: &mut Rng, depth: usize) -> String {
    match rng.u8(..if depth == 0 { 4 } else { 6 }) {
        0 => pick(rng, &["null", "true", "false"]).to_owned(),
        1 => rng.i64(..).to_string(),
        2 => format!("{}e{}", rng.i32(..), rng.i16(..)),
        3 => format!("\"{}\\u{:04x}\"", word(rng, 10), rng.u16(..)),
        4 => {
            let items: Vec<String> = (0..rng.usize(..4)).map(|_| json(rng, depth - 1)).collect();
            format!("[{}]", items.join(","))
        }
        _ => {
            let members: Vec<String> = (0..rng.usize(..4))
                .map(|_| format!("\"{}\":{}", word(rng, 5), json(rng, depth - 1)))
                .collect();
            format!("{{{}}}", members.join(","))
        }
    }
}

fn draft_size(rng: &mut Rng, material: &Material) -> Case {
    let over = if rng.u8(..8) == 0 {
        1024 * 1024
    } else {
        65_535
    };
    let length = over + rng.usize(..2000);
    publish(
        material,
        format!(r#"{{"id":"a","body":"{}"}}"#, "x".repeat(length)).as_bytes(),
        &[413],
    )
}

fn guest(rng: &mut Rng, _: &Material) -> Case {
    let value = json(rng, 3);
    let body = match rng.u8(..7) {
        0 => value,
        1 => format!(
            r#"{{"name":{}}}"#,
            pick(
                rng,
                &["null", "1", "[]", "{}", "\"\"", "\" \\t\"", "\"\\u0007\""]
            )
        ),
        2 => format!(r#"{{"name":"{}"}}"#, "😀".repeat(rng.usize(65..9000))),
        3 => format!(r#"{{"Name":{value}}}"#),
        4 => r#"{"name":"a","name":"a"}"#.to_owned(),
        5 => r#"{"name":"\udfff"}"#.to_owned(),
        _ => word(rng, 100) + "{",
    };
    Case {
        bytes: request(
            "POST",
            "/witter/session",
            &[("content-type", "text/plain")],
            body.as_bytes(),
        ),
        statuses: &[400, 422],
        by: None,
    }
}

fn media_type(rng: &mut Rng, material: &Material) -> Case {
    let (one, other) = (word(rng, 10), word(rng, 10));
    let media_type = match rng.u8(..6) {
        0 => format!("{one}/{other}"),
        1 => format!("application/json{one}"),
        2 => format!("text/plain/{one}"),
        3 => format!("application/x-www-form-urlencoded; charset={one}"),
        4 => format!("multipart/form-data; boundary={one}"),
        _ => pick(
            rng,
            &[
                "/",
                "*/*",
                "text/*",
                "text",
                "\u{e9}/\u{e9}",
                "application/ json",
            ],
        )
        .to_owned(),
    };
    let bearer = format!("Bearer {}", material.ann.token);
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", media_type.as_str()),
    ];
    let target = format!("/witter/publish?channel={}", material.channel);
    Case {
        bytes: request("POST", &target, &headers, br#"{"id":"a","body":0}"#),
        statuses: &[415],
        by: None,
    }
}

fn method(rng: &mut Rng, material: &Material) -> Case {
    let word = word(rng, 30);
    let method = pick(
        rng,
        &[
            "HEAD",
            "PUT",
            "DELETE",
            "PATCH",
            "TRACE",
            "PROPFIND",
            "get",
            "Post",
            word.as_str(),
        ],
    );
    let (target, by) = match rng.u8(..3) {
        0 => (
            format!("/witter/publish?channel={}", material.channel),
            None,
        ),
        1 => ("/witter/session".to_owned(), None),
        _ => {
            let transport = transport(rng);
            let query = format!("channel={}&wait=0", material.channel);
            (transport.target(&query), Some(transport))
        }
    };
    let is_inline = by.is_some_and(|transport| transport.callback().is_some());
    Case {
        bytes: request(method, &target, &[], b""),
        // The answer to HEAD has no body that could tell more than its status.
        statuses: if is_inline && method == "HEAD" {
            &[200]
        } else {
            &[405]
        },
        by,
    }
}

/// A header that no client sends: ignored, or the end of the request.
fn header(rng: &mut Rng, material: &Material) -> Case {
    let word = word(rng, 20);
    let long = "x".repeat(rng.usize(1..100_000));
    let (name, value) = match rng.u8(..20) {
        0 => ("x y", word.as_str()),
        1 => ("", word.as_str()),
        2 => ("x", "\0"),
        3 => ("x", "a\rb"),
        4 => ("x", "\u{7f}"),
        5 => ("x\u{e9}", word.as_str()),
        6 => ("x", "\u{1f600}"),
        7 => ("x", long.as_str()),
        8 => ("cookie", long.as_str()),
        9 => ("content-length", "-1"),
        10 => ("content-length", "1, 2"),
        11 => ("content-length", "99999999999999999999"),
        12 => ("host", "elsewhere.example"),
        13 => ("host", "a b"),
        14 => ("upgrade", "websocket"),
        15 => ("range", "bytes=5-1"),
        16 => ("x-forwarded-for", "nobody, 1.2.3.4.5"),
        17 => ("forwarded", "for=\"[::1"),
        18 => ("if-none-match", "*"),
        _ => ("accept", "nothing/here;q=x"),
    };
    let query = format!("channel={}&wait=0", material.channel);
    read(rng, &query, &[(name, value)], &[101, 200, 400, 413, 431])
}

#[test]
fn broken_http_is_refused_and_harms_nobody() -> Result<()> {
    /// A status, or a close without an answer where that is 0.
    type Ends = &'static [u16];
    let long_line = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(200_000));
    let long_head = format!(
        "GET / HTTP/1.1\r\nhost: x\r\n{}\r\n",
        "x: y\r\n".repeat(50_000)
    );
    let chunked = "POST /witter/publish?channel=a HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\n\
                   connection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let cases: Vec<(Vec<u8>, Ends)> = vec![
        (b"\r\n\r\n\r\n".to_vec(), &[0, 400, 408]),
        (b"GET\r\n\r\n".to_vec(), &[400]),
        (b"GET /\r\n\r\n".to_vec(), &[400]),
        (b"GET / HTTP/9.9\r\n\r\n".to_vec(), &[400, 505]),
        (b"GET / FTP/1.1\r\nhost: x\r\n\r\n".to_vec(), &[400]),
        (b"GET /\0 HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), &[400]),
        (b"GET /\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), &[400, 404]),
        (b"GET nowhere HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), &[400, 404]),
        (b"GET http://[::1/ HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), &[400]),
        (b"CONNECT /witter/sse HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), &[400, 404, 405]),
        (b"OPTIONS * HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_vec(), &[200, 204, 400, 404, 405]),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(10), &[0, 400]),
        (b"SSH-2.0-OpenSSH_9.9\r\n\r\n".to_vec(), &[400]),
        (long_line.into_bytes(), &[400, 414, 431]),
        (long_head.into_bytes(), &[400, 431]),
        (b"GET / HTTP/1.1\r\nhost: x\r\n folded: y\r\n\r\n".to_vec(), &[400]),
        (b"GET / HTTP/1.1\r\nhost x\r\n\r\n".to_vec(), &[400]),
        (b"GET / HTTP/1.1\nhost: x\nconnection: close\n\n".to_vec(), &[200, 400]),
        (format!("{chunked}zz\r\nx\r\n0\r\n\r\n").into_bytes(), &[0, 400, 401]),
        (format!("{chunked}5\r\nabcdefgh\r\n0\r\n\r\n").into_bytes(), &[0, 400, 401]),
        (format!("{chunked}ffffffffffffffff\r\nx").into_bytes(), &[400, 401, 408, 413]),
        (format!("{chunked}-1\r\nx\r\n").into_bytes(), &[0, 400, 401]),
        (format!("{chunked}{}\r\nx\r\n", "0".repeat(100_000)).into_bytes(), &[0, 400, 401, 408]),
        (
            b"POST /witter/session HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n123456".to_vec(),
            &[400],
        ),
        (
            b"POST /witter/session HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
                .to_vec(),
            &[400, 415],
        ),
        (
            b"POST /witter/session HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip\r\n\r\n".to_vec(),
            &[400],
        ),
    ];
    tokio::runtime::Runtime::new()?.block_on(async {
        let (server, client, material) = start().await?;
        for (bytes, ends) in &cases {
            let answer = timeout(HANGS, exchange(server.address(), bytes)).await;
            let answer = answer.context("it hangs").and_then(|answer| answer).with_context(|| shown(bytes))?;
            let status = answer.as_ref().map_or(0, |answer| answer.status);
            ensure!(ends.contains(&status), "{ends:?} was expected, not {status}: {}", shown(bytes));
            if let Some(answer) = answer.filter(|answer| answer.status >= 400) {
                check_documented(&answer, false)
                    .with_context(|| format!("{}: {}", shown(bytes), shown_answer(&answer)))?;
            }
        }
        // Who goes away in the middle of a request leaves nothing behind.
        for unfinished in [
            "",
            "G",
            // The answer to this is in frames of HTTP/2.
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnot frames at all",
            "GET / HTTP/1.1\r\nhost:",
            "POST /witter/session HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\ncontent-length: 100\r\n\r\n{\"name\"",
            "POST /witter/publish?channel=a HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
        ] {
            for _ in 0..20 {
                let mut socket = tokio::net::TcpStream::connect(server.address()).await?;
                tokio::io::AsyncWriteExt::write_all(&mut socket, unfinished.as_bytes()).await?;
            }
        }
        is_well(&client, &material).await
    })
}
