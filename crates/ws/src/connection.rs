use crate::close::{self, CloseCode};
use crate::deflate;
use crate::extension::Deflate;
use crate::failure::Failure;
use crate::frame::{self, Frame, Head, Kind, LONGEST_CONTROL};
use crate::prepared::Prepared;
use std::mem;

/// How much memory a client can have taken, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest payload of a frame that is taken, as it comes, so compressed where it is.
    pub frame: usize,
    /// The largest message that is taken, all fragments together, as it comes and decompressed.
    pub message: usize,
    /// The most that waits to be sent, heads included: what the caller did not take by
    /// [`Connection::take_output`]. A message that needs more than that is never sent. Beyond it goes only
    /// the last close frame, of at most 127 bytes.
    pub pending: usize,
}

/// What came from the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A whole text message.
    Text(String),
    /// A whole binary message.
    Binary(Vec<u8>),
    /// A ping; its pong is in the output already.
    Ping(Vec<u8>),
    /// A pong, whether one was asked for or not.
    Pong(Vec<u8>),
    /// The client closes, or answers a close. What it asked for is answered in the output already. Nothing
    /// follows.
    Close {
        /// Why, where the client says so.
        code: Option<CloseCode>,
        /// For people who look for faults, not for users; at most 123 bytes.
        reason: String,
    },
    /// The client did what it may not. The close frame that says so is in the output already. Nothing
    /// follows.
    Failed(Failure),
}

/// Why nothing was queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// A close frame was sent, and nothing may come after it.
    #[error("connection is closed")]
    Closed,
    /// More would wait than [`Limits::pending`].
    #[error("too much waits to be sent")]
    Full,
    /// The payload of a ping is over 125 bytes.
    #[error("ping is too long")]
    TooLong,
}

/// A server's end of an open connection.
///
/// The caller gives the client's bytes to [`handle`](Self::handle) and writes to the client what it gets from
/// [`take_output`](Self::take_output), after every call of another method. Once the connection
/// [`is_closed`](Self::is_closed) and its output is written, the caller closes the stream, as a server does first
/// (RFC 6455 section 7.1.1). A stream that ends before was lost, with what was on its way.
#[derive(Debug)]
pub struct Connection {
    limits: Limits,
    deflate: Option<Deflate>,
    state: State,
    head: Head,
    frame: Option<Frame>,
    message: Option<Message>,
    /// The payload of a control frame so far.
    control: Vec<u8>,
    output: Vec<u8>,
    /// The answer to the newest ping, where there was no room for it.
    pong: Option<Vec<u8>>,
    /// What decompressing has added, in bytes, and nobody asked for yet.
    unfolded: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// Our close frame is sent, the client's awaited.
    Closing,
    Closed,
}

/// A message so far.
#[derive(Debug)]
struct Message {
    is_text: bool,
    /// It is decompressed when it is whole: before, it takes no more than was sent of it.
    is_compressed: bool,
    payload: Vec<u8>,
    /// So many bytes of the payload are whole characters.
    checked: usize,
}

impl Connection {
    /// A connection whose handshake agreed on `deflate`.
    pub fn new(limits: Limits, deflate: Option<Deflate>) -> Self {
        Self {
            limits,
            deflate,
            state: State::Open,
            head: Head::default(),
            frame: None,
            message: None,
            control: Vec::new(),
            output: Vec::new(),
            pong: None,
            unfolded: 0,
        }
    }

    /// Takes bytes of the client from the front of `input`, up to the end of the next event.
    ///
    /// None means that all were taken. One event at a time, so that at most one message is held whatever a few
    /// compressed bytes unfold to.
    pub fn handle(&mut self, input: &mut &[u8]) -> Option<Event> {
        match self.advance(input) {
            Ok(event) => event,
            Err(failure) => {
                self.send_close(&close::payload(failure.code(), &failure.to_string()));
                self.end();
                Some(Event::Failed(failure))
            }
        }
    }

