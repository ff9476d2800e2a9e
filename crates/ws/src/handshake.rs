//! The opening handshake, RFC 6455 section 4.2 and RFC 8441 section 5.

use crate::extension::{self, Deflate};
use crate::list::{self, Malformed};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use tungstenite::handshake::derive_accept_key;

/// The version that is spoken, and the only one: RFC 6455 section 4.1.
pub const VERSION: &str = "13";

/// How the client came to an open stream of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bootstrap {
    /// HTTP/1.1 `Upgrade`, RFC 6455: the client proves by a key that it meant a WebSocket.
    Upgrade,
    /// Extended CONNECT of HTTP/2 or HTTP/3, RFC 8441 and RFC 9220: the `:protocol` says so, there is no key.
    Connect,
}

/// What the client is told when it is let in: status 101 after [`Bootstrap::Upgrade`], 200 after
/// [`Bootstrap::Connect`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted<'a> {
    /// The headers of the answer, names in lower case. `upgrade` and `connection` are the host's to add.
    pub headers: Vec<(&'static str, String)>,
    /// The first protocol in the client's order of preference that the server speaks.
    pub protocol: Option<&'a str>,
    /// How messages are compressed, where the client offers what the server can do.
    pub deflate: Option<Deflate>,
}

/// Why a client is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// An upgrade is asked for with GET, a tunnel with CONNECT.
    #[error("method is not {0}")]
    Method(&'static str),
    /// `Sec-WebSocket-Version` is there and is not 13.
    #[error("version is not {VERSION}")]
    Version,
    /// A header that must be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A header breaks its grammar.
    #[error("{0} is malformed")]
    Malformed(&'static str),
}

impl Refused {
    /// The status of the answer.
    pub fn status(self) -> u16 {
        match self {
            Self::Missing(_) | Self::Malformed(_) => 400,
            Self::Method(_) => 405,
            Self::Version => 426,
        }
    }

    /// The header that the status asks for (RFC 9110 section 15.5.6, RFC 6455 section 4.4).
    pub fn header(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Method(allow) => Some(("allow", allow)),
            Self::Version => Some((VERSION_HEADER, VERSION)),
            Self::Missing(_) | Self::Malformed(_) => None,
        }
    }
}

const ACCEPT: &str = "sec-websocket-accept";
const EXTENSIONS: &str = "sec-websocket-extensions";
const KEY: &str = "sec-websocket-key";
const PROTOCOL: &str = "sec-websocket-protocol";
const VERSION_HEADER: &str = "sec-websocket-version";

/// Reads what the client asked for: its `method`, and by `header` all values of a header, whose name is given
/// in lower case.
///
/// `protocols` are those that the server speaks. A client that names none of them is let in without one, which
/// the caller may mind. The client's `Host`, `Upgrade` and `Connection` are checked by who speaks HTTP with it,
/// its `Origin` by who knows which pages are welcome.
pub fn accept<'a>(
    bootstrap: Bootstrap,
    method: &str,
    header: impl Fn(&'static str) -> Vec<Vec<u8>>,
    protocols: &[&'a str],
) -> Result<Accepted<'a>, Refused> {
    let expected = match bootstrap {
        Bootstrap::Upgrade => "GET",
        Bootstrap::Connect => "CONNECT",
    };
    if method != expected {
        return Err(Refused::Method(expected));
    }
    let values = |name| {
        header(name)
            .into_iter()
            .map(String::from_utf8)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| Refused::Malformed(name))
    };
    match values(VERSION_HEADER)?.as_slice() {
        [] => return Err(Refused::Missing(VERSION_HEADER)),
        [version] if version.trim() == VERSION => {}
        _ => return Err(Refused::Version),
    }

    let mut headers = Vec::new();
    if bootstrap == Bootstrap::Upgrade {
        match values(KEY)?.as_slice() {
            [] => return Err(Refused::Missing(KEY)),
            [key] if is_key(key.trim()) => {
                headers.push((ACCEPT, derive_accept_key(key.trim().as_bytes())));
            }
            _ => return Err(Refused::Malformed(KEY)),
        }
    }
    let malformed = |name| move |Malformed| Refused::Malformed(name);
    let asked = list::tokens(&values(PROTOCOL)?).map_err(malformed(PROTOCOL))?;
    let protocol = asked
        .iter()
        .find_map(|asked| protocols.iter().find(|spoken| *spoken == asked).copied());
    headers.extend(protocol.map(|protocol| (PROTOCOL, protocol.to_owned())));

    let offers = list::extensions(&values(EXTENSIONS)?).map_err(malformed(EXTENSIONS))?;
    let deflate = extension::negotiate(&offers);
    headers.extend(deflate.map(|deflate| (EXTENSIONS, deflate.to_string())));
    Ok(Accepted {
        headers,
        protocol,
        deflate,
    })
}

/// Sixteen bytes in base64. The example in RFC 6455 section 4.1 ends in bits that are not zero, so these are let
/// pass.
fn is_key(key: &str) -> bool {
    const BASE64: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
    );
    BASE64.decode(key).is_ok_and(|bytes| bytes.len() == 16)
}
