//! The document of who spoke last when, where one speaks slowly.

use crate::{Damaged, Refusal, encode};
use serde::{Deserialize, Serialize};

const VERSION: u8 = 1;
/// The most people it remembers. Of more, those who spoke first do not wait; one document still holds them all.
const MOST: usize = 400;

/// Who spoke last when, in a channel with a pause between two messages of a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paces {
    v: u8,
    /// Who, when, and the id of the message, the oldest first.
    spoke: Vec<(String, u64, String)>,
}

impl Default for Paces {
    fn default() -> Self {
        Self {
            v: VERSION,
            spoke: Vec::new(),
        }
    }
}

impl Paces {
    /// Reads a document.
    ///
    /// # Errors
    /// It is none, or against the limits of one.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let paces: Self = serde_json::from_slice(bytes).map_err(|_| Damaged("pace"))?;
        let sound = paces.v == VERSION && paces.spoke.len() <= MOST;
        sound.then_some(paces).ok_or(Damaged("pace"))
    }

    /// The document.
    ///
    /// # Errors
    /// [`Refusal::Full`] where it is larger than [`LARGEST`](crate::LARGEST).
    pub fn encode(&self) -> Result<Vec<u8>, Refusal> {
        encode(self)
    }

    /// Lets somebody speak, unless their last message is less than so many seconds old. The same message again may
    /// always be sent.
    ///
    /// # Errors
    /// How many seconds are left, from 1.
    pub fn speak(&mut self, sender: &str, id: &str, slow: u32, now: u64) -> Result<(), u32> {
        let pause = u64::from(slow) * 1_000;
        self.spoke
            .retain(|(_, at, _)| at.saturating_add(pause) > now);
        if let Some((_, at, last)) = self.spoke.iter().find(|(who, ..)| who == sender) {
            if last == id {
                return Ok(());
            }
            // Where another instance's clock goes ahead, nobody waits longer than the pause.
            let left = at.saturating_add(pause).saturating_sub(now).min(pause);
            return Err(u32::try_from(left.div_ceil(1_000)).unwrap_or(slow).max(1));
        }
        if self.spoke.len() >= MOST {
            self.spoke.remove(0);
        }
        self.spoke.push((sender.to_owned(), now, id.to_owned()));
        Ok(())
    }
}
