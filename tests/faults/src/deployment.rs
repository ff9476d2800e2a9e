//! One store, and the hosts that serve it: one after the other, or many at once.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result};
use conformance::{Client, Cluster, Process, UNLIMITED, manifest, nodes, program};
use tempfile::TempDir;
use tokio::sync::watch;

/// A store in a folder of its own, and the host that serves it now, if any.
#[derive(Debug)]
pub struct Deployment {
    folder: TempDir,
    arguments: Vec<String>,
    process: Option<Process>,
    /// Handed over to each host, as systemd does.
    socket: Option<TcpListener>,
    address: watch::Sender<SocketAddr>,
}

/// A store that is served all the time, and may be by many hosts.
#[derive(Debug)]
pub enum Service {
    /// One host, on a file.
    One(Deployment),
    /// Many, on a Redis, and which of them was ended last.
    Many(Cluster, usize),
}

impl Service {
    /// Starts it on a new store, on as many hosts as [`nodes`] says, with more arguments.
    ///
    /// # Errors
    /// Where the host is not built, or Redis not installed.
    pub fn start(arguments: &[&str]) -> Result<Self> {
        Ok(match nodes() {
            1 => Self::One(Deployment::start(arguments)?),
            nodes => {
                let arguments = [&UNLIMITED, arguments].concat();
                Self::Many(Cluster::alone(nodes, &arguments, &[])?, nodes - 1)
            }
        })
    }

    /// Where it is, and where it will be.
    #[must_use]
    pub fn address(&self) -> watch::Receiver<SocketAddr> {
        match self {
            Self::One(deployment) => deployment.address(),
            Self::Many(cluster, _) => cluster.address(),
        }
    }

    /// A client of it; where there are many hosts, one each of whose requests is served by another one.
    #[must_use]
    pub fn client(&self) -> Client {
        match self {
            Self::One(deployment) => deployment.client(),
            Self::Many(..) => Client::roaming(*self.address().borrow()),
        }
    }

    /// Ends a host at once, by SIGKILL: the next one, where there are many.
    ///
    /// # Errors
    /// Where it does not serve.
    pub fn kill(&mut self) -> Result<()> {
        match self {
            Self::One(deployment) => deployment.kill(),
            Self::Many(cluster, last) => {
                *last = (*last + 1) % cluster.nodes();
                cluster.kill(*last)
            }
        }
    }

    /// Ends a host in order, by SIGTERM, and tells how it ended: the next one, where there are many.
    ///
    /// # Errors
    /// Where it does not end.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        match self {
            Self::One(deployment) => deployment.terminate(),
            Self::Many(cluster, last) => {
                *last = (*last + 1) % cluster.nodes();
                cluster.terminate(*last)
            }
        }
    }

    /// Starts the host again that was ended.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn restart(&mut self) -> Result<()> {
        match self {
            Self::One(deployment) => deployment.restart(),
            Self::Many(cluster, last) => cluster.restart(*last),
        }
    }
}

impl Deployment {
    /// Starts a host on a new store.
    ///
    /// # Errors
    /// Where the host is not built.
    pub fn start(arguments: &[&str]) -> Result<Self> {
        Self::begin(arguments, None)
    }

    /// The same, with a socket that listens before, between and after the hosts.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_on(socket: TcpListener, arguments: &[&str]) -> Result<Self> {
        Self::begin(arguments, Some(socket))
    }

    fn begin(arguments: &[&str], socket: Option<TcpListener>) -> Result<Self> {
        let folder = TempDir::new()?;
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let arguments = arguments.iter().map(ToString::to_string).collect();
        let mut deployment = Self {
            folder,
            arguments,
            process: None,
            socket,
            address: watch::Sender::new(nowhere),
        };
        deployment.restart()?;
        Ok(deployment)
    }

    /// The file that holds the store.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("mailbox.db")
    }

    /// The host that serves now.
    ///
    /// # Panics
    /// Where none does.
    #[must_use]
    pub fn process(&self) -> &Process {
        self.process.as_ref().expect("a host serves")
    }

    /// Where the host is, and where the next one will be.
    #[must_use]
    pub fn address(&self) -> watch::Receiver<SocketAddr> {
        self.address.subscribe()
    }

    /// A client of the host that serves now.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(*self.address.borrow())
    }

    /// Starts a host on the store as it is.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn restart(&mut self) -> Result<()> {
        let process = self.beside()?;
        self.address.send_replace(process.address());
        self.process = Some(process);
        Ok(())
    }

    /// Starts one more host on the store.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn beside(&self) -> Result<Process> {
        // A write beyond a limit of the process is then an error that it is told, not a signal that ends it.
        let (script, input) = match &self.socket {
            None => (r#"trap '' XFSZ; exec "$0" "$@""#, Stdio::null()),
            Some(socket) => (
                r#"trap '' XFSZ; export LISTEN_FDS=1 LISTEN_PID=$$; exec "$0" "$@" 3<&0 0</dev/null"#,
                Stdio::from(OwnedFd::from(socket.try_clone()?)),
            ),
        };
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(program()?);
        command
            .args(["up", "--from"])
            .arg(manifest())
            .args(["--listen", "127.0.0.1:0"]);
        command
            .arg("--store")
            .arg(format!("sqlite:{}", self.file().display()));
        command.args(UNLIMITED).args(&self.arguments);
        Process::spawn_with(command, input)
    }

    /// Ends the host at once, by SIGKILL.
    ///
    /// # Errors
    /// Where none serves.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().context("no host serves")?.kill()
    }

    /// Ends the host in order, by SIGTERM, and tells how it ended.
    ///
    /// # Errors
    /// Where it does not end.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        let mut process = self.process.take().context("no host serves")?;
        process.terminate()?;
        process.wait()
    }
}
