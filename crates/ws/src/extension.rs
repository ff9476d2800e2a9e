//! The negotiation of permessage-deflate, RFC 7692 sections 5 and 7.1.

use crate::list::Extension;
use std::fmt;

/// permessage-deflate as it was agreed.
///
/// Neither end refers to earlier messages: `server_no_context_takeover` and `client_no_context_takeover` are
/// always agreed, which every client must be able to do. To keep contexts would take 280 KB to compress and 48 KB
/// to decompress for each connection, idle or not, and what was compressed with one could be sent to one connection
/// only. Without, an idle connection holds nothing, and a broadcast is compressed once: see
/// [`Prepared`](crate::Prepared).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deflate {
    server_window_bits: Option<u8>,
    client_window_bits: Option<u8>,
}

impl Deflate {
    /// The window that the server compresses with has two to the power of this many bytes, 9 to 15.
    pub fn server_window_bits(self) -> u8 {
        self.server_window_bits.unwrap_or(LARGEST_WINDOW)
    }

    /// The window that the client compresses with, likewise; 8 to 15.
    pub fn client_window_bits(self) -> u8 {
        self.client_window_bits.unwrap_or(LARGEST_WINDOW)
    }
}

/// The value of `Sec-WebSocket-Extensions` that tells the client.
impl fmt::Display for Deflate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{NAME}; {SERVER_NO_CONTEXT}; {CLIENT_NO_CONTEXT}")?;
        if let Some(bits) = self.server_window_bits {
            write!(f, "; {SERVER_WINDOW}={bits}")?;
        }
        if let Some(bits) = self.client_window_bits {
            write!(f, "; {CLIENT_WINDOW}={bits}")?;
        }
        Ok(())
    }
}

const NAME: &str = "permessage-deflate";
const SERVER_NO_CONTEXT: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT: &str = "client_no_context_takeover";
const SERVER_WINDOW: &str = "server_max_window_bits";
const CLIENT_WINDOW: &str = "client_max_window_bits";
const LARGEST_WINDOW: u8 = 15;

/// The first offer that the server can do.
pub(crate) fn negotiate(offers: &[Extension]) -> Option<Deflate> {
    offers
        .iter()
        .filter(|offer| offer.name == NAME)
        .find_map(answer)
}

/// The answer to one offer, or none where RFC 7692 section 7.1 has it declined: for a parameter that it does not
/// define, one that comes twice, or a value that it does not allow. So is a window of 256 bytes for the server,
/// which zlib cannot keep to.
fn answer(offer: &Extension) -> Option<Deflate> {
    let mut deflate = Deflate {
        server_window_bits: None,
        client_window_bits: None,
    };
    for (i, (name, value)) in offer.parameters.iter().enumerate() {
        if offer.parameters[..i]
            .iter()
            .any(|(earlier, _)| earlier == name)
        {
            return None;
        }
        match (name.as_str(), value.as_deref()) {
            (SERVER_NO_CONTEXT | CLIENT_NO_CONTEXT | CLIENT_WINDOW, None) => {}
            (SERVER_WINDOW, Some(value)) => {
                deflate.server_window_bits = Some(window_bits(value).filter(|bits| *bits > 8)?);
            }
            (CLIENT_WINDOW, Some(value)) => {
                deflate.client_window_bits = Some(window_bits(value)?);
            }
            _ => return None,
        }
    }
    Some(deflate)
}

/// 8 to 15, without leading zeros.
fn window_bits(value: &str) -> Option<u8> {
    (8..=LARGEST_WINDOW).find(|bits| bits.to_string() == value)
}
