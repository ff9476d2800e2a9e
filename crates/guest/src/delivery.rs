//! The two ways in which a reader over plain HTTP gets what it reads: once, or as a stream.

use crate::http::{Request, Response};
use crate::hub::{Hub, TICKS_PER_SECOND};
use crate::messenger;
use crate::reader::{Item, News, Reader, Stay};
use crate::room::Heard;
use crate::route::{Verb, route};
use crate::types::{self, Caller};
use protocol::framing::{AnswerFraming, Batch, Frame, StreamFraming};
use protocol::{Channel, Cursor, Error, Gap, Heartbeat, ReadRequest};
use wit_bindgen::{StreamResult, StreamWriter};

/// A reader that left is noticed at the next write, so an idle one is written nothing this often (in
/// ticks): a zero-length write costs nothing on the wire and tells whether anybody reads.
pub(crate) const PROBE: u64 = TICKS_PER_SECOND * 3 / 2;
/// Between two tries at a store that is away, in ticks.
pub(crate) const PAUSE: u64 = TICKS_PER_SECOND;

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
/// of the response is given, the body follows with the first messages or when the time is over.
pub async fn once<F: AnswerFraming + Clone + 'static>(
    request: Request,
    waiting: Waiting,
    framing: impl FnOnce(&str) -> Result<F, Error>,
) -> Response {
    route(
        request,
        Verb::Get,
        framing,
        async |request: Request, framing: &F| {
            let (asked, caller) = read_request(&request, None)?;
            let whole = |json| {
                Response::new(200, F::CONTENT_TYPE, framing.write(json))
                    .gzip(request.header("accept-encoding").as_deref())
            };
            if asked.before.is_some() {
                return Ok(whole(history(&asked, caller).await?));
            }
            let held = waiting == Waiting::AsAsked && asked.wait > 0 && asked.resumes();
            let mut reader = if held {
                Reader::resume(&asked, caller).await?
            } else {
                Reader::open(&asked, caller, Stay::Short).await?
            };
            let limit = asked.limit as usize;
            let items = reader.take(limit, 0).await?;
            if !items.is_empty() || !held {
                let batch = batch(&reader, &items).await;
                if held {
                    reader.pause();
                }
                return Ok(whole(batch));
            }
            let (response, body) = Response::stream(F::CONTENT_TYPE);
            let ticks = u64::from(asked.wait) * TICKS_PER_SECOND;
            Hub::shared().spawn(hold(reader, body, framing.clone(), limit, ticks));
            Ok(response)
        },
    )
    .await
}

/// A stream of frames, until the reader leaves, the host stops, or the framing's cap is reached.
pub async fn stream<F: StreamFraming + Clone + 'static>(
    request: Request,
    framing: impl FnOnce(&str) -> Result<F, Error>,
) -> Response {
    route(
        request,
        Verb::Get,
        framing,
        async |request: Request, framing: &F| {
            let last_event_id = request.header("last-event-id");
            let (asked, caller) = read_request(&request, last_event_id.as_deref())?;
            if asked.before.is_some() {
                return Err(Error::Invalid(
                    "before: history is read by polling".to_owned(),
                ));
            }
            let mut reader = Reader::open(&asked, caller, Stay::Long).await?;
            let mut pen = Pen {
                framing: framing.clone(),
                cursor: reader.cursor(),
                out: framing.prelude(),
            };
            pen.write(&Frame::Open {
                cursor: &reader.cursor().encode(),
            });
            let limit = asked.limit as usize;
            let items = reader.take(limit, reader.cost()).await?;
            pen.items(&reader, items);
            let (response, body) = Response::stream(F::CONTENT_TYPE);
            Hub::shared().spawn(pour(reader, body, pen, limit, asked.heartbeat));
            Ok(response)
        },
    )
    .await
}

/// What is asked for, and by whom. `last_event_id`: where a stream goes on that broke off; polls have none.
pub(crate) fn read_request(
    request: &Request,
    last_event_id: Option<&str>,
) -> Result<(ReadRequest, Caller), Error> {
    let mut asked = ReadRequest::parse(request.query(), last_event_id)?;
    let caller = request.caller(asked.token.take())?;
    Ok((asked, caller))
}

