//! Moves all that a store holds to another one, to be done again from where it was if it is interrupted.
//!
//! 1. Both stores get a *record*: the one that is left, that it is being left, and the other one, that something
//!    arrives. No host serves a store in which something arrives.
//! 2. Every value that the target has not is copied, what it has beside is deleted, and then all is compared.
//! 3. The record of the source says that it was moved, and no host serves it any more; then the target's, that all
//!    has arrived.
//!
//! A run that finds the records of one before it goes on, whatever was done meanwhile. Nothing is deleted from the
//! source: it stays as it was, and what comes back to it one day replaces it.
//!
//! Integer keys are kept otherwise in files than in Redis: those of the mailbox are translated.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use mailbox::Integers;
use serde::{Deserialize, Serialize};

use crate::store::{Durability, Store, without_password};

/// Where a store keeps its record. No manifest can name this label.
const LABEL: &str = "witter/migration";
const RECORD: &str = "record";

/// The label whose keys are the mailbox's.
const MAILBOX: &str = "default";

/// How many values are read and written at once. Fewer, and a server is asked more often; more, and they take more
/// memory than a host does: one may have 200 KiB.
const BATCH: usize = 64;

/// From where to where.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The store that is left, `sqlite:PATH` or `redis://…`
    #[arg(long, value_name = "URL", env = "WITTER_MIGRATE_FROM")]
    pub from: String,

    /// The store that it moves to: an empty one, or one from which it was moved before
    #[arg(long, value_name = "URL", env = "WITTER_MIGRATE_TO")]
    pub to: String,

    /// Deletes whatever else the target holds
    #[arg(long)]
    pub replace: bool,
}

/// What is being done, and the number of values that it is done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many are to be moved.
    Found(u64),
    /// So many more are in the target.
    Copied(u64),
    /// So many more were compared.
    Compared(u64),
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// How many values there are.
    pub values: u64,
    /// How many of them were written; the others were there.
    pub written: u64,
    /// How many others were deleted from the target.
    pub deleted: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    stage: Stage,
    /// The migration, by a name that it draws itself.
    id: String,
    /// The other store, without its password.
    other: String,
    /// The migration by which the data came to the store that they leave.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Stage {
    Leaving,
    Arriving,
    Moved,
    Arrived,
}

/// Refuses a store that is half of a migration, or was left by one.
///
/// # Errors
/// Where it is, or where that cannot be looked at.
pub(crate) async fn refuse_moved(store: &Store) -> Result<()> {
    match record(store).await? {
        Some(Record {
            stage: Stage::Arriving,
            other,
            ..
        }) => {
            bail!("its data are on the way from {other}: run `witter migrate` again")
        }
        Some(Record {
            stage: Stage::Moved,
            other,
            ..
        }) => bail!(
            "its data were moved to {other}: serve from there, or move them back by `witter migrate`"
        ),
        _ => Ok(()),
    }
}

/// Moves everything. The application has to be stopped on all hosts.
///
/// # Errors
/// Where a store cannot be opened, is in use, or fails; where the target holds something else; where the source
/// changes meanwhile. To do it again goes on where it was.
pub async fn migrate(options: &Options, progress: impl Fn(Progress)) -> Result<Moved> {
    let Options { from, to, replace } = options;
    ensure!(from != to, "source and target are the same store");
    for url in [from, to] {
        ensure!(url != "memory", "a store in memory ends with its host");
    }
    let source = open(from, true).await?;
    let target = open(to, false).await?;
    let (from, to) = (&*without_password(from), &*without_password(to));
    let id = begin(&source, &target, [from, to], *replace).await?;
    let copied = copy(&source, &target, &progress).await;
    let moved = copied.with_context(|| format!("{from} is not all moved to {to} yet"))?;
    let settle = async |store: &Store, stage, other: &str| {
        let record = Record {
            stage,
            id: id.clone(),
            other: other.to_owned(),
            before: None,
        };
        write(store, &record).await
    };
    settle(&source, Stage::Moved, to).await?;
    settle(&target, Stage::Arrived, from).await?;
    Ok(moved)
}

/// Opens a store that nobody else has open.
async fn open(url: &str, must_exist: bool) -> Result<Store> {
    let told = without_password(url);
    if let Some(path) = url.strip_prefix("sqlite:") {
        let path = Path::new(path);
        ensure!(path.exists() || !must_exist, "there is no {told}");
        ensure!(
            !path.exists() || !Store::is_open_elsewhere(path)?,
            "{told} is in use: stop the hosts that serve it"
        );
    }
    let store = Store::open(url, Durability::Full).await;
    let store = store.with_context(|| format!("the store {told} cannot be opened"))?;
    if let Some(redis) = store.redis() {
        ensure!(
            redis.listeners().await? == 0,
            "{told} is in use: stop the hosts that serve it"
        );
    }
    Ok(store)
}

