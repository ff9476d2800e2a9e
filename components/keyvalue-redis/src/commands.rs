//! What is asked of Redis, and what its answers mean.

use spin_redis::{Command, Error, Prefix, Value};

/// Keys looked at in one step of a listing. More hold Redis, which does one thing at a time, longer; fewer take
/// more steps.
const STEP: &str = "1000";

/// Sets a value if another is there, or none: one step of Redis, since a script is never interrupted. It answers 1,
/// or 0 and what is there.
const SWAP: &str = "\
local current = redis.call('GET', KEYS[1])
local expected = false
if ARGV[2] == '1' then expected = ARGV[3] end
if current == expected then
  redis.call('SET', KEYS[1], ARGV[1])
  return 1
end
return {0, current}";

/// How a swap ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Swapped {
    Won,
    /// Nothing was written; this was there.
    Lost(Option<Vec<u8>>),
}

/// A key with its value; none: there is none.
pub(crate) type Pair = (String, Option<Vec<u8>>);

/// Some of a store's keys.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) keys: Vec<String>,
    /// Where the next page begins; none: there is none.
    pub(crate) next: Option<String>,
}

pub(crate) fn get(prefix: &Prefix, key: &str) -> Command {
    Command::repeatable("GET").arg(prefix.key(key))
}

pub(crate) fn got(answer: Vec<Value>) -> Result<Option<Vec<u8>>, Error> {
    only(answer)
        .and_then(Value::stored)
        .ok_or(Error::Form("GET"))
}

pub(crate) fn set(prefix: &Prefix, key: &str, value: Vec<u8>) -> Command {
    Command::once("SET").arg(prefix.key(key)).arg(value)
}

pub(crate) fn delete<'a>(prefix: &Prefix, keys: impl IntoIterator<Item = &'a str>) -> Command {
    Command::once("DEL").args(keys.into_iter().map(|key| prefix.key(key)))
}

pub(crate) fn exists(prefix: &Prefix, key: &str) -> Command {
    Command::repeatable("EXISTS").arg(prefix.key(key))
}

pub(crate) fn existed(answer: Vec<Value>) -> Result<bool, Error> {
    match only(answer) {
        Some(Value::Int(count)) => Ok(count > 0),
        _ => Err(Error::Form("EXISTS")),
    }
}

/// `keys` are some at least: Redis takes none for a mistake.
pub(crate) fn get_many(prefix: &Prefix, keys: &[String]) -> Command {
    Command::repeatable("MGET").args(keys.iter().map(|key| prefix.key(key)))
}

/// Each key with its value, in the order asked.
pub(crate) fn got_many(keys: Vec<String>, answer: Vec<Value>) -> Result<Vec<Pair>, Error> {
    let form = Error::Form("MGET");
    if keys.len() != answer.len() {
        return Err(form);
    }
    let pairs = keys.into_iter().zip(answer);
    pairs
        .map(|(key, value)| Some((key, value.stored()?)))
        .collect::<Option<_>>()
        .ok_or(form)
}

/// `pairs` are some at least.
pub(crate) fn set_many(prefix: &Prefix, pairs: Vec<(String, Vec<u8>)>) -> Command {
    pairs
        .into_iter()
        .fold(Command::once("MSET"), |command, (key, value)| {
            command.arg(prefix.key(&key)).arg(value)
        })
}

pub(crate) fn increment(prefix: &Prefix, key: &str, delta: i64) -> Command {
    Command::once("INCRBY")
        .arg(prefix.key(key))
        .arg(delta.to_string())
}

pub(crate) fn incremented(answer: Vec<Value>) -> Result<i64, Error> {
    match only(answer) {
        Some(Value::Int(value)) => Ok(value),
        _ => Err(Error::Form("INCRBY")),
    }
}

pub(crate) fn swap(prefix: &Prefix, key: &str, expected: Option<&[u8]>, value: Vec<u8>) -> Command {
    Command::once("EVAL")
        .arg(SWAP)
        .arg("1")
        .arg(prefix.key(key))
        .arg(value)
        .arg(if expected.is_some() { "1" } else { "0" })
        .args(expected)
}

pub(crate) fn swapped(answer: Vec<Value>) -> Result<Swapped, Error> {
    let mut answer = answer.into_iter();
    let swapped = match (answer.next(), answer.next()) {
        (Some(Value::Int(1)), None) => Some(Swapped::Won),
        (Some(Value::Int(0)), Some(current)) => current.stored().map(Swapped::Lost),
        _ => None,
    };
    swapped.ok_or(Error::Form("EVAL"))
}

/// Where a listing begins.
pub(crate) const START: &str = "0";

/// Strings alone: what else is in this Redis is nobody's value here. Any cursor but those of pages is refused.
pub(crate) fn list(prefix: &Prefix, cursor: &str) -> Result<Command, String> {
    if cursor.parse::<u64>().is_err() {
        return Err(format!("{cursor:?} is no cursor of a page"));
    }
    Ok(Command::repeatable("SCAN")
        .arg(cursor)
        .args(["MATCH", &prefix.pattern()])
        .args(["COUNT", STEP])
        .args(["TYPE", "string"]))
}

pub(crate) fn listed(prefix: &Prefix, answer: Vec<Value>) -> Result<Page, Error> {
    let form = || Error::Form("SCAN");
    let mut answer = answer.into_iter().map(|value| match value {
        Value::Bytes(bytes) => Ok(bytes),
        _ => Err(form()),
    });
    let cursor = String::from_utf8(answer.next().ok_or_else(form)??).map_err(|_| form())?;
    let mut keys = Vec::new();
    for key in answer {
        keys.extend(prefix.strip(key?));
    }
    Ok(Page {
        keys,
        next: Some(cursor).filter(|cursor| cursor != START),
    })
}

fn only(answer: Vec<Value>) -> Option<Value> {
    let mut answer = answer.into_iter();
    answer.next().filter(|_| answer.next().is_none())
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
