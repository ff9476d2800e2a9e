//! A stream's lines.

use anyhow::{Result, ensure};
use memchr::memchr;

use crate::subject::Target;

/// Asks, and hands over each line until the response ends.
pub(crate) async fn each(
    target: &Target,
    request: &[u8],
    mut take: impl FnMut(&[u8]),
) -> Result<()> {
    let mut connection = target.connect().await?;
    let status = connection.request(request).await?;
    ensure!(status == 200, "status {status}");
    let mut lines = Lines::default();
    while let Some(piece) = connection.piece().await? {
        lines.feed(piece, &mut take);
    }
    Ok(())
}

/// Cuts a stream into lines.
#[derive(Default)]
struct Lines {
    /// What has no end yet.
    begun: Vec<u8>,
}

impl Lines {
    fn feed(&mut self, mut piece: &[u8], mut take: impl FnMut(&[u8])) {
        while let Some(length) = memchr(b'\n', piece) {
            let (line, rest) = (&piece[..length], &piece[length + 1..]);
            if self.begun.is_empty() {
                take(line);
            } else {
                self.begun.extend_from_slice(line);
                take(&self.begun);
                self.begun.clear();
            }
            piece = rest;
        }
        self.begun.extend_from_slice(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_whole_wherever_the_stream_is_cut() {
        let stream = b"event: cursor\ndata: {}\nid: A\n\ndata: 1\nid: B\n\n:hb\n";
        let expected = [
            "event: cursor",
            "data: {}",
            "id: A",
            "",
            "data: 1",
            "id: B",
            "",
            ":hb",
        ];
        for at in 0..=stream.len() {
            let mut lines = Lines::default();
            let mut found = Vec::new();
            for piece in [&stream[..at], &stream[at..]] {
                lines.feed(piece, |line| {
                    found.push(String::from_utf8_lossy(line).into_owned())
                });
            }
            assert_eq!(found, expected, "cut at {at}");
        }
    }
}
