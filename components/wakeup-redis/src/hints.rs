//! What instances tell each other by Redis.
//!
//! A message is who tells, in 16 hexadecimal digits, and the keys as an array of JSON; nothing in its place means
//! all keys. It goes two ways of one name: it is published, for the hosts of ours that keep their store in Redis;
//! and it is a line of a stream, for `spin:redis` has commands and their answers, and what is published comes as
//! neither. There is a stream as long as an instance reads it: else no line is written.

use spin_redis::{Command, Error, Prefix, Value};

/// The name of both, behind the prefix. No key of the store begins so.
const NAME: &str = "witter:wakeup";
/// The one field of a line.
const FIELD: &str = "message";
/// So many lines are kept, and some more. Fewer: an instance that is slow to read on takes all for changed more
/// often; more: memory of Redis, some 100 bytes for each.
const KEPT: &str = "1000";
/// How many digits the name of an instance has.
const SENDER: usize = 16;
/// How long Redis holds a command that waits, in milliseconds. Shorter: more commands that wait in vain; longer: an
/// instance in which nobody waits any more keeps its connection for longer.
pub(crate) const BLOCK_MS: u32 = 5_000;
/// How long the stream outlives the last who said to be reading it, in seconds.
pub(crate) const LIFE: u64 = 60;

/// In one step, so that it costs one answer.
const TELL: &str = "\
redis.call('PUBLISH', KEYS[1], ARGV[1])
if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', ARGV[3], ARGV[1])
end";

/// What a message says to who reads it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// They said it themselves, or it is no message.
    Nothing,
    Keys(Vec<String>),
    All,
}

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
        .arg(message(own, keys))
        .args([KEPT, FIELD])
}

fn message(own: &str, keys: &[&str]) -> String {
    format!("{own}{}", serde_json::json!(keys))
}

/// What a message of others says.
pub(crate) fn read(message: &[u8], own: &str) -> Told {
    match message.split_at_checked(SENDER) {
        Some((sender, _)) if sender == own.as_bytes() => Told::Nothing,
        Some((_, [])) => Told::All,
        Some((_, keys)) => serde_json::from_slice(keys).map_or(Told::Nothing, Told::Keys),
        None => Told::Nothing,
    }
}

/// Makes the stream, where there is none, by a line that says nothing. It is answered by where to read on.
pub(crate) fn begin(prefix: &Prefix, own: &str) -> Command {
    Command::repeatable("XADD")
        .arg(prefix.key(NAME))
        .args(["MAXLEN", "~", KEPT, "*", FIELD])
        .arg(message(own, &[]))
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

    const OWN: &str = "0123456789abcdef";
    const OTHER: &str = "fedcba9876543210";

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
    fn messages_of_others_are_understood_and_nothing_else() {
        let keys = ["a", "\"\n\0\u{e9}"];
        let owned = keys.map(str::to_owned).to_vec();
        let told = |text: &str| read(text.as_bytes(), OWN);
        assert_eq!(told(&message(OTHER, &keys)), Told::Keys(owned));
        assert_eq!(told(&message(OTHER, &[])), Told::Keys(Vec::new()));
        assert_eq!(told(OTHER), Told::All);
        assert_eq!(told(&message(OWN, &keys)), Told::Nothing);
        assert_eq!(told(OWN), Told::Nothing);
        for strange in ["", "x", "fedcba9876543210{}", "fedcba9876543210[1]"] {
            assert_eq!(told(strange), Told::Nothing, "{strange}");
        }
        assert_eq!(read(b"fedcba9876543210[\"\xff\"]", OWN), Told::Nothing);
    }

    #[test]
    fn a_message_is_as_our_hosts_write_it() {
        let expected = "fedcba9876543210[\"a\",\"\\\"\"]";
        assert_eq!(message(OTHER, &["a", "\""]), expected);
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
