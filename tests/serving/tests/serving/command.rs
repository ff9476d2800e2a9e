//! The command: its first line, its log, its end.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::support::{manifest_of, probe, witter};

fn up(folder: &TempDir, arguments: &[&str]) -> Child {
    let manifest = folder.path().join("spin.toml");
    std::fs::write(&manifest, manifest_of(&probe())).expect("the folder can be written to");
    witter()
        .env("WITTER_LISTEN", "127.0.0.1:0")
        .args(["up", "--from"])
        .arg(&manifest)
        .arg("--cache")
        .arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"))
        .args(arguments)
        .env_remove("RUST_LOG")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command runs")
}

#[test]
fn it_tells_where_it_listens_serves_and_ends_when_told() {
    let folder = TempDir::new().expect("a folder can be made");
    let mut host = up(&folder, &["--log-format", "json"]);
    let mut line = String::new();
    let mut output = BufReader::new(host.stdout.take().expect("it is piped"));
    output.read_line(&mut line).expect("it writes a line");
    let address = line
        .strip_prefix("listening on http://")
        .expect("the line is as documented")
        .trim_end();

    let mut connection = TcpStream::connect(address).expect("it listens where it says");
    let request = "GET /probe/print?word=secret HTTP/1.0\r\n\r\nx";
    connection.write_all(request.as_bytes()).expect("it reads");
    let mut response = String::new();
    connection
        .read_to_string(&mut response)
        .expect("it answers");
    assert!(response.starts_with("HTTP/1.0 200 OK\r\n"), "{response}");

    let told = Command::new("kill")
        .args(["-TERM", &host.id().to_string()])
        .status();
    assert!(told.expect("kill runs").success());
    let ended = host.wait_with_output().expect("it ends");
    assert!(ended.status.success());
    let log = String::from_utf8(ended.stderr).expect("the log is text");
    assert_eq!(log.lines().count(), 1, "{log}");
    let entry: serde_json::Value = serde_json::from_str(&log).expect("an entry is JSON");
    assert_eq!(entry["fields"]["message"], "printed secret");
    assert_eq!(entry["fields"]["component"], "probe");
    assert!(folder.path().join(".witter/mailbox.db").exists());
}

#[test]
fn a_gateway_tells_where_it_listens_and_needs_no_application_for_that() {
    let mut host = witter()
        .args([
            "gateway",
            "--to",
            "http://127.0.0.1:1",
            "--listen",
            "127.0.0.1:0",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the command runs");
    let mut line = String::new();
    let mut output = BufReader::new(host.stdout.take().expect("it is piped"));
    output.read_line(&mut line).expect("it writes a line");
    let address = line.strip_prefix("listening on http://");
    let mut connection = TcpStream::connect(address.expect("the line is as documented").trim_end())
        .expect("it listens where it says");
    let told = connection.write_all(b"GET / HTTP/1.0\r\n\r\n");
    told.expect("it reads");
    let mut response = String::new();
    let read = connection.read_to_string(&mut response);
    read.expect("it answers");
    assert!(response.starts_with("HTTP/1.0 503 "), "{response}");
    let told = Command::new("kill")
        .args(["-TERM", &host.id().to_string()])
        .status();
    assert!(told.expect("kill runs").success());
    assert!(host.wait().expect("it ends").success());
}

#[test]
fn what_it_cannot_serve_it_tells_in_a_line() {
    for (arguments, expected) in [
        (["--store", "nowhere:"], "\"nowhere:\" is no store"),
        (
            ["--listen", "192.0.2.1:1"],
            "192.0.2.1:1 cannot be listened on",
        ),
        (
            ["--variable", "greetings=hi"],
            "declares no variable \"greetings\"",
        ),
    ] {
        let folder = TempDir::new().expect("a folder can be made");
        let ended = up(&folder, &arguments).wait_with_output().expect("it ends");
        assert!(!ended.status.success());
        assert_eq!(ended.stdout, b"");
        let log = String::from_utf8(ended.stderr).expect("the log is text");
        assert!(log.contains(expected) && log.lines().count() == 1, "{log}");
    }
}
