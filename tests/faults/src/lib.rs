//! A deployment that dies and comes back, and what is watched meanwhile.
//!
//! The tests in `tests/` print their figures, one line each, and assert none that a busy machine changes.
//! They are small enough for every run; what they are to show is shown by their full size:
//!
//! | variable            | of what                                   | every run | full    |
//! |---------------------|-------------------------------------------|-----------|---------|
//! | `WITTER_PUBLISHES`  | publishes under kills                     | 10,000    | 100,000 |
//! | `WITTER_KILLS`      | kills of the host meanwhile               | 3         | 10      |
//! | `WITTER_CHANGES`    | changes of a reader's transport, at least | 2,000     | 10,000  |
//! | `WITTER_SECONDS`    | seconds in which readers are cut          | 5         | 60      |
//! | `WITTER_READERS`    | idle SSE readers, and as many held polls  | 500       | 2,000   |
//! | `WITTER_SOCKETS`    | idle WebSockets, after as many streams    | 2,000     | 5,000   |
//! | `WITTER_AWAY`       | seconds in which Redis is away            | 60        | 60      |
//!
//! `WITTER_NODES=3` has as many hosts on one Redis, behind a balancer, wherever a [`Service`] is started.
//! `WITTER_SEED` makes the choices of a run with changes again; it is told where one fails.

mod crowd;
mod deployment;
mod follower;
mod load;
mod meeting;
mod nginx;
mod process;

pub use conformance::{Cluster, Wire, Wiring};
pub use crowd::{hold, hold_all, idle, raise_file_limit};
pub use deployment::{Deployment, Service};
pub use follower::{Follower, Progress, Read, Way};
pub use load::{Load, Offsets, Sending, check_read, check_writers, id_of};
pub use meeting::Meeting;
pub use nginx::Nginx;
pub use process::Usage;

use std::env;
use std::future::Future;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::timeout;

/// Beyond this something hangs.
pub const HANGS: Duration = Duration::from_secs(60);

/// What takes longer than this does not end: nothing here does, at its full size.
const ENDLESS: Duration = Duration::from_secs(900);

/// Runs a test to its end, or gives it up.
///
/// # Errors
/// Where it fails, or does not end.
pub fn run(test: impl Future<Output = Result<()>>) -> Result<()> {
    let bounded = async { timeout(ENDLESS, test).await.context("it does not end")? };
    tokio::runtime::Runtime::new()?.block_on(bounded)
}

/// How large a test is: the variable's value, else the size that every run has time for.
///
/// # Panics
/// Where the variable is set to something else than a number.
#[must_use]
pub fn size<N: FromStr>(variable: &str, default: N) -> N {
    match env::var(variable) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{variable}={text} is no number")),
        Err(_) => default,
    }
}
