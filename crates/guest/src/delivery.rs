//! The two ways in which a reader over plain HTTP gets what it reads: once, or as a stream.

use crate::http::{Method, Request, Response};
use crate::hub::{Hub, TICKS_PER_SECOND};
use crate::messenger;
use crate::reader::{Item, Reader, Stay};
use crate::types::{self, Caller};
use protocol::framing::{Batch, BatchFraming, Frame, StreamFraming};
use protocol::{Cursor, Error, Gap, ReadRequest};
use wit_bindgen::{StreamResult, StreamWriter};

const ALLOW: &str = "GET, OPTIONS";
/// A reader that left is noticed at the next write, so an idle one is written nothing this often (in
/// ticks): a zero-length write costs nothing on the wire and tells whether anybody reads.
const PROBE: u64 = TICKS_PER_SECOND * 3 / 2;
/// A stream that is silent for longer is cut by some proxies after 30 seconds.
const HEARTBEAT: u64 = TICKS_PER_SECOND * 15;
/// Between two tries at a store that is away, in ticks.
const PAUSE: u64 = TICKS_PER_SECOND;

/// Whether a request may be held until there is something to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Answer at once.
    Never,
    /// As long as the request's `wait` says.
    AsAsked,
}

/// A batch: what there is, or what comes first.
///
/// A request that names a place in each of its channels and finds nothing behind it is held: the head
/// of the response goes out, the body follows with the first messages or when the time is over.
pub async fn once<F: BatchFraming + Copy + 'static>(
    request: Request,
    framing: F,
    waiting: Waiting,
) -> Response {
    let answer = async {
        let (asked, caller) = get(&request)?;
        if asked.before.is_some() {
            return history(&asked, caller, &framing).await;
        }
        let held = waiting == Waiting::AsAsked && asked.wait > 0 && asked.resumes();
        let stay = if held { Stay::Long } else { Stay::Short };
        let mut reader = Reader::open(&asked, caller, stay).await?;
        let limit = asked.limit as usize;
        let items = reader.take(limit).await?;
        if !items.is_empty() || !held {
            return Ok(Response::new(
                200,
                F::CONTENT_TYPE,
                batch(&reader, &items, &framing),
            ));
        }
        let (response, body) = Response::stream(F::CONTENT_TYPE);
        let ticks = u64::from(asked.wait) * TICKS_PER_SECOND;
        Hub::shared().spawn(hold(reader, body, framing, limit, ticks));
        Ok(response)
    };
    answer
        .await
        .unwrap_or_else(|error| refusal(&request, &error, F::CONTENT_TYPE, framing.error(&error)))
}

/// A stream of frames, until the reader leaves or the host stops.
pub async fn stream<F: StreamFraming + Copy + 'static>(request: Request, framing: F) -> Response {
    let answer = async {
        let (asked, caller) = get(&request)?;
        if asked.before.is_some() {
            return Err(Error::Invalid(
                "before: history is read by polling".to_owned(),
            ));
        }
        let mut reader = Reader::open(&asked, caller, Stay::Long).await?;
        let mut pen = Pen {
            framing,
            cursor: reader.cursor(),
            out: framing.prelude(),
        };
        pen.write(&Frame::Open {
            cursor: &reader.cursor().encode(),
        });
        let limit = asked.limit as usize;
        let items = reader.take(limit).await?;
        pen.items(&reader, items);
        let (response, body) = Response::stream(F::CONTENT_TYPE);
        Hub::shared().spawn(pour(reader, body, pen, limit));
        Ok(response)
    };
    answer
        .await
        .unwrap_or_else(|error| refusal(&request, &error, F::CONTENT_TYPE, framing.error(&error)))
}

/// What is asked for, where it is asked for by `GET`.
fn get(request: &Request) -> Result<(ReadRequest, Caller), Error> {
    match request.method() {
        Method::Get => read_request(request),
        _ => Err(Error::MethodNotAllowed { allow: ALLOW }),
    }
}

/// A refused request: a preflight is none, and some readers see no status but 200.
fn refusal(
    request: &Request,
    error: &Error,
    content_type: &str,
    told: Option<Vec<u8>>,
) -> Response {
    match (request.method(), told) {
        (Method::Options, _) => Response::preflight(ALLOW),
        (_, Some(told)) => Response::new(200, content_type, told),
        (_, None) => Response::error(error),
    }
}

fn read_request(request: &Request) -> Result<(ReadRequest, Caller), Error> {
    let last_event_id = request.header("last-event-id");
    let mut asked = ReadRequest::parse(request.query(), last_event_id.as_deref())?;
    let caller = request.caller(asked.token.take())?;
    Ok((asked, caller))
}

