//! The store in Redis or Valkey, shared by as many hosts as one likes, and with Spin: the keys and the counters
//! are those of Spin's own Redis store.
//!
//! Everything is asked of one server, never of its replicas: what a write has answered every later read sees. All
//! share one connection, on which questions follow each other without waiting for answers.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::try_join_all;
use redis::{Client, Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind, Value, cmd};
use redis_forms::wakeups;
use tokio::sync::OnceCell;

use super::StoreError;

mod link;
mod place;
mod settings;
mod subscription;
#[cfg(test)]
pub(crate) mod wire;

pub(crate) use link::Admission;
use link::{Guard, Link};
use place::Place;
pub(crate) use place::without_password;
pub(crate) use subscription::Subscription;

/// After so long a silence of other nodes the server is asked whether it is still there. Longer: what they tell is missed
/// for longer, where a router has forgotten the connection.
const SILENCE: Duration = Duration::from_secs(5);

/// The same of a claim, of which nothing is ever heard. Longer: two may move a store at once for longer.
const HELD: Duration = Duration::from_secs(1);

/// Sets a key to a value where it has the one that is expected.
const SWAP: &str = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end \
                    redis.call('SET', KEYS[1], ARGV[2]) return 1";

/// How many keys the server looks at for one page of names. Fewer, and there are more pages; more, and others wait
/// longer meanwhile.
const PAGE: usize = 1000;

impl From<RedisError> for StoreError {
    fn from(error: RedisError) -> Self {
        Self::unavailable(error)
    }
}

#[derive(Debug)]
pub(crate) struct Redis {
    client: Client,
    link: Link,
    place: Place,
    /// The server's name for [`SWAP`], once it was asked to learn it.
    swap: OnceCell<String>,
    /// Whether the last write was refused.
    refusing: AtomicBool,
}

impl Redis {
    /// Connects to a server that is no cluster, and warns of settings by which it loses what it acknowledged.
    pub(super) async fn open(url: &str) -> Result<Self, StoreError> {
        let (place, client) = Place::parse(url)?;
        // No label has such a name, so that nobody writes this.
        let unused = place.name("/unused", "/unused");
        let link = Link::open(client.clone(), unused).await?;
        settings::refuse_cluster(&link).await?;
        for warning in settings::look(&link).await {
            tracing::warn!("{warning}");
        }
        Ok(Self {
            client,
            link,
            place,
            swap: OnceCell::new(),
            refusing: AtomicBool::new(false),
        })
    }

    pub(super) async fn get_many(
        &self,
        label: &str,
        keys: &[String],
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        match keys {
            [] => Ok(Vec::new()),
            // Of something that is no value, this tells what is wrong; the other takes it for nothing.
            [key] => Ok(vec![self.link.ask(&self.command("GET", label, key)).await?]),
            keys => Ok(self.link.ask(&self.commanded("MGET", label, keys)).await?),
        }
    }

    /// None: it is a list or the like.
    pub(super) async fn lengths(
        &self,
        label: &str,
        keys: &[String],
    ) -> Result<Vec<Option<u64>>, StoreError> {
        let lengths = keys.iter().map(|key| async move {
            match self.link.ask(&self.command("STRLEN", label, key)).await {
                Err(error) if error.code() == Some("WRONGTYPE") => Ok(None),
                length => Ok(Some(length?)),
            }
        });
        try_join_all(lengths).await
    }

    pub(super) async fn exists(&self, label: &str, key: &str) -> Result<bool, StoreError> {
        Ok(self.link.ask(&self.command("EXISTS", label, key)).await?)
    }

    /// Those that had a value all the while; keys that come and go meanwhile may be among them or not.
    pub(super) async fn keys(&self, label: &str) -> Result<Vec<String>, StoreError> {
        let pattern = self.place.pattern(label);
        let entries = self.scan(&pattern).await?.into_iter();
        let of_label = entries.filter(|(of, _)| of == label);
        Ok(of_label.map(|(_, key)| key).collect())
    }

    pub(super) async fn entries(&self) -> Result<Vec<(String, String)>, StoreError> {
        Ok(self
            .scan(&self.place.pattern_of_all())
            .await?
            .into_iter()
            .collect())
    }

