//! A host that serves the probe, and a client that sees every byte.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use host::{Options, Running};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longer than anything here takes; what is waited for in vain fails the test instead of hanging it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running host and its folder.
pub(crate) struct Host {
    pub(crate) running: Running,
    _folder: TempDir,
}

/// Serves the probe under `/probe/...`, where guests are made, and under a route with a name in it.
pub(crate) async fn serve(change: impl FnOnce(&mut Options)) -> Host {
    let folder = TempDir::new().expect("a folder can be made");
    let mut options = options(&folder);
    change(&mut options);
    let running = host::start(options).await.expect("the probe can be served");
    Host::new(running, folder)
}

/// What serves the probe, with a manifest in the folder.
pub(crate) fn options(folder: &TempDir) -> Options {
    let manifest = folder.path().join("spin.toml");
    std::fs::write(&manifest, manifest_of(&probe())).expect("the folder can be written to");
    Options {
        manifest,
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        store: Some("memory".to_owned()),
        // Shared, so that the probe is compiled once for all tests.
        cache: Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache")),
        ..Options::default()
    }
}

/// The command.
pub(crate) fn witter() -> Command {
    Command::new(conformance::program().expect("the host is built"))
}

pub(crate) fn probe() -> PathBuf {
    let probe =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/test-components/probe.wasm");
    assert!(
        probe.exists(),
        "{} is not there: `cargo xtask build` makes it",
        probe.display()
    );
    probe
}

/// A manifest that serves the probe from this file.
pub(crate) fn manifest_of(probe: &Path) -> String {
    let routes: String = ["/probe/...", "/witter/session", "/named/:name/..."]
        .iter()
        .map(|route| format!("[[trigger.http]]\nroute = \"{route}\"\ncomponent = \"probe\"\n"))
        .collect();
    format!(
        "spin_manifest_version = 2\n\
         [application]\nname = \"probe\"\nversion = \"0.1.0\"\n\
         [variables]\ngreeting = {{ default = \"hello\" }}\n\
         {routes}\
         [component.probe]\nsource = {probe:?}\nkey_value_stores = [\"default\"]\n\
         [component.probe.variables]\ngreeting = \"{{{{ greeting }}}}, world\"\n"
    )
}

/// A request for an upgrade.
pub(crate) fn handshake(path: &str) -> String {
    format!(
        "GET /probe/{path} HTTP/1.1\r\nhost: probe\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-key: key\r\norigin: http://page.example\r\nauthorization: Bearer token\r\n\r\n"
    )
}

impl Host {
    /// One that keeps its folder.
    pub(crate) fn new(running: Running, folder: TempDir) -> Self {
        Self {
            running,
            _folder: folder,
        }
    }

    /// What `path` below `/probe/` answers.
    pub(crate) async fn get(&self, path: &str) -> Response {
        self.ask(&format!(
            "GET /probe/{path} HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n"
        ))
        .await
    }

    /// What a request, to its last byte, is answered.
    pub(crate) async fn ask(&self, request: &str) -> Response {
        ask(self.running.address(), request).await
    }

    pub(crate) async fn connect(&self) -> Connection {
        connect(self.running.address()).await
    }
}

/// What a request, to its last byte, is answered at an address.
pub(crate) async fn ask(address: SocketAddr, request: &str) -> Response {
    let mut connection = connect(address).await;
    connection.send(request.as_bytes()).await;
    connection.response().await
}

pub(crate) async fn connect(address: SocketAddr) -> Connection {
    let stream = TcpStream::connect(address).await;
    Connection::over(stream.expect("the address is listened on"))
}

/// A connection, byte by byte.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    read: Vec<u8>,
}

/// A response with its whole body.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
    /// The body ended as its framing says; else it broke off.
    pub(crate) whole: bool,
}

impl Response {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(named, _)| *named == name)
        .map(|(_, value)| value)
}

impl Connection {
    pub(crate) fn over(stream: TcpStream) -> Self {
        Self {
            stream,
            read: Vec::new(),
        }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the host reads");
    }

    /// Breaks it off, which the host is told by a reset.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.stream)
            .set_linger(Some(Duration::ZERO))
            .expect("a socket can be told to reset");
    }

    /// Asks for a path below `/probe/`, and keeps the connection.
    pub(crate) async fn get(&mut self, path: &str) {
        self.send(format!("GET /probe/{path} HTTP/1.1\r\nhost: probe\r\n\r\n").as_bytes())
            .await;
    }

    /// Asks for an upgrade at a path below `/probe/`, and returns the head of the response.
    pub(crate) async fn upgrade(&mut self, path: &str) -> String {
        self.send(handshake(path).as_bytes()).await;
        self.until("\r\n\r\n").await
    }

    /// Reads on; false: the connection has ended.
    async fn more(&mut self) -> bool {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.read))
            .await
            .expect("something comes");
        // A reset is an end too.
        read.is_ok_and(|read| read > 0)
    }

    /// Reads until `text` has come, and takes everything up to there.
    pub(crate) async fn until(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self
                .read
                .windows(text.len())
                .position(|window| window == text.as_bytes())
            {
                let taken = self.read.drain(..at + text.len()).collect();
                return String::from_utf8(taken).expect("the probe writes text");
            }
            let seen = String::from_utf8_lossy(&self.read).into_owned();
            assert!(
                self.more().await,
                "the connection ended before {text:?} came, after {seen:?}"
            );
        }
    }

    /// Reads to the end of the connection.
    pub(crate) async fn rest(&mut self) -> String {
        while self.more().await {}
        String::from_utf8(std::mem::take(&mut self.read)).expect("the probe writes text")
    }

    /// Reads one response.
    pub(crate) async fn response(&mut self) -> Response {
        let head = self.until("\r\n\r\n").await;
        let status = head
            .get(9..12)
            .and_then(|status| status.parse().ok())
            .expect("a response begins with its status");
        let (mut body, mut whole) = (Vec::new(), false);
        if let Some(length) = header(&head, "content-length") {
            let length: usize = length.parse().expect("a length is a number");
            while self.read.len() < length && self.more().await {}
            whole = self.read.len() >= length;
            body = self.read.drain(..length.min(self.read.len())).collect();
        } else if header(&head, "transfer-encoding").is_some() {
            while let Some(chunk) = self.chunk().await {
                if chunk.is_empty() {
                    whole = true;
                    break;
                }
                body.extend(chunk);
            }
        }
        Response {
            status,
            head,
            body: String::from_utf8(body).expect("the probe writes text"),
            whole,
        }
    }

    /// The next chunk; empty: the last. None: the body broke off.
    async fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = loop {
            match self.read.windows(2).position(|window| window == b"\r\n") {
                Some(at) => break at,
                None if self.more().await => {}
                None => return None,
            }
        };
        let size = usize::from_str_radix(std::str::from_utf8(&self.read[..line]).ok()?, 16).ok()?;
        let end = line + 2 + size + 2;
        while self.read.len() < end {
            if !self.more().await {
                return None;
            }
        }
        let chunk = self.read.drain(..end).skip(line + 2).take(size).collect();
        Some(chunk)
    }
}