/// A page of history.
async fn history(asked: &ReadRequest, caller: Caller) -> Result<String, Error> {
    let channels = asked.channels.iter().map(ToString::to_string).collect();
    let reading = messenger::follow(caller, channels).await?;
    let [feed] = &reading.feeds[..] else {
        return Err(Error::Invalid(
            "before: history is read of one channel at a time".to_owned(),
        ));
    };
    let page = feed.history(asked.before, asked.limit).await?;
    let batch = Batch {
        envelopes: page.envelopes.iter().map(String::as_str).collect(),
        before: page.before,
        ..Batch::default()
    };
    Ok(batch.to_json())
}

/// Waits for news or for the end of the wait, or of the right to read, writes one batch and ends.
async fn hold<F: AnswerFraming>(
    mut reader: Reader,
    mut body: StreamWriter<u8>,
    framing: F,
    limit: usize,
    ticks: u64,
) {
    let hub = Hub::shared();
    let deadline = hub.now() + ticks;
    // None: something is wrong. The head of the response is given: the client asks again from the same place, and is
    // told what.
    let items = loop {
        let tick = deadline.min(hub.now() + PROBE);
        match reader.news(&hub, tick).await {
            News::Messages => match reader.take(limit, 0).await {
                Ok(items) if items.is_empty() && !reader.has_live() => {}
                items => break items.ok(),
            },
            News::Standing => match reader.standing().await {
                Ok(refused) if refused.is_empty() => {}
                Ok(_) | Err(_) => break None,
            },
            News::Tick if hub.now() >= deadline => break Some(Vec::new()),
            News::Tick => {
                if left(&mut body).await {
                    return;
                }
            }
        }
    };
    let batch = batch(&reader, items.as_deref().unwrap_or_default()).await;
    if items.is_some() {
        reader.pause();
    }
    // A reader that left is the normal end.
    drop(body.write_all(framing.write(batch)).await);
}

/// Writes what comes, as it comes.
async fn pour<F: StreamFraming>(
    mut reader: Reader,
    mut body: StreamWriter<u8>,
    mut pen: Pen<F>,
    limit: usize,
    heartbeat: Heartbeat,
) {
    let hub = Hub::shared();
    let end = hub.now() + u64::from(F::LONGEST) * TICKS_PER_SECOND;
    let mut written = 0;
    let mut open = true;
    let mut patience = heartbeat.first;
    while open {
        written += pen.out.len();
        if written >= F::MOST_BYTES || hub.now() >= end {
            pen.write(&Frame::End { error: None });
            open = false;
        }
        if !body
            .write_all(std::mem::take(&mut pen.out))
            .await
            .is_empty()
        {
            return;
        }
        let silent = hub.now() + u64::from(patience) * TICKS_PER_SECOND;
        while open && pen.out.is_empty() && hub.now() < end {
            let tick = silent.min(end).min(hub.now() + PROBE);
            let told = match reader.news(&hub, tick).await {
                News::Messages => {
                    let taken = reader.take(limit, reader.cost()).await;
                    taken.map(|items| {
                        pen.items(&reader, items);
                        pen.live(&mut reader);
                    })
                }
                News::Standing => {
                    let refused = reader.standing().await;
                    refused.and_then(|refused| pen.denied(&mut reader, refused))
                }
                News::Tick if hub.now() >= silent => {
                    patience = heartbeat.then;
                    pen.write(&Frame::Heartbeat);
                    Ok(())
                }
                News::Tick if left(&mut body).await => return,
                News::Tick => Ok(()),
            };
            let error = match told {
                Ok(()) => continue,
                Err(types::Error::Unavailable(_)) => {
                    hub.sleep(PAUSE).await;
                    continue;
                }
                Err(types::Error::Closing) => None,
                Err(other) => Some(Error::from(other)),
            };
            pen.write(&Frame::End {
                error: error.as_ref(),
            });
            drop(body.write_all(std::mem::take(&mut pen.out)).await);
            return;
        }
    }
}

