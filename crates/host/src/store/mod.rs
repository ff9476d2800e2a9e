//! Where the components' keys and values are kept.
//!
//! A *label* names a store of an application, as `key_value_stores` in its manifest does; labels share a
//! file and no keys. Every operation is atomic, and what one has answered every later one sees, from
//! whichever component or task it comes.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

mod memory;
mod sqlite;

use memory::Memory;
use sqlite::Sqlite;

/// When a write is answered.
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
    #[error("{url:?} is no store: expected `memory` or `sqlite:PATH`")]
    Url {
        /// As given.
        url: String,
    },
    /// The store is away: disk full, an I/O error, a damaged file, a lock that another process does not
    /// let go. Nothing is known of a write that ended so: it may be found done later. The next operation
    /// tries again, and works once the cause is gone.
    #[error("the store is unavailable")]
    Unavailable(#[source] Arc<dyn Error + Send + Sync>),
    /// An increment of a value that no increment wrote.
    #[error("the value of key {key:?} is no counter: it has {length} bytes, not 8")]
    NotACounter {
        /// The key.
        key: String,
        /// How long its value is.
        length: usize,
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
}

/// A key-value store; clones are the same store. The file is closed when the last one is dropped, which
/// waits until the writes that are under way have ended.
///
/// Dropping the future of a write does not stop the write.
#[derive(Clone, Debug)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    backend: Backend,
    reads: AtomicU64,
    writes: AtomicU64,
}

#[derive(Debug)]
enum Backend {
    Memory(Memory),
    Sqlite(Sqlite),
}

