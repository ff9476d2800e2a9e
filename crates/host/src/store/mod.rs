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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// When the operating system has it: it survives the end of this process, however sudden. When the
    /// machine loses power the last moments may be lost; the file stays whole.
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

    /// How many operations wrote, or would have: a swap that lost counts.
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
