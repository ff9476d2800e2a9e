use crate::failure::Failure;
use crate::frame::LONGEST_CONTROL;

/// Why a connection ends: RFC 6455 section 7.4, and the registry that it began.
///
/// Only codes that may be in a close frame have a value here: 1000 to 1003 and 1007 to 1014, which standards
/// define, 3000 to 3999, which libraries register, and 4000 to 4999, which applications agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// The purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// The server stops, or the page was left.
    pub const GOING_AWAY: Self = Self(1001);
    /// The other end broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// Data of a kind that this end does not take, like a binary message where only text is spoken.
    pub const UNSUPPORTED: Self = Self(1003);
    /// Data that is not what it says, like text that is not UTF-8.
    pub const INVALID_DATA: Self = Self(1007);
    /// A message against this end's policy.
    pub const POLICY: Self = Self(1008);
    /// A message too big to process.
    pub const TOO_BIG: Self = Self(1009);
    /// The server met what it did not expect.
    pub const INTERNAL: Self = Self(1011);
    /// The server restarts.
    pub const RESTART: Self = Self(1012);
    /// The server has too much to do.
    pub const TRY_AGAIN_LATER: Self = Self(1013);

    /// The code, where it may be in a close frame.
    pub fn new(code: u16) -> Option<Self> {
        matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999).then_some(Self(code))
    }

    /// The code as a number.
    pub fn get(self) -> u16 {
        self.0
    }
}

/// Reads the payload of a close frame: nothing, or a code and a reason.
pub(crate) fn parse(payload: &[u8]) -> Result<(Option<CloseCode>, String), Failure> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return match payload {
            [] => Ok((None, String::new())),
            _ => Err(Failure::CloseCode),
        };
    };
    let code = CloseCode::new(u16::from_be_bytes(*code)).ok_or(Failure::CloseCode)?;
    let reason = str::from_utf8(reason).map_err(|_| Failure::Text)?;
    Ok((Some(code), reason.to_owned()))
}

/// Writes it. A reason over 123 bytes is cut, between characters.
pub(crate) fn payload(code: CloseCode, reason: &str) -> Vec<u8> {
    let code = code.get().to_be_bytes();
    let reason = &reason[..reason.floor_char_boundary(LONGEST_CONTROL - code.len())];
    [&code, reason.as_bytes()].concat()
}
