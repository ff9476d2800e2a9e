//! Hosts that are replaced, one after the other, behind a socket that stays open.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use conformance::Transport;
use faults::{Deployment, HANGS, Meeting, size};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

const CHANNEL: &str = "handover";
const PUBLISHERS: u64 = 8;
/// Between two connections of those who come anew.
const PAUSE: Duration = Duration::from_millis(5);

#[test]
fn while_hosts_take_turns_at_a_socket_nothing_is_lost_and_nobody_is_refused() -> Result<()> {
    let publishes: u64 = size("WITTER_PUBLISHES", 10_000);
    let restarts: u64 = size("WITTER_KILLS", 3);
    faults::run(run(publishes, restarts))
}

async fn run(publishes: u64, restarts: u64) -> Result<()> {
    let socket = TcpListener::bind(("127.0.0.1", 0))?;
    let address = socket.local_addr()?;
    let mut deployment = Deployment::start_on(socket, &[])?;
    ensure!(
        deployment.process().address() == address,
        "it listens where it was told to, not on what it was handed"
    );
    let mut meeting = Meeting::begin(deployment.address(), CHANNEL, publishes, PUBLISHERS).await?;
    let (over, strangers) = watch::channel(false);
    let strangers = tokio::spawn(knock(address, strangers));
    let mut longest = Duration::ZERO;
    for restart in 1..=restarts {
        meeting.reaches(restart, restarts + 1).await;
        let told = Instant::now();
        let status = deployment.terminate()?;
        ensure!(status.success(), "{status}");
        deployment.restart()?;
        longest = longest.max(told.elapsed());
    }
    meeting.published().await?;
    meeting.end().await?;
    over.send_replace(true);
    let Knocked {
        answered,
        broken,
        slowest,
    } = strangers.await??;
    ensure!(answered > 0, "nobody came anew");
    println!(
        "{publishes} publishes, {restarts} hosts replaced, each within {:.2} s: each message read once and in one \
         order by {} transports; of {} who came anew none was refused, {broken} broke off, the slowest took {:.2} s",
        longest.as_secs_f64(),
        Transport::ALL.len(),
        answered + broken,
        slowest.as_secs_f64()
    );
    Ok(())
}

/// What became of those who came anew.
#[derive(Default)]
struct Knocked {
    answered: u32,
    broken: u32,
    slowest: Duration,
}

/// Opens one connection after the other, each for a request.
async fn knock(address: SocketAddr, mut over: watch::Receiver<bool>) -> Result<Knocked> {
    let mut knocked = Knocked::default();
    let request = format!(
        "GET /witter/short-polling?channel={CHANNEL} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
    );
    while !*over.borrow_and_update() {
        let begun = Instant::now();
        let mut stream = TcpStream::connect(address).await.context("refused")?;
        let answer = async {
            stream.write_all(request.as_bytes()).await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        let answer = timeout(HANGS, answer).await.context("nobody answers")?;
        match answer {
            Ok(answer) if answer.starts_with(b"HTTP/1.1 200 ") => knocked.answered += 1,
            // The host that took the connection ended, which its client sees and asks again.
            Ok(answer) if answer.is_empty() || answer.starts_with(b"HTTP/1.1 503 ") => {
                knocked.broken += 1;
            }
            Ok(answer) => anyhow::bail!("{}", String::from_utf8_lossy(&answer)),
            Err(_) => knocked.broken += 1,
        }
        knocked.slowest = knocked.slowest.max(begun.elapsed());
        sleep(PAUSE).await;
    }
    Ok(knocked)
}
