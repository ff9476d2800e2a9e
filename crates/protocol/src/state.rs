use crate::json::{Object, array};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::collections::BTreeMap;
use xxhash_rust::xxh3::Xxh3;

/// The most people, or marks, that one state tells of. Larger: who opens a large channel waits for hundreds of KiB.
const MOST_TOLD: usize = 1_000;

/// The length of a digest, in characters.
pub(crate) const DIGEST: usize = 11;

/// Somebody who can be seen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Person {
    /// Who, as envelopes have it.
    pub sender: String,
    /// What they are called.
    pub name: String,
}

/// How far somebody has come in a channel, over all devices. Nobody has read what was not delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The offset of the last message that was read; 0: none.
    pub read: u64,
    /// The offset of the last message that a device has; at least `read`.
    pub delivered: u64,
}

impl Mark {
    /// The furthest of both.
    #[must_use]
    pub fn furthest(self, other: Self) -> Self {
        let read = self.read.max(other.read);
        Self {
            read,
            delivered: self.delivered.max(other.delivered).max(read),
        }
    }
}

/// The live state of a channel, as one instance sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Who is here: names by sender.
    pub here: BTreeMap<String, String>,
    /// How many more are here who are in no list.
    pub others: u64,
    /// Who is typing: names by sender.
    pub typing: BTreeMap<String, String>,
    /// How far people have come, by sender.
    pub marks: BTreeMap<String, Mark>,
}

/// What makes one state of another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Who came, or has another name now.
    pub joined: Vec<Person>,
    /// Who is here no longer.
    pub left: Vec<Person>,
    /// How many are here, where that, or who, is another.
    pub count: Option<u64>,
    /// Who is typing now, where that is another.
    pub typing: Option<Vec<Person>>,
    /// Where those have come whose marks moved.
    pub marks: Vec<(String, Mark)>,
}

impl Mark {
    /// `"read"` and `"delivered"`.
    pub(crate) fn members(self, object: Object) -> Object {
        object
            .number("read", self.read)
            .number("delivered", self.delivered)
    }
}

impl State {
    /// How many are here.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.here.len() as u64 + self.others
    }

    /// The state as 11 characters of base64url: equal states have the same, in every instance.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hash = Xxh3::new();
        let mut text = |text: &str| {
            hash.update(&(text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        };
        for people in [&self.here, &self.typing] {
            text(&people.len().to_string());
            for (sender, name) in people {
                text(sender);
                text(name);
            }
        }
        for sender in self.marks.keys() {
            text(sender);
        }
        hash.update(&self.others.to_le_bytes());
        for mark in self.marks.values() {
            hash.update(&mark.read.to_le_bytes());
            hash.update(&mark.delivered.to_le_bytes());
        }
        URL_SAFE_NO_PAD.encode(hash.digest().to_le_bytes())
    }

    /// The whole state as one JSON object: `{"channel","count","here":[{"sender","name"},…],"typing":[…],
    /// "marks":{sender:{"read","delivered"},…}}`, with at most 1,000 people and 1,000 marks, the first by sender.
    #[must_use]
    pub fn to_json(&self, channel: &str) -> String {
        let marks = self.marks.iter().take(MOST_TOLD);
        Object::new()
            .text("channel", channel)
            .number("count", self.count())
            .raw("here", &people(self.here.iter().take(MOST_TOLD)))
            .raw("typing", &people(&self.typing))
            .raw(
                "marks",
                &told(marks.map(|(sender, mark)| (&**sender, *mark))),
            )
            .end()
    }

    /// What makes this state of an earlier one; none: nothing.
    ///
    /// A mark that is no longer kept is not told: it says nothing new.
    #[must_use]
    pub fn since(&self, before: &Self) -> Option<Change> {
        let joined = those(&self.here, |sender, name| {
            before.here.get(sender) != Some(name)
        });
        let left = those(&before.here, |sender, _| !self.here.contains_key(sender));
        let counted = !joined.is_empty() || !left.is_empty() || self.count() != before.count();
        let change = Change {
            joined,
            left,
            count: counted.then(|| self.count()),
            typing: (self.typing != before.typing).then(|| those(&self.typing, |_, _| true)),
            marks: self
                .marks
                .iter()
                .filter(|(sender, mark)| before.marks.get(*sender) != Some(mark))
                .map(|(sender, mark)| (sender.clone(), *mark))
                .collect(),
        };
        (change != Change::default()).then_some(change)
    }
}

impl Change {
    /// What is new as one JSON object: `{"channel"}`, with `"count"`, `"joined":[…]` and `"left":[…]`, `"typing":[…]`
    /// or `"marks":{…}` where there is any such news.
    #[must_use]
    pub fn to_json(&self, channel: &str) -> String {
        let mut object = Object::new().text("channel", channel);
        if let Some(count) = self.count {
            object = object.number("count", count);
        }
        for (name, came) in [("joined", &self.joined), ("left", &self.left)] {
            if !came.is_empty() {
                object = object.raw(
                    name,
                    &people(came.iter().map(|one| (&one.sender, &one.name))),
                );
            }
        }
        if let Some(typing) = &self.typing {
            object = object.raw(
                "typing",
                &people(typing.iter().map(|one| (&one.sender, &one.name))),
            );
        }
        if !self.marks.is_empty() {
            let marks = self.marks.iter();
            object = object.raw(
                "marks",
                &told(marks.map(|(sender, mark)| (&**sender, *mark))),
            );
        }
        object.end()
    }
}

/// `[{"sender","name"},…]`
fn people<'a>(people: impl IntoIterator<Item = (&'a String, &'a String)>) -> String {
    array(people.into_iter().map(|(sender, name)| {
        Object::new()
            .text("sender", sender)
            .text("name", name)
            .end()
    }))
}

/// `{sender:{"read","delivered"},…}`
fn told<'a>(marks: impl Iterator<Item = (&'a str, Mark)>) -> String {
    marks
        .fold(Object::new(), |object, (sender, mark)| {
            object.raw(sender, &mark.members(Object::new()).end())
        })
        .end()
}

/// Those of these people of whom it is true.
fn those(people: &BTreeMap<String, String>, such: impl Fn(&str, &String) -> bool) -> Vec<Person> {
    people
        .iter()
        .filter(|(sender, name)| such(sender, name))
        .map(|(sender, name)| Person {
            sender: sender.clone(),
            name: name.clone(),
        })
        .collect()
}
