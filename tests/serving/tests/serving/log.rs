//! A log that cannot be written: nothing else suffers.

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rusqlite::Connection;
use tempfile::TempDir;

use crate::support::{ask, manifest_of, probe, witter};

/// A host on a file, and where it is.
fn up(folder: &TempDir, log: Stdio) -> (Child, SocketAddr) {
    let manifest = folder.path().join("spin.toml");
    std::fs::write(&manifest, manifest_of(&probe())).expect("the folder can be written to");
    let mut host = witter()
        .args(["up", "--listen", "127.0.0.1:0", "--from"])
        .arg(&manifest)
        .arg("--cache")
        .arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"))
        .env_remove("RUST_LOG")
        .env_remove("WITTER_STORE")
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .expect("the command runs");
    // Nobody reads it, where it is a pipe.
    drop(host.stderr.take());
    let mut line = String::new();
    let mut output = BufReader::new(host.stdout.take().expect("it is piped"));
    output.read_line(&mut line).expect("it writes a line");
    let address = line.trim_end().strip_prefix("listening on http://");
    let address = address.and_then(|address| address.parse().ok());
    (host, address.expect("the line is as documented"))
}

async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let request = format!("GET /probe/{path} HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n");
    let response = ask(address, &request).await;
    (response.status, response.body)
}

fn end(mut host: Child) {
    let told = Command::new("kill")
        .args(["-TERM", &host.id().to_string()])
        .status();
    assert!(told.expect("kill runs").success());
    assert!(host.wait().expect("it ends").success());
}

#[tokio::test]
async fn a_store_is_written_to_again_though_nobody_could_be_told_that_it_was_not() {
    let folder = TempDir::new().expect("a folder can be made");
    let full = OpenOptions::new().write(true).open("/dev/full");
    let (host, address) = up(&folder, full.expect("Linux has it").into());
    assert_eq!(get(address, "count?key=n").await, (200, "1".to_owned()));
    let other = Connection::open(folder.path().join(".witter/mailbox.db")).expect("it opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("it is free");
    // It waits for the other one, and gives up.
    let (status, told) = get(address, "count?key=n").await;
    assert_eq!(status, 200);
    assert!(told.parse::<u64>().is_err(), "{told}");
    other.execute_batch("ROLLBACK").expect("it holds the lock");
    assert_eq!(get(address, "count?key=n").await, (200, "2".to_owned()));
    end(host);
}

#[tokio::test]
async fn what_components_print_is_lost_where_nobody_reads_it() {
    let folder = TempDir::new().expect("a folder can be made");
    let (host, address) = up(&folder, Stdio::piped());
    for _ in 0..2 {
        let printed = get(address, "print?word=lost").await;
        assert_eq!(printed, (200, String::new()));
    }
    end(host);
}