    /// Sends a text message.
    pub fn send_text(&mut self, text: &str) -> Result<(), SendError> {
        self.send_message(Kind::Text, text.as_bytes())
    }

    /// Sends a binary message.
    pub fn send_binary(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        self.send_message(Kind::Binary, bytes)
    }

    /// Sends a text message that begins with `prepared` and ends with `rest`, which is never compressed and so
    /// should be short.
    pub fn send_prepared(&mut self, prepared: &Prepared, rest: &str) -> Result<(), SendError> {
        let compressed = self
            .deflate
            .and_then(|deflate| prepared.compressed(deflate.server_window_bits()));
        match compressed {
            Some(compressed) => {
                let rest = deflate::stored(rest.as_bytes());
                self.send(Kind::Text, true, &[compressed, &rest])
            }
            None => self.send(
                Kind::Text,
                false,
                &[prepared.text().as_bytes(), rest.as_bytes()],
            ),
        }
    }

    /// Sends a ping with at most 125 bytes.
    pub fn send_ping(&mut self, payload: &[u8]) -> Result<(), SendError> {
        if payload.len() > LONGEST_CONTROL {
            return Err(SendError::TooLong);
        }
        self.send(Kind::Ping, false, &[payload])
    }

    /// Closes: sends the code and a reason, of which at most 123 bytes are told. Then only the client's answer
    /// is awaited. What the client sent before it knew still comes as events. Does nothing where a close frame
    /// was sent before.
    pub fn close(&mut self, code: CloseCode, reason: &str) {
        if self.state == State::Open {
            self.send_close(&close::payload(code, reason));
            self.state = State::Closing;
            self.pong = None;
        }
    }

    /// Fails the connection (RFC 6455 section 7.1.7): closes as [`close`](Self::close) does, and takes nothing more.
    /// What has begun to come is let go of.
    pub fn fail(&mut self, code: CloseCode, reason: &str) {
        self.send_close(&close::payload(code, reason));
        self.end();
    }

    /// What is held of a message that has begun to come and is not whole, in bytes; none: there is no such message.
    pub fn unfinished(&self) -> Option<usize> {
        self.message
            .as_ref()
            .map(|message| message.payload.capacity())
    }

    /// By how many bytes messages were longer than what came of them, since this was asked last: work that costs a
    /// client nothing.
    pub fn take_unfolded(&mut self) -> usize {
        mem::take(&mut self.unfolded)
    }

    /// What is to be written to the client.
    pub fn take_output(&mut self) -> Vec<u8> {
        let mut output = mem::take(&mut self.output);
        if let Some(pong) = self.pong.take() {
            frame::write(Kind::Pong, false, &[&pong], &mut output);
        }
        output
    }

    /// How many bytes wait to be written.
    pub fn pending(&self) -> usize {
        self.output.len()
    }

