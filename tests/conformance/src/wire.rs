//! A wire to one or more servers that is cut, slow, silent, or loses what comes back.

use std::collections::VecDeque;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// The most pieces that are under way in one direction of a connection. Beyond that whoever sends waits.
const UNDER_WAY: usize = 256;

/// What becomes of what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wiring {
    /// It arrives.
    Whole,
    /// It arrives, so much later: each way, what ends a connection too.
    Slow(Duration),
    /// Nothing arrives, of what ends a connection neither, and no connection breaks: a network that drops packets. What
    /// was sent meanwhile arrives when the wire is whole again, as what is sent again does; where connections are not to
    /// live so long, it is cut first.
    Silent,
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
    async fn connect(mut self, client: TcpStream, turn: usize) {
        becomes(&mut self.wiring, |wiring| *wiring != Wiring::Silent).await;
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
        let deafness = Deafness::default();
        let there = carry(
            from_client,
            to_server,
            self.wiring.clone(),
            |piece, wiring| {
                deafness.meet(piece, wiring);
                true
            },
            // Not before it has arrived: whoever is told may cut the wire.
            || {
                if deafness.is_news() {
                    self.deaf.send_modify(|deaf| *deaf += 1);
                }
            },
        );
        // It is taken, and goes nowhere.
        let hears = |_: &[u8], _| !deafness.has_begun();
        let back = carry(from_server, to_client, self.wiring.clone(), hears, || {});
        let cut = becomes(&mut self.wiring, |wiring| *wiring == Wiring::Cut);
        // Whichever ends first, both ends are closed.
        tokio::select! {
            () = there => {}
            () = back => {}
            () = cut => {}
        }
    }
}

/// Whether a connection has gone silent, as [`Wiring::Deaf`] says.
#[derive(Default)]
struct Deafness {
    met: AtomicUsize,
    begun: AtomicBool,
    told: AtomicBool,
}

impl Deafness {
    /// Begins with these bytes, if they are the ones.
    fn meet(&self, piece: &[u8], wiring: Wiring) {
        let Wiring::Deaf { to, count } = wiring else {
            return;
        };
        let windows = piece.windows(to.len());
        let met = windows.filter(|window| *window == to.as_bytes()).count();
        let before = self.met.fetch_add(met, Ordering::Relaxed);
        if before + met >= count {
            self.begun.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it has begun, the first time that it has.
    fn is_news(&self) -> bool {
        self.has_begun() && !self.told.swap(true, Ordering::Relaxed)
    }

    fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }
}

/// Hands on what comes, all of it that `passes`, until its end has arrived; tells each time that something has.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut wiring: watch::Receiver<Wiring>,
    passes: impl Fn(&[u8], Wiring) -> bool,
    arrived: impl Fn(),
) {
    let mut bytes = vec![0; 1 << 14];
    // An empty one is the end.
    let mut under_way: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut has_ended = false;
    loop {
        let next = under_way.front().map(|(due, _)| *due);
        tokio::select! {
            // What is due goes out before more is taken: whoever does not read keeps the other from sending.
            biased;
            () = arrival(next, &mut wiring) => {
                let Some((_, piece)) = under_way.pop_front() else { continue };
                if piece.is_empty() || to.write_all(&piece).await.is_err() {
                    return;
                }
                arrived();
            }
            read = from.read(&mut bytes), if !has_ended && under_way.len() < UNDER_WAY => {
                let piece = &bytes[..read.unwrap_or(0)];
                has_ended = piece.is_empty();
                let now = *wiring.borrow();
                if has_ended || passes(piece, now) {
                    let late = match now {
                        Wiring::Slow(late) => late,
                        _ => Duration::ZERO,
                    };
                    under_way.push_back((Instant::now() + late, piece.to_vec()));
                }
            }
        }
    }
}

/// Waits until what is due then arrives.
async fn arrival(due: Option<Instant>, wiring: &mut watch::Receiver<Wiring>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
    becomes(wiring, |wiring| *wiring != Wiring::Silent).await;
}

/// Waits for a value, or until nobody can set one any more.
async fn becomes<T>(value: &mut watch::Receiver<T>, wanted: impl FnMut(&T) -> bool) {
    value.wait_for(wanted).await.ok();
}

#[cfg(test)]
mod tests {
    use tokio::io::copy;
    use tokio::time::timeout;

    use super::*;

    /// Beyond this something hangs.
    const HANGS: Duration = Duration::from_secs(60);

    /// A wire to a server that says what it is told.
    async fn echo() -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("it listens");
        let server = listener.local_addr().expect("it listens");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.into_split();
                    copy(&mut from, &mut to).await.ok();
                });
            }
        });
        Wire::to(vec![server]).expect("it listens")
    }

    async fn connect(wire: &Wire) -> TcpStream {
        let stream = TcpStream::connect(wire.address()).await;
        stream.expect("it listens")
    }

    /// What comes next; nothing at the end.
    async fn heard(stream: &mut TcpStream) -> Vec<u8> {
        let mut bytes = [0; 16];
        let read = timeout(HANGS, stream.read(&mut bytes)).await;
        // Where it breaks it ends.
        let read = read.expect("something comes").unwrap_or(0);
        bytes[..read].to_vec()
    }

    #[tokio::test]
    async fn what_is_slow_is_late_each_way_and_in_order() {
        const LATE: Duration = Duration::from_millis(100);
        let wire = echo().await;
        wire.set(Wiring::Slow(LATE));
        let mut stream = connect(&wire).await;
        let begun = Instant::now();
        for text in ["a", "b"] {
            stream.write_all(text.as_bytes()).await.expect("it is open");
            tokio::time::sleep(LATE / 2).await;
        }
        let (mut all, mut first) = (Vec::new(), None);
        while all.len() < 2 {
            all.extend(heard(&mut stream).await);
            first.get_or_insert(begun.elapsed());
        }
        assert_eq!(all, b"ab");
        assert!(first.is_some_and(|took| took >= 2 * LATE), "{first:?}");
        // The second does not wait for the first to be back.
        let took = begun.elapsed();
        assert!(took >= LATE * 5 / 2, "{took:?}");
        stream.shutdown().await.expect("it is open");
        assert_eq!(heard(&mut stream).await, b"");
    }

    #[tokio::test]
    async fn what_is_silent_stays_open_and_arrives_when_the_wire_is_whole() {
        let wire = echo().await;
        let mut before = connect(&wire).await;
        before.write_all(b"a").await.expect("it is open");
        assert_eq!(heard(&mut before).await, b"a");
        wire.set(Wiring::Silent);
        let mut meanwhile = connect(&wire).await;
        for stream in [&mut before, &mut meanwhile] {
            stream.write_all(b"b").await.expect("it is open");
            let waited = timeout(Duration::from_millis(100), stream.read_u8()).await;
            assert!(waited.is_err(), "{waited:?}");
        }
        wire.set(Wiring::Whole);
        for stream in [&mut before, &mut meanwhile] {
            assert_eq!(heard(stream).await, b"b");
        }
        wire.set(Wiring::Silent);
        wire.set(Wiring::Cut);
        for stream in [&mut before, &mut meanwhile] {
            assert_eq!(heard(stream).await, b"");
        }
    }
}
