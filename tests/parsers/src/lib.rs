//! Every framing, read by the code of others: bytes of a response in, cut anywhere, and the JSON texts in
//! them out, token for token.
//!
//! A framing is as good as the parsers that its readers have. So nothing here knows how one is written, or
//! shares code with what writes it: events are found by an implementation of the standard's grammar,
//! documents and scripts by a parser of HTML and an engine of JavaScript.

mod engine;
mod htmlfile;
mod jsonp;
mod lines;
mod sse;

pub use htmlfile::{Htmlfile, Window};
pub use jsonp::jsonp;
pub use lines::Lines;
pub use sse::Sse;

/// Finds the frames of a stream.
pub trait Parser: Send {
    /// Takes the next bytes of the body: the frames that are whole with them, each its JSON text.
    ///
    /// # Errors
    /// Where a reader would be lost. What comes behind is not read.
    fn feed(&mut self, bytes: &[u8]) -> Result<Vec<String>, Error>;
}

/// What a reader cannot make sense of.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Bytes that are no text.
    #[error("not UTF-8: {0}")]
    Encoding(#[from] std::str::Utf8Error),
    /// No events.
    #[error("no event stream: {0}")]
    Events(String),
    /// An event that no reader listens to.
    #[error("event {event} with {data}")]
    Event {
        /// Its name.
        event: String,
        /// Its data.
        data: String,
    },
    /// A line that is not JSON.
    #[error("a line that is not JSON: {0}")]
    Line(#[from] serde_json::Error),
    /// A script that threw, and what.
    #[error("a script fails: {0}")]
    Script(String),
    /// A script that did not call the page just once.
    #[error("the page is called {0} times")]
    Calls(usize),
}
