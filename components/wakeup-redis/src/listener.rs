//! The one listener of this instance, and what this instance tells the others.

use crate::hints;
use crate::sleep;
use crate::watches::Watches;
use redis_forms::wakeups::{Told, read};
use spin_redis::{Error, Line, Redis};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use wasip3::clocks::monotonic_clock;
use wasip3::random::random::get_random_u64;

/// After these times Redis is tried again, and from then on after the last. Each half at random, so that not all
/// instances come at once.
const PAUSES_MS: [u64; 5] = [250, 500, 1_000, 2_000, 4_000];
/// How long an answer may take, also that to a command that waits in Redis. Shorter: a Redis that is busy is taken
/// for gone; longer: one that is gone, for there.
const LATE: Duration = Duration::from_secs(10);
/// How long nothing is told to a Redis that could not be told, in nanoseconds. To tell holds the instance, which
/// is long where nobody answers.
const SPARED: u64 = 1_000_000_000;

pub(crate) struct Listener {
    pub(crate) watches: Rc<Watches>,
    /// What this instance tells is known here already.
    own: String,
    /// Whether there is a task that reads.
    running: Cell<bool>,
    /// Whether what is told now will be heard.
    listening: Cell<bool>,
    /// When Redis may be told again.
    spared_until: Cell<u64>,
}

impl Listener {
    pub(crate) fn shared() -> Rc<Self> {
        thread_local! {
            static LISTENER: Rc<Listener> = Rc::new(Listener {
                watches: Rc::default(),
                own: format!("{:016x}", get_random_u64()),
                running: Cell::default(),
                listening: Cell::default(),
                spared_until: Cell::default(),
            });
        }
        LISTENER.with(Rc::clone)
    }

    /// Wakes who waits here, and tells the others. One that is lost costs them time only.
    pub(crate) fn notify(&self, key: &str) {
        self.watches.notify(key);
        if monotonic_clock::now() < self.spared_until.get() {
            return;
        }
        let told = Redis::shared()
            .and_then(|redis| redis.call(hints::tell(redis.prefix(), &self.own, &[key])));
        if told.is_err() {
            self.spared_until.set(monotonic_clock::now() + SPARED);
        }
    }

    /// Begins to listen unless that is under way, and tells whether it is so far. The task outlives the call that
    /// began it, and ends with the last watch.
    pub(crate) fn listen(self: &Rc<Self>) -> bool {
        if !self.running.replace(true) {
            wit_bindgen::spawn_local(Rc::clone(self).run());
        }
        self.listening.get()
    }

    async fn run(self: Rc<Self>) {
        let mut failures = 0;
        while let Err(_gone) = self.follow(&mut failures).await {
            // Those who wait do so by pauses from now on.
            self.listening.set(false);
            self.watches.notify_all();
            let most = PAUSES_MS[failures.min(PAUSES_MS.len() - 1)];
            failures += 1;
            sleep(Duration::from_millis(
                most / 2 + get_random_u64() % (most / 2),
            ))
            .await;
            if self.watches.is_empty() {
                break;
            }
        }
        self.listening.set(false);
        self.running.set(false);
    }

    /// Reads until nobody waits here any more.
    async fn follow(&self, failures: &mut usize) -> Result<(), Error> {
        let redis = Redis::shared()?;
        let line = Line::default();
        let ask = async |command| redis.send(&line, &command, LATE).await;
        let mut place = hints::begun(ask(hints::begin(redis.prefix(), &self.own)).await?)?;
        let mut kept_until = 0;
        *failures = 0;
        self.listening.set(true);
        // Whatever was told before that place was not heard.
        self.watches.notify_all();
        while !self.watches.is_empty() {
            let now = monotonic_clock::now();
            if now >= kept_until {
                hints::kept(&ask(hints::keep(redis.prefix())).await?)?;
                kept_until = now + hints::LIFE * 1_000_000_000 / 3;
            }
            let news = hints::news(ask(hints::since(redis.prefix(), &place)).await?)?;
            if news.is_incomplete() {
                self.watches.notify_all();
            }
            for message in &news.messages {
                match read(message, &self.own) {
                    Told::Nothing => {}
                    Told::Names(keys) => keys.iter().for_each(|key| self.watches.notify(key)),
                    Told::All => self.watches.notify_all(),
                }
            }
            place = news.place.unwrap_or(place);
        }
        Ok(())
    }
}
