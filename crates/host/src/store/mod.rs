//! Where the components' keys and values are kept.
//!
//! A *label* names a store of an application, as `key_value_stores` in its manifest does; labels share a
//! file, or a server, and no keys. Every operation is atomic, and what one has answered every later one sees, from
//! whichever component or task it comes.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

mod memory;
mod redis;
mod sqlite;

#[cfg(test)]
pub(crate) use self::redis::wire::wire;
pub(crate) use self::redis::{Admission, Redis, Subscription, without_password};
use crate::metrics::{Counter, Histogram};
use memory::Memory;
use sqlite::Sqlite;

/// When a write into a file is answered. For a server its own settings decide that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Durability {
    /// When the operating system has it: it survives the end of this process, however sudden. When the
    /// machine loses power, about the last second may be lost; the file stays whole.
    #[default]
    Normal,
    /// When the disk has it: it survives loss of power too.
    Full,
}

/// Why an operation was not done.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL names no kind of store.
    #[error("{url:?} is no store: expected `memory`, `sqlite:PATH` or `redis://HOST`")]
    Url {
        /// As given, without a password.
        url: String,
    },
    /// The store is away: disk full, an I/O error, a damaged file, a lock that another process does not
    /// let go, a server that does not answer within three seconds. Nothing is known of a write that ended so: it may be found done later. The next operation
    /// tries again, and works once the cause is gone.
    #[error("the store is unavailable")]
    Unavailable(#[source] Arc<dyn Error + Send + Sync>),
    /// An increment of a value that no increment wrote.
    #[error("the value of key {key:?} is no counter")]
    NotACounter {
        /// The key.
        key: String,
    },
    /// An increment that would leave the range of 64 bits.
    #[error("the counter at key {key:?} would overflow")]
    Overflow {
        /// The key.
        key: String,
    },
}

impl StoreError {
    fn unavailable(cause: impl Error + Send + Sync + 'static) -> Self {
        Self::Unavailable(Arc::new(cause))
    }

    /// Whether the cause is that somebody else has the file.
    pub(crate) fn is_locked(&self) -> bool {
        sqlite::is_locked(self)
    }
}

/// A key-value store; clones are the same store. The file is closed when the last one is dropped, which
/// waits until the writes that are under way have ended.
///
/// A write whose future is dropped may be done all the same, and after one that is asked for later.
#[derive(Clone, Debug)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    backend: Backend,
    reads: AtomicU64,
    writes: AtomicU64,
    measured: [Measured; OPERATIONS.len()],
    swaps_lost: Counter,
}

/// What is asked of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Get,
    Exists,
    Keys,
    Set,
    Delete,
    Increment,
    Swap,
}

/// All of them, in their order, and what they are called.
pub(crate) const OPERATIONS: [(Operation, &str); 7] = [
    (Operation::Get, "get"),
    (Operation::Exists, "exists"),
    (Operation::Keys, "keys"),
    (Operation::Set, "set"),
    (Operation::Delete, "delete"),
    (Operation::Increment, "increment"),
    (Operation::Swap, "swap"),
];

/// What an operation took.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    pub(crate) durations: Histogram,
    pub(crate) failures: Counter,
}

#[derive(Debug)]
enum Backend {
    Memory(Memory),
    Redis(Box<Redis>),
    Sqlite(Sqlite),
}

impl Store {
    /// Opens `memory`; or `sqlite:PATH`: the file and its folder are created where they are missing; or a Redis or
    /// Valkey, `redis://[user:password@]host[:port][/database][?prefix=…]`, or `rediss://` for TLS.
    ///
    /// In Redis every key begins with the prefix. Without one, the keys of the label `default` are the same as in
    /// Spin's store in Redis. This is called in a runtime that the store then lives in.
    pub async fn open(url: &str, durability: Durability) -> Result<Self, StoreError> {
        Self::open_by(url, |file| Sqlite::open(file, durability)).await
    }

    /// The same, and who opens a file meanwhile is told that it is locked; so is this, where somebody has it open.
    /// Of a server nobody can be kept away.
    pub(crate) async fn open_alone(url: &str) -> Result<Self, StoreError> {
        Self::open_by(url, Sqlite::open_alone).await
    }

