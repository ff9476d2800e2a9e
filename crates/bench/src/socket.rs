//! A WebSocket's client end (RFC 6455), as far as the servers measured ask for it: no compression is offered,
//! none of them sends fragments.

use std::collections::VecDeque;
use std::net::SocketAddr;

use anyhow::{Result, bail, ensure};

use crate::drafts::Draft;
use crate::http::Connection;
use crate::publishing::Pending;

/// The headers of an upgrade, with the key that RFC 6455 takes as its example.
pub(crate) const UPGRADE: &str = "connection: upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// An empty pong, masked with zeros (section 5.3).
const PONG: [u8; 6] = [0x8a, 0x80, 0, 0, 0, 0];

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;

/// An open connection.
pub(crate) struct Socket {
    connection: Connection,
    frames: Frames,
    /// Messages that came and were not asked for yet.
    waiting: VecDeque<Vec<u8>>,
}

impl Socket {
    /// Sends a request with [`UPGRADE`] among its headers on a connection of its own.
    pub(crate) async fn open(address: SocketAddr, request: &[u8]) -> Result<Self> {
        Self::upgrade(Connection::open(address).await?, request).await
    }

    /// Sends a request with [`UPGRADE`] among its headers.
    pub(crate) async fn upgrade(mut connection: Connection, request: &[u8]) -> Result<Self> {
        let status = connection.request(request).await?;
        ensure!(status == 101, "status {status}");
        Ok(Self {
            connection,
            frames: Frames::default(),
            waiting: VecDeque::new(),
        })
    }

    /// Opens a path of a server that asks for nothing else.
    pub(crate) async fn open_path(address: SocketAddr, path: &str) -> Result<Self> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n{UPGRADE}\r\n");
        Self::open(address, request.as_bytes()).await
    }

    pub(crate) async fn send(&mut self, text: &str) -> Result<()> {
        Ok(self.connection.send(&message(text)).await?)
    }

    /// Hands over each message until the connection ends, which is an error. What `take` leaves behind is sent.
    pub(crate) async fn each(
        &mut self,
        mut take: impl FnMut(&[u8], &mut Answers) -> Result<()>,
    ) -> Result<()> {
        let mut answers = Answers::default();
        loop {
            self.piece(&mut answers, &mut take).await?;
            self.answer(&mut answers).await?;
        }
    }

    /// The next message.
    pub(crate) async fn next(&mut self) -> Result<Vec<u8>> {
        let mut answers = Answers::default();
        let mut come = std::mem::take(&mut self.waiting);
        while come.is_empty() {
            self.piece(&mut answers, |message, _| {
                come.push_back(message.to_vec());
                Ok(())
            })
            .await?;
            self.answer(&mut answers).await?;
        }
        self.waiting = come;
        Ok(self.waiting.pop_front().unwrap_or_default())
    }

    /// Sends what is unsent of what is pending, as `write` has it, and takes messages until `accepts` knows one for the
    /// first; tells for how many of the first it does. One message may answer several.
    ///
    /// The inner error may pass. What `accepts` leaves behind is sent.
    pub(crate) async fn publish(
        &mut self,
        pending: &Pending,
        write: impl Fn(&Draft) -> Result<String>,
        accepts: impl Fn(&[u8], &Draft, &mut Answers) -> Result<Result<bool>>,
    ) -> Result<Result<usize>> {
        let mut said = Answers::default();
        for draft in pending.unsent() {
            said.say(&write(draft)?);
        }
        if let Err(error) = self.answer(&mut said).await {
            return Ok(Err(error));
        }
        let mut accepted = 0;
        loop {
            let message = match self.next().await {
                Ok(message) => message,
                Err(error) => return Ok(Err(error)),
            };
            while let Some(draft) = pending.drafts().get(accepted) {
                match accepts(&message, draft, &mut said)? {
                    Ok(true) => accepted += 1,
                    Ok(false) => break,
                    Err(error) => return Ok(Err(error)),
                }
            }
            if let Err(error) = self.answer(&mut said).await {
                return Ok(Err(error));
            }
            // What comes behind the last answer is for the next time.
            let is_over = self.waiting.is_empty() || accepted == pending.drafts().len();
            if accepted > 0 && is_over {
                return Ok(Ok(accepted));
            }
        }
    }

    async fn answer(&mut self, answers: &mut Answers) -> Result<()> {
        if !answers.0.is_empty() {
            self.connection.send(&answers.0).await?;
            answers.0.clear();
        }
        Ok(())
    }

    async fn piece(
        &mut self,
        answers: &mut Answers,
        mut take: impl FnMut(&[u8], &mut Answers) -> Result<()>,
    ) -> Result<()> {
        let Some(piece) = self.connection.piece().await? else {
            bail!("the connection ended");
        };
        let mut outcome = Ok(());
        self.frames.feed(piece, |opcode, payload| match opcode {
            _ if outcome.is_err() => {}
            TEXT => outcome = take(payload, answers),
            PING => answers.0.extend_from_slice(&PONG),
            CLOSE => outcome = Err(anyhow::anyhow!("the server closed the socket")),
            _ => {}
        });
        outcome
    }
}

