//! Integer keys, which stores keep in two ways, and what becomes of one that goes from one store to another.

use crate::StoreError;

/// What the key of a channel's pointer begins with.
pub(crate) const CHANNEL: &str = "w1/p/";
/// What the key of a secret's pointer begins with.
pub(crate) const SECRET: &str = "w1/kp/";
/// What the key of a document's pointer begins with.
pub(crate) const DOCUMENT: &str = "w1/dp/";
/// All integer keys are pointers.
const POINTERS: [&str; 3] = [CHANNEL, SECRET, DOCUMENT];

/// How a store keeps what its `increment` counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Integers {
    /// As 8 bytes, little-endian.
    Bytes,
    /// As decimal digits.
    Digits,
}

impl Integers {
    /// How an integer was kept that was found as this.
    pub(crate) fn of(value: &[u8]) -> Self {
        if value.len() == 8 {
            Self::Bytes
        } else {
            Self::Digits
        }
    }

    pub(crate) fn encode(self, number: u64) -> Vec<u8> {
        match self {
            Self::Bytes => number.to_le_bytes().to_vec(),
            Self::Digits => number.to_string().into_bytes(),
        }
    }

    /// What a value of the mailbox has to be in a store that keeps integers so, whichever way it was kept before.
    /// Whatever is no integer stays as it is.
    ///
    /// # Errors
    /// At the key there can be nothing but an integer, and this is none.
    pub fn translate(self, key: &str, value: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        if POINTERS.iter().any(|begin| key.starts_with(begin)) {
            return Ok(self.encode(decode(&value)?));
        }
        Ok(value)
    }
}

pub(crate) fn decode(value: &[u8]) -> Result<u64, StoreError> {
    if let Ok(bytes) = <[u8; 8]>::try_from(value) {
        return Ok(u64::from_le_bytes(bytes));
    }
    std::str::from_utf8(value)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| StoreError("the store holds a damaged pointer".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(key: &str, bytes: &[u8], digits: &[u8]) {
        for value in [bytes, digits] {
            let translate = |to: Integers| to.translate(key, value.to_vec());
            assert_eq!(translate(Integers::Bytes), Ok(bytes.to_vec()));
            assert_eq!(translate(Integers::Digits), Ok(digits.to_vec()));
        }
    }

    #[test]
    fn integers_are_translated_both_ways_and_nothing_else() {
        let epoch = 1_234_567_890_123_456_789_u64;
        for key in ["w1/p/room", "w1/kp/guests", "w1/dp/room"] {
            check(key, &[0; 8], b"0");
        }
        check("w1/p/room", &epoch.to_le_bytes(), b"1234567890123456789");
        check("w1/kp/guests", &epoch.to_le_bytes(), b"1234567890123456789");
        // A document, a lease, a tail, a secret; and what another application keeps.
        let document = b"d12345678[]";
        check("w1/d/room/1", document, document);
        for key in ["w1/lease/a", "w1/t/room/1", "w1/k/guests/1", "counter"] {
            check(key, &[0; 8], &[0; 8]);
            check(key, b"0", b"0");
            check(key, b"", b"");
        }
    }

    #[test]
    fn a_damaged_pointer_is_told() {
        for damaged in [&b""[..], b"x", b"-1", b"123456789012345678901"] {
            for to in [Integers::Bytes, Integers::Digits] {
                let translated = to.translate("w1/p/room", damaged.to_vec());
                translated.expect_err("it is no integer");
            }
        }
    }
}