    async fn open_by(
        url: &str,
        open: impl FnOnce(PathBuf) -> Result<Sqlite, StoreError>,
    ) -> Result<Self, StoreError> {
        let backend = match url.split_once(':') {
            None if url == "memory" => Backend::Memory(Memory::default()),
            // Names that SQLite takes for databases of one connection, and forgets with it.
            Some(("sqlite", path)) if !matches!(path, "" | ":memory:") => {
                Backend::Sqlite(open(PathBuf::from(path))?)
            }
            Some(("redis" | "rediss" | "valkey" | "valkeys", rest)) if rest.starts_with("//") => {
                Backend::Redis(Box::new(Redis::open(url).await?))
            }
            _ => {
                return Err(StoreError::Url {
                    url: without_password(url),
                });
            }
        };
        Ok(Self(Arc::new(Inner {
            backend,
            reads: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            measured: Default::default(),
            swaps_lost: Counter::default(),
        })))
    }

    /// The value of `key`.
    pub async fn get(&self, label: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let mut values = self.get_many(label, &[key.to_owned()]).await?;
        Ok(values.pop().flatten())
    }

    /// The values of `keys`, in their order, all of one moment.
    pub async fn get_many(
        &self,
        label: &str,
        keys: &[String],
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let backend = self.read();
        let done = async {
            match backend {
                Backend::Memory(memory) => Ok(memory.get_many(label, keys)),
                Backend::Redis(redis) => redis.get_many(label, keys).await,
                Backend::Sqlite(sqlite) => sqlite.get_many(label, keys).await,
            }
        };
        self.measure(Operation::Get, done).await
    }

    /// Whether `key` has a value.
    pub async fn exists(&self, label: &str, key: &str) -> Result<bool, StoreError> {
        let backend = self.read();
        let done = async {
            match backend {
                Backend::Memory(memory) => Ok(memory.exists(label, key)),
                Backend::Redis(redis) => redis.exists(label, key).await,
                Backend::Sqlite(sqlite) => sqlite.exists(label, key).await,
            }
        };
        self.measure(Operation::Exists, done).await
    }

    /// Every key that has a value, in no order. Costs time and memory with their number; in Redis, with the number
    /// of all keys in the database, and what comes or goes meanwhile may be told or not.
    pub async fn keys(&self, label: &str) -> Result<Vec<String>, StoreError> {
        let backend = self.read();
        let done = async {
            match backend {
                Backend::Memory(memory) => Ok(memory.keys(label)),
                Backend::Redis(redis) => redis.keys(label).await,
                Backend::Sqlite(sqlite) => sqlite.keys(label).await,
            }
        };
        self.measure(Operation::Keys, done).await
    }

    /// Every key of every label, as [`Self::keys`].
    pub(crate) async fn entries(&self) -> Result<Vec<(String, String)>, StoreError> {
        let backend = self.read();
        let done = async {
            match backend {
                Backend::Memory(memory) => Ok(memory.entries()),
                Backend::Redis(redis) => redis.entries().await,
                Backend::Sqlite(sqlite) => sqlite.entries().await,
            }
        };
        self.measure(Operation::Keys, done).await
    }

    /// How long the values of `keys` are, in bytes. None: that is no value; of a key that has none, a server tells 0.
    pub(crate) async fn lengths(
        &self,
        label: &str,
        keys: &[String],
    ) -> Result<Vec<Option<u64>>, StoreError> {
        let backend = self.read();
        let done = async {
            match backend {
                Backend::Memory(memory) => {
                    let values = memory.get_many(label, keys).into_iter();
                    Ok(values.map(|value| Some(value?.len() as u64)).collect())
                }
                Backend::Redis(redis) => redis.lengths(label, keys).await,
                Backend::Sqlite(sqlite) => sqlite.lengths(label, keys).await,
            }
        };
        self.measure(Operation::Exists, done).await
    }

    /// Whether it is there, as far as can be told without a write.
    pub(crate) async fn look(&self) -> Result<(), StoreError> {
        if let Backend::Sqlite(sqlite) = &self.0.backend {
            sqlite.check_writer()?;
        }
        // No label has such a name: nothing is there, and to hear that it is not takes a trip to the store.
        self.exists("/ready", "/ready").await.map(drop)
    }

    /// Gives `key` a value, whatever it had.
    pub async fn set(&self, label: &str, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.set_many(label, vec![(key.to_owned(), value.to_owned())])
            .await
    }

