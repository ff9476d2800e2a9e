//! The third delivery: both ways on one connection.

use crate::delivery::{PAUSE, Told, read_request, tell};
use crate::http::{Request, Response};
use crate::hub::{Hub, TICKS_PER_SECOND};
use crate::messenger::{self, Feed};
use crate::reader::{Item, News, Reader, Stay};
use crate::said::{Begun, Deadline, Pace, Said};
use crate::sending::store;
use crate::socket::{Handshake, Socket};
use crate::types::{self, Caller};
use futures::channel::oneshot;
use futures::future::{self, FutureExt as _, LocalBoxFuture};
use protocol::framing::Frame;
use protocol::{
    Ask, Channel, Cursor, Drafts, Error, Heartbeat, MOST_CHANNELS, MOST_DRAFTS, Origins, Reference,
    Reply, Start, Stored, Verb,
};
use std::collections::VecDeque;
use std::pin::pin;
use std::task::Poll;
use ws::{CloseCode, Event, Limits};

/// The subprotocol (RFC 6455, section 1.9).
const PROTOCOL: &str = "witter.v1";

/// As much as a request's body may have; and more than is ever said between two flushes.
const LIMITS: Limits = Limits {
    frame: 1024 * 1024,
    message: 1024 * 1024,
    pending: 4 * 1024 * 1024,
};

/// What a client may have asked that is not begun. Beyond it the client is not heard, and waits.
const MOST_ASKED: usize = 256;
/// The same in bytes of its messages: an array of drafts is a long one.
const MOST_ASKED_BYTES: usize = 1024 * 1024;

/// A WebSocket: frames to the reader, and what it asks: to publish, to follow a channel, to leave one.
///
/// Browsers let any page open one anywhere and say whose page it is: only the server's own pages are let in,
/// and those of the origins that are named (RFC 6455, section 10.2).
pub async fn duplex(request: Request, origins: Option<Origins>) -> Response {
    let handshake = match Handshake::read(&request, &[PROTOCOL], LIMITS) {
        Ok(handshake) => handshake,
        Err(response) => return response,
    };
    if !is_welcome(&request, origins.as_ref()) {
        return Error::Forbidden("pages of this origin are not let in".to_owned()).into();
    }
    let opened = async {
        let last_event_id = request.header("last-event-id");
        let (asked, caller) = read_request(&request, last_event_id.as_deref())?;
        if asked.before.is_some() {
            return Err(Error::Invalid(
                "before: history is read by polling".to_owned(),
            ));
        }
        let reader = Reader::open(&asked, caller, Stay::Long).await?;
        Ok((asked, reader))
    };
    let hub = Hub::shared();
    match (protocol::inline_errors(request.query()), opened.await) {
        (Ok(_), Ok((asked, reader))) => {
            let (response, socket) = handshake.accept(request);
            let conversation = Conversation {
                socket,
                cursor: reader.cursor(),
                reader,
                asked: Asked::default(),
                said: Said::nothing(),
                deadline: Deadline::default(),
                pace: Pace::default(),
                working: None,
                limit: asked.limit as usize,
                heartbeat: asked.heartbeat,
            };
            hub.spawn(conversation.run());
            response
        }
        // A page sees no status of a WebSocket that does not open.
        (Ok(true), Err(error)) => {
            let (response, mut socket) = handshake.accept(request);
            hub.spawn(async move {
                let end = Frame::End {
                    error: Some(&error),
                };
                // It is the first thing said: there is room.
                let _ = socket.connection().send_text(&end.to_json());
                socket.close(code(error.close_code()), error.code()).await;
            });
            response
        }
        (Ok(false), Err(error)) | (Err(error), _) => error.into(),
    }
}

fn ticks(seconds: u32) -> u64 {
    u64::from(seconds) * TICKS_PER_SECOND
}

/// Whether a page of this origin may open a WebSocket. Who is no browser tells no origin.
fn is_welcome(request: &Request, origins: Option<&Origins>) -> bool {
    let Some(origin) = request.header("origin") else {
        return true;
    };
    let authority = request.authority().unwrap_or_default();
    protocol::is_own(&origin, &authority)
        || origins.is_some_and(|origins| origins.allow(Some(&origin)).is_some())
}

