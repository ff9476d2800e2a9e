//! An application as tests start it: one host, or many behind a balancer.

use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;

use crate::{Client, Cluster, Process};

/// The variable that says by how many hosts an application is served.
const NODES: &str = "WITTER_NODES";

/// The variable that says where Spin is.
const SPIN: &str = "WITTER_SPIN";

/// By how many hosts an application is served that a test starts: one, unless `WITTER_NODES` says more. Many share a
/// Redis, and stand behind a balancer that hands each connection to the next of them.
///
/// # Panics
/// Where the variable is set to something else than a number from 1 on.
#[must_use]
pub fn nodes() -> usize {
    match env::var(NODES) {
        Ok(text) => match text.parse() {
            Ok(nodes @ 1..) => nodes,
            _ => panic!("{NODES}={text} is no number of hosts"),
        },
        Err(_) => 1,
    }
}

/// The program of Spin, where tests are to run against that: what `WITTER_SPIN` says.
#[must_use]
pub fn spin() -> Option<PathBuf> {
    env::var_os(SPIN).map(PathBuf::from)
}

/// A deployment with variables of its own, ended when dropped.
#[derive(Debug)]
pub enum Deployed {
    /// One host, with a store in memory.
    One(Process),
    /// Many, with a Redis.
    Many(Cluster),
}

impl Deployed {
    /// Starts the shipped app with these variables, on as many hosts as [`nodes`] says.
    ///
    /// # Errors
    /// Where the host is not built, or Redis not installed.
    pub fn start(variables: &[(&str, &str)]) -> Result<Self> {
        Ok(match nodes() {
            1 => Self::One(Process::deployed(variables)?),
            nodes => Self::Many(Cluster::alone(nodes, &[], variables)?),
        })
    }

    /// Where it is reached.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        match self {
            Self::One(host) => host.address(),
            Self::Many(cluster) => *cluster.address().borrow(),
        }
    }

    /// A client of it; where there are many hosts, one each of whose requests is served by another one.
    #[must_use]
    pub fn client(&self) -> Client {
        match self {
            Self::One(host) => Client::new(host.address()),
            Self::Many(_) => Client::roaming(self.address()),
        }
    }

    /// What its hosts have logged.
    #[must_use]
    pub fn log(&self) -> String {
        match self {
            Self::One(host) => host.log(),
            Self::Many(cluster) => cluster.log(),
        }
    }
}
