//! A host to run cases against.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use host::{Options, Running};
use tempfile::TempDir;

use crate::process::{manifest, program};
use crate::{Client, Cluster, Process};

/// The flags of a host that is asked by one address for all, faster than people would.
pub const UNLIMITED: [&str; 10] = [
    "--guests-per-address",
    "1000000",
    "--variable",
    "publish_rate=",
    "--variable",
    "publish_rate_per_address=",
    "--variable",
    "command_rate=",
    "--variable",
    "command_rate_per_address=",
];

/// The variables among them, which are empty.
fn unlimited() -> impl Iterator<Item = &'static str> {
    UNLIMITED.iter().filter_map(|flag| flag.strip_suffix('='))
}

/// A store in a folder.
fn file(folder: &TempDir) -> String {
    format!("sqlite:{}", folder.path().join("mailbox.db").display())
}

/// Who wakes those who wait for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wakeup {
    /// The host, at once.
    Native,
    /// `wakeup-timer`, by polling, as on a host that has no wakeups.
    Timer,
}

/// A gateway, and what it stands in front of.
#[derive(Debug)]
pub struct Gateway {
    gateway: Process,
    host: Process,
    /// Theirs last: what is stored in it is written to until they have ended.
    _folder: TempDir,
}

/// A running host, ended when dropped.
#[derive(Debug)]
pub enum Server {
    /// In this process, with a store in memory.
    InProcess(Box<Running>),
    /// As a process, with a store in a file of its own.
    Built(Process, TempDir),
    /// As many of them, with a Redis of their own, behind a balancer.
    Nodes(Cluster),
    /// One that upgrades nothing, with a file of its own, behind a gateway.
    Behind(Gateway),
}

impl Wakeup {
    /// As the command line calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Timer => "timer",
        }
    }
}

impl Server {
    /// Starts the shipped app in this process.
    ///
    /// # Errors
    /// Where a component is not built.
    pub async fn in_process(wakeup: Wakeup) -> Result<Self> {
        let options = Options {
            manifest: manifest(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            store: Some("memory".to_owned()),
            wakeup: match wakeup {
                Wakeup::Native => host::Wakeup::Native,
                Wakeup::Timer => host::Wakeup::Timer,
            },
            guests_per_address: u32::MAX,
            variables: unlimited()
                .map(|name| (name.to_owned(), String::new()))
                .collect(),
            ..Options::default()
        };
        Ok(Self::InProcess(Box::new(host::start(options).await?)))
    }

    /// Starts the built program, with more arguments.
    ///
    /// # Errors
    /// Where it is not built.
    pub fn built(wakeup: Wakeup, more: &[&str]) -> Result<Self> {
        let folder = TempDir::new()?;
        let store = file(&folder);
        let arguments = ["--store", &store, "--wakeup", wakeup.name()];
        let arguments = arguments
            .into_iter()
            .chain(UNLIMITED)
            .chain(more.iter().copied());
        Ok(Self::Built(Process::start(arguments)?, folder))
    }

    /// Starts the built program so many times, on one Redis.
    ///
    /// # Errors
    /// Where it is not built, or Redis not installed.
    pub fn nodes(nodes: usize, wakeup: Wakeup) -> Result<Self> {
        let arguments: Vec<_> = UNLIMITED
            .into_iter()
            .chain(["--wakeup", wakeup.name()])
            .collect();
        Ok(Self::Nodes(Cluster::alone(nodes, &arguments, &[])?))
    }

    /// Starts the built program behind a gateway.
    ///
    /// # Errors
    /// Where it is not built.
    pub fn behind_gateway(wakeup: Wakeup) -> Result<Self> {
        let folder = TempDir::new()?;
        let store = file(&folder);
        let arguments = [
            "--store",
            &store,
            "--upgrades",
            "off",
            "--wakeup",
            wakeup.name(),
        ];
        let host = Process::start(arguments.into_iter().chain(UNLIMITED))?;
        Self::behind(host, folder)
    }

    /// Starts Spin behind a gateway.
    ///
    /// # Errors
    /// Where one of the two does not start.
    pub fn spin(spin: &Path) -> Result<Self> {
        let folder = TempDir::new()?;
        let variables: Vec<_> = unlimited().map(|name| (name, "")).collect();
        let host = Process::spin(spin, folder.path(), &variables)?;
        Self::behind(host, folder)
    }

    fn behind(host: Process, folder: TempDir) -> Result<Self> {
        let mut command = Command::new(program()?);
        command
            .args(["gateway", "--listen", "127.0.0.1:0"])
            .args(["--guests-per-address", "1000000", "--to"])
            .arg(format!("http://{}", host.address()));
        Ok(Self::Behind(Gateway {
            gateway: Process::spawn(command)?,
            host,
            _folder: folder,
        }))
    }

    /// A client of it; of many hosts, one each of whose requests is served by another one.
    #[must_use]
    pub fn client(&self) -> Client {
        match self {
            Self::InProcess(_) | Self::Built(..) | Self::Behind(_) => Client::new(self.address()),
            Self::Nodes(_) => Client::roaming(self.address()),
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        match self {
            Self::InProcess(running) => running.address(),
            Self::Built(process, _) => process.address(),
            Self::Nodes(cluster) => *cluster.address().borrow(),
            Self::Behind(behind) => behind.gateway.address(),
        }
    }

    /// What it has logged, where it is a process of its own.
    #[must_use]
    pub fn log(&self) -> Option<String> {
        match self {
            Self::InProcess(_) => None,
            Self::Built(process, _) => Some(process.log()),
            Self::Nodes(cluster) => Some(cluster.log()),
            Self::Behind(Gateway { gateway, host, .. }) => {
                Some(format!("{}\nthe gateway: {}", host.log(), gateway.log()))
            }
        }
    }
}
