//! A wire to one or more servers that is cut, or loses what comes back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What becomes of what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wiring {
    /// It arrives.
    Whole,
    /// No connection lives, and none is made.
    Cut,
    /// The `count`th question of a connection that contains some bytes arrives, and what the other end says from
    /// then on does not: the connection stays, and is silent.
    Deaf {
        /// The bytes.
        to: &'static str,
        /// The number of the question.
        count: usize,
    },
}

/// Hands the connections that it takes to servers in turn, whatever is sent on them. Ended when dropped.
#[derive(Debug)]
pub struct Wire {
    address: SocketAddr,
    servers: watch::Sender<Vec<SocketAddr>>,
    wiring: watch::Sender<Wiring>,
    deafened: watch::Receiver<usize>,
    accepting: JoinHandle<()>,
}

impl Wire {
    /// A whole wire to these servers.
    ///
    /// # Errors
    /// Where it cannot listen.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn to(servers: Vec<SocketAddr>) -> Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let (servers, wiring) = (
            watch::Sender::new(servers),
            watch::Sender::new(Wiring::Whole),
        );
        let (deaf, deafened) = watch::channel(0);
        let ends = Ends {
            servers: servers.subscribe(),
            wiring: wiring.subscribe(),
            deaf: Arc::new(deaf),
        };
        let accepting = tokio::spawn(async move {
            let turn = AtomicUsize::new(0);
            while let Ok((client, _)) = listener.accept().await {
                let turn = turn.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(ends.clone().connect(client, turn));
            }
        });
        Ok(Self {
            address,
            servers,
            wiring,
            deafened,
            accepting,
        })
    }

    /// Where it begins.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Leads new connections to these servers.
    pub fn lead_to(&self, servers: Vec<SocketAddr>) {
        self.servers.send_replace(servers);
    }

    /// Changes what becomes of what is sent, on all connections there are.
    pub fn set(&self, wiring: Wiring) {
        self.wiring.send_replace(wiring);
    }

    /// Waits until a connection has gone silent, as [`Wiring::Deaf`] says.
    pub async fn deafened(&mut self) {
        // The accepting task has the other end.
        self.deafened.wait_for(|deaf| *deaf > 0).await.ok();
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
        self.wiring.send_replace(Wiring::Cut);
    }
}

#[derive(Clone)]
struct Ends {
    servers: watch::Receiver<Vec<SocketAddr>>,
    wiring: watch::Receiver<Wiring>,
    deaf: Arc<watch::Sender<usize>>,
}

impl Ends {
    async fn connect(self, client: TcpStream, turn: usize) {
        if *self.wiring.borrow() == Wiring::Cut {
            return;
        }
        let servers = self.servers.borrow().clone();
        let mut found = None;
        for offset in 0..servers.len() {
            if let Ok(server) = TcpStream::connect(servers[(turn + offset) % servers.len()]).await {
                found = Some(server);
                break;
            }
        }
        let Some(server) = found else { return };
        client.set_nodelay(true).ok();
        server.set_nodelay(true).ok();
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let silent = watch::Sender::new(false);
        let there = ask(
            from_client,
            to_server,
            self.wiring.clone(),
            &silent,
            &self.deaf,
        );
        let back = answer(from_server, to_client, silent.subscribe());
        let cut = becomes(self.wiring, |wiring| *wiring == Wiring::Cut);
        // Whichever ends first, both ends are closed.
        tokio::select! {
            () = there => {}
            () = back => {}
            () = cut => {}
        }
    }
}

async fn ask(
    mut client: OwnedReadHalf,
    mut server: OwnedWriteHalf,
    wiring: watch::Receiver<Wiring>,
    silent: &watch::Sender<bool>,
    deaf: &watch::Sender<usize>,
) {
    let mut bytes = vec![0; 1 << 16];
    let mut met = 0;
    while let Ok(read @ 1..) = client.read(&mut bytes).await {
        if let Wiring::Deaf { to, count } = *wiring.borrow() {
            let windows = bytes[..read].windows(to.len());
            met += windows.filter(|window| *window == to.as_bytes()).count();
            if met >= count && !silent.send_replace(true) {
                deaf.send_modify(|deaf| *deaf += 1);
            }
        }
        if server.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}

async fn answer(
    mut server: OwnedReadHalf,
    mut client: OwnedWriteHalf,
    silent: watch::Receiver<bool>,
) {
    tokio::select! {
        _ = copy(&mut server, &mut client) => {}
        () = becomes(silent, |silent| *silent) => {
            // It is taken, and goes nowhere.
            copy(&mut server, &mut tokio::io::sink()).await.ok();
        }
    }
}

/// Waits for a value, or until nobody can set one any more.
async fn becomes<T>(mut value: watch::Receiver<T>, wanted: impl FnMut(&T) -> bool) {
    value.wait_for(wanted).await.ok();
}