    /// Whether both ends have closed, or the client failed: nothing is taken or sent any more.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    fn advance(&mut self, input: &mut &[u8]) -> Result<Option<Event>, Failure> {
        while self.state != State::Closed {
            let mut frame = match self.frame.take() {
                Some(frame) => frame,
                None => match self.head.take(input, self.deflate.is_some())? {
                    Some(frame) => self.begin(frame)?,
                    None => return Ok(None),
                },
            };
            match &mut self.message {
                Some(message) if frame.kind.is_data() => {
                    message.take(&mut frame, input)?;
                }
                _ => frame.take(input, &mut self.control),
            }
            if frame.remaining > 0 {
                self.frame = Some(frame);
                return Ok(None);
            }
            if let Some(event) = self.finish(&frame)? {
                return Ok(Some(event));
            }
        }
        *input = &[];
        Ok(None)
    }

    /// Checks a new frame against what came before, and against the limits.
    fn begin(&mut self, frame: Frame) -> Result<Frame, Failure> {
        if !frame.kind.is_data() {
            return Ok(frame);
        }
        if self.message.is_some() != (frame.kind == Kind::Continuation) {
            return Err(Failure::Fragments);
        }
        let message = self.message.get_or_insert_with(|| Message {
            is_text: frame.kind == Kind::Text,
            is_compressed: frame.is_compressed,
            payload: Vec::new(),
            checked: 0,
        });
        let room = self.limits.message - message.payload.len();
        if frame.remaining > room.min(self.limits.frame) as u64 {
            return Err(Failure::TooBig);
        }
        Ok(frame)
    }

    /// What a frame means whose payload was taken.
    fn finish(&mut self, frame: &Frame) -> Result<Option<Event>, Failure> {
        match frame.kind {
            Kind::Text | Kind::Binary | Kind::Continuation if !frame.is_final => Ok(None),
            Kind::Text | Kind::Binary | Kind::Continuation => {
                let message = self.message.take();
                message
                    .map(|message| message.end(self.limits.message, &mut self.unfolded))
                    .transpose()
            }
            Kind::Ping => {
                let payload = mem::take(&mut self.control);
                self.pong = match self.send(Kind::Pong, false, &[&payload]) {
                    Err(SendError::Full) => Some(payload.clone()),
                    _ => None,
                };
                Ok(Some(Event::Ping(payload)))
            }
            Kind::Pong => Ok(Some(Event::Pong(mem::take(&mut self.control)))),
            Kind::Close => {
                let (code, reason) = close::parse(&self.control)?;
                let answer = code.map(|code| close::payload(code, ""));
                self.send_close(&answer.unwrap_or_default());
                self.end();
                Ok(Some(Event::Close { code, reason }))
            }
        }
    }

    fn send_message(&mut self, kind: Kind, payload: &[u8]) -> Result<(), SendError> {
        if self.state != State::Open {
            return Err(SendError::Closed);
        }
        let compressed = self
            .deflate
            .and_then(|deflate| deflate::shorten(payload, deflate.server_window_bits()));
        match compressed {
            Some(compressed) => self.send(kind, true, &[&compressed]),
            None => self.send(kind, false, &[payload]),
        }
    }

    fn send(
        &mut self,
        kind: Kind,
        is_compressed: bool,
        payload: &[&[u8]],
    ) -> Result<(), SendError> {
        if self.state != State::Open {
            return Err(SendError::Closed);
        }
        let length = frame::length(payload);
        if self.output.len().saturating_add(length) > self.limits.pending {
            return Err(SendError::Full);
        }
        frame::write(kind, is_compressed, payload, &mut self.output);
        Ok(())
    }

    /// Sends the last frame, unless it was sent.
    fn send_close(&mut self, payload: &[u8]) {
        if self.state == State::Open {
            frame::write(Kind::Close, false, &[payload], &mut self.output);
        }
    }

    /// Nothing is taken or sent after this, nor kept for it.
    fn end(&mut self) {
        self.state = State::Closed;
        self.frame = None;
        self.message = None;
        self.control = Vec::new();
        self.pong = None;
    }
}

impl Message {
    /// Takes what came of a frame. Fails at the first byte that no text has there, before the message is whole.
    fn take(&mut self, frame: &mut Frame, input: &mut &[u8]) -> Result<(), Failure> {
        frame.take(input, &mut self.payload);
        if self.is_text && !self.is_compressed {
            match str::from_utf8(&self.payload[self.checked..]) {
                Ok(_) => self.checked = self.payload.len(),
                Err(error) if error.error_len().is_none() => self.checked += error.valid_up_to(),
                Err(_) => return Err(Failure::Text),
            }
        }
        Ok(())
    }

    fn end(self, limit: usize, unfolded: &mut usize) -> Result<Event, Failure> {
        let payload = match self.is_compressed {
            true => {
                let payload = deflate::unfold(&self.payload, limit)?;
                *unfolded += payload.len().saturating_sub(self.payload.len());
                payload
            }
            false => self.payload,
        };
        match self.is_text {
            true => String::from_utf8(payload)
                .map(Event::Text)
                .map_err(|_| Failure::Text),
            false => Ok(Event::Binary(payload)),
        }
    }
}