impl Store {
    /// Opens `memory`, or `sqlite:PATH`: the file and its folder are created where they are missing.
    pub fn open(url: &str, durability: Durability) -> Result<Self, StoreError> {
        let backend = match url.split_once(':') {
            None if url == "memory" => Backend::Memory(Memory::default()),
            // Names that SQLite takes for databases of one connection, and forgets with it.
            Some(("sqlite", path)) if !matches!(path, "" | ":memory:") => {
                Backend::Sqlite(Sqlite::open(PathBuf::from(path), durability)?)
            }
            _ => {
                return Err(StoreError::Url {
                    url: url.to_owned(),
                });
            }
        };
        Ok(Self(Arc::new(Inner {
            backend,
            reads: AtomicU64::new(0),
            writes: AtomicU64::new(0),
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
        match self.read() {
            Backend::Memory(memory) => Ok(memory.get_many(label, keys)),
            Backend::Sqlite(sqlite) => sqlite.get_many(label, keys).await,
        }
    }

    /// Whether `key` has a value.
    pub async fn exists(&self, label: &str, key: &str) -> Result<bool, StoreError> {
        match self.read() {
            Backend::Memory(memory) => Ok(memory.exists(label, key)),
            Backend::Sqlite(sqlite) => sqlite.exists(label, key).await,
        }
    }

    /// Every key that has a value, in no order. Costs time and memory with their number.
    pub async fn keys(&self, label: &str) -> Result<Vec<String>, StoreError> {
        match self.read() {
            Backend::Memory(memory) => Ok(memory.keys(label)),
            Backend::Sqlite(sqlite) => sqlite.keys(label).await,
        }
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
        match self.write() {
            Backend::Memory(memory) => {
                memory.set_many(label, pairs);
                Ok(())
            }
            Backend::Sqlite(sqlite) => sqlite.set_many(label, pairs).await,
        }
    }

    /// Takes `key` away, if it is there.
    pub async fn delete(&self, label: &str, key: &str) -> Result<(), StoreError> {
        self.delete_many(label, &[key.to_owned()]).await
    }

    /// Takes all of these away, or none.
    pub async fn delete_many(&self, label: &str, keys: &[String]) -> Result<(), StoreError> {
        match self.write() {
            Backend::Memory(memory) => {
                memory.delete_many(label, keys);
                Ok(())
            }
            Backend::Sqlite(sqlite) => sqlite.delete_many(label, keys).await,
        }
    }

    /// Adds `delta` to the counter at `key`, which begins at 0, and returns the sum.
    ///
    /// A counter is kept as 8 bytes, little-endian, as Spin keeps it.
    pub async fn increment(&self, label: &str, key: &str, delta: i64) -> Result<i64, StoreError> {
        match self.write() {
            Backend::Memory(memory) => memory.increment(label, key, delta),
            Backend::Sqlite(sqlite) => sqlite.increment(label, key, delta).await,
        }
    }

    /// Sets `key` to `value` if its value is `expected` (none: if it has none), and says whether it did.
    pub async fn swap(
        &self,
        label: &str,
        key: &str,
        expected: Option<&[u8]>,
        value: &[u8],
    ) -> Result<bool, StoreError> {
        match self.write() {
            Backend::Memory(memory) => Ok(memory.swap(label, key, expected, value)),
            Backend::Sqlite(sqlite) => sqlite.swap(label, key, expected, value).await,
        }
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
                length: bytes.len(),
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
    use std::thread;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use tempfile::TempDir;
    use tokio::runtime::{Builder, Runtime};

    use super::*;

    fn runtime() -> Runtime {
        Builder::new_current_thread()
            .build()
            .expect("a runtime can be made")
    }

    /// A store of each kind, and the folder of the one that has one.
    fn stores() -> (TempDir, [Store; 2]) {
        let folder = TempDir::new().expect("a folder can be made");
        let file = format!("sqlite:{}", folder.path().join("below/store.db").display());
        let stores =
            ["memory", &file].map(|url| Store::open(url, Durability::Normal).expect("it opens"));
        (folder, stores)
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
        let value = || vec(any::<u8>(), 0..12);
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
    #[derive(Default)]
    struct Model(BTreeMap<(&'static str, String), Vec<u8>>);

    impl Model {
        async fn check(&mut self, store: &Store, step: &Step) {
            let values = &mut self.0;
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
                    let current = value.map_or(Some(0), |value| {
                        Some(i64::from_le_bytes(value.as_slice().try_into().ok()?))
                    });
                    match (
                        current,
                        current.and_then(|current| current.checked_add(*delta)),
                    ) {
                        (_, Some(sum)) => {
                            assert_eq!(got.expect("it is a counter"), sum);
                            values.insert((label, key), sum.to_le_bytes().to_vec());
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

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(32) })]

        #[test]
        fn every_store_does_what_the_model_does(steps in vec(step(), 0..100)) {
            runtime().block_on(async {
                let (folder, mut stores) = stores();
                let mut models = [Model::default(), Model::default()];
                for step in &steps {
                    if let Step::Reopen = step {
                        // The old one goes first, then the new one comes.
                        stores[1] = stores[0].clone();
                        let url = format!("sqlite:{}", folder.path().join("below/store.db").display());
                        stores[1] = Store::open(&url, Durability::Full).expect("it opens again");
                    }
                    for (store, model) in stores.iter().zip(&mut models) {
                        model.check(store, step).await;
                    }
                }
            });
        }
    }

    /// Runs `work` on eight threads at once, each with its number, over each kind of store, and over two
    /// stores that have one file, as two processes would.
    fn race<F>(work: impl Fn(Store, u64) -> F + Sync, check: impl AsyncFn(&Store))
    where
        F: Future<Output = ()>,
    {
        let (folder, [memory, file]) = stores();
        let url = format!("sqlite:{}", folder.path().join("below/store.db").display());
        let again = Store::open(&url, Durability::Normal).expect("it opens twice");
        for [even, odd] in [[memory.clone(), memory], [file, again]] {
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
        let (_folder, stores) = stores();
        for store in stores {
            runtime().block_on(async {
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
            });
            assert_eq!((store.reads(), store.writes()), (2, 2));
        }
    }

    #[track_caller]
    fn check_refused(url: &str) {
        let error = Store::open(url, Durability::Normal).expect_err("it names no store");
        assert_eq!(
            error.to_string(),
            format!("{url:?} is no store: expected `memory` or `sqlite:PATH`")
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
            "redis://127.0.0.1",
            "/tmp/store.db",
        ] {
            check_refused(url);
        }
    }
}