/// How long a reader that could not read waits until it tries again, in ticks.
fn patience(error: types::Error) -> Result<u64, End> {
    match error {
        types::Error::Unavailable(_) => Ok(PAUSE),
        types::Error::Closing => Err(End::Told(None)),
        error => Err(End::Told(Some(error.into()))),
    }
}

fn code(code: u16) -> CloseCode {
    CloseCode::new(code).unwrap_or(CloseCode::POLICY)
}

/// Does what was asked, whether the client waits for it or leaves.
///
/// As a tenant of its own, since a call that has returned has to be let go of at once: where its caller first waits for
/// something else, and the callee ends meanwhile, Wasmtime (48) forgets it, and letting go of it ends the instance
/// (`subtask.drop`: "resource not present").
fn begin(work: LocalBoxFuture<'static, Done>, begun: Begun) -> oneshot::Receiver<Done> {
    let (done, told) = oneshot::channel();
    Hub::shared().spawn(async move {
        // A client that left is told nothing.
        done.send(work.await).ok();
        drop(begun);
    });
    told
}

/// One client's connection.
struct Conversation {
    socket: Socket,
    reader: Reader,
    cursor: Cursor,
    asked: Asked,
    /// That, and the message that is not whole.
    said: Said,
    /// Of that message.
    deadline: Deadline,
    pace: Pace,
    /// What was begun.
    working: Option<oneshot::Receiver<Done>>,
    limit: usize,
    heartbeat: Heartbeat,
}

/// What is not begun, in the order in which it was asked, which is the order in which it is done.
#[derive(Default)]
struct Asked {
    /// Each with the length of its message.
    asks: VecDeque<(Ask, usize)>,
    bytes: usize,
    /// The same of what was taken from it to be done.
    taken: usize,
}

impl Asked {
    fn is_full(&self) -> bool {
        self.asks.len() >= MOST_ASKED || self.bytes >= MOST_ASKED_BYTES
    }

    fn push(&mut self, ask: Ask, bytes: usize) {
        self.bytes += bytes;
        self.asks.push_back((ask, bytes));
    }

    fn pop(&mut self) -> Option<Ask> {
        self.pop_if(|_| true)
    }

    /// The next one, where it is such.
    fn pop_if(&mut self, such: impl FnOnce(&Verb) -> bool) -> Option<Ask> {
        let (ask, bytes) = self.asks.pop_front_if(|(ask, _)| such(&ask.verb))?;
        self.bytes -= bytes;
        self.taken += bytes;
        Some(ask)
    }
}

/// What the messenger said.
enum Done {
    Published {
        channel: Channel,
        drafts: Vec<(Reference, Drafts)>,
        results: Result<Vec<Result<Stored, Error>>, Error>,
    },
    Followed {
        reference: Reference,
        channel: Channel,
        start: Start,
        /// What was known of everybody's standing before it was asked for.
        version: u64,
        feed: Result<Feed, types::Error>,
    },
    Performed {
        reference: Reference,
        answer: Result<String, types::Error>,
    },
}

/// What a conversation waits for.
enum Next {
    Received(Option<Event>),
    /// More came of a message that is not whole.
    Begun,
    Done(Done),
    /// There is something to read, or the reader's standing is in question, or the time has come.
    News(News),
    /// So much is said by all that who says the most is cut.
    Cut,
}

