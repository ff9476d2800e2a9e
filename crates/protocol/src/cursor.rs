use crate::{Channel, Error, MOST_CHANNELS};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The first byte of an encoded cursor. Another layout takes another number, and old servers refuse it.
const VERSION: u8 = 1;
/// A channel of 64 bytes with its length, an epoch, an offset of ten groups of seven bits, a tag.
const LONGEST_PLACE: usize = 1 + 64 + 8 + 10 + 4;
/// The longest encoded cursor, in characters: four for every three bytes.
const LONGEST: usize = (1 + MOST_CHANNELS * LONGEST_PLACE).div_ceil(3) * 4;

/// A place in one channel's log: just behind the message with this offset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Position {
    /// The incarnation of the log. 0: not born yet when the position was taken.
    pub epoch: u64,
    /// How many messages stand before this place.
    pub offset: u64,
    /// A digest of the message at `offset`: tells a log that was rolled back and grew again.
    pub tag: u32,
}

/// A reader's place in each of its channels: all that it takes to go on, on any transport.
///
/// Opaque to clients, but no secret, and it grants nothing. Encoded it is base64url without padding
/// (RFC 4648, section 5), so that it stands in a query, a header or a string as it is, of a version byte
/// and for each channel: the length and bytes of its name, the epoch in 8 bytes, the offset in groups of
/// seven bits (LEB128), the tag in 4 bytes; numbers begin with the least significant byte.
///
/// ```
/// use protocol::{Cursor, Position};
/// let at = Position { epoch: 7, offset: 300, tag: 0xdead_beef };
/// let cursor: Cursor = [("lobby".parse()?, at)].into_iter().collect();
/// assert_eq!(Cursor::decode(&cursor.encode())?.get(&"lobby".parse()?), Some(at));
/// # Ok::<(), protocol::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    places: Vec<(Channel, Position)>,
}

impl Cursor {
    /// The place in a channel; none where the cursor does not name it.
    #[must_use]
    pub fn get(&self, channel: &Channel) -> Option<Position> {
        self.places
            .iter()
            .find(|(name, _)| name == channel)
            .map(|(_, position)| *position)
    }

    /// Sets the place in a channel. The channels keep the order in which they came; a cursor of more than
    /// 64 will not decode.
    pub fn set(&mut self, channel: Channel, position: Position) {
        match self.places.iter_mut().find(|(name, _)| *name == channel) {
            Some((_, place)) => *place = position,
            None => self.places.push((channel, position)),
        }
    }

    /// The channels and the places in them.
    pub fn iter(&self) -> impl Iterator<Item = (&Channel, Position)> {
        self.places
            .iter()
            .map(|(channel, position)| (channel, *position))
    }

    /// The cursor as text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut out = String::new();
        Self::encode_places(self.iter(), &mut out);
        out
    }

    /// Appends the encoded cursor of these places, at most 64 of distinct channels.
    pub fn encode_places<'a>(
        places: impl IntoIterator<Item = (&'a Channel, Position)>,
        out: &mut String,
    ) {
        let mut bytes = Vec::with_capacity(1 + LONGEST_PLACE);
        bytes.push(VERSION);
        for (channel, position) in places {
            let name = channel.as_str().as_bytes();
            // A name has at most 64 bytes.
            bytes.push(name.len() as u8);
            bytes.extend_from_slice(name);
            bytes.extend_from_slice(&position.epoch.to_le_bytes());
            write_number(position.offset, &mut bytes);
            bytes.extend_from_slice(&position.tag.to_le_bytes());
        }
        URL_SAFE_NO_PAD.encode_string(&bytes, out);
    }

    /// Reads what [`encode`](Self::encode) wrote, and nothing else: each cursor has one text.
    ///
    /// # Errors
    /// 400 for any other text, a channel that comes twice, and more than 64 channels.
    pub fn decode(text: &str) -> Result<Self, Error> {
        Self::read(text)
            .ok_or_else(|| Error::Invalid("cursor: not one of this server's".to_owned()))
    }

    fn read(text: &str) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (&VERSION, mut rest) = bytes.split_first()? else {
            return None;
        };
        let mut places: Vec<(Channel, Position)> = Vec::new();
        while let Some((&length, behind)) = rest.split_first() {
            let (name, behind) = behind.split_at_checked(length.into())?;
            let (epoch, behind) = behind.split_first_chunk()?;
            let (offset, behind) = read_number(behind)?;
            let (tag, behind) = behind.split_first_chunk()?;
            let channel: Channel = std::str::from_utf8(name).ok()?.parse().ok()?;
            if places.len() == MOST_CHANNELS || places.iter().any(|(name, _)| *name == channel) {
                return None;
            }
            let epoch = u64::from_le_bytes(*epoch);
            let tag = u32::from_le_bytes(*tag);
            places.push((channel, Position { epoch, offset, tag }));
            rest = behind;
        }
        Some(Self { places })
    }
}

impl FromIterator<(Channel, Position)> for Cursor {
    fn from_iter<I: IntoIterator<Item = (Channel, Position)>>(places: I) -> Self {
        let mut cursor = Self::default();
        for (channel, position) in places {
            cursor.set(channel, position);
        }
        cursor
    }
}

fn write_number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A number and what stands behind it; none for one that is cut, over 64 bits or padded with zeros.
fn read_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0;
    for (index, &byte) in bytes.iter().take(10).enumerate() {
        let group = u64::from(byte & 0x7f);
        let shift = 7 * index as u32;
        let shifted = group << shift;
        if shifted >> shift != group {
            return None;
        }
        number |= shifted;
        if byte < 0x80 {
            let padded = index > 0 && byte == 0;
            return (!padded).then_some((number, &bytes[index + 1..]));
        }
    }
    None
}
