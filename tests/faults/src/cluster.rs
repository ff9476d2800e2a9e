//! Many hosts on one store that they share.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, Result};
use conformance::{Client, Process, UNLIMITED, manifest, program};
use tokio::sync::watch;

use crate::Wire;

/// Hosts of one application, and a balancer in front of them that hands each connection to the next.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Option<Process>>,
    stores: Vec<String>,
    balancer: Wire,
    address: watch::Sender<SocketAddr>,
}

impl Cluster {
    /// Starts a host on each of these stores, which are all the same one by different ways.
    ///
    /// # Errors
    /// Where one does not start.
    pub async fn start(stores: Vec<String>) -> Result<Self> {
        let balancer = Wire::to(Vec::new()).await?;
        let mut cluster = Self {
            nodes: stores.iter().map(|_| None).collect(),
            stores,
            address: watch::Sender::new(balancer.address()),
            balancer,
        };
        for node in 0..cluster.nodes.len() {
            cluster.restart(node)?;
        }
        Ok(cluster)
    }

    /// A client of one of the hosts.
    ///
    /// # Panics
    /// Where that does not serve.
    #[must_use]
    pub fn client(&self, node: usize) -> Client {
        Client::new(self.node(node).address())
    }

    /// One of the hosts.
    ///
    /// # Panics
    /// Where it does not serve.
    #[must_use]
    pub fn node(&self, node: usize) -> &Process {
        self.nodes[node].as_ref().expect("it serves")
    }

    /// Where the balancer is: always at the same place.
    #[must_use]
    pub fn address(&self) -> watch::Receiver<SocketAddr> {
        self.address.subscribe()
    }

    /// Starts a host again.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn restart(&mut self, node: usize) -> Result<()> {
        let mut command = Command::new(program()?);
        command
            .args(["up", "--from"])
            .arg(manifest())
            .args(["--listen", "127.0.0.1:0", "--store", &self.stores[node]])
            .args(UNLIMITED);
        self.nodes[node] = Some(Process::spawn(command)?);
        self.lead();
        Ok(())
    }

    /// Ends a host at once, by SIGKILL.
    ///
    /// # Errors
    /// Where it does not serve.
    pub fn kill(&mut self, node: usize) -> Result<()> {
        self.nodes[node]
            .take()
            .context("it does not serve")?
            .kill()?;
        self.lead();
        Ok(())
    }

    fn lead(&self) {
        let nodes = self.nodes.iter().flatten();
        self.balancer.lead_to(nodes.map(Process::address).collect());
    }
}
