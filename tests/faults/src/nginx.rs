//! A real nginx in front of a host.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context, Result, bail};
use conformance::Client;
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// How long it may take to listen.
const READY: Duration = Duration::from_secs(30);
/// What it says, in its folder.
const LOG: &str = "error.log";

/// An nginx in one process, killed when dropped.
#[derive(Debug)]
pub struct Nginx {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
    /// Keeps the port.
    _port: Socket,
}

impl Nginx {
    /// Starts an nginx that hands every request to a host, with more directives for its `server` block, and
    /// returns when it serves. All else is as Debian ships it: so, HTTP/1.0 to the host, buffers, and gzip.
    ///
    /// # Errors
    /// Where nginx is not installed, or does not take a directive.
    pub async fn start(host: SocketAddr, directives: &str) -> Result<Self> {
        let folder = TempDir::new()?;
        // nginx takes no free port by itself. This socket, which never listens, keeps one for it.
        let port = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        port.set_reuse_port(true)?;
        port.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
        let address = port.local_addr()?.as_socket();
        let address = address.context("the socket has an address of IPv4")?;
        let file = folder.path().join("nginx.conf");
        fs::write(&file, configuration(address, host, directives))?;
        let mut command = Command::new(program()?);
        command
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(&file)
            .args(["-e", "stderr"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path().join(LOG))?);
        let child = command.spawn().with_context(|| format!("{command:?}"))?;
        let mut nginx = Self {
            child,
            address,
            folder,
            _port: port,
        };
        let ready = timeout(READY, nginx.listens()).await;
        ready.with_context(|| format!("nginx does not listen; {}", nginx.log()))??;
        Ok(nginx)
    }

    async fn listens(&mut self) -> Result<()> {
        while TcpStream::connect(self.address).await.is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("nginx ended, {status}; {}", self.log());
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A client that speaks to the host through it.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join(LOG)).unwrap_or_default()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // One that has ended already is what was wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Debian keeps it in a folder that not every user's `PATH` names.
fn program() -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join("nginx"))
        .find(|program| program.is_file())
        .context("nginx is not installed: apt-get install nginx")
}

/// What Debian's `nginx.conf` says of HTTP (it says more of TLS and of files), and where nginx leaves what it
/// writes.
fn configuration(address: SocketAddr, host: SocketAddr, directives: &str) -> String {
    format!(
        "daemon off;
# One process: no other outlives it when it is killed.
master_process off;
pid nginx.pid;
error_log stderr;
events {{
    worker_connections 768;
}}
http {{
    sendfile on;
    tcp_nopush on;
    types_hash_max_size 2048;
    default_type application/octet-stream;
    access_log access.log;
    gzip on;
    client_body_temp_path client-body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{
        listen {address} reuseport;
        {directives}
        location / {{
            proxy_pass http://{host};
        }}
    }}
}}
"
    )
}
