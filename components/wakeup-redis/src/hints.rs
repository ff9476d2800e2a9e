//! The stream by which hosts and instances wake each other, as `redis_forms::wakeups` has it.

use redis_forms::wakeups::{FIELD, KEPT, NAME, TELL, arguments, write};
use spin_redis::{Command, Error, Prefix, Value};

/// How long Redis holds a command that waits, in milliseconds. Shorter: more commands that wait in vain; longer: an
/// instance in which nobody waits any more keeps its connection for longer.
pub(crate) const BLOCK_MS: u32 = 5_000;
/// How long the stream outlives the last who said to be reading it, in seconds.
pub(crate) const LIFE: u64 = 60;

/// The lines since the last answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) messages: Vec<Vec<u8>>,
    /// Where to read on; none: there was nothing.
    pub(crate) place: Option<String>,
}

impl News {
    /// Whether lines before these may have been dropped unread.
    pub(crate) fn is_incomplete(&self) -> bool {
        KEPT.parse()
            .is_ok_and(|kept: usize| self.messages.len() >= kept)
    }
}

/// Says that these keys were notified. Twice is as good as once.
pub(crate) fn tell(prefix: &Prefix, own: &str, keys: &[&str]) -> Command {
    Command::repeatable("EVAL")
        .arg(TELL)
        .arg("1")
        .arg(prefix.key(NAME))
        .args(arguments(&write(own, Some(keys))))
}

/// Makes the stream, where there is none, by a line that says nothing. It is answered by where to read on.
pub(crate) fn begin(prefix: &Prefix, own: &str) -> Command {
    Command::repeatable("XADD")
        .arg(prefix.key(NAME))
        .args(["MAXLEN", "~", KEPT, "*", FIELD])
        .arg(write::<&str>(own, Some(&[])))
}

pub(crate) fn begun(answer: Vec<Value>) -> Result<String, Error> {
    match answer.into_iter().next() {
        Some(Value::Bytes(id)) => String::from_utf8(id).ok(),
        _ => None,
    }
    .ok_or(Error::Form("XADD"))
}

/// Says that the stream is being read.
pub(crate) fn keep(prefix: &Prefix) -> Command {
    Command::repeatable("EXPIRE")
        .arg(prefix.key(NAME))
        .arg(LIFE.to_string())
}

/// An error where there is no stream any more.
pub(crate) fn kept(answer: &[Value]) -> Result<(), Error> {
    match answer {
        [Value::Int(1)] => Ok(()),
        _ => Err(Error::Form("EXPIRE")),
    }
}

/// Waits for lines behind a place.
pub(crate) fn since(prefix: &Prefix, place: &str) -> Command {
    let block = BLOCK_MS.to_string();
    Command::repeatable("XREAD")
        .args(["BLOCK", &block, "STREAMS"])
        .arg(prefix.key(NAME))
        .arg(place)
}

/// The answer comes without its nesting: the stream's name, then for each line its id and its fields with their
/// values. A line of others, with more fields, leaves no way to tell where the next begins.
pub(crate) fn news(answer: Vec<Value>) -> Result<News, Error> {
    let form = || Error::Form("XREAD");
    let mut values = answer.into_iter();
    let mut news = News::default();
    if matches!(values.next(), None | Some(Value::Nil)) {
        return Ok(news);
    }
    while let Some(id) = values.next() {
        match (id, values.next(), values.next()) {
            (Value::Bytes(id), Some(Value::Bytes(field)), Some(Value::Bytes(message)))
                if field == FIELD.as_bytes() =>
            {
                news.place = Some(String::from_utf8(id).map_err(|_| form())?);
                news.messages.push(message);
            }
            _ => return Err(form()),
        }
    }
    Ok(news)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Value {
        Value::Bytes(text.into())
    }

    fn answer(lines: &[[&str; 3]]) -> Vec<Value> {
        std::iter::once("witter:wakeup")
            .chain(lines.iter().flatten().copied())
            .map(bytes)
            .collect()
    }

    #[test]
    fn nothing_came_while_a_command_waited() {
        assert_eq!(news(vec![Value::Nil]), Ok(News::default()));
        assert_eq!(news(vec![]), Ok(News::default()));
    }

    #[test]
    fn lines_are_read_in_their_order_and_the_last_is_where_to_go_on() {
        let lines = [["1-0", "message", "one"], ["1-1", "message", ""]];
        let expected = News {
            messages: vec![b"one".into(), Vec::new()],
            place: Some("1-1".to_owned()),
        };
        assert_eq!(news(answer(&lines)), Ok(expected));
    }

    #[test]
    fn as_many_lines_as_are_kept_may_be_not_all() {
        for (count, incomplete) in [(999, false), (1000, true), (1099, true)] {
            let lines = vec![["1-0", "message", "one"]; count];
            let news = news(answer(&lines)).expect("they are lines");
            assert_eq!(news.is_incomplete(), incomplete, "{count}");
        }
    }

    #[test]
    fn what_is_no_line_is_refused() {
        let mut cut = answer(&[["1-0", "message", "one"]]);
        cut.pop();
        let number = vec![bytes("witter:wakeup"), Value::Int(1)];
        let other = answer(&[["1-0", "note", "one"]]);
        for odd in [cut, number, other] {
            assert_eq!(news(odd), Err(Error::Form("XREAD")));
        }
    }

    #[test]
    fn a_stream_that_is_gone_is_noticed() {
        assert_eq!(begun(vec![bytes("7-3")]), Ok("7-3".to_owned()));
        assert_eq!(begun(vec![Value::Nil]), Err(Error::Form("XADD")));
        assert_eq!(kept(&[Value::Int(1)]), Ok(()));
        assert_eq!(kept(&[Value::Int(0)]), Err(Error::Form("EXPIRE")));
    }
}
