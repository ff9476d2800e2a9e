//! Clients and compressors of others, any messages, any fragments, any splits.

use crate::client::*;
use crate::{deflate, echo};
use futures::{SinkExt, StreamExt};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::runtime::Builder;
use ws::{Connection, Event};
use yawc::close::CloseCode;
use yawc::frame::{Frame, OpCode};
use yawc::{Options, WebSocket};

#[derive(Clone, Debug)]
enum Message {
    Text(String),
    Binary(Vec<u8>),
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        any::<String>().prop_map(Message::Text),
        "[ab€💥]{0,2000}".prop_map(Message::Text),
        vec(any::<u8>(), 0..300).prop_map(Message::Binary),
        (any::<u8>(), 0..70_000usize)
            .prop_map(|(byte, length)| Message::Binary(vec![byte; length])),
    ]
}

/// Sizes of pieces, used in turn.
fn pieces(largest: usize) -> impl Strategy<Value = Vec<usize>> {
    vec(1..=largest, 1..8)
}

/// Cuts bytes into pieces of these sizes.
fn cut<'a>(mut bytes: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut cut = Vec::new();
    for size in sizes.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (piece, rest) = bytes.split_at(bytes.len().min(*size));
        cut.push(piece);
        bytes = rest;
    }
    cut
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_a_client_sends_in_any_fragments_comes_whole(
        messages in vec((message(), any::<bool>(), 0..=9u32), 1..5),
        fragments in pieces(30_000),
        splits in pieces(5_000),
    ) {
        let mut input = Vec::new();
        let mut expected = Vec::new();
        for (message, is_compressed, level) in messages {
            let (opcode, payload, event) = match message {
                Message::Text(text) => (TEXT, text.clone().into_bytes(), Event::Text(text)),
                Message::Binary(bytes) => (BINARY, bytes.clone(), Event::Binary(bytes)),
            };
            let (payload, bit) = match is_compressed {
                true => (deflate::compress(&payload, level), RSV1),
                false => (payload, 0),
            };
            let fragments = cut(&payload, &fragments);
            for (i, fragment) in fragments.iter().enumerate() {
                let first = if i == 0 { bit | opcode } else { CONTINUATION };
                input.extend(frame(first, fragment));
                input.extend(frame(FINAL | PING, [i as u8]));
                expected.push(Event::Ping(vec![i as u8]));
            }
            let first = if fragments.is_empty() { bit | opcode } else { CONTINUATION };
            input.extend(frame(FINAL | first, ""));
            expected.push(event);
        }
        let outcome = run(deflate::connection(), cut(&input, &splits));
        prop_assert_eq!(outcome.events, expected);
    }

    #[test]
    fn what_the_server_sends_is_read_by_another_decompressor(
        message in message(),
        bits in 9..=15u8,
    ) {
        let agreed = deflate::agreed(&format!("permessage-deflate; server_max_window_bits={bits}"));
        let mut connection = Connection::new(LIMITS, agreed);
        let (opcode, payload) = match &message {
            Message::Text(text) => (TEXT, text.as_bytes()),
            Message::Binary(bytes) => (BINARY, bytes.as_slice()),
        };
        match &message {
            Message::Text(text) => connection.send_text(text),
            Message::Binary(bytes) => connection.send_binary(bytes),
        }
        .expect("room");
        for (first, sent) in read(&connection.take_output()) {
            prop_assert_eq!(first & !RSV1, FINAL | opcode);
            let sent = if first & RSV1 == 0 { sent } else { deflate::decompress(&sent) };
            prop_assert!(sent == payload);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn another_client_reads_back_what_it_sends(
        messages in vec(message(), 1..5),
        compresses in any::<bool>(),
        fragment in 1..50_000usize,
        pipe in 1..10_000usize,
    ) {
        let mut options = Options::default().with_max_fragment_size(fragment).with_utf8();
        if compresses {
            options = options.with_balanced_compression();
        }
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(talk(messages, options, pipe));
    }
}

/// A conversation through a pipe of so many bytes.
async fn talk(messages: Vec<Message>, options: Options, pipe: usize) {
    let (ours, theirs) = tokio::io::duplex(pipe);
    let server = tokio::spawn(echo::serve(ours));
    let url = "ws://localhost/".parse().expect("a URL");
    let client = WebSocket::handshake(url, theirs, options)
        .await
        .expect("a handshake");
    let (mut sink, mut stream) = client.split();
    for message in messages {
        let (frame, opcode, payload) = match message {
            Message::Text(text) => (Frame::text(text.clone()), OpCode::Text, text.into_bytes()),
            Message::Binary(bytes) => (Frame::binary(bytes.clone()), OpCode::Binary, bytes),
        };
        // Both at once: a message may be longer than the pipe.
        let (sent, echo) = tokio::join!(sink.send(frame), stream.next());
        sent.expect("sent");
        let echo = echo.expect("an echo");
        assert_eq!(echo.opcode(), opcode);
        assert!(echo.payload() == &payload, "another message came back");
    }
    let close = Frame::close(CloseCode::Away, "enough");
    let (sent, answer) = tokio::join!(sink.send(close), stream.next());
    sent.expect("sent");
    let answer = answer.expect("an answer");
    assert_eq!(answer.opcode(), OpCode::Close);
    assert_eq!(answer.close_code(), Some(CloseCode::Away));
    drop((sink, stream));
    server.await.expect("no panic").expect("a clean end");
}
