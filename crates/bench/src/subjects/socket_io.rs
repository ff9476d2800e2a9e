//! Socket.IO 4: its protocol 5 in Engine.IO's protocol 4, by a WebSocket from the start, or by polling.

use anyhow::{Context as _, Result, bail, ensure};
use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use memchr::{memchr, memmem};

use crate::drafts::{Draft, Drafts};
use crate::http::Connection;
use crate::peers;
use crate::publishing;
use crate::run::Inbox;
use crate::socket::{Answers, Socket};
use crate::subject::{Delivery, Maker, Store, Subject, Target};

pub(crate) const WEBSOCKET: Subject = Subject {
    name: "socket.io websocket",
    maker: Maker::Node,
    store: Store::Own,
    delivery: Delivery::Socket,
    beside: Some("witter websocket"),
    start: |setup| peers::node(setup, "socket-io.mjs", &[]),
    publish,
    read: |target, inbox| Box::pin(websocket(target, inbox)),
};

pub(crate) const POLLING: Subject = Subject {
    name: "socket.io polling",
    delivery: Delivery::Held,
    beside: Some("witter long-polling"),
    read: |target, inbox| Box::pin(polling(target, inbox)),
    ..WEBSOCKET
};

/// With the option that keeps what a reader misses who is away for less than two minutes.
pub(crate) const RECOVERY: Subject = Subject {
    name: "socket.io recovery",
    start: |setup| peers::node(setup, "socket-io.mjs", &["--recovery"]),
    ..WEBSOCKET
};

const SOCKET: &str = "/socket.io/?EIO=4&transport=websocket";
const POLL: &str = "/socket.io/?EIO=4&transport=polling";

/// Between packets in one answer to a poll.
const SEPARATOR: u8 = 0x1e;

