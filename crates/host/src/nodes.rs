//! Wakeups between the hosts that share a store: the nodes.
//!
//! All of them publish to one channel of Redis, and are subscribed to it, whatever their components wait for. With a
//! subscription for each key a node would be told less; but components begin and cease to wait all the time, each
//! time the server would have to be told, and to answer before the read that follows. So a node looks up every name
//! that another one tells, which for those that nobody here waits for is a look into a table. What is to be told
//! while the server still takes the names of before goes together: a node has one message under way, whatever is
//! published.
//!
//! A message that is lost does no harm but delay, as with all wakeups. So a node that stops does not wait for long
//! until it has told what is left.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis_forms::wakeups::{Told, read, write};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::store::{Redis, Store};
use crate::wakeup::Wakeups;

/// The most names in one message. Fewer share one less; more, and nodes come to the first after the last.
const BATCH: usize = 256;

/// How many names wait for a server that is away. Beyond that the others are told to look at everything, once.
const LONGEST: usize = 10_000;

/// Between two attempts to tell, or to listen to, a server that is away.
const PAUSE: Duration = Duration::from_millis(100);

/// How long what is left to tell may take when the host stops: two trips to a server far away. Who is not told looks
/// by itself, later.
const LAST: Duration = Duration::from_millis(500);

/// What the other nodes are to be told.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    names: Mutex<HashSet<String>>,
    filled: Notify,
    /// What is put in now need not be told.
    closed: AtomicBool,
}

/// What is told at once.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Names(Vec<String>),
    /// Too many have gathered: all must be looked at.
    All,
    /// There will be nothing any more.
    Nothing,
}

impl Outbox {
    pub(crate) fn push(&self, name: &str) {
        let mut names = self.names();
        if names.len() <= LONGEST && !names.contains(name) {
            names.insert(name.to_owned());
        }
        drop(names);
        self.filled.notify_one();
    }

    /// Lets what is in it be told, and nothing more.
    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.filled.notify_one();
    }

    /// Waits for what is to be told next.
    async fn take(&self) -> Next {
        loop {
            let filled = self.filled.notified();
            {
                let mut names = self.names();
                if names.len() > LONGEST {
                    names.clear();
                    return Next::All;
                }
                let next: Vec<String> = names.iter().take(BATCH).cloned().collect();
                if !next.is_empty() {
                    for name in &next {
                        names.remove(name);
                    }
                    return Next::Names(next);
                }
            }
            if self.closed.load(Ordering::Acquire) {
                return Next::Nothing;
            }
            filled.await;
        }
    }

    fn names(&self) -> MutexGuard<'_, HashSet<String>> {
        // Every change of the set is one step.
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tasks that speak with the other nodes, ended when dropped.
#[derive(Debug)]
pub(crate) struct Nodes {
    outbox: Arc<Outbox>,
    telling: JoinSet<()>,
    _listening: JoinSet<()>,
}

impl Nodes {
    /// Tells the others what is notified here, and wakes those who wait here for what the others notify. Nothing
    /// happens where the store is this host's alone.
    pub(crate) fn join(store: &Store, outbox: Arc<Outbox>, wakeups: &Wakeups) -> Self {
        let (mut telling, mut listening) = (JoinSet::new(), JoinSet::new());
        if store.redis().is_some() {
            let own = format!("{:016x}", fastrand::u64(..));
            telling.spawn(tell(store.clone(), outbox.clone(), own.clone()));
            listening.spawn(listen(store.clone(), wakeups.clone(), own));
        }
        Self {
            outbox,
            telling,
            _listening: listening,
        }
    }

    /// Nothing is notified here any more: what is left is told, if that takes no longer than it is worth.
    pub(crate) async fn finish(&mut self) {
        self.finish_within(LAST).await;
    }

    async fn finish_within(&mut self, most: Duration) {
        self.outbox.close();
        timeout(most, self.telling.join_next()).await.ok();
    }
}

