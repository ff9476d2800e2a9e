//! The bodies of responses.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use wasmtime_wasi_http::WasiBody;

use crate::instance::Seat;
use crate::metrics::Counters;
use crate::peers::Slot;

/// The body of a response.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The host's own, whole.
    Own(Option<Bytes>),
    /// A component's, as it writes it.
    Component(Streaming),
    /// That of an application elsewhere, as it comes.
    Upstream(Passing),
}

/// A body that a component writes.
pub(crate) struct Streaming {
    pub(crate) body: WasiBody,
    /// Counts in the instance for as long as this is open.
    pub(crate) seat: Seat,
    /// What is counted of the component.
    pub(crate) counters: Arc<Counters>,
    /// The request's place among those of its address.
    pub(crate) _slot: Slot,
}

/// A body that is passed on.
#[derive(Debug)]
pub(crate) struct Passing {
    pub(crate) body: Incoming,
    /// The request's place among those of its address.
    pub(crate) _slot: Slot,
}

impl fmt::Debug for Streaming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streaming").finish_non_exhaustive()
    }
}

/// That a body broke off: its end must not look like one that the component meant.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("the instance that wrote the body ended")]
    Instance,
    #[error(transparent)]
    Component(#[from] wasmtime_wasi_http::Error),
    #[error(transparent)]
    Upstream(#[from] hyper::Error),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Self::Own(body) => Poll::Ready(body.take().map(|body| Ok(Frame::data(body)))),
            Self::Component(streaming) => {
                let frame = ready!(Pin::new(&mut streaming.body).poll_frame(cx));
                // Of no bytes are those by which a component asks whether its reader is there.
                if let Some(Ok(frame)) = &frame
                    && let Some(data) = frame.data_ref().filter(|data| !data.is_empty())
                {
                    let written = &streaming.counters.written;
                    written.writes.increment();
                    written.bytes.add(data.len() as u64);
                }
                Poll::Ready(match frame {
                    // An instance that ends closes its bodies as if they had ended well.
                    None if streaming.seat.is_cut() => Some(Err(Broken::Instance)),
                    frame => frame.map(|frame| frame.map_err(Broken::from)),
                })
            }
            Self::Upstream(passing) => {
                let frame = ready!(Pin::new(&mut passing.body).poll_frame(cx));
                Poll::Ready(frame.map(|frame| frame.map_err(Broken::from)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(body) => body.is_none(),
            Self::Component(streaming) => {
                streaming.body.is_end_stream() && !streaming.seat.is_cut()
            }
            Self::Upstream(passing) => passing.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(body) => {
                SizeHint::with_exact(body.as_ref().map_or(0, |body| body.len() as u64))
            }
            Self::Component(streaming) => streaming.body.size_hint(),
            Self::Upstream(passing) => passing.body.size_hint(),
        }
    }
}
