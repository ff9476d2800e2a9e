//! A WebSocket.

use anyhow::{Result, bail, ensure};

use super::frames;
use crate::http::Connection;
use crate::run::Inbox;
use crate::subject::{Subject, Target};
use crate::witter;

pub(crate) const SUBJECT: Subject = Subject {
    name: "websocket",
    start: witter::start,
    publish: witter::publish,
    read: |target, inbox| Box::pin(read(target, inbox)),
};

/// An empty pong, masked with zeros (RFC 6455, section 5.3).
const PONG: [u8; 6] = [0x8a, 0x80, 0, 0, 0, 0];

async fn read(target: Target, inbox: Inbox) -> Result<()> {
    let mut connection = Connection::open(target.address).await?;
    let request = witter::upgrade("websocket", &inbox.after(), &target);
    let status = connection.request(&request).await?;
    ensure!(status == 101, "status {status}");
    let mut stream = Stream::default();
    while let Some(piece) = connection.piece().await? {
        let mut pings = 0;
        let mut end = None;
        stream.feed(piece, |opcode, payload| match opcode {
            TEXT => end = end.take().or(frames::take(payload, &inbox)),
            PING => pings += 1,
            _ => {}
        });
        if let Some(reason) = end {
            bail!("the stream ended: {reason}");
        }
        for _ in 0..pings {
            connection.send(&PONG).await?;
        }
    }
    bail!("the connection ended")
}

const TEXT: u8 = 1;
const PING: u8 = 9;

/// Cuts a server's stream into frames, which are neither masked nor, here, in fragments or compressed.
#[derive(Default)]
struct Stream {
    /// What is not whole yet.
    begun: Vec<u8>,
}

impl Stream {
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
            let mut frames = Stream::default();
            let mut found = Vec::new();
            for piece in [&stream[..at], &stream[at..]] {
                frames.feed(piece, |opcode, payload| found.push((opcode, payload.len())));
            }
            assert_eq!(found, expected, "cut at {at}");
        }
    }
}
