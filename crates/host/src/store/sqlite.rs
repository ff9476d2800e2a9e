//! The store in a file, shared with Spin: the table is the one of Spin's own SQLite store, so that either
//! can serve what the other wrote, one after the other or at the same time.
//!
//! One connection writes. A thread uses it, and whatever waits for that when it begins a transaction goes into that
//! transaction: the cost of a commit is shared, and grows with time, not with the number of writers. Each
//! write is answered after the commit, and for itself: a lost swap beside it changes nothing.
//!
//! Where nobody waits, and a commit leaves the disk alone, it is done on the caller's thread: it takes a few
//! microseconds, and a trip to another thread that has to be woken for it takes ten times as long.
//!
//! Reads run where they are asked for too: the write-ahead log lets them pass a commit, and the pages are in memory. Where
//! writes are done by their callers, the connection that writes reads as well, if it is free: it knows the pages that it
//! wrote, which others have to fetch.
//!
//! A second thread copies the log into the file once a second. SQLite would do that inside a commit, which
//! then takes as long as the disk likes; here only what this thread cannot keep up with is left to it.
//!
//! Whoever has a file alone has it by the one connection that writes, which reads too: all others are locked out.
//!
//! Nothing is mapped into memory (`mmap_size` stays 0): an I/O error behind a mapping ends the process by a
//! signal, and here it must be an error that one request gets.

use std::convert::Infallible;
use std::error::Error;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::hooks::Wal;
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

/// How often the log is copied into the file and both are synced, if anything was written. It bounds what
/// loss of power takes from a store of normal durability, and what is read again after a crash; each
/// costs two syncs of the disk.
const CHECKPOINT: Duration = Duration::from_secs(1);

/// How many pages the log may have before a commit copies what is left of it, and the next begins it anew.
/// Fewer, and commits wait for the disk under load; more, and reads search a longer log.
const PAGES: u32 = (LOG / 4096) as u32;

/// What the log is cut back to where it grew beyond, in bytes. Less, and it is cut and grown again for
/// nothing; more, and the disk stays occupied.
const LOG: i64 = 64 << 20;

const GET: &str = "SELECT value FROM spin_key_value WHERE store = ?1 AND key = ?2";
const SET: &str = "INSERT INTO spin_key_value (store, key, value) VALUES (?1, ?2, ?3) \
                   ON CONFLICT (store, key) DO UPDATE SET value = ?3";
const SET_ABSENT: &str = "INSERT INTO spin_key_value (store, key, value) VALUES (?1, ?2, ?3) \
                          ON CONFLICT (store, key) DO NOTHING";
const SET_EXPECTED: &str =
    "UPDATE spin_key_value SET value = ?3 WHERE store = ?1 AND key = ?2 AND value = ?4";
const LENGTH: &str = "SELECT length(value) FROM spin_key_value WHERE store = ?1 AND key = ?2";
const DELETE: &str = "DELETE FROM spin_key_value WHERE store = ?1 AND key = ?2";
const KEYS: &str = "SELECT key FROM spin_key_value WHERE store = ?1";
const ENTRIES: &str = "SELECT store, key FROM spin_key_value";
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
    writer: Arc<Mutex<Writer>>,
    log: Arc<Log>,
    /// None only while it is dropped.
    queue: Option<mpsc::Sender<Box<dyn Job>>>,
    /// Ends when nobody can bring it work.
    writing: Option<JoinHandle<()>>,
    /// Nothing is sent: the checkpoints end when it is dropped.
    stop: Option<std::sync::mpsc::Sender<Infallible>>,
    checkpoints: Option<JoinHandle<()>>,
}

impl Sqlite {
    pub(super) fn open(path: PathBuf, durability: Durability) -> Result<Self, StoreError> {
        Self::begin(File {
            path,
            durability,
            alone: false,
        })
    }

    /// Locks all others out until it is dropped, in this process too. An error, at once, where somebody has the file
    /// open.
    pub(super) fn open_alone(path: PathBuf) -> Result<Self, StoreError> {
        Self::begin(File {
            path,
            durability: Durability::Full,
            alone: true,
        })
    }

    fn begin(file: File) -> Result<Self, StoreError> {
        create_folder(&file.path, file.durability).map_err(StoreError::unavailable)?;
        let mut db = file.connect_to_write(OpenFlags::SQLITE_OPEN_CREATE)?;
        // What another process left there is copied too.
        let log = Arc::new(Log {
            due: AtomicBool::new(true),
            ..Log::default()
        });
        log.watch(&mut db)?;
        let opened = Opened {
            file: file.identity()?,
            db,
        };
        let (queue, jobs) = mpsc::channel(QUEUE);
        let (stop, stopped) = std::sync::mpsc::channel();
        let writer = Arc::new(Mutex::new(Writer {
            file: file.clone(),
            connection: Some(opened),
            log: log.clone(),
        }));
        let checkpoints = Checkpoints {
            file: file.clone(),
            connection: None,
            log: log.clone(),
            failing: false,
        };
        let thread = WriterThread {
            writer: writer.clone(),
            failing: false,
        };
        let writing = spawn("store-writer", move || thread.run(jobs))?;
        // They would be locked out too, and commits copy what gathers.
        let run = move || checkpoints.run(&stopped);
        let checkpoints = (!file.alone).then(|| spawn("store-checkpoint", run));
        let checkpoints = checkpoints.transpose()?;
        let readers = Arc::new(Readers {
            file,
            idle: Mutex::default(),
        });
        Ok(Self {
            readers,
            writer,
            log,
            queue: Some(queue),
            writing: Some(writing),
            stop: Some(stop),
            checkpoints,
        })
    }

