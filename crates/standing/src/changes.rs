use crate::{Malformed, read, written};
use serde::{Deserialize, Serialize};

/// How many senders are remembered. Fewer: who missed more than these looks after all of its readers;
/// more: each change writes a longer document, of up to 80 bytes for each.
const MOST: usize = 256;

/// Whose standing has changed lately, in the order of the changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Changes {
    /// How many changes there were.
    version: u64,
    /// The last change that is no longer remembered.
    floor: u64,
    /// Each sender once, with their last change; the oldest first.
    senders: Vec<(u64, String)>,
}

/// Whose standing has changed behind a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// These senders', the one who changed first before the others; perhaps nobody's.
    These(Vec<String>),
    /// Anybody's: too much has changed, or the version is of another store.
    Anybody,
}

impl Changes {
    /// The name of the document.
    pub const NAME: &'static str = "standing/changes";

    /// Reads the document.
    ///
    /// # Errors
    /// It is none.
    pub fn read(content: Option<&[u8]>) -> Result<Self, Malformed> {
        read(Self::NAME, content)
    }

    /// The document's new content.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        written(self)
    }

    /// How many changes there were.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// One more change.
    pub fn record(&mut self, sender: &str) {
        self.version += 1;
        self.senders.retain(|(_, known)| known != sender);
        self.senders.push((self.version, sender.to_owned()));
        if self.senders.len() > MOST {
            self.floor = self.senders.remove(0).0;
        }
    }

    /// What changed behind this version.
    #[must_use]
    pub fn since(&self, version: u64) -> Told {
        if version < self.floor || version > self.version {
            return Told::Anybody;
        }
        let behind = self.senders.iter().filter(|(at, _)| *at > version);
        Told::These(behind.map(|(_, sender)| sender.clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn these(senders: &[&str]) -> Told {
        Told::These(senders.iter().map(|&sender| sender.to_owned()).collect())
    }

    #[test]
    fn each_sender_is_told_once_in_the_order_of_their_last_changes() {
        let mut changes = Changes::default();
        assert_eq!(changes.since(0), these(&[]));
        for sender in ["ann", "bob", "ann", "cy"] {
            changes.record(sender);
        }
        assert_eq!(changes.version(), 4);
        assert_eq!(changes.since(0), these(&["bob", "ann", "cy"]));
        assert_eq!(changes.since(2), these(&["ann", "cy"]));
        assert_eq!(changes.since(4), these(&[]));
    }

    #[test]
    fn who_missed_too_much_is_told_that_it_may_be_anybody() {
        let mut changes = Changes::default();
        for number in 0..=MOST {
            changes.record(&format!("sender-{number}"));
        }
        assert_eq!(changes.since(0), Told::Anybody);
        let Told::These(senders) = changes.since(1) else {
            panic!("the last {MOST} are remembered");
        };
        assert_eq!(senders.len(), MOST);
        // Who changes again takes no more room.
        for _ in 0..10 {
            changes.record("sender-9");
        }
        assert!(matches!(changes.since(1), Told::These(senders) if senders.len() == MOST));
    }

    #[test]
    fn a_version_of_another_store_is_of_no_use() {
        assert_eq!(Changes::default().since(1), Told::Anybody);
    }

    #[test]
    fn what_is_written_is_read_again_and_nothing_else() {
        let mut changes = Changes::default();
        changes.record("a \"quoted\" sender");
        assert_eq!(Changes::read(Some(&changes.write())), Ok(changes));
        assert_eq!(Changes::read(None), Ok(Changes::default()));
        for content in ["", "[]", "{}", "{\"version\":1,\"floor\":0}"] {
            assert_eq!(
                Changes::read(Some(content.as_bytes())),
                Err(Malformed(Changes::NAME)),
                "{content}"
            );
        }
    }
}