    /// The labels and keys of those names that fit a pattern.
    async fn scan(&self, pattern: &str) -> Result<HashSet<(String, String)>, RedisError> {
        let mut found = HashSet::new();
        let mut place = 0_u64;
        loop {
            let page = cmd("SCAN")
                .arg(place)
                .arg("MATCH")
                .arg(pattern)
                .arg("COUNT")
                .arg(PAGE)
                .to_owned();
            let (next, names): (u64, Vec<Vec<u8>>) = self.link.ask(&page).await?;
            // No key of a component is anything but UTF-8.
            let names = names.iter().filter_map(|name| str::from_utf8(name).ok());
            let entries = names.filter_map(|name| self.place.entry(name));
            found.extend(entries.map(|(label, key)| (label.to_owned(), key.to_owned())));
            if next == 0 {
                return Ok(found);
            }
            place = next;
        }
    }

    pub(super) async fn set_many(
        &self,
        label: &str,
        pairs: Vec<(String, Vec<u8>)>,
    ) -> Result<(), StoreError> {
        if pairs.is_empty() {
            return Ok(());
        }
        let mut set = cmd("MSET");
        for (key, value) in &pairs {
            set.arg(self.place.name(label, key)).arg(value);
        }
        Ok(self.write(&set).await?)
    }

    pub(super) async fn delete_many(&self, label: &str, keys: &[String]) -> Result<(), StoreError> {
        if keys.is_empty() {
            return Ok(());
        }
        Ok(self.write(&self.commanded("DEL", label, keys)).await?)
    }

    pub(super) async fn increment(
        &self,
        label: &str,
        key: &str,
        delta: i64,
    ) -> Result<i64, StoreError> {
        let increment = self.command("INCRBY", label, key).arg(delta).to_owned();
        let sum = self.write(&increment).await;
        sum.map_err(|error| match error.detail() {
            Some(detail) if detail.contains("overflow") => StoreError::Overflow {
                key: key.to_owned(),
            },
            Some(detail) if detail.contains("not an integer") => StoreError::NotACounter {
                key: key.to_owned(),
            },
            _ => error.into(),
        })
    }