fn publish(target: Target, drafts: Drafts) -> LocalBoxFuture<'static, Result<()>> {
    async move {
        let open = async || {
            let mut socket = Socket::open_path(target.address, SOCKET).await?;
            await_packet(&mut socket, |packet| packet.starts_with(b"0")).await?;
            socket.send(r#"40{"publisher":true}"#).await?;
            await_packet(&mut socket, |packet| packet.starts_with(b"40")).await?;
            Ok(socket)
        };
        let write = |Draft { id, body, .. }: &Draft| {
            Ok(format!(r#"420["publish",{{"id":"{id}","body":{body}}}]"#))
        };
        let accepts = |packet: &[u8], draft: &Draft, answers: &mut Answers| {
            if packet == b"2" {
                answers.say("3");
            }
            let is_answer = packet.starts_with(b"430[");
            Ok(Ok(is_answer && draft.is_named_in(packet)))
        };
        publishing::by_socket(drafts, open, write, accepts).await
    }
    .boxed_local()
}

async fn await_packet(socket: &mut Socket, fits: impl Fn(&[u8]) -> bool) -> Result<()> {
    loop {
        let packet = socket.next().await?;
        if fits(&packet) {
            return Ok(());
        }
        if packet == b"2" {
            socket.send("3").await?;
        }
    }
}

async fn websocket(target: Target, inbox: Inbox) -> Result<()> {
    let mut socket = Socket::open_path(target.address, SOCKET).await?;
    socket
        .each(|packet, answers| {
            if let Some(answer) = take(packet, &inbox)? {
                answers.say(&answer);
            }
            Ok(())
        })
        .await
}

async fn polling(target: Target, inbox: Inbox) -> Result<()> {
    let mut connection = Connection::open(target.address).await?;
    let mut body = Vec::new();
    let mut path = POLL.to_owned();
    loop {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let status = connection.request(request.as_bytes()).await?;
        connection.rest(&mut body).await?;
        ensure!(status == 200, "{status} {}", String::from_utf8_lossy(&body));
        if path.len() == POLL.len() {
            let id = member(&body, b"\"sid\":\"").context("a session without its id")?;
            path = format!("{POLL}&sid={}", String::from_utf8_lossy(id));
        }
        for packet in body.split(|byte| *byte == SEPARATOR) {
            if let Some(answer) = take(packet, &inbox)? {
                post(&target, &path, &answer).await?;
            }
        }
    }
}

/// Answers come once in a while: they do not keep a connection.
async fn post(target: &Target, path: &str, body: &str) -> Result<()> {
    let mut connection = Connection::open(target.address).await?;
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain;charset=UTF-8\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let status = connection.request(request.as_bytes()).await?;
    ensure!(status == 200, "an answer was refused: {status}");
    Ok(())
}

/// Takes what a packet brings, and says what is to be answered.
fn take(packet: &[u8], inbox: &Inbox) -> Result<Option<String>> {
    let cursor = inbox.cursor();
    // Those of a server that keeps what is missed: its session, and the last event in it.
    let place = cursor.split_once('\n');
    match packet {
        [b'0', ..] => Ok(Some(match place {
            Some((session, offset)) => {
                format!(r#"40{{"pid":"{session}","offset":"{offset}"}}"#)
            }
            None => "40".to_owned(),
        })),
        b"2" => Ok(Some("3".to_owned())),
        [b'4', b'0', connected @ ..] => {
            match (member(connected, b"\"pid\":\""), place) {
                (None, _) => inbox.set_ready(),
                (Some(session), Some((ours, _))) if session == ours.as_bytes() => {}
                (Some(session), _) => inbox.set_cursor(&[session, b"\n"].concat()),
            }
            Ok(None)
        }
        [b'4', b'2', event @ ..] => {
            inbox.receive(event);
            if let (Some((session, _)), Some(offset)) = (place, last_string(event)) {
                inbox.set_cursor(&[session.as_bytes(), b"\n", offset].concat());
            }
            Ok(None)
        }
        b"6" => Ok(None),
        _ => bail!("unexpected: {}", String::from_utf8_lossy(packet)),
    }
}

fn member<'a>(text: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let value = &text[memmem::find(text, name)? + name.len()..];
    Some(&value[..memchr(b'"', value)?])
}

/// The last argument of an event, where it is a string.
fn last_string(event: &[u8]) -> Option<&[u8]> {
    let event = event.strip_suffix(b"\"]")?;
    Some(&event[memchr::memrchr(b'"', event)? + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Run;

    #[track_caller]
    fn check(packets: &[(&str, Option<&str>)], deliveries: u64, cursor: &str) {
        let run = Run::new(1, 1);
        let inbox = run.inbox(0);
        for (packet, answer) in packets {
            let said = take(packet.as_bytes(), &inbox).expect("the packet is well formed");
            assert_eq!(said.as_deref(), *answer, "{packet}");
        }
        let ready = usize::from(packets.iter().any(|(packet, _)| packet.starts_with("40")));
        assert_eq!((run.deliveries(), run.ready()), (deliveries, ready));
        assert_eq!(inbox.cursor(), cursor);
    }

    const OPEN: &str = r#"0{"sid":"a","upgrades":[],"pingInterval":25000}"#;
    const EVENT: &str = r#"42["message",{"id":"1","body":"^0.0.5^"}]"#;

    #[test]
    fn a_session_is_opened_pinged_and_brings_events() {
        check(
            &[
                (OPEN, Some("40")),
                (r#"40{"sid":"b"}"#, None),
                (EVENT, None),
                ("2", Some("3")),
                ("6", None),
            ],
            1,
            "",
        );
    }

    #[test]
    fn a_session_that_is_kept_goes_on_behind_its_last_event() {
        let event = r#"42["message",{"body":"^0.0.5^"},"z1"]"#;
        let again = Some(r#"40{"pid":"p","offset":"z1"}"#);
        check(
            &[
                (OPEN, Some("40")),
                (r#"40{"sid":"b","pid":"p"}"#, None),
                (event, None),
                (OPEN, again),
                (r#"40{"sid":"b","pid":"p"}"#, None),
                (OPEN, again),
            ],
            1,
            "p\nz1",
        );
        check(
            &[
                (r#"40{"sid":"b","pid":"p"}"#, None),
                (event, None),
                (r#"40{"sid":"c","pid":"q"}"#, None),
            ],
            1,
            "q\n",
        );
    }

    #[test]
    fn the_end_of_a_session_is_an_error() {
        for packet in ["", "1", "41", r#"44{"message":"no"}"#, "x"] {
            let outcome = take(packet.as_bytes(), &Run::new(1, 1).inbox(0));
            assert!(outcome.is_err(), "{packet}");
        }
    }
}
