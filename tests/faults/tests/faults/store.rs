//! Stores that go away under a running host, and come back.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use conformance::{
    Answer, Client, Process, Query, Reader, SECRET, Session, Transport, UNLIMITED, manifest,
    program, token,
};
use faults::Deployment;
use rusqlite::Connection;
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const CHANNEL: &str = "store";
/// How long a write waits for others to let go of the file.
const PATIENCE: Duration = Duration::from_secs(5);

/// Publishes until the store takes no more, brings the store back, and publishes the refused one again. Tells how many it
/// took before.
async fn check(client: &Client, body: &str, back: impl FnOnce() -> Result<()>) -> Result<usize> {
    let session = client.session("Ann").await?;
    let query = Query::of([CHANNEL]);
    let before = Reader::open(client, Transport::ALL[0], query)
        .await?
        .cursor()
        .to_owned();
    let mut acknowledged = Vec::new();
    // A checkpoint between two tries may make room for the second.
    let mut refusals = 0;
    let refused = loop {
        let id = format!("{}-{}", session.sender, acknowledged.len());
        let answer = client.publish(&session, CHANNEL, &id, body).await?;
        if answer.status == 201 {
            acknowledged.push(id);
            refusals = 0;
        } else {
            check_away(&answer)?;
            refusals += 1;
            if refusals == 2 {
                break id;
            }
        }
        ensure!(acknowledged.len() < 10_000, "the store never refuses");
    };
    back()?;
    let answer = client.publish(&session, CHANNEL, &refused, body).await?;
    ensure!(
        [200, 201].contains(&answer.status.as_u16()),
        "the store is back: {answer:?}"
    );
    let taken = acknowledged.len();
    acknowledged.push(refused);
    // What was acknowledged is there, on every transport and after a restart.
    read_all(client, &before, &acknowledged).await?;
    Ok(taken)
}

fn check_away(answer: &Answer) -> Result<()> {
    ensure!(answer.status == 503, "{answer:?}");
    ensure!(
        answer.code().as_deref() == Some("unavailable"),
        "{answer:?}"
    );
    let seconds = answer
        .header("retry-after")
        .context("a 503 tells when to try again")?;
    ensure!(seconds.parse::<u32>()? > 0, "{seconds}");
    Ok(())
}

async fn read_all(client: &Client, after: &str, expected: &[String]) -> Result<()> {
    for &transport in Transport::ALL {
        let query = Query::of([CHANNEL]).after(after);
        let mut reader = Reader::open(client, transport, query).await?;
        let read = reader.messages(expected.len()).await?;
        let ids: Vec<&str> = read.iter().map(|envelope| envelope.id.as_str()).collect();
        ensure!(ids == expected, "{}: {ids:?}", transport.name());
    }
    Ok(())
}

/// One message that is there before anything breaks.
async fn begin(client: &Client) -> Result<Session> {
    let session = client.session("Bob").await?;
    let answer = client.publish(&session, CHANNEL, "first", "0").await?;
    ensure!(answer.status == 201, "{answer:?}");
    Ok(session)
}

#[test]
fn a_locked_store_refuses_and_takes_the_same_message_later() -> Result<()> {
    faults::run(async {
        let deployment = Deployment::start(&[])?;
        let client = deployment.client();
        begin(&client).await?;
        let other = Connection::open(deployment.file())?;
        other.execute_batch("BEGIN IMMEDIATE")?;
        let back = || Ok(other.execute_batch("ROLLBACK")?);
        let taken = check(&client, "0", back).await?;
        ensure!(taken == 0, "{taken} messages were taken meanwhile");
        Ok(())
    })
}

