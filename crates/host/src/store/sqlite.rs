//! The store in a file, shared with Spin: the table is the one of Spin's own SQLite store, so that either
//! can serve what the other wrote, one after the other or at the same time.
//!
//! Writes go through one thread. Whatever waits for it when it begins a transaction goes into that
//! transaction: the cost of a commit is shared, and grows with time, not with the number of writers. Each
//! write is answered after the commit, and for itself: a lost swap beside it changes nothing.
//!
//! Reads run where they are asked for, on the caller's thread: the write-ahead log lets them pass a
//! commit, the pages are in memory, and one takes a few microseconds, less than a trip to another thread.
//!
//! Nothing is mapped into memory (`mmap_size` stays 0): an I/O error behind a mapping ends the process by a
//! signal, and here it must be an error that one request gets.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, TransactionBehavior, params};
use tokio::sync::{mpsc, oneshot};

use super::{Durability, StoreError, count, encode};

/// How long a write waits for another process to let go of the file. Spin's longest transaction is a
/// batch of a few milliseconds; much shorter and a checkpoint on a slow disk would fail writes, much
/// longer and a caller would give up before it is told.
const PATIENCE: Duration = Duration::from_secs(5);

/// The most writes in one transaction. Fewer share a commit less; more make the first wait for the last.
const BATCH: usize = 256;

/// How many writes wait before those who bring more have to wait too. Below [`BATCH`] commits are not
/// full; above, each holds its value in memory.
const QUEUE: usize = 1024;

/// How many connections wait for the next read. More are opened while more threads read at once; these
/// many are kept, each with its own cache of pages.
const READERS: usize = 8;

/// What the write-ahead log is cut back to after a burst, in bytes. Less, and it is cut and grown
/// again for nothing; more, and the disk stays occupied.
const LOG: i64 = 64 << 20;

const GET: &str = "SELECT value FROM spin_key_value WHERE store = ?1 AND key = ?2";
const SET: &str = "INSERT INTO spin_key_value (store, key, value) VALUES (?1, ?2, ?3) \
                   ON CONFLICT (store, key) DO UPDATE SET value = ?3";
const SET_ABSENT: &str = "INSERT INTO spin_key_value (store, key, value) VALUES (?1, ?2, ?3) \
                          ON CONFLICT (store, key) DO NOTHING";
const SET_EXPECTED: &str =
    "UPDATE spin_key_value SET value = ?3 WHERE store = ?1 AND key = ?2 AND value = ?4";
const DELETE: &str = "DELETE FROM spin_key_value WHERE store = ?1 AND key = ?2";
const KEYS: &str = "SELECT key FROM spin_key_value WHERE store = ?1";
const CREATE: &str = "CREATE TABLE IF NOT EXISTS spin_key_value (
                          store TEXT NOT NULL,
                          key   TEXT NOT NULL,
                          value BLOB NOT NULL,
                          PRIMARY KEY (store, key)
                      )";

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::unavailable(error)
    }
}

#[derive(Debug)]
pub(super) struct Sqlite {
    readers: Arc<Readers>,
    /// None only while it is dropped.
    queue: Option<mpsc::Sender<Box<dyn Job>>>,
    writer: Option<JoinHandle<()>>,
}

