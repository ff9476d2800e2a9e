//! The address that is listened on, and all connections that came in there.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::answer::Refusal;
use crate::connection::{self, Stage};
use crate::handed::Handed;
use crate::server::{Server, scheme};
use crate::socket;

/// How many connections that are turned away get to hear why at once. More would let whoever is turned
/// away hold what the limits are there to protect.
const TURNED_AWAY: usize = 256;

/// How many connections wait until they are taken, if the system permits as many (`net.core.somaxconn`). Fewer, and of
/// thousands who come back at once after a restart some are seconds late.
const BACKLOG: u32 = 4096;

/// Listens on a socket that was handed over, or else on an address.
pub(crate) async fn listen(
    address: SocketAddr,
    handed: Option<&Handed>,
) -> anyhow::Result<TcpListener> {
    match handed {
        Some(handed) => handed.listener().context("the socket is unusable"),
        None => bind(address).with_context(|| format!("{address} cannot be listened on")),
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // Else whoever starts a host again waits until the last connections of the one before are forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A server that takes connections. Dropping it cuts them off.
#[derive(Debug)]
pub(crate) struct Listening {
    address: SocketAddr,
    is_secure: bool,
    stage: watch::Sender<Stage>,
    accepting: JoinHandle<()>,
    stop_timeout: Duration,
}

impl Listening {
    /// Takes connections from now on.
    pub(crate) fn start(
        listener: TcpListener,
        server: Server,
        stop_timeout: Duration,
    ) -> anyhow::Result<Self> {
        let (stage, stages) = watch::channel(Stage::Serving);
        Ok(Self {
            address: listener.local_addr()?,
            is_secure: server.tls.is_some(),
            stage,
            accepting: tokio::spawn(accept(listener, Arc::new(server), stages)),
            stop_timeout,
        })
    }

    /// With the port that it got.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://{}", scheme(self.is_secure), self.address)
    }

    /// Accepts nothing more, tells `close` that what is open is to end, waits until it has, for as long as
    /// the options allow, then cuts off the rest.
    pub(crate) async fn shutdown(&self, close: impl FnOnce()) {
        self.stage.send_replace(Stage::Closing);
        close();
        // Each connection has a receiver.
        if timeout(self.stop_timeout, self.stage.closed())
            .await
            .is_err()
        {
            tracing::info!(connections = self.stage.receiver_count(), "cut off");
        }
        self.stage.send_replace(Stage::Cut);
        timeout(self.stop_timeout, self.stage.closed()).await.ok();
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stage.send_replace(Stage::Cut);
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, server: Arc<Server>, mut stage: watch::Receiver<Stage>) {
    let turned_away = Arc::new(Semaphore::new(TURNED_AWAY));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stage.wait_for(|stage| *stage > Stage::Serving) => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, mostly: the connection stays in the queue, and asking again at
                // once would find the same.
                tracing::warn!("a connection cannot be accepted: {error}");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        match server.peers.connect(peer.ip()) {
            Ok(slot) => {
                server.metrics.accepted.increment();
                tokio::spawn(connection::serve(
                    server.clone(),
                    stream,
                    peer,
                    slot,
                    stage.clone(),
                ));
            }
            Err(full) => {
                tracing::debug!(%peer, "{full}");
                server.metrics.refused(Refusal::from(full));
                // With TLS it could be told only after a handshake, which costs more than most requests.
                if server.tls.is_none()
                    && let Ok(permit) = turned_away.clone().try_acquire_owned()
                {
                    tokio::spawn(async move {
                        socket::refuse(stream, Refusal::from(full)).await;
                        drop(permit);
                    });
                }
            }
        }
    }
}
