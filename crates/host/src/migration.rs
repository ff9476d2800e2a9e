//! Moves all that a store holds to another one, to be done again from where it was if it is interrupted.
//!
//! 1. Both stores get a *record*: the one that is left, that it is being left, and the other one, that something
//!    arrives. No host serves a store in which something arrives.
//! 2. Every value that the target has not is copied, what it has beside is deleted, and then all is compared.
//! 3. The record of the source says that it was moved, and no host serves it any more; then the target's, that all
//!    has arrived.
//!
//! Meanwhile nobody serves the source unnoticed. A file is locked: who opens it is told so. Of Redis whoever begins to
//! serve *shows* it first, by listening as nodes do, and then looks at the record; a migration writes it first and
//! then looks who listens. A host that had lost sight of the server does so again before it writes, and looks
//! every five seconds. So one of the two sees the other, and a host that finds a record of leaving marks it: the
//! migration, which replaces only the one that it wrote, does not end. The host goes on; the next run takes up what it
//! has changed.
//!
//! Two migrations see each other by a channel of their own, which each listens to until it ends.
//!
//! A run that finds the records of one before it goes on, whatever was done meanwhile. Nothing is deleted from the
//! source: it stays as it was, and what comes back to it one day replaces it.
//!
//! Integer keys are kept otherwise in files than in Redis: those of the mailbox are translated.

use std::collections::{HashMap, HashSet};
use std::future::pending;
use std::iter;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use mailbox::Integers;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::store::{Admission, Store, Subscription, without_password};

/// Where a store keeps its record. No manifest can name this label.
const LABEL: &str = "witter/migration";
const RECORD: &str = "record";

/// The label whose keys are the mailbox's, and what those begin with; others in it are of components that are not
/// ours.
const MAILBOX: &str = "default";
const OURS: &str = "w1/";

/// How many values are read and written at once. Fewer, and a server is asked more often; more, and they take more
/// memory than a host does: one may have 200 KiB.
const BATCH: usize = 64;

/// How many bytes of values, where it is more than one. Fewer, and a server is asked more often; more, and it cannot
/// answer in time on a slow line: within three seconds, for which this takes 700 kbit/s.
const BYTES: u64 = 256 << 10;

/// How many lengths are asked for at once.
const LENGTHS: usize = 500;

const DAMAGED: &str = "the record of a migration is damaged";

/// From where to where.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The store that is left, `sqlite:PATH` or `redis://…`
    #[arg(long, value_name = "URL", env = "WITTER_MIGRATE_FROM")]
    pub from: String,

    /// The store that it moves to: an empty one, or one from which it was moved before
    #[arg(long, value_name = "URL", env = "WITTER_MIGRATE_TO")]
    pub to: String,

    /// Deletes whatever else the target holds; of a Redis without a prefix those are all values in its database
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

// The same record is always the same bytes: it is replaced by them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    stage: Stage,
    /// The migration, by a name that it draws itself.
    id: String,
    /// The other store, without its password.
    other: String,
    /// The migration by which the data came to the store that they leave.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<String>,
    /// A host has begun to serve the store that they leave.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    served: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Stage {
    Leaving,
    Arriving,
    Moved,
    Arrived,
}

/// Refuses a store that is half of a migration, or was left by one. One that is being left is served, and the
/// migration will find that it was.
///
/// # Errors
/// Where it is, or where that cannot be looked at.
pub(crate) async fn refuse_moved(store: &Store) -> Result<()> {
    while let Some(found) = store.get(LABEL, RECORD).await? {
        match admission(&found) {
            Admission::Granted => break,
            Admission::Refused(why) => bail!(why),
            Admission::Noted(noted) => {
                if store.swap(LABEL, RECORD, Some(&found), &noted).await? {
                    tracing::warn!(
                        "the store was about to be moved: it is served here, until `witter migrate` is run again"
                    );
                    break;
                }
            }
        }
    }
    Ok(())
}