/// Why a conversation ends.
enum End {
    /// The client is gone, or has said goodbye.
    Over,
    /// It is to be told.
    Told(Option<Error>),
    /// It did what it may not.
    Closed(CloseCode, &'static str),
    /// The same, and what it has begun to say is let go of.
    Failed(CloseCode, &'static str),
}

impl Conversation {
    async fn run(mut self) {
        let end = match self.converse().await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        // Nothing of it is begun any more.
        self.asked = Asked::default();
        self.said.hold(0);
        match end {
            End::Over => {}
            End::Closed(code, reason) => self.socket.close(code, reason).await,
            End::Failed(code, reason) => self.socket.fail(code, reason).await,
            End::Told(error) => {
                let error = error.as_ref();
                // Where it cannot be said, the close says so much too.
                let _ = self.tell(&Frame::End { error });
                match error {
                    Some(error) => {
                        self.socket
                            .close(code(error.close_code()), error.code())
                            .await
                    }
                    None => self.socket.close(CloseCode::GOING_AWAY, "reopen").await,
                }
            }
        }
    }

    async fn converse(&mut self) -> Result<std::convert::Infallible, End> {
        let hub = Hub::shared();
        let mut beat = hub.now() + ticks(self.heartbeat.first);
        let mut paused = 0;
        // Beats since anything came, or was let come.
        let mut unheard = 0;
        let cursor = self.cursor.encode();
        self.tell(&Frame::Open { cursor: &cursor })?;
        loop {
            if !self.weigh(&hub) {
                return Err(self.cut());
            }
            if self.working.is_none() {
                let work = self.work()?;
                let taken = std::mem::take(&mut self.asked.taken);
                if let Some(work) = work {
                    self.working = Some(begin(work, Begun::of(taken)));
                    self.weigh(&hub);
                }
            }
            // Who is cut in the middle of what is written has half a frame: nothing more can be said.
            if self.said.unless_cut(self.socket.flush()).await != Some(true) {
                return Err(End::Over);
            }
            let listens = !self.asked.is_full() && !self.pace.is_ahead(hub.now());
            let next = self.next(&hub, beat, paused).await;
            if !listens {
                self.deadline.put_off();
            }
            match next {
                Next::Cut => return Err(self.cut()),
                Next::News(_) if listens && self.deadline.is_over(hub.now()) => {
                    return Err(End::Failed(CloseCode::POLICY, "timeout"));
                }
                Next::Received(None) => return Err(End::Over),
                Next::Received(Some(event)) => {
                    let unfolded = self.socket.connection().take_unfolded();
                    self.pace.unfold(unfolded, hub.now());
                    self.hear(event)?;
                }
                Next::Begun => {}
                Next::Done(done) => {
                    self.working = None;
                    self.answer(done).await?;
                }
                Next::News(News::Messages) => {
                    match self.reader.take(self.limit, self.reader.cost()).await {
                        Ok(items) => {
                            self.items(items)?;
                            self.live()?;
                        }
                        Err(error) => paused = hub.now() + patience(error)?,
                    }
                }
                Next::News(News::Standing) => match self.reader.standing().await {
                    Ok(refused) => self.denied(refused)?,
                    Err(error) => paused = hub.now() + patience(error)?,
                },
                Next::News(News::Tick) if hub.now() < beat => {}
                Next::News(News::Tick) => {
                    beat = hub.now() + ticks(self.heartbeat.then);
                    if self.socket.take_heard() || self.asked.is_full() {
                        unheard = 0;
                    }
                    unheard += 1;
                    // It answered neither of the last two pings.
                    if unheard > 2 {
                        return Err(End::Over);
                    }
                    // A page sees no pings: a frame tells it that the connection lives.
                    self.tell(&Frame::Heartbeat)?;
                    let pinged = self.socket.connection().send_ping(b"");
                    pinged.map_err(|_| End::Over)?;
                }
            }
        }
    }

    async fn next(&mut self, hub: &Hub, beat: u64, paused: u64) -> Next {
        let Self {
            socket,
            reader,
            asked,
            said,
            deadline,
            pace,
            working,
            ..
        } = self;
        let now = hub.now();
        let begun = socket.connection().unfinished();
        let mut news = pin!(async {
            if now < paused {
                hub.sleep(paused - now).await;
                News::Tick
            } else {
                reader.news(hub, beat).await
            }
        });
        future::poll_fn(|cx| {
            if said.poll_cut(cx.waker()) {
                return Poll::Ready(Next::Cut);
            }
            if let Some(work) = working
                && let Poll::Ready(Ok(done)) = work.poll_unpin(cx)
            {
                return Poll::Ready(Next::Done(done));
            }
            if pace.is_ahead(hub.now()) {
                if let Some(tick) = pace.alarm(hub.now()) {
                    hub.wake_at(tick, cx.waker());
                }
            } else if !asked.is_full() {
                if let Poll::Ready(received) = socket.poll_receive(cx) {
                    return Poll::Ready(Next::Received(received));
                }
                if socket.connection().unfinished() != begun {
                    return Poll::Ready(Next::Begun);
                }
                if deadline.is_over(hub.now()) {
                    return Poll::Ready(Next::News(News::Tick));
                }
                if let Some(tick) = deadline.alarm(hub.now()) {
                    hub.wake_at(tick, cx.waker());
                }
            }
            news.as_mut().poll(cx).map(Next::News)
        })
        .await
    }

    /// Takes account of what the client has said and nobody has begun with; whether it may be that much.
    fn weigh(&mut self, hub: &Hub) -> bool {
        let unfinished = self.socket.connection().unfinished();
        self.deadline.follow(unfinished.is_some(), hub.now());
        self.said
            .hold(unfinished.unwrap_or_default() + self.asked.bytes)
    }

    /// Tells a client that says the most why it is cut.
    fn cut(&mut self) -> End {
        let error = Error::Unavailable("too much is said at once".to_owned());
        let told = Frame::End {
            error: Some(&error),
        };
        // Where it cannot be said, the close says so much too.
        let _ = self.tell(&told);
        End::Failed(code(error.close_code()), error.code())
    }

    /// Takes what the client sent.
    fn hear(&mut self, event: Event) -> Result<(), End> {
        match event {
            Event::Text(text) => match Ask::parse(&text) {
                Ok(ask) => self.asked.push(ask, text.len()),
                Err((reference, error)) => self.reply(&reference, &Reply::Failed(&error))?,
            },
            Event::Binary(_) => {
                return Err(End::Closed(CloseCode::UNSUPPORTED, "text is expected"));
            }
            Event::Ping(_) | Event::Pong(_) => {}
            // The answer is in the output, which `close` writes.
            Event::Close { .. } | Event::Failed(_) => {
                return Err(End::Closed(CloseCode::NORMAL, ""));
            }
        }
        Ok(())
    }

    /// Begins with what was asked first; drafts for one channel that were asked one after the other go together.
    fn work(&mut self) -> Result<Option<LocalBoxFuture<'static, Done>>, End> {
        while let Some(Ask { reference, verb }) = self.asked.pop() {
            let caller = self.reader.caller().clone();
            match verb {
                Verb::Publish { channel, drafts } => {
                    let mut room = MOST_DRAFTS - drafts.iter().len();
                    let mut together = vec![(reference, drafts)];
                    let fits = |verb: &Verb, room: usize| {
                        matches!(verb, Verb::Publish { channel: next, drafts }
                            if *next == channel && drafts.iter().len() <= room)
                    };
                    while let Some(Ask {
                        reference,
                        verb: Verb::Publish { drafts, .. },
                    }) = self.asked.pop_if(|verb| fits(verb, room))
                    {
                        room -= drafts.iter().len();
                        together.push((reference, drafts));
                    }
                    return Ok(Some(Box::pin(publish(caller, channel, together))));
                }
                Verb::Subscribe { channel, start } => {
                    let refused = if self.reader.follows(&channel) {
                        Some("channel: it is followed already".to_owned())
                    } else if self.reader.channels() == MOST_CHANNELS {
                        Some(format!("channel: more than {MOST_CHANNELS}"))
                    } else {
                        None
                    };
                    if let Some(why) = refused {
                        self.reply(&reference, &Reply::Failed(&Error::Invalid(why)))?;
                        continue;
                    }
                    return Ok(Some(Box::pin(follow(caller, reference, channel, start))));
                }
                Verb::Command(command) => {
                    return Ok(Some(Box::pin(perform(caller, reference, command))));
                }
                Verb::Unsubscribe { channel } => {
                    self.reader.remove(&channel);
                    self.cursor = self.reader.cursor();
                    let cursor = self.cursor.clone();
                    self.reply(
                        &reference,
                        &Reply::Unsubscribed {
                            channel: &channel,
                            cursor: &cursor,
                        },
                    )?;
                }
            }
        }
        Ok(None)
    }

    /// Tells what came of it.
    async fn answer(&mut self, done: Done) -> Result<(), End> {
        match done {
            Done::Published {
                channel,
                drafts,
                results,
            } => {
                let mut results = results.map(Vec::into_iter);
                for (reference, drafts) in drafts {
                    let told = match &mut results {
                        Ok(results) => {
                            let own = results.by_ref().take(drafts.iter().len());
                            drafts.answer(&channel, own)
                        }
                        Err(error) => Err(error.clone()),
                    };
                    match told {
                        Ok((_, told)) => self.reply(&reference, &Reply::Published(&told))?,
                        Err(error) => self.reply(&reference, &Reply::Failed(&error))?,
                    }
                }
            }
            Done::Followed {
                reference,
                channel,
                start,
                version,
                feed,
            } => {
                let added = match feed {
                    Ok(feed) => self.reader.add(channel.clone(), feed, start).await,
                    Err(error) => Err(error),
                };
                match added {
                    Ok(()) => {
                        self.reader.question_since(version);
                        self.cursor = self.reader.cursor();
                        let cursor = self.cursor.clone();
                        self.reply(
                            &reference,
                            &Reply::Subscribed {
                                channel: &channel,
                                cursor: &cursor,
                            },
                        )?;
                    }
                    Err(types::Error::Closing) => return Err(End::Told(None)),
                    Err(error) => self.reply(&reference, &Reply::Failed(&error.into()))?,
                }
            }
            Done::Performed { reference, answer } => match answer {
                Ok(answer) => self.reply(&reference, &Reply::Answered(&answer))?,
                Err(error) => self.reply(&reference, &Reply::Failed(&error.into()))?,
            },
        }
        Ok(())
    }

    /// Tells of channels that the reader may no longer read. It may ask for others.
    fn denied(&mut self, refused: Vec<(Channel, types::Error)>) -> Result<(), End> {
        for (channel, error) in refused {
            self.tell(&Frame::Denied {
                channel: channel.as_str(),
                error: &error.into(),
            })?;
            self.reader.remove(&channel);
            self.cursor = self.reader.cursor();
        }
        Ok(())
    }

    fn items(&mut self, items: Vec<(usize, Item)>) -> Result<(), End> {
        let Self {
            socket,
            reader,
            cursor,
            ..
        } = self;
        let mut said = Ok(());
        tell(reader, cursor, items, |told| {
            let sent = match told {
                Told::Message(heard, cursor) if reader.is_single() => socket
                    .connection()
                    .send_prepared(heard.prepared(), heard.behind(cursor)),
                Told::Message(heard, cursor) => socket
                    .connection()
                    .send_prepared(heard.prepared(), &Frame::behind(&cursor.encode())),
                Told::Gap(gap, cursor) => {
                    let cursor = &cursor.encode();
                    let frame = Frame::Gap { gap, cursor };
                    socket.connection().send_text(&frame.to_json())
                }
            };
            if sent.is_err() {
                said = Err(End::Over);
            }
        });
        said
    }

    /// Tells what is new in the live state of its channels.
    fn live(&mut self) -> Result<(), End> {
        for update in self.reader.live() {
            let sent = self
                .socket
                .connection()
                .send_prepared(update.prepared(), "");
            sent.map_err(|_| End::Over)?;
        }
        Ok(())
    }

    fn reply(&mut self, reference: &Reference, reply: &Reply<'_>) -> Result<(), End> {
        self.say(&reply.to_json(reference))
    }

    fn tell(&mut self, frame: &Frame<'_>) -> Result<(), End> {
        self.say(&frame.to_json())
    }

    /// What cannot be sent is not left out: the connection ends.
    fn say(&mut self, text: &str) -> Result<(), End> {
        let said = self.socket.connection().send_text(text);
        said.map_err(|_| End::Over)
    }
}

async fn publish(caller: Caller, channel: Channel, drafts: Vec<(Reference, Drafts)>) -> Done {
    let all = drafts.iter().flat_map(|(_, drafts)| drafts);
    let results = store(caller, &channel, all).await;
    Done::Published {
        channel,
        drafts,
        results,
    }
}

async fn follow(caller: Caller, reference: Reference, channel: Channel, start: Start) -> Done {
    let version = Hub::shared().standing.version();
    let feed = match messenger::follow(caller, vec![channel.to_string()]).await {
        Ok(reading) => reading
            .feeds
            .into_iter()
            .next()
            .ok_or_else(|| types::Error::Unavailable("no feed".to_owned())),
        Err(error) => Err(error),
    };
    Done::Followed {
        reference,
        channel,
        start,
        version,
        feed,
    }
}

async fn perform(caller: Caller, reference: Reference, command: String) -> Done {
    let answer = messenger::perform(caller, command).await;
    Done::Performed { reference, answer }
}
