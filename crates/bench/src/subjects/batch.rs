//! The JSON batch: `{"envelopes":[…],"gaps":[…],"cursor":"…"}`.

use anyhow::{Context as _, Result, ensure};
use memchr::memmem;

use crate::http::Connection;
use crate::run::Inbox;
use crate::subject::Target;
use crate::witter;

/// Asks again and again.
pub(crate) async fn again(
    transport: &str,
    query: &str,
    target: Target,
    inbox: Inbox,
) -> Result<()> {
    let mut connection = target.connect().await?;
    let mut body = Vec::new();
    loop {
        let query = format!("{query}{}&limit=1000", inbox.after());
        let request = witter::get(transport, &query, &target);
        poll(&mut connection, &request, &mut body, &inbox).await?;
    }
}

/// Asks once, and takes what comes.
pub(crate) async fn poll(
    connection: &mut Connection,
    request: &[u8],
    body: &mut Vec<u8>,
    inbox: &Inbox,
) -> Result<()> {
    let status = connection.request(request).await?;
    connection.rest(body).await?;
    ensure!(status == 200, "{status} {}", String::from_utf8_lossy(body));
    take(body, inbox)
}

fn take(batch: &[u8], inbox: &Inbox) -> Result<()> {
    // The members' names are looked for from the end, where they stand: no message is gone over twice.
    let (envelopes, cursor) =
        behind(batch, b"\"cursor\":\"").context("a batch without a cursor")?;
    if let Some((_, gaps)) = behind(envelopes, b"\"gaps\":[")
        && !gaps.starts_with(b"]")
    {
        inbox.gap();
    }
    inbox.receive(envelopes);
    let length = memchr::memchr(b'"', cursor).context("a batch whose cursor has no end")?;
    inbox.set_cursor(&cursor[..length]);
    Ok(())
}

/// What is before and behind the last `name`.
fn behind<'a>(text: &'a [u8], name: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = memmem::rfind(text, name)?;
    Some((&text[..at], &text[at + name.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{Faults, Run};

    #[track_caller]
    fn check(batch: &str, deliveries: u64, gaps: u64) {
        let run = Run::new(1, 1);
        take(batch.as_bytes(), &run.inbox(0)).expect("the batch is well formed");
        assert_eq!(run.inbox(0).after(), "&after=A-_z", "{batch}");
        assert_eq!(run.deliveries(), deliveries, "{batch}");
        assert_eq!(
            run.faults(),
            Faults {
                gaps,
                ..Faults::default()
            },
            "{batch}"
        );
    }

    #[test]
    fn a_batch_gives_its_messages_its_gaps_and_its_cursor() {
        check(r#"{"envelopes":[],"gaps":[],"cursor":"A-_z"}"#, 0, 0);
        check(
            r#"{"envelopes":[{"body":"^0.0.5^x"},{"body":"^0.1.6^"}],"gaps":[],"cursor":"A-_z"}"#,
            2,
            0,
        );
        check(
            r#"{"envelopes":[{"body":"^0.0.5^"}],"gaps":[{"channel":"bench","after":1,"resumed":9}],"cursor":"A-_z"}"#,
            1,
            1,
        );
    }

    #[test]
    fn a_batch_without_a_cursor_is_an_error() {
        for batch in ["", "{}", r#"{"cursor":null}"#, r#"{"cursor":"ab"#] {
            assert!(
                take(batch.as_bytes(), &Run::new(1, 1).inbox(0)).is_err(),
                "{batch}"
            );
        }
    }
}