/// Sees that the target may take what the source has, writes both records, and tells the migration's id.
async fn begin(
    source: &Store,
    target: &Store,
    [from, to]: [&str; 2],
    replace: bool,
) -> Result<String> {
    let (left, reached) = (record(source).await?, record(target).await?);
    let before = match &left {
        Some(Record {
            stage: Stage::Arriving,
            other,
            ..
        }) => bail!("what {from} holds has not all arrived from {other} yet"),
        Some(record) if record.stage == Stage::Moved => match &reached {
            // Stopped between the two last steps.
            Some(other) if other.id == record.id && other.stage == Stage::Arriving => {
                return Ok(record.id.clone());
            }
            _ => bail!("{from} was moved to {} already", record.other),
        },
        Some(record) if record.stage == Stage::Leaving => record.before.clone(),
        Some(record) => Some(record.id.clone()),
        None => None,
    };
    let begun = left.filter(|left| left.stage == Stage::Leaving);
    let may_take = match &reached {
        Some(reached) if reached.stage == Stage::Arriving => {
            begun.as_ref().is_some_and(|begun| begun.id == reached.id)
        }
        // The way back: what the target holds is of before.
        Some(reached) if reached.stage == Stage::Moved => before.as_ref() == Some(&reached.id),
        _ => false,
    };
    if !may_take && !replace {
        let others = target.entries().await?;
        ensure!(
            others.iter().all(|(label, _)| label == LABEL),
            "{to} holds something else: with --replace it is deleted"
        );
    }
    let id = match begun {
        // To another target it is another migration.
        Some(begun) if begun.other == to => begun.id,
        _ => format!("{:016x}", fastrand::u64(..)),
    };
    let record = |stage, other: &str, before| Record {
        stage,
        id: id.clone(),
        other: other.to_owned(),
        before,
    };
    write(source, &record(Stage::Leaving, to, before)).await?;
    write(target, &record(Stage::Arriving, from, None)).await?;
    Ok(id)
}

async fn copy(source: &Store, target: &Store, progress: &impl Fn(Progress)) -> Result<Moved> {
    let entries = entries(source).await?;
    let values = entries.values().map(|keys| keys.len() as u64).sum();
    progress(Progress::Found(values));
    let mut moved = Moved {
        values,
        written: 0,
        deleted: 0,
    };
    for (label, keys) in &entries {
        for keys in keys.chunks(BATCH) {
            let missing = missing(source, target, label, keys).await?;
            moved.written += missing.len() as u64;
            target.set_many(label, missing).await?;
            progress(Progress::Copied(keys.len() as u64));
        }
    }
    for (label, keys) in self::entries(target).await? {
        let wanted: HashSet<&String> = entries.get(&label).into_iter().flatten().collect();
        let others: Vec<String> = keys
            .into_iter()
            .filter(|key| !wanted.contains(key))
            .collect();
        for keys in others.chunks(BATCH) {
            target.delete_many(&label, keys).await?;
        }
        moved.deleted += others.len() as u64;
    }
    for (label, keys) in &entries {
        for keys in keys.chunks(BATCH) {
            let missing = missing(source, target, label, keys).await?;
            ensure!(
                missing.is_empty(),
                "{:?} changes meanwhile: is the application stopped?",
                missing[0].0
            );
            progress(Progress::Compared(keys.len() as u64));
        }
    }
    let sets = |entries: HashMap<String, Vec<String>>| {
        let sets = entries.into_iter();
        sets.map(|(label, keys)| (label, HashSet::<String>::from_iter(keys)))
            .collect::<HashMap<_, _>>()
    };
    ensure!(
        sets(self::entries(source).await?) == sets(self::entries(target).await?),
        "keys come or go meanwhile: is the application stopped?"
    );
    Ok(moved)
}

/// All keys by their labels, but for the record's.
async fn entries(store: &Store) -> Result<HashMap<String, Vec<String>>> {
    let mut entries = HashMap::<String, Vec<String>>::new();
    for (label, key) in store.entries().await? {
        if label != LABEL {
            entries.entry(label).or_default().push(key);
        }
    }
    Ok(entries)
}