/// Frames to be sent.
#[derive(Default)]
pub(crate) struct Answers(Vec<u8>);

impl Answers {
    pub(crate) fn say(&mut self, text: &str) {
        self.0.extend(message(text));
    }
}

/// A client's text message, masked with zeros.
fn message(text: &str) -> Vec<u8> {
    let mut frame = vec![0x80 | TEXT];
    match text.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    frame
}

/// Cuts a server's stream into frames, which are neither masked nor, here, in fragments or compressed.
#[derive(Default)]
struct Frames {
    /// What is not whole yet.
    begun: Vec<u8>,
}

impl Frames {
    fn feed(&mut self, piece: &[u8], mut take: impl FnMut(u8, &[u8])) {
        let joined;
        let mut rest = if self.begun.is_empty() {
            piece
        } else {
            self.begun.extend_from_slice(piece);
            joined = std::mem::take(&mut self.begun);
            &joined
        };
        while let Some((opcode, payload, behind)) = frame(rest) {
            take(opcode, payload);
            rest = behind;
        }
        self.begun.extend_from_slice(rest);
    }
}

/// The first frame and what is behind it; none where it is not whole.
fn frame(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[first, length], rest) = bytes.split_first_chunk()?;
    let (length, rest) = match length {
        127 => {
            let (length, rest) = rest.split_first_chunk()?;
            (usize::try_from(u64::from_be_bytes(*length)).ok()?, rest)
        }
        126 => {
            let (length, rest) = rest.split_first_chunk()?;
            (u16::from_be_bytes(*length).into(), rest)
        }
        length => (length.into(), rest),
    };
    let (payload, behind) = rest.split_at_checked(length)?;
    Some((first & 0x0f, payload, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_whole_wherever_the_stream_is_cut() {
        let mut stream = vec![0x81, 2, b'h', b'i', 0x89, 0, 0x81, 126, 0, 200];
        stream.extend([b'x'; 200]);
        stream.extend([0x81, 127, 0, 0, 0, 0, 0, 0, 0, 1, b'!']);
        let expected = [(TEXT, 2), (PING, 0), (TEXT, 200), (TEXT, 1)];
        for at in 0..=stream.len() {
            let mut frames = Frames::default();
            let mut found = Vec::new();
            for piece in [&stream[..at], &stream[at..]] {
                frames.feed(piece, |opcode, payload| found.push((opcode, payload.len())));
            }
            assert_eq!(found, expected, "cut at {at}");
        }
    }

    #[test]
    fn a_message_says_its_length_and_is_masked() {
        #[track_caller]
        fn check(length: usize, head: &[u8]) {
            let text = "x".repeat(length);
            let frame = message(&text);
            assert_eq!(&frame[..head.len()], head, "{length}");
            assert_eq!(&frame[head.len()..head.len() + 4], [0; 4], "{length}");
            assert_eq!(&frame[head.len() + 4..], text.as_bytes(), "{length}");
        }
        check(0, &[0x81, 0x80]);
        check(125, &[0x81, 0xfd]);
        check(126, &[0x81, 0xfe, 0, 126]);
        check(65_535, &[0x81, 0xfe, 0xff, 0xff]);
        check(65_536, &[0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 0]);
    }
}