/// What a record says to a host.
fn admission(record: &[u8]) -> Admission {
    let Ok(found) = serde_json::from_slice::<Record>(record) else {
        return Admission::Refused(DAMAGED.to_owned());
    };
    let other = &found.other;
    match found.stage {
        Stage::Arriving => Admission::Refused(format!(
            "its data are on the way from {other}: run `witter migrate` again"
        )),
        Stage::Moved => Admission::Refused(format!(
            "its data were moved to {other}: serve from there, or move them back by `witter migrate`"
        )),
        Stage::Leaving if !found.served => {
            let served = Record {
                served: true,
                ..found
            };
            // It was one a moment ago.
            serde_json::to_vec(&served).map_or(Admission::Granted, Admission::Noted)
        }
        Stage::Leaving | Stage::Arrived => Admission::Granted,
    }
}

/// Shows whoever may move the store that it is served, and then does as [`refuse_moved`], for a store that others can
/// open at the same time; and again whenever it connects to it anew. It is shown until the tasks end, or nodes have had
/// the time to listen.
///
/// # Errors
/// As [`refuse_moved`], or where the store cannot be listened to.
pub(crate) async fn show(store: &Store) -> Result<JoinSet<()>> {
    let mut shown = JoinSet::new();
    if let Some(redis) = store.redis() {
        redis.guard(LABEL, RECORD, admission);
        let listening = redis.subscribe().await;
        let listening = listening.context("it cannot be listened to")?;
        refuse_moved(store).await?;
        shown.spawn(listening.show());
    }
    Ok(shown)
}

/// Moves everything. The application has to be stopped on all hosts, and what starts it there.
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
    let told = [&*without_password(from), &*without_password(to)];
    let mut claims = [None, None];
    let moved = run(&source, &target, told, *replace, progress, &mut claims).await;
    for claim in claims.into_iter().flatten() {
        claim.end().await;
    }
    moved
}

/// Claims both stores, and moves everything for as long as that is seen.
async fn run(
    source: &Store,
    target: &Store,
    told: [&str; 2],
    replace: bool,
    progress: impl Fn(Progress),
    [left, reached]: &mut [Option<Subscription>; 2],
) -> Result<Moved> {
    let [from, to] = told;
    *left = claim(source, from).await?;
    ensure!(
        !is_claimed(source, left.as_ref()).await?,
        "{from} is being moved by another run"
    );
    ensure!(
        !is_part(source, target, left.as_ref()).await?,
        "source and target are the same store, or one of them holds the other, or {to} is being moved by another run"
    );
    *reached = claim(target, to).await?;
    ensure!(
        !is_claimed(target, reached.as_ref()).await?,
        "{to} is being moved by another run"
    );
    let moved = async {
        let begun = begin(source, target, told, replace).await?;
        let moved = async {
            let moved = copy(source, target, &progress).await?;
            settle(source, target, told, &begun).await?;
            anyhow::Ok(moved)
        };
        moved
            .await
            .with_context(|| format!("{from} is not all moved to {to} yet"))
    };
    // What is done is done, whatever was lost.
    tokio::select! {
        biased;
        moved = moved => moved,
        () = lost(left.as_mut()) => Err(anyhow!("sight of {from} was lost: run it again")),
        () = lost(reached.as_mut()) => Err(anyhow!("sight of {to} was lost: run it again")),
    }
}

/// Opens a store that nobody else has open, and no host opens meanwhile where that can be prevented.
async fn open(url: &str, must_exist: bool) -> Result<Store> {
    let told = without_password(url);
    if let Some(path) = url.strip_prefix("sqlite:") {
        let exists = Path::new(path).exists();
        ensure!(exists || !must_exist, "there is no {told}");
    }
    let store = match Store::open_alone(url).await {
        Err(error) if error.is_locked() => bail!(in_use(&told)),
        store => store.with_context(|| format!("the store {told} cannot be opened"))?,
    };
    ensure!(!is_shown(&store).await?, in_use(&told));
    Ok(store)
}

fn in_use(told: &str) -> String {
    format!("{told} is in use: stop the hosts that serve it, and what starts them")
}

/// Claims a store that nothing else keeps from another run.
async fn claim(store: &Store, told: &str) -> Result<Option<Subscription>> {
    let Some(redis) = store.redis() else {
        return Ok(None);
    };
    let claim = redis.claim().await;
    Ok(Some(
        claim.with_context(|| format!("{told} cannot be claimed"))?,
    ))
}