    pub(super) async fn get_many(
        &self,
        label: &str,
        keys: &[String],
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let (label, keys) = (label.to_owned(), keys.to_owned());
        self.read(move |db| {
            // One transaction is one moment. A single statement is one already, and so is what the writer does.
            let _moment = (keys.len() > 1 && db.is_autocommit())
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

    /// How long the values of `keys` are, in bytes, those of keys that have one.
    pub(super) async fn lengths(
        &self,
        label: &str,
        keys: &[String],
    ) -> Result<Vec<Option<u64>>, StoreError> {
        let (label, keys) = (label.to_owned(), keys.to_owned());
        self.aside(move |db| {
            let mut length = db.prepare_cached(LENGTH)?;
            keys.iter()
                .map(|key| {
                    length
                        .query_row(params![label, key], |row| row.get(0))
                        .optional()
                        .map(|length| length.map(i64::unsigned_abs))
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
        self.aside(move |db| {
            db.prepare_cached(KEYS)?
                .query_map(params![label], |row| row.get(0))?
                .collect()
        })
        .await
    }

    pub(super) async fn entries(&self) -> Result<Vec<(String, String)>, StoreError> {
        self.aside(|db| {
            db.prepare_cached(ENTRIES)?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
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
        // Adding nothing to a counter is how it is read: no commit for that.
        if delta == 0
            && let Some(Some(value)) = self.get_many(label, &[key.to_owned()]).await?.pop()
        {
            return count(key, Some(&value), 0);
        }
        let (label, key) = (label.to_owned(), key.to_owned());
        self.write(move |db| {
            let value: Option<Vec<u8>> = db
                .prepare_cached(GET)?
                .query_row(params![label, key], |row| row.get(0))
                .optional()?;
            let sum = count(&key, value.as_deref(), delta)?;
            db.prepare_cached(SET)?
                .execute(params![label, key, encode(sum)])?;
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
        if self.readers.file.alone {
            return self.aside(operation).await;
        }
        let as_writer = self
            .writer_at_once()
            .and_then(|writer| writer.read(&operation));
        if let Some(done) = as_writer {
            return Ok(done);
        }
        match self.readers.run(Duration::ZERO, &operation) {
            Err(error) if is_locked(&error) => self.aside(operation).await,
            result => result,
        }
    }

    /// Runs `operation` on another thread.
    async fn aside<T: Send + 'static>(
        &self,
        operation: impl Fn(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        if self.readers.file.alone {
            return self.write(move |db| Ok(operation(db)?)).await;
        }
        self.readers.clone().aside(operation).await
    }

    /// Has `operation` done by the connection that writes, and returns when it is committed.
    ///
    /// It may run more than once, each time as if the times before had not been.
    async fn write<T: Send + 'static>(
        &self,
        operation: impl FnMut(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job = Box::new(Pending {
            operation,
            outcome: None,
            answer,
        });
        if let Some(job) = self.write_at_once(job) {
            let queue = self.queue.as_ref().ok_or_else(ended)?;
            queue.send(job).await.map_err(|_| ended())?;
        }
        answered.await.map_err(|_| ended())?
    }

    /// Does the job on this thread, if there is nobody and nothing to wait for; gives it back else.
    fn write_at_once(&self, mut job: Box<dyn Job>) -> Option<Box<dyn Job>> {
        let is_idle = |queue: &mpsc::Sender<_>| {
            !queue.is_closed() && queue.capacity() == queue.max_capacity()
        };
        if !self.queue.as_ref().is_some_and(is_idle) {
            return Some(job);
        }
        let Some(mut writer) = self.writer_at_once() else {
            return Some(job);
        };
        let end = writer.commit(std::slice::from_mut(&mut job), Duration::ZERO, |_| {
            Err(ended())
        });
        drop(writer);
        // Whatever it is, the thread has the patience for it, or tells it.
        if end.is_err() {
            return Some(job);
        }
        job.answer(end);
        None
    }

    /// The connection that writes, if nobody else uses it and a commit leaves the disk alone.
    fn writer_at_once(&self) -> Option<MutexGuard<'_, Writer>> {
        let is_at_once =
            || self.readers.file.durability == Durability::Normal && self.log.is_at_once();
        if !is_at_once() {
            return None;
        }
        let writer = match self.writer.try_lock() {
            Ok(writer) => writer,
            // What panicked was one operation; its transaction ended with it.
            Err(TryLockError::Poisoned(writer)) => writer.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        // Who had it until now may have changed that.
        is_at_once().then_some(writer)
    }

    /// An error where the thread that writes has ended.
    pub(super) fn check_writer(&self) -> Result<(), StoreError> {
        match &self.queue {
            Some(queue) if !queue.is_closed() => Ok(()),
            _ => Err(ended()),
        }
    }
}

fn ended() -> StoreError {
    StoreError::unavailable(io::Error::other("the writing thread has ended"))
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        // Whoever is the last to close the file leaves no log; of two that close it at once, neither may be.
        self.readers.clear();
        drop(self.stop.take());
        join(self.checkpoints.take());
        drop(self.queue.take());
        join(self.writing.take());
    }
}

/// The file, and how it is written.
#[derive(Clone, Debug)]
struct File {
    path: PathBuf,
    durability: Durability,
    /// Nobody else has it open meanwhile.
    alone: bool,
}

/// A connection, and which file it has open: the path may come to lead to another one, or to none, and
/// SQLite would go on with the one that nobody finds any more.
#[derive(Debug)]
struct Opened {
    db: Connection,
    file: Identity,
}

/// Device and inode.
type Identity = (u64, u64);

impl File {
    /// Which file the path leads to.
    fn identity(&self) -> Result<Identity, StoreError> {
        // Not by opening it: closing a file gives up all the locks that this process has on it.
        let metadata = fs::metadata(&self.path).map_err(StoreError::unavailable)?;
        Ok((metadata.dev(), metadata.ino()))
    }

    /// The connection, if its file is still where it was; else another one, to the file that is there.
    ///
    /// None is created: a file that was taken away under a running host is a fault to tell.
    fn still(
        &self,
        opened: Option<Opened>,
        connect: impl FnOnce(&Self) -> Result<Connection, StoreError>,
    ) -> Result<Opened, StoreError> {
        let file = self.identity()?;
        match opened {
            Some(opened) if opened.file == file => Ok(opened),
            _ => Ok(Opened {
                db: connect(self)?,
                file,
            }),
        }
    }

    /// A connection for one thread at a time.
    fn connect(&self, create: OpenFlags) -> rusqlite::Result<Connection> {
        // Without the flag for URIs, so that a path is a path whatever it begins with.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | create;
        Connection::open_with_flags(&self.path, flags)
    }

    fn connect_to_write(&self, create: OpenFlags) -> Result<Connection, StoreError> {
        let db = self.connect(create)?;
        if self.alone {
            // Who has it open keeps it locked a little for as long: not waited for. This locks all of it when it
            // first reads, and for as long as it is open.
            db.busy_timeout(Duration::ZERO)?;
            db.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        } else {
            db.busy_timeout(PATIENCE)?;
        }
        let mode: String =
            db.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
        if mode != "wal" {
            return Err(StoreError::unavailable(io::Error::other(format!(
                "the journal mode stays {mode:?}"
            ))));
        }
        match self.durability {
            Durability::Normal => db.pragma_update(None, "synchronous", "NORMAL")?,
            Durability::Full => db.pragma_update(None, "synchronous", "FULL")?,
        }
        // On macOS an fsync stops at the drive's cache; elsewhere this changes nothing.
        db.pragma_update(None, "fullfsync", self.durability == Durability::Full)?;
        db.pragma_update(None, "journal_size_limit", LOG)?;
        db.execute_batch(CREATE)?;
        Ok(db)
    }

    /// The same in place of a connection that is of no use any more.
    fn connect_again(&self) -> Result<Connection, StoreError> {
        if self.alone {
            let error = "the file was let go of: others may have been there";
            return Err(StoreError::unavailable(io::Error::other(error)));
        }
        self.connect_to_write(OpenFlags::empty())
    }
}

/// Connections that only read. One is taken for the time of an operation and never shared.
#[derive(Debug)]
struct Readers {
    file: File,
    idle: Mutex<Vec<Opened>>,
}

impl Readers {
    fn run<T>(
        &self,
        patience: Duration,
        operation: impl Fn(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let idle = self.lock().pop();
        let opened = self
            .file
            .still(idle, |file| Ok(file.connect(OpenFlags::empty())?))?;
        opened.db.busy_timeout(patience)?;
        let result = operation(&opened.db);
        // One that failed is closed: the next read begins with a fresh one.
        if result.is_ok() {
            let mut idle = self.lock();
            if idle.len() < READERS {
                idle.push(opened);
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

    fn lock(&self) -> MutexGuard<'_, Vec<Opened>> {
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

/// What is known of the write-ahead log.
#[derive(Debug, Default)]
struct Log {
    /// Set when there is something to copy.
    due: AtomicBool,
    /// Set while it is copied, which the disk takes part in.
    copying: AtomicBool,
    /// How many pages the last commit left there. 0 where it is not known, or all of them were copied: the next commit
    /// begins the log anew, and syncs that. What another process does to it shows with the next commit.
    pages: AtomicU32,
}

impl Log {
    /// Keeps count of what this connection commits, and copies the log where it has become too long, as SQLite's own
    /// `wal_autocheckpoint` does, one commit later: the first that makes it so long may be done on its caller's thread.
    fn watch(self: &Arc<Self>, db: &mut Connection) -> rusqlite::Result<()> {
        let log = self.clone();
        db.wal_hook(Some(move |wal: &mut Wal, pages| {
            let pages = u32::try_from(pages).unwrap_or(0);
            log.due.store(true, Ordering::Relaxed);
            let before = log.pages.swap(pages, Ordering::Relaxed);
            if before.min(pages) >= PAGES {
                // What fails is tried again after the next commit: this one is done.
                let _ = wal.checkpoint();
            }
            Ok(())
        }))
    }

    /// Whether a commit of normal durability leaves the disk alone.
    fn is_at_once(&self) -> bool {
        let pages = self.pages.load(Ordering::Relaxed);
        (1..PAGES).contains(&pages) && !self.copying.load(Ordering::Relaxed)
    }
}

/// The one connection that writes.
#[derive(Debug)]
struct Writer {
    file: File,
    /// None after an error that may lie in the connection: the next write opens another.
    connection: Option<Opened>,
    log: Arc<Log>,
}

impl Writer {
    /// Does all of `jobs` in one transaction. Waits so long for another process to let go of the file.
    fn commit(
        &mut self,
        jobs: &mut [Box<dyn Job>],
        patience: Duration,
        connect: impl FnOnce(&File) -> Result<Connection, StoreError>,
    ) -> Result<(), StoreError> {
        let connection = self.connection.take();
        let opened = self.file.still(connection, connect)?;
        let db = &mut self.connection.insert(opened).db;
        db.busy_timeout(patience)?;
        let end = transact(db, jobs);
        if end.as_ref().is_err_and(is_broken) {
            self.connection = None;
        }
        end
    }

    /// Reads, if the connection is there and nobody has to be waited for.
    fn read<T>(&self, operation: impl Fn(&Connection) -> rusqlite::Result<T>) -> Option<T> {
        let opened = self.connection.as_ref()?;
        if self.file.identity().ok()? != opened.file {
            return None;
        }
        opened.db.busy_timeout(Duration::ZERO).ok()?;
        operation(&opened.db).ok()
    }
}

/// The thread that writes.
struct WriterThread {
    writer: Arc<Mutex<Writer>>,
    /// Whether the last transaction failed.
    failing: bool,
}

impl WriterThread {
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

    /// Commits, and tells in the log if that begins to fail or to work.
    fn attempt(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let patience = if writer.file.alone {
            Duration::ZERO
        } else {
            PATIENCE
        };
        let log = writer.log.clone();
        let end = writer.commit(jobs, patience, |file| {
            let mut db = file.connect_again()?;
            log.watch(&mut db)?;
            Ok(db)
        });
        tell(&mut self.failing, &end, "writing to the store");
        end
    }
}

/// The thread that copies the log into the file.
struct Checkpoints {
    file: File,
    connection: Option<Opened>,
    log: Arc<Log>,
    /// Whether the last one failed.
    failing: bool,
}

impl Checkpoints {
    fn run(mut self, stopped: &std::sync::mpsc::Receiver<Infallible>) {
        while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(CHECKPOINT) {
            if !self.log.due.swap(false, Ordering::Relaxed) {
                continue;
            }
            self.log.copying.store(true, Ordering::Relaxed);
            let end = self.checkpoint();
            self.log.copying.store(false, Ordering::Relaxed);
            tell(&mut self.failing, &end, "copying the store's log");
            match end {
                Ok(true) => {}
                Ok(false) => self.log.due.store(true, Ordering::Relaxed),
                Err(_) => {
                    self.connection = None;
                    self.log.due.store(true, Ordering::Relaxed);
                }
            }
        }
    }

    /// Copies what it can without waiting for anybody, or letting anybody wait; says whether that was all.
    fn checkpoint(&mut self) -> Result<bool, StoreError> {
        let connection = self.connection.take();
        let opened = self.file.still(connection, File::connect_again)?;
        let opened = self.connection.insert(opened);
        let (busy, log, copied): (bool, i64, i64) =
            opened
                .db
                .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })?;
        // Where another process is at it, it tells no pages at all.
        let all = !busy && log == copied;
        if all {
            // Where there was a commit meanwhile, the log goes on, and the next commit tells so.
            self.log.pages.store(0, Ordering::Relaxed);
        }
        Ok(all)
    }
}

/// Tells in the log when something begins to fail and when that is over.
fn tell<T>(failing: &mut bool, end: &Result<T, StoreError>, what: &str) {
    match end {
        Err(error) if !*failing => tracing::warn!(error = error as &dyn Error, "{what} fails"),
        Ok(_) if *failing => tracing::info!("{what} works again"),
        _ => {}
    }
    *failing = end.is_err();
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map_err(StoreError::unavailable)
}

fn join(thread: Option<JoinHandle<()>>) {
    if thread.is_some_and(|thread| thread.join().is_err()) {
        tracing::error!("a thread of the store has panicked");
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

/// Whether somebody else has the file.
pub(super) fn is_locked(error: &StoreError) -> bool {
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tempfile::TempDir;
    use tokio::runtime::{Builder, Runtime};

    use super::*;

    /// Beyond this something hangs.
    const HANGS: Duration = Duration::from_secs(60);

    fn runtime() -> Runtime {
        Builder::new_current_thread()
            .build()
            .expect("a runtime can be made")
    }

    fn folder() -> TempDir {
        TempDir::new().expect("a folder can be made")
    }

    fn open(folder: &TempDir) -> Sqlite {
        Sqlite::open(folder.path().join("store.db"), Durability::Normal).expect("it opens")
    }

    async fn set(store: &Sqlite, key: &str, value: &[u8]) -> Result<(), StoreError> {
        store
            .set_many("default", vec![(key.to_owned(), value.to_owned())])
            .await
    }

    async fn get(store: &Sqlite, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(store
            .get_many("default", &[key.to_owned()])
            .await?
            .remove(0))
    }

    #[track_caller]
    fn check_unavailable<T: std::fmt::Debug>(result: Result<T, StoreError>, expected: ErrorCode) {
        let error = result.expect_err("the store is away");
        assert_eq!(code(&error), Some(expected), "{error:?}");
    }

    #[test]
    fn the_file_is_one_that_spin_wrote_or_reads() {
        let folder = folder();
        let spin = Connection::open(folder.path().join("store.db")).expect("it opens");
        spin.execute_batch(
            "CREATE TABLE IF NOT EXISTS spin_key_value (
                 store TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (store, key)
             );
             INSERT INTO spin_key_value VALUES ('default', 'counter', x'2a00000000000000');",
        )
        .expect("the table is new");
        let store = open(&folder);
        runtime().block_on(async {
            assert_eq!(
                store
                    .increment("default", "counter", -43)
                    .await
                    .expect("the store works"),
                -1
            );
            set(&store, "key", b"value").await.expect("the store works");
        });
        let read = |key: &str| -> Vec<u8> {
            spin.query_row(
                "SELECT value FROM spin_key_value WHERE store = 'default' AND key = ?1",
                [key],
                |row| row.get(0),
            )
            .expect("it is there")
        };
        assert_eq!(read("counter"), [0xff; 8]);
        assert_eq!(read("key"), b"value");
    }

    #[test]
    fn what_was_written_is_there_again_and_no_log_is_left() {
        let folder = folder();
        runtime()
            .block_on(set(&open(&folder), "key", b"value"))
            .expect("the store works");
        let names: Vec<_> = fs::read_dir(folder.path())
            .expect("the folder is there")
            .map(|entry| entry.expect("the folder is there").file_name())
            .collect();
        assert_eq!(names, ["store.db"]);
        assert_eq!(
            runtime()
                .block_on(get(&open(&folder), "key"))
                .expect("the store works"),
            Some(b"value".to_vec())
        );
    }

    #[test]
    fn each_write_of_a_batch_answers_for_itself() {
        let folder = folder();
        let store = open(&folder);
        // While the first is at work the others come to wait, and are then one batch.
        let (go, wait) = std::sync::mpsc::channel::<()>();
        runtime().block_on(async {
            let (first, failing, won, lost, absent, text, refused, ()) = tokio::join!(
                store.write(move |_| Ok(wait.recv().is_err())),
                store.write(|db| {
                    db.prepare_cached(SET)?
                        .execute(params!["default", "failing", b"x"])?;
                    Err::<(), _>(StoreError::unavailable(io::Error::other("this one only")))
                }),
                store.swap("default", "swap", None, b"won"),
                store.swap("default", "swap", None, b"lost"),
                store.swap("default", "absent", Some(b""), b"lost"),
                set(&store, "text", b"text"),
                store.increment("default", "text", 1),
                async { drop(go) },
            );
            assert!(first.expect("the store works"));
            failing.expect_err("it fails, alone");
            assert!(won.expect("the store works"));
            assert!(!lost.expect("the store works"));
            assert!(!absent.expect("the store works"));
            text.expect("the store works");
            refused.expect_err("it is no counter");
            assert_eq!(get(&store, "failing").await.expect("the store works"), None);
            assert_eq!(
                get(&store, "swap").await.expect("the store works"),
                Some(b"won".to_vec())
            );
        });
    }

    #[test]
    fn a_full_disk_is_told_and_got_over() {
        let folder = folder();
        let store = open(&folder);
        let limit = |pages: i64| {
            store.write(move |db| {
                Ok(db.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?)
            })
        };
        runtime().block_on(async {
            set(&store, "small", b"value").await.expect("there is room");
            limit(64).await.expect("the limit is taken");
            let large = vec![0; 64 * 4096];
            for _ in 0..2 {
                // The large one fails alone, though it may share a transaction with the others.
                let (before, full, after) = tokio::join!(
                    set(&store, "small", b"before"),
                    set(&store, "large", &large),
                    set(&store, "small", b"after")
                );
                before.expect("there is room");
                check_unavailable(full, ErrorCode::DiskFull);
                after.expect("there is room");
                assert_eq!(
                    get(&store, "small").await.expect("reading goes on"),
                    Some(b"after".to_vec())
                );
                assert_eq!(get(&store, "large").await.expect("reading goes on"), None);
            }
            limit(1 << 20).await.expect("the limit is taken");
            set(&store, "large", &large)
                .await
                .expect("there is room again");
        });
    }

    /// A store that copies its log when it is told to.
    fn open_uncopied(folder: &TempDir) -> (Sqlite, Checkpoints) {
        let mut store = open(folder);
        drop(store.stop.take());
        join(store.checkpoints.take());
        let checkpoints = Checkpoints {
            file: store.readers.file.clone(),
            connection: None,
            log: store.log.clone(),
            failing: false,
        };
        (store, checkpoints)
    }

    /// Which thread a write of so many bytes is done on. They are others each time: what is there already is not written.
    async fn written_on(store: &Sqlite, size: u32) -> thread::ThreadId {
        const SET: &str = "INSERT INTO spin_key_value VALUES ('default', 'key', randomblob(?1)) \
                           ON CONFLICT DO UPDATE SET value = excluded.value";
        store
            .write(move |db| {
                db.execute(SET, [size])?;
                Ok(thread::current().id())
            })
            .await
            .expect("the store works")
    }

    #[test]
    fn who_writes_seldom_is_not_sent_to_another_thread() {
        let folder = folder();
        let (store, mut checkpoints) = open_uncopied(&folder);
        let file = store.readers.file.clone();
        let here = thread::current().id();
        runtime().block_on(async {
            assert_ne!(written_on(&store, 8).await, here, "nothing is known yet");
            assert_eq!(written_on(&store, 8).await, here);
            assert!(checkpoints.checkpoint().expect("the store works"));
            // What changes nothing leaves it to the next one to begin the log anew, and to sync that.
            let lost = store.swap("default", "key", Some(b"other"), b"new").await;
            assert!(!lost.expect("the store works"));
            assert_ne!(written_on(&store, 8).await, here, "it begins the log anew");
            assert_eq!(written_on(&store, 8).await, here);
            store.log.copying.store(true, Ordering::Relaxed);
            assert_ne!(written_on(&store, 8).await, here, "the disk is at it");
            store.log.copying.store(false, Ordering::Relaxed);
            assert_eq!(written_on(&store, 8).await, here);
            // Nobody waits here for another process.
            let other = Connection::open(&file.path).expect("it opens");
            other
                .execute_batch("BEGIN IMMEDIATE")
                .expect("nobody else writes");
            let (written, committed) = tokio::join!(written_on(&store, 8), async {
                other.execute_batch("COMMIT")
            });
            committed.expect("it holds the lock");
            assert_ne!(written, here);
        });
        drop(store);
        let store = Sqlite::open(file.path, Durability::Full).expect("it opens");
        runtime().block_on(async {
            for _ in 0..3 {
                assert_ne!(written_on(&store, 8).await, here, "each waits for the disk");
            }
        });
    }

    #[test]
    fn a_log_that_has_become_too_long_is_copied_by_the_thread_that_writes() {
        const SIZE: u32 = 1 << 20;
        let folder = folder();
        let (store, _) = open_uncopied(&folder);
        let here = thread::current().id();
        runtime().block_on(async {
            // Each takes a page for each 4 KiB, and a few for the table.
            let most = PAGES / (SIZE / 4096);
            let mut callers = 0;
            for _ in 0..most {
                let before = store.log.pages.load(Ordering::Relaxed);
                let is_here = written_on(&store, SIZE).await == here;
                assert_eq!(is_here, (1..PAGES).contains(&before), "{before}");
                callers += u32::from(is_here);
            }
            assert!(callers > most / 2, "{callers}");
            let full = store.log.pages.load(Ordering::Relaxed);
            assert!(full >= PAGES, "{full}");
            assert_ne!(written_on(&store, SIZE).await, here, "it copies the log");
            let longest = store.log.pages.load(Ordering::Relaxed);
            assert!(longest > full, "{longest}");
            assert_ne!(written_on(&store, SIZE).await, here, "it begins it anew");
            let anew = store.log.pages.load(Ordering::Relaxed);
            assert!((1..PAGES / 2).contains(&anew), "{anew}");
            assert_eq!(written_on(&store, SIZE).await, here);
        });
        drop(store);
        let store = open(&folder);
        let kept = runtime().block_on(get(&store, "key"));
        let kept = kept.expect("the store works").expect("it was written");
        assert_eq!(kept.len(), SIZE as usize);
    }

    #[test]
    fn many_that_write_megabytes_at_once_are_answered_and_the_log_stays_short() {
        const SIZE: usize = 1 << 20;
        let folder = folder();
        let store = Arc::new(open(&folder));
        let runtime = Builder::new_multi_thread().worker_threads(4).build();
        runtime.expect("a runtime can be made").block_on(async {
            let writers = (0..16).map(|writer: u8| {
                let store = store.clone();
                tokio::spawn(async move {
                    let key = writer.to_string();
                    for round in 0..16 {
                        let value = vec![16 * writer + round; SIZE];
                        set(&store, &key, &value).await.expect("the store works");
                        let read = get(&store, &key).await;
                        assert!(read.expect("the store works") == Some(value));
                    }
                })
            });
            for writer in writers.collect::<Vec<_>>() {
                writer.await.expect("it does not panic");
            }
        });
        let log = fs::metadata(folder.path().join("store.db-wal"));
        let length = log.expect("it is there").len();
        assert!(length <= 2 * LOG as u64, "{length}");
    }

    #[test]
    fn writing_begins_anew_after_an_error_of_the_connection() {
        let folder = folder();
        let (store, _) = open_uncopied(&folder);
        let here = thread::current().id();
        let broken = || store.write(|db| Ok(db.pragma_update(None, "query_only", true)?));
        runtime().block_on(async {
            broken().await.expect("the pragma is taken");
            check_unavailable(set(&store, "key", b"value").await, ErrorCode::ReadOnly);
            let written = set(&store, "key", b"value").await;
            written.expect("another connection writes");
            // Its log is known as well. Where the error is met on the caller's thread, the other one begins anew at once.
            assert_eq!(written_on(&store, 8).await, here);
            broken().await.expect("the pragma is taken");
            let written = set(&store, "key", b"other").await;
            written.expect("another connection writes");
        });
    }

    #[test]
    fn an_operation_that_panics_on_its_own_thread_leaves_the_store_as_it_was() {
        let folder = folder();
        let (store, _) = open_uncopied(&folder);
        let here = thread::current().id();
        runtime().block_on(async {
            assert_ne!(written_on(&store, 8).await, here);
            assert_eq!(written_on(&store, 8).await, here);
            let panicking = store.write(|db| -> Result<(), _> {
                db.execute(SET, params!["default", "key", "half"])?;
                panic!("it ends")
            });
            let panicking = std::panic::AssertUnwindSafe(panicking);
            futures::FutureExt::catch_unwind(panicking)
                .await
                .expect_err("it panics");
            let kept = get(&store, "key").await.expect("the store works");
            assert_eq!(kept.map(|value| value.len()), Some(8));
            assert_eq!(written_on(&store, 8).await, here);
        });
    }

    #[test]
    fn a_file_that_was_taken_away_is_not_made_anew() {
        let folder = folder();
        let store = open(&folder);
        let (here, away) = (
            folder.path().join("store.db"),
            folder.path().join("away.db"),
        );
        runtime().block_on(async {
            set(&store, "key", b"value").await.expect("the store works");
            fs::rename(&here, &away).expect("it is there");
            for _ in 0..2 {
                set(&store, "key", b"other").await.expect_err("it is away");
                get(&store, "key").await.expect_err("it is away");
            }
            assert!(!here.exists());
            fs::rename(&away, &here).expect("it is there");
            set(&store, "key", b"other").await.expect("it is back");
            assert_eq!(
                get(&store, "key").await.expect("it is back"),
                Some(b"other".to_vec())
            );
        });
    }

    #[test]
    fn a_write_waits_for_another_process() {
        let folder = folder();
        let store = open(&folder);
        let other = Connection::open(folder.path().join("store.db")).expect("it opens");
        other
            .execute_batch("BEGIN IMMEDIATE")
            .expect("nobody else writes");
        runtime().block_on(async {
            let (written, read, committed) =
                tokio::join!(set(&store, "key", b"value"), get(&store, "key"), async {
                    other.execute_batch("COMMIT")
                },);
            assert_eq!(read.expect("reading does not wait"), None);
            committed.expect("it holds the lock");
            written.expect("the lock is free");
        });
    }

    #[test]
    fn who_has_a_file_alone_reads_and_writes_it_and_nobody_else_does() {
        let folder = folder();
        let path = folder.path().join("store.db");
        let keys = || vec!["key".to_owned(), "absent".to_owned()];
        for number in 0..2_u8 {
            let store = Sqlite::open_alone(path.clone()).expect("nobody has it open");
            let other = Connection::open(&path).expect("it is not read yet");
            other.busy_timeout(Duration::ZERO).expect("it is taken");
            let is_locked_out = || {
                let read = other.query_row(ENTRIES, [], |_| Ok(()));
                let error = read.expect_err("it is locked");
                assert_eq!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy));
            };
            is_locked_out();
            runtime().block_on(async {
                let before = number.checked_sub(1).map(|number| vec![number]);
                assert_eq!(get(&store, "key").await.expect("it works"), before);
                set(&store, "key", &[number]).await.expect("it works");
                let values = store.get_many("default", &keys()).await;
                assert_eq!(values.expect("it works"), [Some(vec![number]), None]);
                let lengths = store.lengths("default", &keys()).await;
                assert_eq!(lengths.expect("it works"), [Some(1), None]);
                let entries = store.entries().await.expect("it works");
                assert_eq!(entries, [("default".to_owned(), "key".to_owned())]);
                // Not even after an error of the connection.
                is_locked_out();
                let broken = store.write(|db| Ok(db.pragma_update(None, "query_only", true)?));
                broken.await.expect("the pragma is taken");
                check_unavailable(set(&store, "key", b"").await, ErrorCode::ReadOnly);
                let error = set(&store, "key", b"").await.expect_err("it was let go of");
                assert_eq!(code(&error), None);
            });
            drop((store, other));
        }
        let store = open(&folder);
        check_unavailable(
            Sqlite::open_alone(path.clone()).map(drop),
            ErrorCode::DatabaseBusy,
        );
        let value = runtime().block_on(get(&store, "key"));
        assert_eq!(value.expect("it works"), Some(vec![1]));
    }

    #[test]
    fn a_writer_that_has_ended_is_told() {
        let folder = folder();
        let store = open(&folder);
        store.check_writer().expect("it is there");
        let written = runtime().block_on(store.write(|_| -> Result<(), _> { panic!("it ends") }));
        written.expect_err("nobody writes");
        let deadline = Instant::now() + HANGS;
        while store.check_writer().is_ok() {
            assert!(Instant::now() < deadline);
        }
    }

    #[test]
    fn a_checkpoint_that_another_process_prevents_is_not_done() {
        let folder = folder();
        let store = open(&folder);
        let file = store.readers.file.clone();
        // It would do its own meanwhile.
        drop(store);
        let path = folder.path().join("store.db");
        let writing = Connection::open(&path).expect("it opens");
        let written =
            "INSERT INTO spin_key_value VALUES ('default', 'key', x'00'); BEGIN IMMEDIATE";
        writing.execute_batch(written).expect("nobody else writes");
        // It waits for the one that writes, and is at its own checkpoint meanwhile.
        let mut copying = Connection::open(&path).expect("it opens");
        let (waits, waiting) = std::sync::mpsc::channel();
        let wait = move |_| {
            waits.send(()).ok();
            thread::sleep(Duration::from_millis(1));
            true
        };
        copying.busy_handler(Some(wait)).expect("it is taken");
        let copying = thread::spawn(move || {
            copying.query_row("PRAGMA wal_checkpoint(FULL)", [], |row| {
                row.get::<_, i64>(0)
            })
        });
        waiting.recv_timeout(HANGS).expect("it has to wait");
        let mut checkpoints = Checkpoints {
            file,
            connection: None,
            log: Arc::default(),
            failing: false,
        };
        assert!(!checkpoints.checkpoint().expect("the store works"));
        writing.execute_batch("COMMIT").expect("it holds the lock");
        let busy = copying.join().expect("it ends");
        assert_eq!(busy.expect("the store works"), 0);
        assert!(checkpoints.checkpoint().expect("the store works"));
    }

    #[test]
    fn that_something_fails_is_told_when_it_begins_and_when_it_ends() {
        let log = tempfile::NamedTempFile::new().expect("a file can be made");
        let file = log.reopen().expect("it is there");
        let subscriber = tracing_subscriber::fmt().with_writer(Arc::new(file));
        // While there is one only, what another thread says first, which has none, is off for all.
        let another = tracing_subscriber::fmt().with_writer(io::sink);
        let _another = tracing::Dispatch::new(another.finish());
        tracing::subscriber::with_default(subscriber.finish(), || {
            let mut failing = false;
            for fails in [false, true, true, false, false] {
                let end = if fails { Err(ended()) } else { Ok(()) };
                tell(&mut failing, &end, "something");
                assert_eq!(failing, fails);
            }
        });
        let told = fs::read_to_string(log.path()).expect("it is text");
        let lines: Vec<&str> = told.lines().collect();
        assert!(
            matches!(lines[..], [begun, over] if begun.contains("something fails")
                && begun.contains("the writing thread has ended")
                && over.contains("something works again")),
            "{told}"
        );
    }

    #[test]
    fn a_damaged_file_is_told() {
        let folder = folder();
        fs::write(folder.path().join("store.db"), [b'x'; 8192]).expect("the folder is there");
        let store = Sqlite::open(folder.path().join("store.db"), Durability::Full);
        check_unavailable(store.map(drop), ErrorCode::NotADatabase);
        let store = Sqlite::open(folder.path().join("store.db/below"), Durability::Full);
        store.expect_err("a file is no folder");
    }

    #[test]
    fn reading_begins_anew_when_a_damaged_file_is_whole_again() {
        let folder = folder();
        let store = open(&folder);
        let path = folder.path().join("store.db");
        runtime().block_on(async {
            set(&store, "key", b"value").await.expect("the store works");
            let mut checkpoints = Checkpoints {
                file: store.readers.file.clone(),
                connection: None,
                log: store.log.clone(),
                failing: false,
            };
            while !checkpoints.checkpoint().expect("the store works") {}
            let whole = fs::read(&path).expect("it is there");
            // What a connection has read it keeps, as the one that writes does: a new one sees the damage.
            store.readers.clear();
            fs::write(&path, vec![b'x'; whole.len()]).expect("it is there");
            for _ in 0..2 {
                check_unavailable(get(&store, "key").await, ErrorCode::NotADatabase);
            }
            fs::write(&path, &whole).expect("it is there");
            assert_eq!(
                get(&store, "key").await.expect("it is whole"),
                Some(b"value".to_vec())
            );
        });
    }
}
