//! Frames of JSON, one a line, with or without a script around them.

use anyhow::{Result, bail};
use memchr::memmem;

use super::lines;
use crate::run::Inbox;
use crate::subject::Target;
use crate::witter;

/// Reads a stream that ends in order before its reader keeps too much, and then the next one.
pub(crate) async fn read(transport: &str, query: &str, target: Target, inbox: Inbox) -> Result<()> {
    loop {
        let request = witter::get(transport, &format!("{query}{}", inbox.after()), &target);
        let mut end = None;
        lines::each(&target, &request, |line| end = take(line, &inbox)).await?;
        match end.as_deref() {
            Some("reopen") => {}
            Some(reason) => bail!("the stream ended: {reason}"),
            None => bail!("the stream ended without saying so"),
        }
    }
}

/// Takes what a line brings; the reason, where it is the end.
pub(super) fn take(line: &[u8], inbox: &Inbox) -> Option<String> {
    let member = |name: &[u8]| {
        let value = &line[memmem::rfind(line, name)? + name.len()..];
        Some(&value[..memchr::memchr(b'"', value)?])
    };
    // No body of ours has these names.
    if let Some(reason) = member(b"{\"end\":\"") {
        return Some(String::from_utf8_lossy(reason).into_owned());
    }
    if memmem::find(line, b"{\"gap\":").is_some() {
        inbox.gap();
    }
    inbox.receive(line);
    if let Some(cursor) = member(b"\"cursor\":\"") {
        inbox.set_cursor(cursor);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Run;

    #[track_caller]
    fn check(line: &str, deliveries: u64, gaps: u64, after: &str, end: Option<&str>) {
        let run = Run::new(1, 1);
        let told = take(line.as_bytes(), &run.inbox(0));
        assert_eq!(told.as_deref(), end, "{line}");
        assert_eq!(run.inbox(0).after(), after, "{line}");
        assert_eq!(
            (run.deliveries(), run.faults().gaps),
            (deliveries, gaps),
            "{line}"
        );
    }

    #[test]
    fn a_line_gives_its_message_its_gap_its_cursor_or_its_end() {
        check(
            r#"  {"open":true,"cursor":"A-_z"}"#,
            0,
            0,
            "&after=A-_z",
            None,
        );
        let message = r#"{"envelope":{"body":"^0.0.5^x"},"cursor":"A-_z"}"#;
        check(message, 1, 0, "&after=A-_z", None);
        check(
            &format!("<script>parent.f('{message}')</script>"),
            1,
            0,
            "&after=A-_z",
            None,
        );
        check(
            r#"{"gap":{"channel":"bench"},"cursor":"B"}"#,
            0,
            1,
            "&after=B",
            None,
        );
        check(r#"{"heartbeat":true}"#, 0, 0, "", None);
        check(r#"{"end":"reopen"}"#, 0, 0, "", Some("reopen"));
        check(
            r#"<script>parent.f('{"end":"forbidden","detail":"x"}')</script>"#,
            0,
            0,
            "",
            Some("forbidden"),
        );
    }
}