    /// Sets all of these, or none. Of a key that stands twice, the last value holds.
    pub async fn set_many(
        &self,
        label: &str,
        pairs: Vec<(String, Vec<u8>)>,
    ) -> Result<(), StoreError> {
        let backend = self.write();
        let done = async {
            match backend {
                Backend::Memory(memory) => {
                    memory.set_many(label, pairs);
                    Ok(())
                }
                Backend::Redis(redis) => redis.set_many(label, pairs).await,
                Backend::Sqlite(sqlite) => sqlite.set_many(label, pairs).await,
            }
        };
        self.measure(Operation::Set, done).await
    }

    /// Takes `key` away, if it is there.
    pub async fn delete(&self, label: &str, key: &str) -> Result<(), StoreError> {
        self.delete_many(label, &[key.to_owned()]).await
    }

    /// Takes all of these away, or none.
    pub async fn delete_many(&self, label: &str, keys: &[String]) -> Result<(), StoreError> {
        let backend = self.write();
        let done = async {
            match backend {
                Backend::Memory(memory) => {
                    memory.delete_many(label, keys);
                    Ok(())
                }
                Backend::Redis(redis) => redis.delete_many(label, keys).await,
                Backend::Sqlite(sqlite) => sqlite.delete_many(label, keys).await,
            }
        };
        self.measure(Operation::Delete, done).await
    }

    /// Adds `delta` to the counter at `key`, which begins at 0, and returns the sum.
    ///
    /// A counter is kept as Spin keeps it: in Redis in decimal digits, elsewhere as 8 bytes, little-endian.
    pub async fn increment(&self, label: &str, key: &str, delta: i64) -> Result<i64, StoreError> {
        let backend = self.write();
        let done = async {
            match backend {
                Backend::Memory(memory) => memory.increment(label, key, delta),
                Backend::Redis(redis) => redis.increment(label, key, delta).await,
                Backend::Sqlite(sqlite) => sqlite.increment(label, key, delta).await,
            }
        };
        self.measure(Operation::Increment, done).await
    }

    /// Sets `key` to `value` if its value is `expected` (none: if it has none), and says whether it did.
    pub async fn swap(
        &self,
        label: &str,
        key: &str,
        expected: Option<&[u8]>,
        value: &[u8],
    ) -> Result<bool, StoreError> {
        let backend = self.write();
        let done = async {
            match backend {
                Backend::Memory(memory) => Ok(memory.swap(label, key, expected, value)),
                Backend::Redis(redis) => redis.swap(label, key, expected, value).await,
                Backend::Sqlite(sqlite) => sqlite.swap(label, key, expected, value).await,
            }
        };
        let swapped = self.measure(Operation::Swap, done).await?;
        if !swapped {
            self.0.swaps_lost.increment();
        }
        Ok(swapped)
    }

    /// How many operations read since the store was opened; one of many keys counts once.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.0.reads.load(Ordering::Relaxed)
    }

    /// How many operations wrote, or might have: a swap that lost counts, and an increment by 0.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.0.writes.load(Ordering::Relaxed)
    }

    /// How many swaps found another value than they expected.
    pub(crate) fn swaps_lost(&self) -> u64 {
        self.0.swaps_lost.get()
    }

    /// What the operations of a kind took.
    pub(crate) fn measured(&self, operation: Operation) -> &Measured {
        &self.0.measured[operation as usize]
    }

    /// What kind of store it is.
    pub(crate) fn system(&self) -> &'static str {
        match &self.0.backend {
            Backend::Memory(_) => "memory",
            Backend::Redis(_) => "redis",
            Backend::Sqlite(_) => "sqlite",
        }
    }

    /// The server, where the store is on one that others may share.
    pub(crate) fn redis(&self) -> Option<&Redis> {
        match &self.0.backend {
            Backend::Redis(redis) => Some(redis.as_ref()),
            Backend::Memory(_) | Backend::Sqlite(_) => None,
        }
    }

    async fn measure<T>(
        &self,
        operation: Operation,
        done: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let measured = self.measured(operation);
        let _timing = measured.durations.time();
        let done = done.await;
        if done.is_err() {
            measured.failures.increment();
        }
        done
    }

    fn read(&self) -> &Backend {
        self.0.reads.fetch_add(1, Ordering::Relaxed);
        &self.0.backend
    }

    fn write(&self) -> &Backend {
        self.0.writes.fetch_add(1, Ordering::Relaxed);
        &self.0.backend
    }
}