/// Whether the keys of one store are among the other's, before the second one is claimed.
async fn is_part(source: &Store, target: &Store, left: Option<&Subscription>) -> Result<bool> {
    Ok(match (source.redis(), target.redis(), left) {
        // Another server does not know of the claim.
        (Some(from), Some(to), Some(left)) if from.overlaps(to) => to.claims(left).await? > 0,
        _ => false,
    })
}

/// Whether somebody else has claimed a store too.
async fn is_claimed(store: &Store, own: Option<&Subscription>) -> Result<bool> {
    Ok(match store.redis().zip(own) {
        Some((redis, own)) => redis.claims(own).await? > 1,
        None => false,
    })
}

/// Returns when others do not see a claim any more.
async fn lost(claim: Option<&mut Subscription>) {
    match claim {
        Some(claim) => claim.lost().await,
        None => pending().await,
    }
}

/// Whether a host shows that it serves a store.
async fn is_shown(store: &Store) -> Result<bool> {
    Ok(match store.redis() {
        Some(redis) => redis.listeners().await? > 0,
        None => false,
    })
}

/// Sees that the target may take what the source has, writes both records, and tells the source's.
async fn begin(
    source: &Store,
    target: &Store,
    [from, to]: [&str; 2],
    replace: bool,
) -> Result<Record> {
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
                return Ok(record.clone());
            }
            _ => bail!("{from} was moved to {} already", record.other),
        },
        Some(record) if record.stage == Stage::Leaving => record.before.clone(),
        Some(record) => Some(record.id.clone()),
        None => None,
    };
    let begun = left.as_ref().filter(|left| left.stage == Stage::Leaving);
    let may_take = match &reached {
        Some(reached) if reached.stage == Stage::Arriving => {
            begun.is_some_and(|begun| begun.id == reached.id)
        }
        // The way back: what the target holds is of before.
        Some(reached) if reached.stage == Stage::Moved => before.as_ref() == Some(&reached.id),
        _ => false,
    };
    if !replace {
        ensure!(
            may_take || entries(target).await?.is_empty(),
            "{to} holds something else: with --replace it is deleted"
        );
        refuse_strangers(source, target, [from, to]).await?;
    }
    let id = match begun {
        // To another target it is another migration.
        Some(begun) if begun.other == to => begun.id.clone(),
        _ => format!("{:016x}", fastrand::u64(..)),
    };
    let record_of = |stage, other: &str, before| Record {
        stage,
        id: id.clone(),
        other: other.to_owned(),
        before,
        served: false,
    };
    let leaving = record_of(Stage::Leaving, to, before);
    write(source, &leaving).await?;
    write(target, &record_of(Stage::Arriving, from, None)).await?;
    let refused = match record(source).await? {
        // Who shows itself later will have found the record.
        Some(found) if found == leaving => {
            match (is_shown(source).await?, is_shown(target).await?) {
                (true, _) => in_use(from),
                (_, true) => in_use(to),
                (false, false) => return Ok(leaving),
            }
        }
        Some(found) if found.served => in_use(from),
        _ => "source and target are the same store".to_owned(),
    };
    put_back(target, reached).await?;
    put_back(source, left).await?;
    bail!(refused)
}

/// Refuses a target that is all of a server where what it holds may be another application's, which keeps something
/// there too: what would be deleted or become another value, and is not the mailbox's.
async fn refuse_strangers(source: &Store, target: &Store, [from, to]: [&str; 2]) -> Result<()> {
    if !target.redis().is_some_and(|redis| redis.is_everything()) {
        return Ok(());
    }
    let mut sized = entries(target).await?.remove(MAILBOX).unwrap_or_default();
    sized.retain(|(key, _)| !key.starts_with(OURS));
    let mut strangers = Vec::new();
    for batch in batches(&sized) {
        let keys = names(batch);
        let here = source.get_many(MAILBOX, &keys).await?;
        let there = target.get_many(MAILBOX, &keys).await?;
        let pairs = keys.into_iter().zip(here.into_iter().zip(there));
        strangers.extend(pairs.filter(|(_, (here, there))| here != there));
    }
    let Some((key, _)) = strangers.first() else {
        return Ok(());
    };
    bail!(
        "{} values in {to}, {key:?} among them, are not the mailbox's, and others than those in {from}: another \
         application's, if it has no database of its own; with --replace they are deleted or overwritten",
        strangers.len()
    )
}