    pub(super) async fn swap(
        &self,
        label: &str,
        key: &str,
        expected: Option<&[u8]>,
        value: &[u8],
    ) -> Result<bool, StoreError> {
        let Some(expected) = expected else {
            let set = self
                .command("SET", label, key)
                .arg(value)
                .arg("NX")
                .to_owned();
            return Ok(self.write::<Value>(&set).await? != Value::Nil);
        };
        let swap = |by: &str, script: &str| {
            cmd(by)
                .arg(script)
                .arg(1)
                .arg(self.place.name(label, key))
                .arg(expected)
                .arg(value)
                .to_owned()
        };
        let learn = || async {
            let learn = cmd("SCRIPT").arg("LOAD").arg(SWAP).to_owned();
            self.link.ask(&learn).await
        };
        let name = self.swap.get_or_try_init(learn).await?;
        match self.write(&swap("EVALSHA", name)).await {
            // A server that began anew has forgotten it. By this it learns it again.
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                Ok(self.write(&swap("EVAL", SWAP)).await?)
            }
            swapped => Ok(swapped?),
        }
    }

    /// Says something to all who are subscribed, and to those who read the stream.
    pub(crate) async fn publish(&self, message: &str) -> Result<(), RedisError> {
        let tell = cmd("EVAL")
            .arg(wakeups::TELL)
            .arg(1)
            .arg(self.place.wakeups())
            .arg(&wakeups::arguments(message))
            .to_owned();
        self.link.ask(&tell).await
    }

    /// Listens to what is said.
    pub(crate) async fn subscribe(&self) -> Result<Subscription, RedisError> {
        Subscription::new(&self.client, self.place.wakeups(), SILENCE).await
    }

    /// Whenever it connects again, it shows itself, and asks what the value of a key says of that.
    pub(crate) fn guard(&self, label: &str, key: &str, judge: fn(&[u8]) -> Admission) {
        self.link.guard(Guard {
            shown: self.place.wakeups(),
            key: self.place.name(label, key),
            judge,
        });
    }

    /// The number of the connection by which everything is asked, if there is one.
    pub(crate) fn connection(&self) -> Option<u64> {
        self.link.number()
    }

    /// Waits until there is another one than the one of this number.
    pub(crate) async fn reconnected(&self, number: Option<u64>) {
        self.link.reconnected(number).await;
    }

    /// How many are subscribed to what hosts tell each other.
    pub(crate) async fn listeners(&self) -> Result<u64, RedisError> {
        self.subscribed(&self.place.wakeups()).await
    }

    /// Claims the store, so that others who do see it, and does not keep them from it.
    pub(crate) async fn claim(&self) -> Result<Subscription, RedisError> {
        let claims = self.place.claims(self.database());
        Subscription::new(&self.client, claims, HELD).await
    }

    /// Whether keys of the one are the other's too, if they are on one server.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.database() == other.database() && self.place.overlaps(&other.place)
    }

    fn database(&self) -> i64 {
        self.client.get_connection_info().redis_settings().db()
    }

    /// How many have claimed it.
    pub(crate) async fn claims(&self, claim: &Subscription) -> Result<u64, RedisError> {
        self.subscribed(claim.channel()).await
    }

    async fn subscribed(&self, channel: &str) -> Result<u64, RedisError> {
        let asked = cmd("PUBSUB").arg("NUMSUB").arg(channel).to_owned();
        let (_, number): (String, u64) = self.link.ask(&asked).await?;
        Ok(number)
    }

    /// Whether the keys of other applications in its database are taken for its own.
    pub(crate) fn is_everything(&self) -> bool {
        self.place.is_everything()
    }

    fn command(&self, name: &str, label: &str, key: &str) -> Cmd {
        cmd(name).arg(self.place.name(label, key)).to_owned()
    }

    fn commanded(&self, name: &str, label: &str, keys: &[String]) -> Cmd {
        let mut command = cmd(name);
        for key in keys {
            command.arg(self.place.name(label, key));
        }
        command
    }

    /// Asks, and tells in the log when the server begins to refuse and when that is over: it is full, or its disk
    /// is, or it lacks the replicas that it was told to wait for.
    async fn write<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        let answer = self.link.ask(command).await;
        let refused = answer.as_ref().err().filter(|error| is_refusal(error));
        match refused {
            Some(error) if !self.refusing.swap(true, Ordering::Relaxed) => {
                tracing::warn!(%error, "writing to the store fails");
            }
            None if answer.is_ok() && self.refusing.swap(false, Ordering::Relaxed) => {
                tracing::info!("writing to the store works again");
            }
            _ => {}
        }
        answer
    }
}