async fn tell(store: Store, outbox: Arc<Outbox>, own: String) {
    let Some(redis) = store.redis() else { return };
    loop {
        let names = match outbox.take().await {
            Next::Names(names) => Some(names),
            Next::All => None,
            Next::Nothing => return,
        };
        let message = write(&own, names.as_deref());
        // Names that gather meanwhile wait for these.
        while let Err(error) = redis.publish(&message).await {
            tracing::debug!(%error, "other nodes cannot be told");
            sleep(PAUSE).await;
        }
    }
}

async fn listen(store: Store, wakeups: Wakeups, own: String) {
    let Some(redis) = store.redis() else { return };
    loop {
        if let Err(error) = hear(redis, &wakeups, &own).await {
            tracing::debug!(%error, "other nodes are not heard");
        }
        sleep(PAUSE).await;
    }
}

/// Listens until the connection ends, or the store is asked by another one.
async fn hear(redis: &Redis, wakeups: &Wakeups, own: &str) -> Result<(), redis::RedisError> {
    let connection = redis.connection();
    let mut listening = redis.subscribe().await?;
    // Something may have been told while nobody listened.
    wakeups.notify_all();
    // After a failover this one may still be there, at the server of before.
    let mut moved = pin!(redis.reconnected(connection));
    loop {
        let message = tokio::select! {
            () = &mut moved => return Ok(()),
            message = listening.next() => message?,
        };
        match read(message.get_payload_bytes(), own) {
            Told::Nothing => {}
            Told::Names(names) => names.iter().for_each(|name| wakeups.hear(name)),
            Told::All => wakeups.notify_all(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use redis_server::RedisServer;
    use tokio::sync::watch;

    use super::*;
    use crate::store::{Durability, wire};

    /// Beyond this something hangs.
    const HANGS: Duration = Duration::from_secs(60);

    /// A node that listens, and what keeps it one.
    async fn node(url: &str) -> (Wakeups, Nodes) {
        let store = Store::open(url, Durability::Normal).await;
        let outbox = Arc::new(Outbox::default());
        let wakeups = Wakeups::told_to(outbox.clone());
        // To begin to listen wakes everybody.
        let begun = wakeups.watch("begun".into());
        let nodes = Nodes::join(&store.expect("Redis is there"), outbox, &wakeups);
        assert!(begun.is_woken(HANGS).await);
        (wakeups, nodes)
    }

    #[tokio::test]
    async fn what_one_node_notifies_wakes_those_who_wait_at_another_of_the_same_app() {
        let server = RedisServer::start(&[]).expect("Redis starts");
        let (one, _one) = node(&server.url()).await;
        let (two, _two) = node(&server.url()).await;
        let (other, _other) = node(&format!("{}?prefix=other:", server.url())).await;
        let names = ["a", "b\nc", "\"\0\u{e9}"];
        let watches = names.map(|name| (one.watch(name.into()), two.watch(name.into())));
        let silent = two.watch("silent".into());
        let apart = other.watch("a".into());
        for (name, (here, there)) in names.iter().zip(&watches) {
            one.notify(name);
            assert!(here.is_woken(HANGS).await);
            assert!(there.is_woken(HANGS).await);
        }
        // What a node says it hears too, before what others say later, and is not woken by it again.
        two.notify("a");
        assert!(watches[0].0.is_woken(HANGS).await);
        assert!(!watches[1].0.is_woken(Duration::ZERO).await);
        assert!(!silent.is_woken(Duration::ZERO).await);
        assert!(!apart.is_woken(Duration::ZERO).await);
    }

    #[tokio::test]
    async fn after_a_server_was_away_all_who_wait_are_woken_and_what_was_to_be_told_is() {
        let mut server = RedisServer::start(&[]).expect("Redis starts");
        let (one, _one) = node(&server.url()).await;
        let (two, _two) = node(&server.url()).await;
        let watch = two.watch("a".into());
        server.kill().expect("it runs");
        one.notify("b");
        server.restart().expect("Redis starts");
        assert!(watch.is_woken(HANGS).await);
        let watch = two.watch("c".into());
        one.notify("c");
        assert!(watch.is_woken(HANGS).await);
    }

    #[tokio::test]
    async fn who_reads_a_stream_is_told_as_well() {
        let server = RedisServer::start(&[]).expect("Redis starts");
        let (one, _one) = node(&server.url()).await;
        let (two, _two) = node(&server.url()).await;
        let watch = two.watch("a".into());
        let lines = || server.ask::<u64>(&["XLEN", "witter:wakeup"]);
        one.notify("a");
        assert!(watch.is_woken(HANGS).await);
        // Nobody reads one.
        assert_eq!(lines().expect("it works"), 0);
        let begun = server.ask::<String>(&["XADD", "witter:wakeup", "*", "message", ""]);
        begun.expect("it works");
        one.notify("a");
        assert!(watch.is_woken(HANGS).await);
        assert_eq!(lines().expect("it works"), 2);
        // Something else has its name: those who listen are told once, and of what comes after too.
        let deleted = server.ask::<u64>(&["DEL", "witter:wakeup"]);
        deleted.expect("it works");
        let taken = server.ask::<String>(&["SET", "witter:wakeup", "mine"]);
        taken.expect("it works");
        for name in ["a", "b"] {
            let watch = two.watch(name.into());
            one.notify(name);
            assert!(watch.is_woken(HANGS).await, "{name}");
        }
    }

    #[tokio::test]
    async fn who_asks_by_another_connection_listens_by_another_one_too() {
        let server = RedisServer::start(&[]).expect("Redis starts");
        let store = Store::open(&server.url(), Durability::Normal).await;
        let store = store.expect("Redis is there");
        let wakeups = Wakeups::default();
        let watch = wakeups.watch("begun".into());
        let _nodes = Nodes::join(&store, Arc::new(Outbox::default()), &wakeups);
        assert!(watch.is_woken(HANGS).await);
        let watch = wakeups.watch("a".into());
        // Those that are not subscribed, as in a failover: nothing else tells who listens.
        let killed = server.ask::<u64>(&["CLIENT", "KILL", "TYPE", "normal"]);
        assert!(killed.expect("it works") > 0);
        let begun = Instant::now();
        while store.get("default", "key").await.is_err() {
            assert!(begun.elapsed() < HANGS);
            sleep(PAUSE).await;
        }
        assert!(watch.is_woken(HANGS).await);
    }

    #[tokio::test]
    async fn a_name_waits_once_and_too_many_are_all() {
        let outbox = Outbox::default();
        outbox.push("a");
        outbox.push("a");
        outbox.push("b");
        let Next::Names(mut names) = outbox.take().await else {
            panic!("these are few");
        };
        names.sort_unstable();
        assert_eq!(names, ["a", "b"]);
        for number in 0..=2 * LONGEST {
            outbox.push(&number.to_string());
        }
        assert_eq!(outbox.take().await, Next::All);
        outbox.push("c");
        outbox.close();
        assert_eq!(outbox.take().await, Next::Names(vec!["c".to_owned()]));
        assert_eq!(outbox.take().await, Next::Nothing);
    }

    #[tokio::test]
    async fn what_is_left_to_tell_when_a_node_stops_is_told() {
        let server = RedisServer::start(&[]).expect("Redis starts");
        let (_sound, mute) = watch::channel(false);
        let away = wire(server.address(), Duration::from_millis(100), mute).await;
        let (one, mut stopping) = node(&format!("redis://{away}")).await;
        let (two, _two) = node(&server.url()).await;
        let watches = ["a", "b"].map(|name| two.watch(name.into()));
        one.notify("a");
        assert!(watches[0].is_woken(HANGS).await);
        // Its answer is on the way, and this waits for it.
        one.notify("b");
        let begun = Instant::now();
        stopping.finish_within(HANGS).await;
        drop(stopping);
        let took = begun.elapsed();
        // Nobody else would wake it.
        assert!(watches[1].is_woken(HANGS).await);
        assert!(took < HANGS / 2, "{took:?}");
    }

    #[tokio::test]
    async fn a_node_stops_soon_though_nobody_can_be_told() {
        let mut server = RedisServer::start(&[]).expect("Redis starts");
        let (one, mut stopping) = node(&server.url()).await;
        server.kill().expect("it runs");
        one.notify("a");
        let begun = Instant::now();
        stopping.finish().await;
        let took = begun.elapsed();
        assert!(took >= LAST && took < HANGS / 2, "{took:?}");
    }
}