impl Sqlite {
    pub(super) fn open(path: PathBuf, durability: Durability) -> Result<Self, StoreError> {
        create_folder(&path, durability).map_err(StoreError::unavailable)?;
        let connection = Writer::connect(&path, durability, OpenFlags::SQLITE_OPEN_CREATE)?;
        let readers = Arc::new(Readers {
            path: path.clone(),
            idle: Mutex::default(),
        });
        let (queue, jobs) = mpsc::channel(QUEUE);
        let writer = Writer {
            path,
            durability,
            connection: Some(connection),
        };
        let writer = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run(jobs))
            .map_err(StoreError::unavailable)?;
        Ok(Self {
            readers,
            queue: Some(queue),
            writer: Some(writer),
        })
    }

    pub(super) async fn get_many(
        &self,
        label: &str,
        keys: &[String],
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let (label, keys) = (label.to_owned(), keys.to_owned());
        self.read(move |db| {
            // One transaction is one moment. A single statement is one already.
            let _moment = (keys.len() > 1)
                .then(|| db.unchecked_transaction())
                .transpose()?;
            let mut get = db.prepare_cached(GET)?;
            keys.iter()
                .map(|key| {
                    get.query_row(params![label, key], |row| row.get(0))
                        .optional()
                })
                .collect()
        })
        .await
    }

    pub(super) async fn exists(&self, label: &str, key: &str) -> Result<bool, StoreError> {
        let (label, key) = (label.to_owned(), key.to_owned());
        self.read(move |db| db.prepare_cached(GET)?.exists(params![label, key]))
            .await
    }

    pub(super) async fn keys(&self, label: &str) -> Result<Vec<String>, StoreError> {
        let label = label.to_owned();
        // Walks the whole label: not on the caller's thread.
        self.readers
            .clone()
            .aside(move |db| {
                db.prepare_cached(KEYS)?
                    .query_map(params![label], |row| row.get(0))?
                    .collect()
            })
            .await
    }

    pub(super) async fn set_many(
        &self,
        label: &str,
        pairs: Vec<(String, Vec<u8>)>,
    ) -> Result<(), StoreError> {
        let label = label.to_owned();
        self.write(move |db| {
            let mut set = db.prepare_cached(SET)?;
            for (key, value) in &pairs {
                set.execute(params![label, key, value])?;
            }
            Ok(())
        })
        .await
    }

    pub(super) async fn delete_many(&self, label: &str, keys: &[String]) -> Result<(), StoreError> {
        let (label, keys) = (label.to_owned(), keys.to_owned());
        self.write(move |db| {
            let mut delete = db.prepare_cached(DELETE)?;
            for key in &keys {
                delete.execute(params![label, key])?;
            }
            Ok(())
        })
        .await
    }

    pub(super) async fn increment(
        &self,
        label: &str,
        key: &str,
        delta: i64,
    ) -> Result<i64, StoreError> {
        let (label, key) = (label.to_owned(), key.to_owned());
        self.write(move |db| {
            let value: Option<Vec<u8>> = db
                .prepare_cached(GET)?
                .query_row(params![label, key], |row| row.get(0))
                .optional()?;
            let sum = count(&key, value.as_deref(), delta)?;
            if value.is_none() || delta != 0 {
                db.prepare_cached(SET)?
                    .execute(params![label, key, encode(sum)])?;
            }
            Ok(sum)
        })
        .await
    }

    pub(super) async fn swap(
        &self,
        label: &str,
        key: &str,
        expected: Option<&[u8]>,
        value: &[u8],
    ) -> Result<bool, StoreError> {
        let (label, key) = (label.to_owned(), key.to_owned());
        let (expected, value) = (expected.map(<[u8]>::to_vec), value.to_owned());
        self.write(move |db| {
            let changed = match &expected {
                None => db
                    .prepare_cached(SET_ABSENT)?
                    .execute(params![label, key, value])?,
                Some(expected) => db
                    .prepare_cached(SET_EXPECTED)?
                    .execute(params![label, key, value, expected])?,
            };
            Ok(changed == 1)
        })
        .await
    }

    /// Runs `operation` at once; only where the file is locked, which the write-ahead log makes rare
    /// (another process recovers it, or was the last to close it), does it wait, and then aside.
    async fn read<T: Send + 'static>(
        &self,
        operation: impl Fn(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        match self.readers.run(Duration::ZERO, &operation) {
            Err(error) if is_locked(&error) => self.readers.clone().aside(operation).await,
            result => result,
        }
    }

    /// Hands `operation` to the writer, and returns when it is committed.
    ///
    /// It may run more than once, each time as if the times before had not been.
    async fn write<T: Send + 'static>(
        &self,
        operation: impl FnMut(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let ended = || StoreError::unavailable(io::Error::other("the writing thread has ended"));
        let queue = self.queue.as_ref().ok_or_else(ended)?;
        queue
            .send(Box::new(Pending {
                operation,
                outcome: None,
                answer,
            }))
            .await
            .map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        // The writer ends when nobody can bring work, and being the last to close the file it leaves no log.
        self.readers.clear();
        drop(self.queue.take());
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the store's writing thread has panicked");
        }
    }
}

/// Connections that only read. One is taken for the time of an operation and never shared.
#[derive(Debug)]
struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    fn run<T>(
        &self,
        patience: Duration,
        operation: impl Fn(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let idle = self.lock().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => connect(&self.path, OpenFlags::empty())?,
        };
        connection.busy_timeout(patience)?;
        let result = operation(&connection);
        // One that failed is closed: the next read begins with a fresh one.
        if result.is_ok() {
            let mut idle = self.lock();
            if idle.len() < READERS {
                idle.push(connection);
            }
        }
        Ok(result?)
    }

    async fn aside<T: Send + 'static>(
        self: Arc<Self>,
        operation: impl Fn(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let task = tokio::task::spawn_blocking(move || self.run(PATIENCE, operation));
        task.await.map_err(StoreError::unavailable)?
    }

    fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A write that waits for its commit.
trait Job: Send {
    /// Does the work in an open transaction. An error is the store's, and ends the transaction; what the
    /// operation itself refuses is kept for its answer.
    fn run(&mut self, db: &Connection) -> Result<(), StoreError>;

    /// Answers, after the transaction has ended so.
    fn answer(self: Box<Self>, end: Result<(), StoreError>);
}