/// Says that all was moved, if the source was not served meanwhile.
async fn settle(
    source: &Store,
    target: &Store,
    [from, to]: [&str; 2],
    begun: &Record,
) -> Result<()> {
    ensure!(!is_shown(source).await?, in_use(from));
    ensure!(!is_shown(target).await?, in_use(to));
    let arriving = record(target).await?;
    let arriving = arriving.filter(|found| found.stage == Stage::Arriving && found.id == begun.id);
    let arriving = arriving.with_context(|| format!("{to} was changed meanwhile"))?;
    let moved = Record {
        stage: Stage::Moved,
        before: None,
        ..begun.clone()
    };
    ensure!(
        replace(source, begun, &moved).await?,
        "{from} was served meanwhile: stop the hosts, and what starts them"
    );
    // One that began when this had looked has found the record of leaving, or finds this one.
    if is_shown(source).await? {
        let left = Record {
            stage: Stage::Leaving,
            served: true,
            ..begun.clone()
        };
        write(source, &left).await?;
        bail!(in_use(from));
    }
    let arrived = Record {
        stage: Stage::Arrived,
        other: from.to_owned(),
        ..moved
    };
    ensure!(
        replace(target, &arriving, &arrived).await?,
        "{to} was changed meanwhile"
    );
    Ok(())
}

async fn copy(source: &Store, target: &Store, progress: &impl Fn(Progress)) -> Result<Moved> {
    let mut here = entries(source).await?;
    let there = entries(target).await?;
    let values = here.values().map(|keys| keys.len() as u64).sum();
    progress(Progress::Found(values));
    let mut moved = Moved {
        values,
        written: 0,
        deleted: 0,
    };
    // The more of what is read of each.
    for (label, sized) in &mut here {
        let others = there.get(label).into_iter().flatten();
        let others: HashMap<&String, u64> = others.map(|(key, there)| (key, *there)).collect();
        for (key, length) in sized {
            let there = others.get(key).copied().unwrap_or_default();
            *length = there.max(*length);
        }
    }
    for (label, sized) in &here {
        for batch in batches(sized) {
            let missing = missing(source, target, label, &names(batch)).await?;
            moved.written += missing.len() as u64;
            target.set_many(label, missing).await?;
            progress(Progress::Copied(batch.len() as u64));
        }
    }
    for (label, sized) in &there {
        let wanted = keys(here.get(label).into_iter().flatten());
        let others = sized.iter().map(|(key, _)| key);
        let others: Vec<String> = others
            .filter(|key| !wanted.contains(key))
            .cloned()
            .collect();
        for keys in others.chunks(BATCH) {
            target.delete_many(label, keys).await?;
        }
        moved.deleted += others.len() as u64;
    }
    for (label, sized) in &here {
        for batch in batches(sized) {
            let missing = missing(source, target, label, &names(batch)).await?;
            ensure!(
                missing.is_empty(),
                "{:?} changes meanwhile: is the application stopped?",
                missing[0].0
            );
            progress(Progress::Compared(batch.len() as u64));
        }
    }
    let (here, there) = (entries(source).await?, entries(target).await?);
    let is_there = |(label, here): (&String, &Vec<_>)| {
        let there = there.get(label);
        there.is_some_and(|there| keys(here) == keys(there))
    };
    ensure!(
        here.len() == there.len() && here.iter().all(is_there),
        "keys come or go meanwhile: is the application stopped?"
    );
    Ok(moved)
}

/// What a store holds: by its label, the keys in its order, and how long the value of each is.
type Entries = HashMap<String, Vec<(String, u64)>>;