async fn history<F: BatchFraming>(
    asked: &ReadRequest,
    caller: Caller,
    framing: &F,
) -> Result<Response, Error> {
    let channels = asked.channels.iter().map(ToString::to_string).collect();
    let feeds = messenger::follow(caller, channels).await?;
    let [feed] = &feeds[..] else {
        return Err(Error::Invalid(
            "before: history is read of one channel at a time".to_owned(),
        ));
    };
    let page = feed.history(asked.before, asked.limit).await?;
    let mut body = Vec::new();
    framing.write(
        &Batch {
            envelopes: page.envelopes.iter().map(String::as_str).collect(),
            gaps: Vec::new(),
            cursor: None,
            before: page.before,
        },
        &mut body,
    );
    Ok(Response::new(200, F::CONTENT_TYPE, body))
}

/// Waits for news or for the end of the wait, writes one batch and ends.
async fn hold<F: BatchFraming>(
    mut reader: Reader,
    mut body: StreamWriter<u8>,
    framing: F,
    limit: usize,
    ticks: u64,
) {
    let hub = Hub::shared();
    let deadline = hub.now() + ticks;
    let items = loop {
        let tick = deadline.min(hub.now() + PROBE);
        if reader.news(&hub, tick).await {
            match reader.take(limit).await {
                Ok(items) if items.is_empty() => {}
                Ok(items) => break items,
                // Whatever ails the store or the host: the client asks again from the same place.
                Err(_) => break Vec::new(),
            }
        } else if hub.now() >= deadline {
            break Vec::new();
        } else if left(&mut body).await {
            return;
        }
    };
    // A reader that left is the normal end.
    drop(body.write_all(batch(&reader, &items, &framing)).await);
}

/// Writes what comes, as it comes.
async fn pour<F: StreamFraming>(
    mut reader: Reader,
    mut body: StreamWriter<u8>,
    mut pen: Pen<F>,
    limit: usize,
) {
    let hub = Hub::shared();
    loop {
        if !body
            .write_all(std::mem::take(&mut pen.out))
            .await
            .is_empty()
        {
            return;
        }
        let silent = hub.now() + HEARTBEAT;
        while pen.out.is_empty() {
            let tick = silent.min(hub.now() + PROBE);
            if reader.news(&hub, tick).await {
                match reader.take(limit).await {
                    Ok(items) => pen.items(&reader, items),
                    Err(types::Error::Unavailable(_)) => hub.sleep(PAUSE).await,
                    Err(error) => {
                        let reason = match error {
                            types::Error::Closing => "reopen",
                            other => Error::from(other).code(),
                        };
                        pen.write(&Frame::End { reason });
                        drop(body.write_all(pen.out).await);
                        return;
                    }
                }
            } else if hub.now() >= silent {
                pen.write(&Frame::Heartbeat);
            } else if left(&mut body).await {
                return;
            }
        }
    }
}

/// Writes frames, each with the reader's cursor behind it.
struct Pen<F> {
    framing: F,
    cursor: Cursor,
    out: Vec<u8>,
}

impl<F: StreamFraming> Pen<F> {
    fn write(&mut self, frame: &Frame<'_>) {
        self.framing.write(frame, &mut self.out);
    }

    fn items(&mut self, reader: &Reader, items: Vec<(usize, Item)>) {
        for (place, item) in items {
            let channel = reader.channel(place);
            match item {
                Item::Message(heard) => {
                    self.cursor.set(channel.clone(), heard.at);
                    if reader.is_single() {
                        self.out
                            .extend_from_slice(heard.frame(&self.framing, &self.cursor));
                    } else {
                        self.framing.head(&heard.envelope, &mut self.out);
                        self.framing.tail(&self.cursor.encode(), &mut self.out);
                    }
                }
                Item::Gap(gap, at) => {
                    self.cursor.set(channel.clone(), at);
                    let gap = told(reader, place, &gap);
                    let cursor = self.cursor.encode();
                    self.framing.write(
                        &Frame::Gap {
                            gap,
                            cursor: &cursor,
                        },
                        &mut self.out,
                    );
                }
            }
        }
    }
}

/// Whether nobody reads the body any more.
async fn left(body: &mut StreamWriter<u8>) -> bool {
    body.write(Vec::new()).await.0 == StreamResult::Dropped
}

fn batch<F: BatchFraming>(reader: &Reader, items: &[(usize, Item)], framing: &F) -> Vec<u8> {
    let mut envelopes = Vec::with_capacity(items.len());
    let mut gaps = Vec::new();
    for (place, item) in items {
        match item {
            Item::Message(heard) => envelopes.push(&*heard.envelope),
            Item::Gap(gap, _) => gaps.push(told(reader, *place, gap)),
        }
    }
    let cursor = reader.cursor().encode();
    let mut out = Vec::new();
    framing.write(
        &Batch {
            envelopes,
            gaps,
            cursor: Some(&cursor),
            before: None,
        },
        &mut out,
    );
    out
}

fn told<'a>(reader: &'a Reader, place: usize, gap: &types::Gap) -> Gap<'a> {
    Gap {
        channel: reader.channel(place).as_str(),
        after: gap.after,
        resumed: gap.resumed,
    }
}