struct Pending<F, T> {
    operation: F,
    outcome: Option<Result<T, StoreError>>,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

impl<F, T> Job for Pending<F, T>
where
    F: FnMut(&Connection) -> Result<T, StoreError> + Send,
    T: Send,
{
    fn run(&mut self, db: &Connection) -> Result<(), StoreError> {
        match (self.operation)(db) {
            Err(StoreError::Unavailable(cause)) => Err(StoreError::Unavailable(cause)),
            outcome => {
                self.outcome = Some(outcome);
                Ok(())
            }
        }
    }

    fn answer(self: Box<Self>, end: Result<(), StoreError>) {
        let answer = match (end, self.outcome) {
            (Ok(()), Some(outcome)) => outcome,
            (Err(error), _) => Err(error),
            (Ok(()), None) => return,
        };
        // Who asked may have left.
        let _ = self.answer.send(answer);
    }
}

/// The thread that writes, with the one connection that does.
struct Writer {
    path: PathBuf,
    durability: Durability,
    /// None after an error that may lie in the connection: the next write opens another.
    connection: Option<Connection>,
}

impl Writer {
    fn run(mut self, mut jobs: mpsc::Receiver<Box<dyn Job>>) {
        let mut batch = Vec::with_capacity(BATCH);
        while jobs.blocking_recv_many(&mut batch, BATCH) > 0 {
            self.serve(&mut batch);
        }
    }

    /// Commits the batch and answers all of it.
    fn serve(&mut self, batch: &mut Vec<Box<dyn Job>>) {
        match self.attempt(batch) {
            // One may be the cause, a value too large for the disk say: the others have a chance without
            // it. Not so where the file is locked: each would wait as long again.
            Err(error) if batch.len() > 1 && !is_locked(&error) => {
                for mut job in batch.drain(..) {
                    let end = self.attempt(std::slice::from_mut(&mut job));
                    job.answer(end);
                }
            }
            end => {
                for job in batch.drain(..) {
                    job.answer(end.clone());
                }
            }
        }
    }

    fn attempt(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            // Never created again: a file that was taken away under a running host is a fault to tell.
            none => none.insert(Self::connect(
                &self.path,
                self.durability,
                OpenFlags::empty(),
            )?),
        };
        let end = transact(connection, jobs);
        if let Err(error) = &end {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "a transaction of the store failed"
            );
            if is_broken(error) {
                self.connection = None;
            }
        }
        end
    }

    fn connect(
        path: &Path,
        durability: Durability,
        create: OpenFlags,
    ) -> Result<Connection, StoreError> {
        let db = connect(path, create)?;
        db.busy_timeout(PATIENCE)?;
        let mode: String =
            db.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
        if mode != "wal" {
            return Err(StoreError::unavailable(io::Error::other(format!(
                "the journal mode stays {mode:?}"
            ))));
        }
        match durability {
            Durability::Normal => db.pragma_update(None, "synchronous", "NORMAL")?,
            Durability::Full => {
                db.pragma_update(None, "synchronous", "FULL")?;
                // On macOS an fsync stops at the drive's cache; elsewhere this changes nothing.
                db.pragma_update(None, "fullfsync", true)?;
            }
        }
        db.pragma_update(None, "journal_size_limit", LOG)?;
        db.execute_batch(CREATE)?;
        Ok(db)
    }
}

fn transact(connection: &mut Connection, jobs: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
    // Takes the write lock at the start: one that began to read would have to give up where another
    // process wrote in between, and no waiting helps it.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for job in jobs {
        job.run(&transaction)?;
    }
    Ok(transaction.commit()?)
}

/// A connection for one thread at a time. The path is a path, never a URI.
fn connect(path: &Path, create: OpenFlags) -> rusqlite::Result<Connection> {
    Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | create,
    )
}

fn create_folder(path: &Path, durability: Durability) -> io::Result<()> {
    let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty() && !folder.exists())
    else {
        return Ok(());
    };
    fs::create_dir_all(folder)?;
    // SQLite syncs the folder of its files, nobody else the folder above.
    if durability == Durability::Full
        && let Some(above) = folder
            .parent()
            .filter(|above| !above.as_os_str().is_empty())
    {
        fs::File::open(above)?.sync_all()?;
    }
    Ok(())
}

fn code(error: &StoreError) -> Option<ErrorCode> {
    match error {
        StoreError::Unavailable(cause) => {
            cause.downcast_ref::<rusqlite::Error>()?.sqlite_error_code()
        }
        _ => None,
    }
}

fn is_locked(error: &StoreError) -> bool {
    matches!(
        code(error),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

/// Whether the connection itself may be at fault. A full disk or a lock is not the connection's fault.
fn is_broken(error: &StoreError) -> bool {
    !matches!(
        code(error),
        Some(
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::DiskFull
                | ErrorCode::TooBig
        )
    )
}