#[test]
fn what_cannot_be_told_to_the_administrators_is_not_done() -> Result<()> {
    faults::run(async {
        let secret = format!("token_secret={SECRET}");
        let deployment = Deployment::start(&["--variable", &secret])?;
        let client = deployment.client();
        let of = |sender: &str| {
            let claims = json!({
                "sub": sender, "read": ["*"], "publish": ["*"], "moderate": ["*"], "administer": true,
            });
            token(&claims.to_string())
        };
        let (ann, bob) = (of("ann"), of("bob"));
        let target = format!("/witter/publish?channel={CHANNEL}");
        let draft = json!({"id": "b", "body": 0}).to_string();
        let answer = client.post(&target, Some(&bob), draft).await?;
        ensure!(answer.status == 201, "{answer:?}");
        let delete = json!({"id": "d", "body": null, "refers": {"kind": "delete", "offset": 1}});
        let delete = delete.to_string();
        let mute = json!({"mute": {"channel": CHANNEL, "sender": "bob"}}).to_string();
        let deeds = [(&*target, delete), ("/witter/command", mute)];

        let file = Connection::open(deployment.file())?;
        file.execute(
            "INSERT INTO spin_key_value (store, key, value) VALUES ('default', 'w1/p/@audit', x'00')",
            (),
        )?;
        for (target, deed) in &deeds {
            let answer = client.post(target, Some(&ann), deed.clone()).await?;
            check_away(&answer)?;
        }
        let publish = async |id: &str| {
            let draft = json!({"id": id, "body": 0}).to_string();
            client.post(&target, Some(&bob), draft).await
        };
        let answer = publish("not-muted").await?;
        ensure!(answer.status == 201, "{answer:?}");
        let query = Query::of([CHANNEL]).history(10);
        let mut reader = Reader::open(&client, Transport::ShortPolling, query).await?;
        let read = reader.messages(2).await?;
        ensure!(read.iter().all(|read| read.sender == "bob"), "{read:?}");

        file.execute("DELETE FROM spin_key_value WHERE key = 'w1/p/@audit'", ())?;
        // Sent again it is done, and told, once.
        for _ in 0..2 {
            for (target, deed) in &deeds {
                let answer = client.post(target, Some(&ann), deed.clone()).await?;
                ensure!(answer.status.is_success(), "{answer:?}");
            }
        }
        let answer = publish("muted").await?;
        ensure!(answer.status == 403, "{answer:?}");
        let query = Query::of(["@audit"]).history(10).token(&ann);
        let mut reader = Reader::open(&client, Transport::ShortPolling, query).await?;
        let told = reader.messages(2).await?;
        let told: Vec<&str> = told.iter().map(|told| told.body.get()).collect();
        ensure!(
            told[0].contains(r#""verb":"delete""#) && told[1].contains(r#""verb":"mute""#),
            "{told:?}"
        );
        let more = reader.messages(1);
        ensure!(timeout(Duration::from_secs(1), more).await.is_err());
        Ok(())
    })
}

/// What fills a small disk soon.
fn long() -> String {
    format!("\"{}\"", "x".repeat(20_000))
}

#[test]
fn a_file_that_may_grow_no_longer_refuses_and_takes_the_same_message_later() -> Result<()> {
    faults::run(async {
        let mut deployment = Deployment::start(&[])?;
        let client = deployment.client();
        begin(&client).await?;
        let id = deployment.process().id();
        limit_files(id, "400000")?;
        check(&client, &long(), || limit_files(id, "unlimited")).await?;
        // And nothing of it was left half written.
        deployment.kill()?;
        deployment.restart()?;
        takes_more(&deployment.client()).await
    })
}

async fn takes_more(client: &Client) -> Result<()> {
    let session = client.session("Cyd").await?;
    let answer = client.publish(&session, CHANNEL, "later", "0").await?;
    ensure!(answer.status == 201, "{answer:?}");
    Ok(())
}

/// The length beyond which a process may write into no file. It meets EFBIG there, which SQLite takes for an I/O error.
fn limit_files(process: u32, bytes: &str) -> Result<()> {
    let limit = format!("--fsize={bytes}:");
    let set = Command::new("prlimit")
        .args([&limit, "--pid", &process.to_string()])
        .status()?;
    ensure!(set.success(), "prlimit(1) did not set {limit}");
    Ok(())
}

#[test]
fn a_full_disk_refuses_and_takes_the_same_message_later() -> Result<()> {
    faults::run(async {
        let Some(disk) = Disk::mount("2m")? else {
            skipped("a full disk", "nobody may mount one here");
            return Ok(());
        };
        let host = disk.host()?;
        let client = Client::new(host.address());
        begin(&client).await?;
        check(&client, &long(), || disk.resize("64m")).await?;
        // It met ENOSPC, which leaves SQLite's connection as it was.
        let log = host.log();
        ensure!(log.contains("disk is full"), "{log}");
        host.kill()?;
        let host = disk.host()?;
        takes_more(&Client::new(host.address())).await
    })
}

/// Tells of a test that this machine cannot run, as `cargo xtask test` reads it: past the test's own runner, which shows
/// nothing of those that pass.
fn skipped(test: &str, why: &str) {
    writeln!(io::stderr(), "﹣ {test} # {why}").ok();
}

/// A file system in memory, of some size, in a folder that only those see who enter. It is gone with the process that
/// waits there.
struct Disk {
    folder: TempDir,
    inside: Child,
    /// How others get there, beside its process id.
    ways: &'static [&'static str],
}

