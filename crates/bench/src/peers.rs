//! Others' servers: where they are, and how they are started. Each has one process that works, on the one core
//! that our host has too.
//!
//! What they are told beyond their defaults makes them better: Node.js is told that this is production, nginx logs
//! no requests, Nchan keeps as many messages as its readers may ask for.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::FutureExt as _;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::http::Connection;
use crate::redis;
use crate::server::Server;
use crate::subject::{CHANNEL, Maker, Setup, Started, Store, Subject, Target};

/// Messages that Nchan keeps of a channel; by default 10, which a reader who is away for a moment would miss.
const KEPT: usize = 10_000;

/// More connections than are ever opened. nginx reserves some memory for each from the start.
const CONNECTIONS: usize = 20_000;

/// How long the first answer may take after a server says that it is ready.
const ANSWER: Duration = Duration::from_secs(10);

/// What is installed; or why it is not.
pub(crate) struct Peers {
    /// The folder with the servers for Node.js.
    pub(crate) node: Result<PathBuf, String>,
    pub(crate) nginx: Result<Nginx, String>,
    /// Not another's: where our host keeps its store.
    pub(crate) redis: Result<PathBuf, String>,
}

/// Where nginx is.
pub(crate) struct Nginx {
    pub(crate) program: PathBuf,
    /// Nchan.
    pub(crate) module: PathBuf,
}

impl Peers {
    /// For those who measure Witter alone.
    pub(crate) fn none() -> Self {
        let reason = || "not asked for".to_owned();
        Self {
            node: Err(reason()),
            nginx: Err(reason()),
            redis: redis::find(),
        }
    }

    /// Why a row cannot be measured.
    pub(crate) fn lacking(&self, subject: &Subject) -> Option<&str> {
        match subject.maker {
            Maker::Witter if subject.store == Store::Redis => {
                self.redis.as_ref().err().map(String::as_str)
            }
            Maker::Witter => None,
            Maker::Node => self.node.as_ref().err().map(String::as_str),
            Maker::Nginx => self.nginx.as_ref().err().map(String::as_str),
        }
    }
}

/// Starts one of the servers in `peers/`.
pub(crate) fn node<'a>(setup: Setup<'a>, program: &'a str, options: &'a [&str]) -> Started<'a> {
    async move {
        let folder = lacking(&setup.peers.node)?;
        let mut command = Command::new("node");
        command.arg(folder.join(program)).args(options);
        command.env("NODE_ENV", "production");
        let port = setup.address.map_or(0, |address| address.port());
        command.env("PORT", port.to_string());
        let listening = |line: &str| line.strip_prefix("listening on http://")?.parse().ok();
        let (server, address) =
            Server::start(command, setup.cores, setup.folder, listening).await?;
        Ok((server, target(setup, address).await?))
    }
    .boxed_local()
}

/// Starts nginx with Nchan in it.
pub(crate) fn nginx(setup: Setup<'_>) -> Started<'_> {
    async move {
        let nginx = lacking(&setup.peers.nginx)?;
        let address = match setup.address {
            Some(address) => address,
            // It cannot be asked which port it took.
            None => TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?,
        };
        let file = setup.folder.join("nginx.conf");
        std::fs::write(&file, configuration(&nginx.module, address))?;
        let mut command = Command::new(&nginx.program);
        command.args(["-e", "stderr", "-p"]).arg(setup.folder);
        command.arg("-c").arg(file);
        let working = |line: &str| line.contains("start worker process ").then_some(());
        let (server, ()) = Server::start(command, setup.cores, setup.folder, working).await?;
        Ok((server, target(setup, address).await?))
    }
    .boxed_local()
}

pub(crate) fn lacking<T>(there: &Result<T, String>) -> Result<&T> {
    there
        .as_ref()
        .map_err(|reason| anyhow::anyhow!("not installed: {reason}"))
}

/// A server that has answered once, with its version.
async fn target(setup: Setup<'_>, address: SocketAddr) -> Result<Target> {
    let since = Instant::now();
    let mut connection = loop {
        match Connection::open(address).await {
            Ok(connection) => break connection,
            Err(error) if since.elapsed() > ANSWER => return Err(error.into()),
            Err(_) => sleep(Duration::from_millis(1)).await,
        }
    };
    let request = format!("GET / HTTP/1.1\r\nhost: {address}\r\n\r\n");
    let status = connection.request(request.as_bytes()).await?;
    let mut body = Vec::new();
    connection.rest(&mut body).await?;
    ensure!(status == 200, "the first answer has status {status}");
    let version = String::from_utf8(body).context("a version that is no text")?;
    Ok(Target {
        address,
        source: None,
        channel: CHANNEL.into(),
        token: "".into(),
        manners: setup.manners,
        version: version.trim().into(),
    })
}

fn configuration(module: &Path, address: SocketAddr) -> String {
    let user = if rustix::process::geteuid().is_root() {
        "user root;"
    } else {
        ""
    };
    format!(
        "load_module {module};
{user}
daemon off;
worker_processes 1;
pid nginx.pid;
error_log /dev/stdout notice;
events {{
    worker_connections {CONNECTIONS};
}}
http {{
    access_log off;
    client_body_temp_path client-body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    keepalive_requests 100000000;
    server {{
        listen {address};
        location = / {{
            default_type text/plain;
            return 200 \"Nchan $nchan_version on nginx $nginx_version\";
        }}
        location = /publish {{
            nchan_publisher;
            nchan_channel_id {CHANNEL};
            nchan_message_buffer_length {KEPT};
        }}
        location = /read {{
            nchan_subscriber;
            nchan_channel_id {CHANNEL};
        }}
    }}
}}
",
        module = module.display(),
    )
}