/// All but the record. What Redis has beside values, lists and the like, is not the store's.
async fn entries(store: &Store) -> Result<Entries> {
    let mut labels = HashMap::<String, Vec<String>>::new();
    for (label, key) in store.entries().await? {
        if label != LABEL {
            labels.entry(label).or_default().push(key);
        }
    }
    let mut entries = Entries::new();
    for (label, keys) in labels {
        let mut sized = Vec::with_capacity(keys.len());
        for keys in keys.chunks(LENGTHS) {
            let lengths = store.lengths(&label, keys).await?;
            let pairs = keys.iter().cloned().zip(lengths);
            sized.extend(pairs.filter_map(|(key, length)| Some((key, length?))));
        }
        if !sized.is_empty() {
            entries.insert(label, sized);
        }
    }
    Ok(entries)
}

fn keys<'a>(sized: impl IntoIterator<Item = &'a (String, u64)>) -> HashSet<&'a String> {
    sized.into_iter().map(|(key, _)| key).collect()
}

/// What is read and written at once, in order.
fn batches(sized: &[(String, u64)]) -> impl Iterator<Item = &[(String, u64)]> {
    let mut rest = sized;
    iter::from_fn(move || {
        let mut bytes = 0;
        let fitting = rest.iter().take(BATCH).take_while(|(_, length)| {
            bytes += length;
            bytes <= BYTES
        });
        let (batch, others) = rest.split_at(fitting.count().max(1).min(rest.len()));
        rest = others;
        (!batch.is_empty()).then_some(batch)
    })
}

fn names(batch: &[(String, u64)]) -> Vec<String> {
    batch.iter().map(|(key, _)| key.clone()).collect()
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
    record.transpose().context(DAMAGED)
}

async fn write(store: &Store, record: &Record) -> Result<()> {
    let value = serde_json::to_vec(record)?;
    Ok(store.set(LABEL, RECORD, &value).await?)
}

/// Writes a record in place of another one, if that still stands.
async fn replace(store: &Store, old: &Record, new: &Record) -> Result<bool> {
    let (old, new) = (serde_json::to_vec(old)?, serde_json::to_vec(new)?);
    Ok(store.swap(LABEL, RECORD, Some(&old), &new).await?)
}

