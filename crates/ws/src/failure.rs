use crate::close::CloseCode;

/// What the client did that the connection cannot outlive: RFC 6455 section 7.1.7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// An opcode that is reserved, section 5.2.
    #[error("opcode is reserved")]
    Opcode,
    /// A reserved bit that no extension defines there, section 5.2 and RFC 7692 section 6.
    #[error("reserved bit is set")]
    Reserved,
    /// A frame without a mask, section 5.1.
    #[error("frame is not masked")]
    Unmasked,
    /// A length that is not in its shortest form, or of more than 63 bits, section 5.2.
    #[error("length is malformed")]
    Length,
    /// A control frame in fragments or of more than 125 bytes, section 5.5.
    #[error("control frame is fragmented or too long")]
    Control,
    /// A continuation of nothing, or a message inside another, section 5.4.
    #[error("fragments are out of order")]
    Fragments,
    /// A close frame with one byte, or a code that must not be sent, section 7.4.
    #[error("close code is malformed")]
    CloseCode,
    /// Text, or the reason of a close, that is not UTF-8, section 8.1.
    #[error("text is not UTF-8")]
    Text,
    /// Compressed data that is not, RFC 7692 section 7.2.2.
    #[error("compressed data is malformed")]
    Deflate,
    /// A frame or a message over its limit, section 10.4; a message also where it grows over it by decompression.
    #[error("message is too big")]
    TooBig,
}

impl Failure {
    /// The code of the close frame that tells the client.
    pub fn code(self) -> CloseCode {
        match self {
            Self::Opcode
            | Self::Reserved
            | Self::Unmasked
            | Self::Length
            | Self::Control
            | Self::Fragments
            | Self::CloseCode => CloseCode::PROTOCOL_ERROR,
            Self::Text | Self::Deflate => CloseCode::INVALID_DATA,
            Self::TooBig => CloseCode::TOO_BIG,
        }
    }
}
