//! The client's end of a WebSocket.

use futures::SinkExt;
use http::{Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use yawc::{Frame, OpCode, Options, Role, WebSocket, WebSocketError};

use crate::Fault;

/// What a client asks for with every upgrade. The key is that of RFC 6455, section 1.3, so that its answer is
/// known.
pub(crate) const UPGRADE: &[(&str, &str)] = &[
    ("connection", "upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("sec-websocket-protocol", "witter.v1"),
];

/// What the server answers to [`UPGRADE`] when it lets the client in.
const ACCEPTED: [(&str, &str); 2] = [
    ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    ("sec-websocket-protocol", "witter.v1"),
];

/// The longest message that is read. Frames are shorter.
const LONGEST: usize = 4 << 20;

/// An open WebSocket, whose pings are answered while it is read.
pub struct Socket {
    websocket: WebSocket<TokioIo<Upgraded>>,
}

/// What a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// A text message.
    Text(String),
    /// A ping.
    Ping,
    /// A pong.
    Pong,
    /// That it closes. Nothing follows.
    Close {
        /// Why.
        code: u16,
        /// The same for people.
        reason: String,
    },
}

impl Socket {
    /// Goes on on a connection that was upgraded, with the compression that was agreed.
    ///
    /// # Errors
    /// Where the response does not let the client in as RFC 6455, section 4.1, has it.
    pub async fn accepted(response: Response<Incoming>) -> Result<Self, Fault> {
        let header = |name: &str| response.headers().get(name)?.to_str().ok();
        // These two in any case of letters.
        let switches = [("connection", "upgrade"), ("upgrade", "websocket")]
            .iter()
            .all(|(name, value)| header(name).is_some_and(|told| told.eq_ignore_ascii_case(value)));
        let follows = ACCEPTED
            .iter()
            .all(|(name, value)| header(name) == Some(value));
        if response.status() != StatusCode::SWITCHING_PROTOCOLS || !switches || !follows {
            return Err(Fault::Nonsense(format!("no upgrade: {response:?}")));
        }
        let extensions = header("sec-websocket-extensions").map(str::to_owned);
        let upgraded = hyper::upgrade::on(response)
            .await
            .map_err(|error| Fault::Broken(error.to_string()))?;
        let mut options = Options::default().with_limits(LONGEST, LONGEST).with_utf8();
        if extensions.is_some() {
            options = options
                .with_balanced_compression()
                .with_compression_threshold(0);
        }
        let websocket = WebSocket::from_stream_with_extensions(
            TokioIo::new(upgraded),
            Role::Client,
            extensions.as_deref(),
            options,
        )?;
        Ok(Self { websocket })
    }

    /// What comes next.
    ///
    /// # Errors
    /// Where the connection ends without a close, or the server breaks the protocol.
    pub async fn next(&mut self) -> Result<Said, Fault> {
        let frame = self.websocket.next_frame().await?;
        let opcode = frame.opcode();
        match opcode {
            OpCode::Text => String::from_utf8(frame.into_payload().into())
                .map(Said::Text)
                .map_err(|error| Fault::Nonsense(error.to_string())),
            OpCode::Ping => Ok(Said::Ping),
            OpCode::Pong => Ok(Said::Pong),
            OpCode::Close => {
                let reason = frame.close_reason()?.unwrap_or_default().to_owned();
                let code = frame
                    .close_code()
                    .ok_or_else(|| Fault::Nonsense("a close without a code".to_owned()))?;
                // The answer goes out as the next frame is looked for, which there is none.
                drop(self.websocket.next_frame().await);
                Ok(Said::Close {
                    code: code.into(),
                    reason,
                })
            }
            OpCode::Binary | OpCode::Continuation => {
                Err(Fault::Nonsense(format!("not text: {opcode:?}")))
            }
        }
    }

    /// The next text message.
    ///
    /// # Errors
    /// As [`Self::next`], and where the server closes.
    pub async fn text(&mut self) -> Result<String, Fault> {
        loop {
            match self.next().await? {
                Said::Text(text) => return Ok(text),
                Said::Ping | Said::Pong => {}
                Said::Close { code, reason } => {
                    return Err(Fault::Broken(format!("closed by {code} {reason}")));
                }
            }
        }
    }

    /// Sends a frame of any kind.
    ///
    /// # Errors
    /// Where the connection has ended.
    pub async fn send(&mut self, frame: Frame) -> Result<(), Fault> {
        Ok(self.websocket.send(frame).await?)
    }
}

impl From<WebSocketError> for Fault {
    fn from(error: WebSocketError) -> Self {
        match error {
            WebSocketError::ConnectionClosed | WebSocketError::IoError(_) => {
                Self::Broken(error.to_string())
            }
            other => Self::Nonsense(other.to_string()),
        }
    }
}
