//! The bodies of responses.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::timeout;
use wasmtime_wasi_http::WasiBody;

use crate::instance::Seat;
use crate::metrics::Counters;
use crate::peers::Slot;

/// How long the head of a response waits for the first bytes of its body, which go out with it then. Longer, and who
/// waits for the head alone waits; shorter, and fewer polls are answered by one write.
const TOGETHER: Duration = Duration::from_millis(100);

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
    body: WasiBody,
    /// What was taken of the body before it was asked for.
    first: Option<Frame<Bytes>>,
    /// Counts in the instance for as long as this is open.
    seat: Seat,
    /// What is counted of the component.
    counters: Arc<Counters>,
    /// The request's place among those of its address.
    _slot: Slot,
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

impl Answer {
    /// Waits for its first bytes, for a moment. An error: it broke off before there were any.
    pub(crate) async fn begin(&mut self) -> Result<(), Broken> {
        let Self::Component(streaming) = self else {
            return Ok(());
        };
        match timeout(TOGETHER, streaming.body.frame()).await {
            Ok(None | Some(Err(_))) if streaming.seat.is_cut() => return Err(Broken::Instance),
            Ok(Some(first)) => streaming.first = Some(first?),
            // Who is slower comes later.
            Ok(None) | Err(_) => {}
        }
        Ok(())
    }
}

impl Streaming {
    pub(crate) fn new(body: WasiBody, seat: Seat, counters: Arc<Counters>, slot: Slot) -> Self {
        Self {
            body,
            first: None,
            seat,
            counters,
            _slot: slot,
        }
    }

    /// The bytes that were taken before they were asked for.
    fn ahead(&self) -> u64 {
        let data = self.first.as_ref().and_then(Frame::data_ref);
        data.map_or(0, |data| data.len() as u64)
    }
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
                let frame = match streaming.first.take() {
                    None => ready!(Pin::new(&mut streaming.body).poll_frame(cx)),
                    Some(first) => Some(Ok(first)),
                };
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
                streaming.first.is_none()
                    && streaming.body.is_end_stream()
                    && !streaming.seat.is_cut()
            }
            Self::Upstream(passing) => passing.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(body) => {
                SizeHint::with_exact(body.as_ref().map_or(0, |body| body.len() as u64))
            }
            Self::Component(streaming) => {
                let (rest, ahead) = (streaming.body.size_hint(), streaming.ahead());
                let mut all = SizeHint::new();
                all.set_lower(rest.lower() + ahead);
                if let Some(upper) = rest.upper() {
                    all.set_upper(upper + ahead);
                }
                all
            }
            Self::Upstream(passing) => passing.body.size_hint(),
        }
    }
}