impl Disk {
    /// None where nobody may.
    fn mount(size: &str) -> Result<Option<Self>> {
        // Root may mount by itself, others as the root of their own users.
        const WAYS: [(&[&str], &[&str]); 2] = [
            (&["--mount"], &["--mount"]),
            (
                &["--map-root-user", "--mount"],
                &["--user", "--preserve-credentials", "--mount"],
            ),
        ];
        let folder = TempDir::new()?;
        let script = r#"mount -t tmpfs -o "size=$1" tmpfs "$0" && echo mounted && read -r _"#;
        for (made, ways) in WAYS {
            let mut inside = Command::new("unshare")
                .args(made)
                .args(["sh", "-c", script])
                .arg(folder.path())
                .arg(size)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .context("unshare(1)")?;
            let mut said = String::new();
            if let Some(stdout) = inside.stdout.take() {
                BufReader::new(stdout).read_line(&mut said)?;
            }
            if said == "mounted\n" {
                return Ok(Some(Self {
                    folder,
                    inside,
                    ways,
                }));
            }
            inside.kill()?;
            inside.wait()?;
        }
        Ok(None)
    }

    /// Runs something there.
    fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        let inside = self.inside.id().to_string();
        command.args(["--target", &inside]).args(self.ways);
        command.arg("--");
        command
    }

    fn resize(&self, size: &str) -> Result<()> {
        let mut command = self.enter();
        let size = format!("remount,size={size}");
        command.args(["mount", "-o", &size]).arg(self.folder.path());
        let resized = command.status()?;
        ensure!(resized.success(), "{command:?}");
        Ok(())
    }

    /// A host whose store is there.
    fn host(&self) -> Result<Process> {
        let file = self.folder.path().join("mailbox.db");
        let mut command = self.enter();
        command
            .arg(program()?)
            .args(["up", "--from"])
            .arg(manifest())
            .args(["--listen", "127.0.0.1:0", "--store"])
            .arg(format!("sqlite:{}", file.display()))
            .args(UNLIMITED);
        Process::spawn(command)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // One that has ended already is what was wanted.
        let _ = self.inside.kill();
        let _ = self.inside.wait();
    }
}

/// The nearest to a slow disk that needs no right: it is somebody else's commit that takes long, each time.
#[test]
fn a_file_that_others_write_slowly_delays_and_refuses_nothing() -> Result<()> {
    const HELD: Duration = Duration::from_millis(1_500);
    const FREE: Duration = Duration::from_millis(500);
    const TIMES: usize = 5;
    const WRITERS: usize = 4;
    faults::run(async {
        let deployment = Deployment::start(&[])?;
        let client = deployment.client();
        begin(&client).await?;
        let query = Query::of([CHANNEL]);
        let before = Reader::open(&client, Transport::ALL[0], query).await?;
        let is_over = Arc::new(AtomicBool::new(false));
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let (client, is_over) = (client.clone(), Arc::clone(&is_over));
            writers.spawn(async move {
                let session = client.session("Ann").await?;
                let (mut ids, mut longest) = (Vec::new(), Duration::ZERO);
                while !is_over.load(Ordering::Relaxed) {
                    let (id, asked) = (format!("{writer}-{}", ids.len()), Instant::now());
                    let answer = client.publish(&session, CHANNEL, &id, "0").await?;
                    longest = longest.max(asked.elapsed());
                    ensure!(answer.status == 201, "{longest:?}: {answer:?}");
                    ids.push(id);
                    sleep(Duration::from_millis(50)).await;
                }
                Ok((ids, longest))
            });
        }
        let slow = {
            let (file, is_over) = (deployment.file(), Arc::clone(&is_over));
            thread::spawn(move || {
                let held = hold(&file, TIMES, HELD, FREE);
                is_over.store(true, Ordering::Relaxed);
                held
            })
        };
        let (mut expected, mut longest) = (BTreeSet::new(), Duration::ZERO);
        while let Some(published) = writers.join_next().await {
            let (ids, took) = published??;
            expected.extend(ids);
            longest = longest.max(took);
        }
        slow.join().expect("it does not panic")?;
        println!(
            "the store is slow: {} publishes, the slowest in {:.1} s",
            expected.len(),
            longest.as_secs_f64()
        );
        ensure!(longest >= HELD / 2 && longest < PATIENCE * 2, "{longest:?}");
        for &transport in Transport::ALL {
            let query = Query::of([CHANNEL]).after(before.cursor());
            let mut reader = Reader::open(&client, transport, query).await?;
            let read = reader.messages(expected.len()).await?;
            // Each once: there are no more than these.
            ensure!(read.len() == expected.len(), "{}", transport.name());
            let ids = BTreeSet::from_iter(read.into_iter().map(|envelope| envelope.id));
            ensure!(ids == expected, "{}: {ids:?}", transport.name());
        }
        Ok(())
    })
}

/// Has the file's one lock for writing, again and again.
fn hold(file: &Path, times: usize, held: Duration, free: Duration) -> Result<()> {
    let other = Connection::open(file)?;
    other.busy_timeout(PATIENCE)?;
    for _ in 0..times {
        other.execute_batch("BEGIN IMMEDIATE")?;
        thread::sleep(held);
        other.execute_batch("ROLLBACK")?;
        thread::sleep(free);
    }
    Ok(())
}