/// Writes frames into a body.
struct Pen<F> {
    framing: F,
    cursor: Cursor,
    out: Vec<u8>,
}

impl<F: StreamFraming> Pen<F> {
    fn write(&mut self, frame: &Frame<'_>) {
        self.framing.write(frame, &mut self.out);
    }

    /// Tells what is new in the live state of the reader's channels.
    fn live(&mut self, reader: &mut Reader) {
        for update in reader.live() {
            self.write(&Frame::State {
                state: update.json(),
            });
        }
    }

    /// Tells of channels that the reader may no longer read, and goes on with the others, if there are any.
    fn denied(
        &mut self,
        reader: &mut Reader,
        refused: Vec<(Channel, types::Error)>,
    ) -> Result<(), types::Error> {
        for (channel, error) in refused {
            self.write(&Frame::Denied {
                channel: channel.as_str(),
                error: &error.clone().into(),
            });
            reader.remove(&channel);
            self.cursor = reader.cursor();
            if reader.channels() == 0 {
                return Err(error);
            }
        }
        Ok(())
    }

    fn items(&mut self, reader: &Reader, items: Vec<(usize, Item)>) {
        let Self {
            framing,
            cursor,
            out,
        } = self;
        tell(reader, cursor, items, |told| match told {
            Told::Message(heard, cursor) if reader.is_single() => {
                framing.open(out);
                out.extend_from_slice(heard.frame::<F>(cursor));
                framing.close(out);
            }
            Told::Message(heard, cursor) => {
                let frame = Frame::Envelope {
                    envelope: &heard.envelope,
                    cursor: &cursor.encode(),
                };
                framing.write(&frame, out);
            }
            Told::Gap(gap, cursor) => {
                let frame = Frame::Gap {
                    gap,
                    cursor: &cursor.encode(),
                };
                framing.write(&frame, out);
            }
        });
    }
}

/// What a reader is told next, with its whole cursor behind it.
pub(crate) enum Told<'a> {
    /// A message.
    Message(&'a Heard, &'a Cursor),
    /// That some are missing.
    Gap(Gap<'a>, &'a Cursor),
}

/// Tells what was read, one after the other, and moves the cursor on.
pub(crate) fn tell(
    reader: &Reader,
    cursor: &mut Cursor,
    items: Vec<(usize, Item)>,
    mut each: impl FnMut(Told<'_>),
) {
    for (place, item) in items {
        let channel = reader.channel(place);
        match item {
            Item::Message(heard) => {
                cursor.set(channel.clone(), heard.at);
                each(Told::Message(&heard, cursor));
            }
            Item::Gap(gap, at) => {
                cursor.set(channel.clone(), at);
                each(Told::Gap(told(reader, place, &gap), cursor));
            }
        }
    }
}

/// Whether nobody reads the body any more.
pub(crate) async fn left(body: &mut StreamWriter<u8>) -> bool {
    body.write(Vec::new()).await.0 == StreamResult::Dropped
}

async fn batch(reader: &Reader, items: &[(usize, Item)]) -> String {
    let mut envelopes = Vec::with_capacity(items.len());
    let mut gaps = Vec::new();
    for (place, item) in items {
        match item {
            Item::Message(heard) => envelopes.push(&*heard.envelope),
            Item::Gap(gap, _) => gaps.push(told(reader, *place, gap)),
        }
    }
    let live = reader.live_now().await;
    let batch = Batch {
        envelopes,
        gaps,
        cursor: Some(&reader.cursor().encode()),
        before: None,
        state: live
            .iter()
            .flat_map(|(updates, _)| updates.iter().map(|update| update.json()))
            .collect(),
        presence: live.as_ref().map(|(_, known)| known.as_str()),
    };
    batch.to_json()
}

fn told<'a>(reader: &'a Reader, place: usize, gap: &types::Gap) -> Gap<'a> {
    Gap {
        channel: reader.channel(place).as_str(),
        after: gap.after,
        resumed: gap.resumed,
    }
}