/// What of some values the target has otherwise or not at all, as it is to have it.
async fn missing(
    source: &Store,
    target: &Store,
    label: &str,
    keys: &[String],
) -> Result<Vec<(String, Vec<u8>)>> {
    let there = target.get_many(label, keys).await?;
    let here = source.get_many(label, keys).await?;
    let mut missing = Vec::new();
    for ((key, here), there) in keys.iter().zip(here).zip(there) {
        let here = here.with_context(|| {
            format!("{key:?} has no value any more: is the application stopped?")
        })?;
        let here = match label {
            MAILBOX => integers(target)
                .translate(key, here)
                .with_context(|| format!("the value of {key:?} is unusable"))?,
            _ => here,
        };
        if there.as_ref() != Some(&here) {
            missing.push((key.clone(), here));
        }
    }
    Ok(missing)
}

fn integers(store: &Store) -> Integers {
    match store.redis() {
        Some(_) => Integers::Digits,
        None => Integers::Bytes,
    }
}

async fn record(store: &Store) -> Result<Option<Record>> {
    let value = store.get(LABEL, RECORD).await?;
    let record = value.map(|value| serde_json::from_slice(&value));
    record
        .transpose()
        .context("the record of a migration is damaged")
}

async fn write(store: &Store, record: &Record) -> Result<()> {
    let value = serde_json::to_vec(record)?;
    Ok(store.set(LABEL, RECORD, &value).await?)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use redis_server::RedisServer;
    use tempfile::TempDir;

    use super::*;

    const EPOCH: u64 = 1_234_567_890_123_456_789;

    fn value(number: u64) -> Vec<u8> {
        // Everything that one of the encodings of integers might be taken for.
        match number % 4 {
            0 => number.to_le_bytes().to_vec(),
            1 => number.to_string().into_bytes(),
            2 => Vec::new(),
            _ => vec![b'x'; number as usize],
        }
    }

    /// Fills a store with two labels, as an application does.
    async fn fill(store: &Store) {
        let zero = match integers(store) {
            Integers::Bytes => vec![0; 8],
            Integers::Digits => b"0".to_vec(),
        };
        store
            .increment("default", "w1/p/a", 0)
            .await
            .expect("it works");
        let epoch = integers(store)
            .translate("w1/p/a", EPOCH.to_string().into_bytes())
            .expect("it is a number");
        let elected = store.swap("default", "w1/p/a", Some(&zero), &epoch).await;
        assert!(elected.expect("it works"));
        store
            .increment("default", "w1/dp/born", 0)
            .await
            .expect("it works");
        for number in 0..1000 {
            let key = format!("w1/s/a/{number}");
            store
                .set("default", &key, &value(number))
                .await
                .expect("it works");
        }
        store.set("other", "\0", b"value").await.expect("it works");
    }

    async fn check(store: &Store) {
        for number in 0..1000 {
            let key = format!("w1/s/a/{number}");
            let found = store.get("default", &key).await.expect("it works");
            assert_eq!(found, Some(value(number)), "{key}");
        }
        let found = store.get("other", "\0").await.expect("it works");
        assert_eq!(found, Some(b"value".to_vec()));
        // What counts in the one counts in the other.
        let epoch = store.increment("default", "w1/p/a", 0).await;
        assert_eq!(epoch.expect("it is a counter here"), EPOCH as i64);
        let born = store.increment("default", "w1/dp/born", 0).await;
        assert_eq!(born.expect("it is a counter here"), 0);
    }

    fn options(from: &str, to: &str) -> Options {
        Options {
            from: from.to_owned(),
            to: to.to_owned(),
            replace: false,
        }
    }

    async fn open(url: &str) -> Store {
        let store = Store::open(url, Durability::Normal).await;
        store.expect("it opens")
    }

    #[track_caller]
    fn check_refused<T: std::fmt::Debug>(result: Result<T>, why: &str) {
        let error = format!("{:#}", result.expect_err("it is refused"));
        assert!(error.contains(why), "{error}");
    }

    struct Places {
        _folder: TempDir,
        _server: RedisServer,
        file: String,
        redis: String,
    }

    fn places() -> Places {
        let folder = TempDir::new().expect("a folder can be made");
        let server = RedisServer::start(&[]).expect("Redis starts");
        Places {
            file: format!("sqlite:{}", folder.path().join("store.db").display()),
            redis: format!("{}?prefix=app:", server.url()),
            _folder: folder,
            _server: server,
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_store_moves_there_and_back_and_only_one_of_the_two_is_served() {
        let Places { file, redis, .. } = &places();
        fill(&open(file).await).await;
        let found = AtomicU64::new(0);
        let done = AtomicU64::new(0);
        let asked = options(file, redis);
        let moved = migrate(&asked, |progress| {
            match progress {
                Progress::Found(values) => found.fetch_add(2 * values, Ordering::Relaxed),
                Progress::Copied(values) | Progress::Compared(values) => {
                    done.fetch_add(values, Ordering::Relaxed)
                }
            };
        });
        let moved = moved.await.expect("it moves");
        assert_eq!(
            (moved.values, moved.written, moved.deleted),
            (1003, 1003, 0)
        );
        assert_eq!((found.into_inner(), done.into_inner()), (2006, 2006));
        check_refused(refuse_moved(&open(file).await).await, "moved to redis://");
        refuse_moved(&open(redis).await).await.expect("it is here");
        check(&open(redis).await).await;
        check_refused(migrate(&options(file, redis), |_| {}).await, "was moved to");
        // Back, with what was changed meanwhile.
        let store = open(redis).await;
        store.set("default", "new", b"0").await.expect("it works");
        store
            .delete("default", "w1/s/a/999")
            .await
            .expect("it works");
        drop(store);
        let moved = migrate(&options(redis, file), |_| {}).await;
        let moved = moved.expect("it moves back");
        assert_eq!((moved.values, moved.written, moved.deleted), (1003, 1, 1));
        refuse_moved(&open(file).await).await.expect("it is here");
        check_refused(refuse_moved(&open(redis).await).await, "moved to sqlite:");
        let store = open(file).await;
        store
            .set("default", "w1/s/a/999", &value(999))
            .await
            .expect("it works");
        check(&store).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_migration_goes_on_wherever_it_was_stopped() {
        let Places { file, redis, .. } = &places();
        fill(&open(file).await).await;
        // All that a run does up to some write of one value.
        for stopped_after in [0, 1, 500] {
            let (source, target) = (open(file).await, open(redis).await);
            begin(&source, &target, [file, redis], false)
                .await
                .expect("it begins");
            for number in 0..stopped_after {
                let key = format!("w1/s/a/{number}");
                let set = target.set("default", &key, &value(number)).await;
                set.expect("it works");
            }
            check_refused(refuse_moved(&target).await, "on the way");
            refuse_moved(&source).await.expect("all is still here");
        }
        check_refused(
            migrate(&options(redis, file), |_| {}).await,
            "not all arrived",
        );
        // Who did not want to wait served the source again.
        let source = open(file).await;
        source
            .set("default", "w1/s/a/0", b"other")
            .await
            .expect("it works");
        source
            .delete("default", "w1/s/a/1")
            .await
            .expect("it works");
        drop(source);
        let moved = migrate(&options(file, redis), |_| {})
            .await
            .expect("it moves");
        assert_eq!((moved.values, moved.written, moved.deleted), (1002, 504, 1));
        // And between the two last steps.
        let target = open(redis).await;
        let mut record = record(&target)
            .await
            .expect("it works")
            .expect("it has one");
        record.stage = Stage::Arriving;
        write(&target, &record).await.expect("it works");
        drop(target);
        let moved = migrate(&options(file, redis), |_| {})
            .await
            .expect("it ends");
        assert_eq!((moved.written, moved.deleted), (0, 0));
        refuse_moved(&open(redis).await).await.expect("it is here");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_would_lose_something_is_refused() {
        let Places { file, redis, .. } = &places();
        check_refused(migrate(&options(file, redis), |_| {}).await, "there is no");
        check_refused(
            migrate(&options("memory", redis), |_| {}).await,
            "in memory",
        );
        check_refused(migrate(&options(redis, redis), |_| {}).await, "the same");
        let source = open(file).await;
        fill(&source).await;
        check_refused(migrate(&options(file, redis), |_| {}).await, "is in use");
        drop(source);
        let target = open(redis).await;
        target.set("default", "mine", b"").await.expect("it works");
        check_refused(
            migrate(&options(file, redis), |_| {}).await,
            "something else",
        );
        let listening = target.redis().expect("it is Redis").subscribe().await;
        check_refused(migrate(&options(redis, file), |_| {}).await, "is in use");
        drop(listening);
        let replacing = Options {
            replace: true,
            ..options(file, redis)
        };
        // The server may still count the subscription that was closed.
        let moved = loop {
            match migrate(&replacing, |_| {}).await {
                Err(error) if format!("{error:#}").contains("is in use") => {}
                moved => break moved.expect("it may"),
            }
        };
        assert_eq!((moved.written, moved.deleted), (1003, 1));
        assert_eq!(target.get("default", "mine").await.expect("it works"), None);
        // A pointer that is none.
        let source = open(redis).await;
        source
            .set("default", "w1/p/b", b"x")
            .await
            .expect("it works");
        check_refused(migrate(&options(redis, file), |_| {}).await, "w1/p/b");
    }
}