/// Whether the server is there, and does not write.
fn is_refusal(error: &RedisError) -> bool {
    matches!(
        error.code(),
        Some("MISCONF" | "OOM" | "NOREPLICAS" | "NOPERM")
    )
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use redis_server::RedisServer;
    use tokio::net::TcpListener;
    use tokio::sync::watch;

    use super::wire::wire;
    use super::*;

    /// Beyond this something hangs.
    const HANGS: Duration = Duration::from_secs(60);

    async fn open(server: &RedisServer) -> Redis {
        Redis::open(&server.url()).await.expect("Redis is there")
    }

    async fn set(store: &Redis, key: &str, value: &[u8]) -> Result<(), StoreError> {
        store
            .set_many("default", vec![(key.to_owned(), value.to_owned())])
            .await
    }

    async fn get(store: &Redis, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let mut values = store.get_many("default", &[key.to_owned()]).await?;
        Ok(values.pop().flatten())
    }

    /// Tries until the store works, and answers how long that took.
    async fn back(store: &Redis) {
        let begun = Instant::now();
        while let Err(error) = set(store, "back", b"").await {
            assert!(begun.elapsed() < HANGS, "{error:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[track_caller]
    fn check_away<T: std::fmt::Debug>(result: Result<T, StoreError>) {
        assert!(
            matches!(result, Err(StoreError::Unavailable(_))),
            "{result:?}"
        );
    }

    #[tokio::test]
    async fn what_is_written_is_what_spin_would_write() {
        let server = RedisServer::start(&[]).expect("Redis starts");
        let store = open(&server).await;
        set(&store, "key", b"value").await.expect("it works");
        let sum = store.increment("default", "counter", 41).await;
        assert_eq!(sum.expect("it works"), 41);
        assert_eq!(
            server.ask::<String>(&["GET", "key"]).expect("it works"),
            "value"
        );
        let sum = server.ask::<i64>(&["INCRBY", "counter", "1"]);
        assert_eq!(sum.expect("it works"), 42);
        assert_eq!(
            get(&store, "counter").await.expect("it works"),
            Some(b"42".to_vec())
        );
    }

    #[tokio::test]
    async fn a_server_that_is_away_is_told_at_once_and_found_again() {
        // What it wrote outlives it; a disk that others write to may take longer than an answer may.
        let mut server = RedisServer::start(&["--appendonly", "yes", "--appendfsync", "no"])
            .expect("Redis starts");
        let store = open(&server).await;
        set(&store, "key", b"value").await.expect("it works");
        for _ in 0..2 {
            server.kill().expect("it runs");
            check_away(get(&store, "key").await);
            check_away(store.swap("default", "key", Some(b"value"), b"other").await);
            server.restart().expect("Redis starts");
            back(&store).await;
            // It learns the script again.
            let swapped = store.swap("default", "key", Some(b"value"), b"value").await;
            assert!(swapped.expect("it works"));
        }
    }

    #[tokio::test]
    async fn a_server_that_hangs_holds_up_no_more_than_those_who_asked_it_before() {
        let server = RedisServer::start(&[]).expect("Redis starts");
        let store = open(&server).await;
        server.pause().expect("it runs");
        let (one, other) = tokio::join!(get(&store, "a"), set(&store, "a", b"x"));
        check_away(one);
        check_away(other);
        // Each would wait for as long as the two above: all of them for longer than this test may take.
        for _ in 0..1000 {
            check_away(get(&store, "a").await);
        }
        server.resume().expect("it runs");
        back(&store).await;
    }

    #[tokio::test]
    async fn a_server_that_is_full_is_told_and_got_over() {
        let server = RedisServer::start(&[]).expect("Redis starts");
        let store = open(&server).await;
        set(&store, "key", b"value").await.expect("there is room");
        let limit = |bytes: &str| {
            let set = server.ask::<String>(&["CONFIG", "SET", "maxmemory", bytes]);
            set.expect("it is taken");
        };
        limit("1");
        check_away(set(&store, "key", b"other").await);
        check_away(store.swap("default", "key", Some(b"value"), b"other").await);
        check_away(store.swap("default", "new", None, b"other").await);
        check_away(store.increment("default", "counter", 1).await);
        assert_eq!(
            get(&store, "key").await.expect("reading goes on"),
            Some(b"value".to_vec())
        );
        limit("0");
        let swapped = store.swap("default", "key", Some(b"value"), b"other").await;
        assert!(swapped.expect("there is room"));
    }

    #[tokio::test]
    async fn what_is_no_value_is_told() {
        let server = RedisServer::start(&[]).expect("Redis starts");
        let store = open(&server).await;
        let pushed = server.ask::<i64>(&["RPUSH", "list", "a"]);
        assert_eq!(pushed.expect("it works"), 1);
        check_away(get(&store, "list").await);
        check_away(store.swap("default", "list", Some(b"a"), b"b").await);
    }

    #[tokio::test]
    async fn a_replica_is_no_store() {
        let server = RedisServer::start(&[]).expect("Redis starts");
        let replica = RedisServer::start(&[]).expect("Redis starts");
        let store = open(&replica).await;
        set(&store, "key", b"value").await.expect("it works");
        let port = server.address().port().to_string();
        let made = replica.ask::<String>(&["REPLICAOF", "127.0.0.1", &port]);
        made.expect("it becomes one");
        check_away(set(&store, "key", b"value").await);
        check_away(Redis::open(&replica.url()).await.map(drop));
        // What it still has may be old.
        check_away(get(&store, "key").await);
        let made = replica.ask::<String>(&["REPLICAOF", "NO", "ONE"]);
        made.expect("it is none any more");
        back(&store).await;
        // Where nothing is written, it is found out as well.
        let made = replica.ask::<String>(&["REPLICAOF", "127.0.0.1", &port]);
        made.expect("it becomes one");
        let begun = Instant::now();
        while get(&store, "key").await.is_ok() {
            assert!(begun.elapsed() < HANGS);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    #[tokio::test]
    async fn a_replica_that_does_not_tell_its_role_is_no_store_and_is_not_asked_all_the_time() {
        for denied in [&["-role"][..], &["-role", "-del"]] {
            let server = RedisServer::start(&[]).expect("Redis starts");
            let store = open(&server).await;
            set(&store, "key", b"value").await.expect("it works");
            let rights = [&["ACL", "SETUSER", "default"][..], denied].concat();
            server.ask::<String>(&rights).expect("it is taken");
            let made = server.ask::<String>(&["REPLICAOF", "127.0.0.1", "1"]);
            made.expect("it becomes one");
            let connections = || {
                let told = server.ask::<String>(&["INFO", "stats"]).expect("it tells");
                let mut lines = told.lines();
                let count = lines.find_map(|line| line.strip_prefix("total_connections_received:"));
                let count = count.expect("it counts").parse::<u64>();
                count.expect("it is a number")
            };
            let before = connections();
            let (begun, mut writes) = (Instant::now(), 0);
            while begun.elapsed() < Duration::from_secs(2) {
                check_away(set(&store, "key", b"other").await);
                writes += 1;
                tokio::time::sleep(Duration::from_millis(10)).await;
                // With neither, nothing but a write tells it from a server that is well.
                if denied.len() == 1 {
                    check_away(get(&store, "key").await);
                }
            }
            // With pauses that double up to a second there are eight, and some more where one of them lasts; one was for
            // the question.
            let made = connections() - before - 1;
            assert!(made <= 20, "{made} connections for {writes} writes");
            if denied.len() == 1 {
                check_away(Redis::open(&server.url()).await.map(drop));
            }
            let made = server.ask::<String>(&["REPLICAOF", "NO", "ONE"]);
            made.expect("it is none any more");
            back(&store).await;
        }
    }

    #[tokio::test]
    async fn a_swap_whose_answer_is_lost_is_an_error_and_may_be_done() {
        let server = RedisServer::start(&[]).expect("Redis starts");
        let mute = watch::Sender::new(false);
        let wire = wire(server.address(), Duration::ZERO, mute.subscribe()).await;
        let store = Redis::open(&format!("redis://{wire}"))
            .await
            .expect("it opens");
        set(&store, "key", b"value").await.expect("it works");
        let swapped = store.swap("default", "key", Some(b"value"), b"value").await;
        assert!(swapped.expect("the server knows the script"));
        mute.send_replace(true);
        check_away(store.swap("default", "key", Some(b"value"), b"won").await);
        assert_eq!(
            server.ask::<String>(&["GET", "key"]).expect("it works"),
            "won"
        );
        mute.send_replace(false);
        back(&store).await;
        let swapped = store.swap("default", "key", Some(b"value"), b"lost").await;
        assert!(!swapped.expect("it works again"));
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_or_wants_a_password_opens_no_store() {
        let server = RedisServer::start(&[]).expect("Redis starts");
        let set = server.ask::<String>(&["CONFIG", "SET", "requirepass", "se cret"]);
        set.expect("it is taken");
        check_away(Redis::open(&server.url()).await.map(drop));
        let (wrong, right) = ["wrong", "se%20cret"]
            .map(|password| format!("redis://:{password}@{}", server.address()))
            .into();
        check_away(Redis::open(&wrong).await.map(drop));
        let store = Redis::open(&right).await.expect("it is the password");
        back(&store).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("it listens");
        let address = listener.local_addr().expect("it listens");
        // This one accepts, and says nothing.
        check_away(Redis::open(&format!("redis://{address}")).await.map(drop));
        drop(listener);
        check_away(Redis::open(&format!("redis://{address}")).await.map(drop));
    }
}