/// The counter's next value, where `value` is what its key holds now.
fn count(key: &str, value: Option<&[u8]>, delta: i64) -> Result<i64, StoreError> {
    let current = match value {
        None => 0,
        Some(bytes) => {
            i64::from_le_bytes(bytes.try_into().map_err(|_| StoreError::NotACounter {
                key: key.to_owned(),
            })?)
        }
    };
    current
        .checked_add(delta)
        .ok_or_else(|| StoreError::Overflow {
            key: key.to_owned(),
        })
}

fn encode(counter: i64) -> Vec<u8> {
    counter.to_le_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::LazyLock;
    use std::thread;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::test_runner::TestRunner;
    use redis_server::RedisServer;
    use tempfile::TempDir;
    use tokio::runtime::Runtime;

    use super::*;

    /// Connections live in the runtime that they were made in, and the threads of a race share them.
    fn runtime() -> &'static Runtime {
        static RUNTIME: LazyLock<Runtime> =
            LazyLock::new(|| Runtime::new().expect("a runtime can be made"));
        &RUNTIME
    }

    const KINDS: [Kind; 3] = [Kind::Memory, Kind::File, Kind::Server];

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Kind {
        Memory,
        File,
        Server,
    }

    impl Kind {
        /// How it keeps a counter.
        fn encode(self, counter: i64) -> Vec<u8> {
            match self {
                Self::Server => counter.to_string().into_bytes(),
                Self::Memory | Self::File => counter.to_le_bytes().to_vec(),
            }
        }

        /// What it takes a value for that an increment meets.
        fn decode(self, value: &[u8]) -> Option<i64> {
            match self {
                // As Redis writes it: no other sign, zero or space.
                Self::Server => {
                    let counter: i64 = str::from_utf8(value).ok()?.parse().ok()?;
                    (self.encode(counter) == value).then_some(counter)
                }
                Self::Memory | Self::File => Some(i64::from_le_bytes(value.try_into().ok()?)),
            }
        }
    }

    /// Where stores of each kind are.
    struct Places {
        folder: TempDir,
        server: RedisServer,
    }

    impl Places {
        fn new() -> Self {
            Self {
                folder: TempDir::new().expect("a folder can be made"),
                server: RedisServer::start(&[]).expect("Redis starts"),
            }
        }

        /// Opens a store. Those with one number are the same, but for that in memory.
        async fn open(&self, kind: Kind, number: usize) -> Store {
            let url = match kind {
                Kind::Memory => "memory".to_owned(),
                Kind::File => {
                    let file = self.folder.path().join(format!("below/{number}.db"));
                    format!("sqlite:{}", file.display())
                }
                Kind::Server => format!("{}/1?prefix=*{number}:", self.server.url()),
            };
            let store = Store::open(&url, Durability::Normal).await;
            store.expect("it opens")
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Get(u8),
        GetMany(Vec<u8>),
        Exists(u8),
        Keys,
        SetMany(Vec<(u8, Vec<u8>)>),
        DeleteMany(Vec<u8>),
        Increment(u8, i64),
        /// Swaps from what is there, or from something else.
        Swap(u8, bool, Vec<u8>),
        Reopen,
    }

    /// Few keys in two labels, so that steps meet; key 0 is the empty one.
    fn place(key: u8) -> (&'static str, String) {
        let label = if key.is_multiple_of(2) {
            "default"
        } else {
            "other"
        };
        (label, "k".repeat(usize::from(key / 2)))
    }

    fn step() -> impl Strategy<Value = Step> {
        let key = || 0_u8..8;
        let value = || prop_oneof![4 => vec(any::<u8>(), 0..12), 1 => "[-+ 0]?[0-9]{0,20}".prop_map(String::into_bytes)];
        let delta = || prop_oneof![-3_i64..3, Just(i64::MAX), Just(i64::MIN)];
        let swap = (key(), any::<bool>(), value());
        // A file is seldom opened again: that costs syncs of the disk.
        prop_oneof![
            4 => key().prop_map(Step::Get),
            4 => vec(key(), 0..5).prop_map(Step::GetMany),
            4 => key().prop_map(Step::Exists),
            4 => Just(Step::Keys),
            4 => vec((key(), value()), 0..5).prop_map(Step::SetMany),
            4 => vec(key(), 0..3).prop_map(Step::DeleteMany),
            4 => (key(), delta()).prop_map(|(key, delta)| Step::Increment(key, delta)),
            4 => swap.prop_map(|(key, wins, value)| Step::Swap(key, wins, value)),
            1 => Just(Step::Reopen),
        ]
    }

    /// What a store is, told as simply as can be.
    struct Model(Kind, BTreeMap<(&'static str, String), Vec<u8>>);

    impl Model {
        async fn check(&mut self, store: &Store, step: &Step) {
            let Self(kind, values) = self;
            match step {
                Step::Get(key) => {
                    let (label, key) = place(*key);
                    let got = store.get(label, &key).await.expect("the store works");
                    assert_eq!(got.as_ref(), values.get(&(label, key)));
                }
                Step::GetMany(keys) => {
                    let keys: Vec<String> = keys.iter().map(|key| place(*key).1).collect();
                    let got = store
                        .get_many("default", &keys)
                        .await
                        .expect("the store works");
                    let expected: Vec<_> = keys
                        .into_iter()
                        .map(|key| values.get(&("default", key)).cloned())
                        .collect();
                    assert_eq!(got, expected);
                }
                Step::Exists(key) => {
                    let (label, key) = place(*key);
                    let got = store.exists(label, &key).await.expect("the store works");
                    assert_eq!(got, values.contains_key(&(label, key)));
                }
                Step::Keys => {
                    let got = store.keys("default").await.expect("the store works");
                    let expected: Vec<_> = values
                        .keys()
                        .filter(|(label, _)| *label == "default")
                        .map(|(_, key)| key.clone())
                        .collect();
                    assert_eq!(got.len(), expected.len());
                    assert_eq!(BTreeSet::from_iter(got), BTreeSet::from_iter(expected));
                }
                Step::SetMany(pairs) => {
                    let pairs: Vec<_> = pairs
                        .iter()
                        .map(|(key, value)| (place(*key).1, value.clone()))
                        .collect();
                    store
                        .set_many("default", pairs.clone())
                        .await
                        .expect("the store works");
                    values.extend(
                        pairs
                            .into_iter()
                            .map(|(key, value)| (("default", key), value)),
                    );
                }
                Step::DeleteMany(keys) => {
                    let keys: Vec<String> = keys.iter().map(|key| place(*key).1).collect();
                    store
                        .delete_many("default", &keys)
                        .await
                        .expect("the store works");
                    values.retain(|(label, key), _| *label != "default" || !keys.contains(key));
                }
                Step::Increment(key, delta) => {
                    let (label, key) = place(*key);
                    let got = store.increment(label, &key, *delta).await;
                    let value = values.get(&(label, key.clone()));
                    let current = value.map_or(Some(0), |value| kind.decode(value));
                    match (
                        current,
                        current.and_then(|current| current.checked_add(*delta)),
                    ) {
                        (_, Some(sum)) => {
                            assert_eq!(got.expect("it is a counter"), sum);
                            values.insert((label, key), kind.encode(sum));
                        }
                        (Some(_), None) => {
                            assert!(matches!(got, Err(StoreError::Overflow { .. })), "{got:?}")
                        }
                        (None, None) => assert!(
                            matches!(got, Err(StoreError::NotACounter { .. })),
                            "{got:?}"
                        ),
                    }
                }
                Step::Swap(key, wins, value) => {
                    let (label, key) = place(*key);
                    let current = values.get(&(label, key.clone())).cloned();
                    let other = current.is_none().then(Vec::new);
                    let expected = if *wins { &current } else { &other };
                    let got = store
                        .swap(label, &key, expected.as_deref(), value)
                        .await
                        .expect("the store works");
                    assert_eq!(got, *wins);
                    if *wins {
                        values.insert((label, key), value.clone());
                    }
                }
                Step::Reopen => {}
            }
        }
    }

    #[test]
    fn every_store_does_what_the_model_does() {
        let places = Places::new();
        let number = AtomicU64::new(0);
        let config = ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::with_cases(32)
        };
        let done = TestRunner::new(config).run(&vec(step(), 0..100), |steps| {
            let number = number.fetch_add(1, Ordering::Relaxed) as usize;
            for kind in KINDS {
                runtime().block_on(async {
                    let mut store = Some(places.open(kind, number).await);
                    let mut model = Model(kind, BTreeMap::new());
                    for step in &steps {
                        if let Step::Reopen = step
                            && kind != Kind::Memory
                        {
                            // The old one goes first, then the new one comes.
                            store.take();
                            store = Some(places.open(kind, number).await);
                        }
                        model.check(store.as_ref().expect("it is open"), step).await;
                    }
                });
            }
            Ok(())
        });
        done.expect("all do the same");
    }

    /// Runs `work` on eight threads at once, each with its number, over each kind of store, and over two
    /// stores that have one place, as two processes would.
    fn race<F>(work: impl Fn(Store, u64) -> F + Sync, check: impl AsyncFn(&Store))
    where
        F: Future<Output = ()>,
    {
        let places = Places::new();
        for kind in KINDS {
            let even = runtime().block_on(places.open(kind, 0));
            let odd = match kind {
                Kind::Memory => even.clone(),
                _ => runtime().block_on(places.open(kind, 0)),
            };
            thread::scope(|scope| {
                for number in 0..8 {
                    let store = if number % 2 == 0 {
                        even.clone()
                    } else {
                        odd.clone()
                    };
                    let work = &work;
                    scope.spawn(move || runtime().block_on(work(store, number)));
                }
            });
            runtime().block_on(check(&even));
        }
    }

    #[test]
    fn increments_from_many_threads_lose_nothing() {
        race(
            |store, number| async move {
                for _ in 0..100 {
                    store
                        .increment("default", "counter", 1)
                        .await
                        .expect("the store works");
                    store
                        .increment("default", &number.to_string(), -1)
                        .await
                        .expect("the store works");
                }
            },
            async |store| {
                assert_eq!(
                    store
                        .increment("default", "counter", 0)
                        .await
                        .expect("the store works"),
                    800
                );
                for number in 0..8 {
                    let counter = store.increment("default", &number.to_string(), 0).await;
                    assert_eq!(counter.expect("the store works"), -100);
                }
            },
        );
    }

    #[test]
    fn swaps_from_many_threads_lose_nothing() {
        race(
            |store, number| async move {
                for _ in 0..50 {
                    loop {
                        let list = store.get("default", "list").await.expect("the store works");
                        let longer =
                            [list.as_deref().unwrap_or_default(), &[number as u8]].concat();
                        if store
                            .swap("default", "list", list.as_deref(), &longer)
                            .await
                            .expect("the store works")
                        {
                            break;
                        }
                    }
                }
            },
            async |store| {
                let mut list = store
                    .get("default", "list")
                    .await
                    .expect("the store works")
                    .expect("it is there");
                list.sort_unstable();
                let expected: Vec<u8> = (0..8).flat_map(|number| [number; 50]).collect();
                assert_eq!(list, expected);
            },
        );
    }

    #[test]
    fn of_those_who_swap_from_absent_one_wins() {
        race(
            |store, number| async move {
                for key in 0..50 {
                    let won = store
                        .swap("default", &key.to_string(), None, &number.to_le_bytes())
                        .await;
                    if won.expect("the store works") {
                        store
                            .increment("wins", &key.to_string(), 1)
                            .await
                            .expect("the store works");
                        let value = store
                            .get("default", &key.to_string())
                            .await
                            .expect("the store works");
                        assert_eq!(value.as_deref(), Some(&number.to_le_bytes()[..]));
                    }
                }
            },
            async |store| {
                for key in 0..50 {
                    assert_eq!(
                        store
                            .increment("wins", &key.to_string(), 0)
                            .await
                            .expect("the store works"),
                        1
                    );
                }
            },
        );
    }

    #[test]
    fn operations_are_counted() {
        let places = Places::new();
        for kind in KINDS {
            runtime().block_on(async {
                let store = places.open(kind, 0).await;
                store.get("default", "a").await.expect("the store works");
                store
                    .get_many("default", &["a".into(), "b".into()])
                    .await
                    .expect("the store works");
                store
                    .set("default", "a", b"")
                    .await
                    .expect("the store works");
                store
                    .swap("default", "a", None, b"x")
                    .await
                    .expect("the store works");
                assert_eq!((store.reads(), store.writes()), (2, 2));
            });
        }
    }

    #[track_caller]
    fn check_refused(url: &str) {
        let opened = runtime().block_on(Store::open(url, Durability::Normal));
        let error = opened.expect_err("it names no store");
        assert_eq!(
            error.to_string(),
            format!("{url:?} is no store: expected `memory`, `sqlite:PATH` or `redis://HOST`")
        );
    }

    #[test]
    fn what_names_no_store_is_refused() {
        for url in [
            "",
            "sqlite",
            "sqlite:",
            "sqlite::memory:",
            "memory:",
            "Memory",
            "redis:127.0.0.1",
            "http://127.0.0.1",
            "/tmp/store.db",
        ] {
            check_refused(url);
        }
    }
}
