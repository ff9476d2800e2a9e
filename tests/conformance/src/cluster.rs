//! Many hosts on one store that they share.

use std::net::SocketAddr;
use std::process::{Command, ExitStatus};

use anyhow::{Context, Result};
use redis_server::RedisServer;
use tokio::sync::watch;

use crate::process::set;
use crate::{Client, Process, UNLIMITED, Wire, manifest, program};

/// Hosts of one application, and a balancer in front of them that hands each connection to the next.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Option<Process>>,
    stores: Vec<String>,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    balancer: Wire,
    address: watch::Sender<SocketAddr>,
    /// Theirs alone, where nobody else has to do with it.
    _redis: Option<RedisServer>,
}

impl Cluster {
    /// Starts a host on each of these stores, which are all the same one by different ways.
    ///
    /// # Errors
    /// Where one does not start.
    pub fn start(stores: Vec<String>) -> Result<Self> {
        Self::on(None, stores, &UNLIMITED, &[])
    }

    /// Starts so many hosts on a Redis of their own, with more arguments, and these variables of the application.
    ///
    /// # Errors
    /// Where Redis is not installed, and as [`Self::start`].
    pub fn alone(nodes: usize, arguments: &[&str], variables: &[(&str, &str)]) -> Result<Self> {
        let redis = RedisServer::start(&[])?;
        let stores = vec![redis.url(); nodes];
        Self::on(Some(redis), stores, arguments, variables)
    }

    fn on(
        redis: Option<RedisServer>,
        stores: Vec<String>,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Result<Self> {
        let balancer = Wire::to(Vec::new())?;
        let variable = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut cluster = Self {
            nodes: stores.iter().map(|_| None).collect(),
            stores,
            arguments: arguments.iter().map(ToString::to_string).collect(),
            variables: variables.iter().map(variable).collect(),
            address: watch::Sender::new(balancer.address()),
            balancer,
            _redis: redis,
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

    /// How many hosts there are, those that do not serve too.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Where the balancer is: always at the same place.
    #[must_use]
    pub fn address(&self) -> watch::Receiver<SocketAddr> {
        self.address.subscribe()
    }

    /// What the hosts that serve have logged, each behind its number.
    #[must_use]
    pub fn log(&self) -> String {
        let nodes = self.nodes.iter().enumerate();
        nodes
            .filter_map(|(number, node)| Some(format!("node {number}:\n{}", node.as_ref()?.log())))
            .collect()
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
            .args(&self.arguments);
        set(&mut command, &self.variables);
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

    /// Ends a host in order, by SIGTERM, and tells how it ended.
    ///
    /// # Errors
    /// Where it does not serve, or does not end.
    pub fn terminate(&mut self, node: usize) -> Result<ExitStatus> {
        let mut host = self.nodes[node].take().context("it does not serve")?;
        self.lead();
        host.terminate()?;
        host.wait()
    }

    fn lead(&self) {
        let nodes = self.nodes.iter().flatten();
        self.balancer.lead_to(nodes.map(Process::address).collect());
    }
}
