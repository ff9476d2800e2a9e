//! Hosts that are killed while many publish: what was acknowledged is read once, in one order.

use std::time::Instant;

use anyhow::Result;
use conformance::Transport;
use faults::{Meeting, Service, size};

const CHANNEL: &str = "kills";
const PUBLISHERS: u64 = 16;

#[test]
fn what_was_acknowledged_before_a_kill_is_read_once_and_in_one_order() -> Result<()> {
    let publishes: u64 = size("WITTER_PUBLISHES", 10_000);
    let kills: u64 = size("WITTER_KILLS", 3);
    faults::run(run(publishes, kills))
}

async fn run(publishes: u64, kills: u64) -> Result<()> {
    let mut deployment = Service::start(&[])?;
    let address = deployment.address();
    let mut meeting = Meeting::begin(address, CHANNEL, publishes, PUBLISHERS).await?;
    let begun = Instant::now();
    for kill in 1..=kills {
        meeting.reaches(kill, kills + 1).await;
        deployment.kill()?;
        deployment.restart()?;
    }
    meeting.published().await?;
    let took = begun.elapsed();
    meeting.end().await?;
    println!(
        "{publishes} publishes by {PUBLISHERS} clients, {kills} times killed, in {:.1} s ({:.0}/s): \
         each read once and in one order by {} transports",
        took.as_secs_f64(),
        publishes as f64 / took.as_secs_f64(),
        Transport::ALL.len()
    );
    Ok(())
}