async fn put_back(store: &Store, record: Option<Record>) -> Result<()> {
    match record {
        Some(record) => write(store, &record).await,
        None => Ok(store.delete(LABEL, RECORD).await?),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};

    use std::time::{Duration, Instant};

    use redis_server::RedisServer;
    use tempfile::TempDir;
    use tokio::runtime::Handle;
    use tokio::sync::watch;
    use tokio::task::block_in_place;
    use tokio::time::sleep;

    use super::*;
    use crate::store::{Durability, wire};

    /// Beyond this something hangs.
    const HANGS: Duration = Duration::from_secs(60);

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
        server: RedisServer,
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
            server,
        }
    }

    /// Migrates, and does something when all is compared.
    async fn migrate_while(from: &str, to: &str, meanwhile: impl AsyncFn()) -> Result<Moved> {
        let left = AtomicU64::new(0);
        let progress = |progress| match progress {
            Progress::Found(values) => left.store(values, Ordering::Relaxed),
            Progress::Copied(_) => {}
            Progress::Compared(values) => {
                if left.fetch_sub(values, Ordering::Relaxed) == values {
                    block_in_place(|| Handle::current().block_on(meanwhile()));
                }
            }
        };
        migrate(&options(from, to), progress).await
    }

    /// The same, once the server does not count those any more who listened before.
    async fn migrate_alone_while(from: &str, to: &str, meanwhile: impl AsyncFn()) -> Result<Moved> {
        let server = open(from).await;
        while is_shown(&server).await.expect("it works") {}
        drop(server);
        migrate_while(from, to, meanwhile).await
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
        // And between the two last steps, of which the second is told otherwise where the file is.
        let target = open(redis).await;
        let mut record = record(&target)
            .await
            .expect("it works")
            .expect("it has one");
        record.stage = Stage::Arriving;
        write(&target, &record).await.expect("it works");
        drop(target);
        let file = &file.replacen('/', "//", 1);
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
        // By another name.
        let again = Options {
            replace: true,
            ..options(redis, &format!("{redis}&prefix=app:"))
        };
        let before = record(&target).await.expect("it works");
        check_refused(migrate(&again, |_| {}).await, "the same");
        assert_eq!(record(&target).await.expect("it works"), before);
        // A pointer that is none.
        let source = open(redis).await;
        source
            .set("default", "w1/p/b", b"x")
            .await
            .expect("it works");
        check_refused(migrate(&options(redis, file), |_| {}).await, "w1/p/b");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nobody_serves_a_file_while_it_moves() {
        let Places { file, redis, .. } = &places();
        fill(&open(file).await).await;
        let moved = migrate_while(file, redis, async || {
            let host = Store::open(file, Durability::Normal).await;
            assert!(host.expect_err("it is locked").is_locked());
        });
        moved.await.expect("it moves");
        check_refused(refuse_moved(&open(file).await).await, "were moved to");
        // Nor one that it moves to.
        let moved = migrate_while(redis, file, async || {
            let host = Store::open(file, Durability::Normal).await;
            assert!(host.expect_err("it is locked").is_locked());
        });
        moved.await.expect("it moves back");
        refuse_moved(&open(file).await).await.expect("it is here");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_a_host_writes_that_begins_meanwhile_is_not_left_behind() {
        let Places { file, redis, .. } = &places();
        fill(&open(redis).await).await;
        let host = open(redis).await;
        let write = async |value: &[u8]| {
            let written = host.set("default", "w1/s/a/0", value).await;
            written.expect("it works");
        };
        // One that stays.
        let shown = Mutex::new(None);
        let moved = migrate_while(redis, file, async || {
            let staying = open(redis).await;
            let showing = show(&staying).await.expect("it is still here");
            let mut shown = shown.lock().expect("it is whole");
            shown.replace((staying, showing));
            write(b"one").await;
        });
        check_refused(moved.await, "is in use");
        check_refused(refuse_moved(&open(file).await).await, "on the way");
        drop(shown);
        // One that is gone before the end.
        let moved = migrate_alone_while(redis, file, async || {
            refuse_moved(&host).await.expect("it is still here");
            write(b"two").await;
        });
        check_refused(moved.await, "served meanwhile");
        refuse_moved(&host).await.expect("it is still here");
        // One that does not look at the record: it had lost sight of the server.
        let listening = Mutex::new(None);
        let moved = migrate_alone_while(redis, file, async || {
            let subscribed = host.redis().expect("it is Redis").subscribe().await;
            let subscribed = subscribed.expect("it works");
            listening.lock().expect("it is whole").replace(subscribed);
            write(b"three").await;
        });
        check_refused(moved.await, "is in use");
        check_refused(migrate(&options(redis, file), |_| {}).await, "is in use");
        drop(listening);
        let moved = migrate_alone_while(redis, file, async || {}).await;
        assert_eq!(moved.expect("it moves").written, 1);
        check_refused(show(&host).await, "were moved to");
        let moved = open(file).await.get("default", "w1/s/a/0").await;
        assert_eq!(moved.expect("it works"), Some(b"three".to_vec()));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_host_that_begins_with_a_migration_is_seen_or_sees_it() {
        let Places {
            file,
            redis,
            server,
            ..
        } = &places();
        let host = open(redis).await;
        fill(&host).await;
        let target = open(file).await;
        // It looked before there was a record, and shows itself when the migration has opened the stores.
        let shown = show(&host).await.expect("it is here");
        let begun = begin(&host, &target, [redis, file], false).await;
        check_refused(begun, "is in use");
        // Both are as they were.
        for store in [&host, &target] {
            assert_eq!(record(store).await.expect("it works"), None);
        }
        drop(shown);
        while is_shown(&host).await.expect("it works") {}
        // Nor may it move to where a host is.
        let served = format!("{}?prefix=other:", server.url());
        let other = open(&served).await;
        let _shown = show(&other).await.expect("it is here");
        let source = open(redis).await;
        let begun = begin(&source, &other, [redis, &served], false).await;
        check_refused(begun, "other: is in use");
        for store in [&source, &other] {
            assert_eq!(record(store).await.expect("it works"), None);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_host_that_was_cut_off_while_its_store_moved_serves_it_no_more() {
        let Places {
            file,
            redis,
            server,
            ..
        } = &places();
        let (mute, sound) = watch::channel(false);
        let away = wire(server.address(), Duration::ZERO, sound).await;
        let host = open(&format!("redis://{away}?prefix=app:")).await;
        fill(&host).await;
        let write = async || host.set("default", "new", b"new").await;
        let shown = show(&host).await.expect("it is here");
        mute.send_replace(true);
        write().await.expect_err("it is cut off");
        drop(shown);
        let moved = migrate_alone_while(redis, file, async || {
            write().await.expect_err("it is cut off");
        });
        moved.await.expect("nobody serves it");
        mute.send_replace(false);
        let begun = Instant::now();
        let refused = async |why: &str| {
            loop {
                let error = write().await.expect_err("it is not served");
                if format!("{:?}", anyhow::Error::from(error)).contains(why) {
                    break;
                }
                assert!(begun.elapsed() < HANGS);
                sleep(Duration::from_millis(5)).await;
            }
        };
        refused("were moved to").await;
        // It tries again all the time, and is in nobody's way.
        let moved = migrate_while(file, redis, async || refused("on the way").await);
        let moved = moved.await.expect("it moves back");
        assert_eq!((moved.written, moved.deleted), (0, 0));
        while write().await.is_err() {
            assert!(begun.elapsed() < HANGS);
            sleep(Duration::from_millis(5)).await;
        }
        // One that comes back before the end has it end otherwise.
        mute.send_replace(true);
        write().await.expect_err("it is cut off");
        let killed = server.ask::<u64>(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        killed.expect("it works");
        let moved = migrate_alone_while(redis, file, async || {
            mute.send_replace(false);
            while write().await.is_err() {
                assert!(begun.elapsed() < HANGS);
                sleep(Duration::from_millis(5)).await;
            }
        });
        check_refused(moved.await, "is in use");
        check_refused(refuse_moved(&open(file).await).await, "on the way");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_host_that_is_connected_and_not_seen_finds_out() {
        let Places { file, redis, .. } = &places();
        let host = open(redis).await;
        fill(&host).await;
        // As where its subscription was cut, and not made again.
        drop(show(&host).await.expect("it is here"));
        let moved = loop {
            match migrate_alone_while(redis, file, async || {}).await {
                // It has looked just now.
                Err(error) if format!("{error:#}").contains("served meanwhile") => {}
                moved => break moved.expect("nobody is seen"),
            }
        };
        assert_eq!(moved.values, 1003);
        let begun = Instant::now();
        let error = loop {
            match host.set("default", "new", b"new").await {
                Ok(()) => assert!(begun.elapsed() < HANGS),
                Err(error) => break error,
            }
            sleep(Duration::from_millis(50)).await;
        };
        let error = format!("{:?}", anyhow::Error::from(error));
        assert!(error.contains("were moved to"), "{error}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_store_that_holds_the_other_is_no_target() {
        let Places { redis, server, .. } = &places();
        fill(&open(redis).await).await;
        for (from, to) in [(redis, &server.url()), (&server.url(), redis)] {
            let replacing = Options {
                replace: true,
                ..options(from, to)
            };
            check_refused(migrate(&replacing, |_| {}).await, "holds the other");
        }
        check(&open(redis).await).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn of_two_that_move_the_same_store_one_is_refused_and_changes_nothing() {
        let Places { redis, server, .. } = &places();
        let other = &format!("{}?prefix=other:", server.url());
        let (source, target) = (open(redis).await, open(other).await);
        fill(&source).await;
        let moved = migrate_while(redis, other, async || {
            let before = (record(&source).await, record(&target).await);
            for (from, to) in [(redis, other), (other, redis)] {
                check_refused(migrate(&options(from, to), |_| {}).await, "by another run");
            }
            let after = (record(&source).await, record(&target).await);
            assert_eq!(
                (before.0.expect("it works"), before.1.expect("it works")),
                (after.0.expect("it works"), after.1.expect("it works"))
            );
        });
        assert_eq!(moved.await.expect("it moves").written, 1003);
        check(&target).await;
        let back = migrate(&options(other, redis), |_| {}).await;
        back.expect("nobody moves it any more");
        // What others do not see does not go on: a router has forgotten it, say.
        let moved = migrate_while(redis, other, async || {
            let killed = server.ask::<u64>(&["CLIENT", "KILL", "TYPE", "pubsub"]);
            assert_eq!(killed.expect("it works"), 2);
            sleep(Duration::from_secs(1)).await;
        });
        check_refused(moved.await, "was lost");
        let moved = migrate(&options(redis, other), |_| {}).await;
        moved.expect("it goes on");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_store_moves_from_one_database_of_a_server_to_another() {
        let server = RedisServer::start(&[]).expect("Redis starts");
        let databases = [0, 1].map(|number| format!("{}/{number}", server.url()));
        let [one, other] = &databases;
        fill(&open(one).await).await;
        let moved = migrate(&options(one, other), |_| {}).await;
        assert_eq!(moved.expect("it moves").written, 1003);
        check(&open(other).await).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_another_application_keeps_in_the_same_database_is_left_to_it() {
        let Places { file, server, .. } = &places();
        let redis = &server.url();
        let ask = |command: &[&str]| server.ask::<String>(command).expect("it works");
        fill(&open(redis).await).await;
        // No values: not of ours.
        let pushed = server.ask::<u64>(&["RPUSH", "b:list", "1"]);
        assert_eq!(pushed.expect("it works"), 1);
        ask(&["SET", "b:old", "1"]);
        let moved = migrate(&options(redis, file), |_| {}).await;
        assert_eq!(moved.expect("it moves").values, 1004);
        ask(&["SET", "b:new", "1"]);
        check_refused(migrate(&options(file, redis), |_| {}).await, "b:new");
        assert_eq!(ask(&["GET", "b:new"]), "1");
        refuse_moved(&open(file).await).await.expect("it is here");
        // Nor does what was copied overwrite what came of it.
        let deleted = server.ask::<u64>(&["DEL", "b:new"]);
        assert_eq!(deleted.expect("it works"), 1);
        ask(&["SET", "b:old", "2"]);
        check_refused(migrate(&options(file, redis), |_| {}).await, "b:old");
        assert_eq!(ask(&["GET", "b:old"]), "2");
        // What of ours is not there any more goes without a question.
        ask(&["SET", "b:old", "1"]);
        ask(&["SET", "w1/s/a/1000", "1"]);
        let moved = migrate(&options(file, redis), |_| {}).await;
        let moved = moved.expect("it moves back");
        assert_eq!((moved.written, moved.deleted), (0, 1));
        let kept = server.ask::<u64>(&["LLEN", "b:list"]);
        assert_eq!(kept.expect("it works"), 1);
        // With the flag the others go too.
        migrate(&options(redis, file), |_| {})
            .await
            .expect("it moves");
        ask(&["SET", "b:new", "1"]);
        let replacing = Options {
            replace: true,
            ..options(file, redis)
        };
        let moved = migrate(&replacing, |_| {}).await;
        assert_eq!(moved.expect("it may").deleted, 1);
    }

    #[test]
    fn a_batch_is_as_many_values_as_a_slow_line_takes() {
        #[track_caller]
        fn check(lengths: &[u64], expected: &[usize]) {
            let sized: Vec<_> = lengths
                .iter()
                .enumerate()
                .map(|(number, length)| (number.to_string(), *length))
                .collect();
            let sizes: Vec<usize> = batches(&sized).map(<[_]>::len).collect();
            assert_eq!(sizes, expected);
            let names: Vec<String> = batches(&sized).flat_map(names).collect();
            assert!(names.iter().eq(sized.iter().map(|(key, _)| key)));
        }
        check(&[], &[]);
        check(&[0; 130], &[64, 64, 2]);
        check(&[BYTES / 4; 9], &[4, 4, 1]);
        // One is never cut.
        check(
            &[1, 2 * BYTES, 3 * BYTES, 1, BYTES - 1, 1],
            &[1, 1, 1, 2, 1],
        );
        check(&[200 << 10; 3], &[1, 1, 1]);
    }
}
