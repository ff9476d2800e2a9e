//! The way to the server: one connection for all, which is made again when it breaks.
//!
//! While there is none, whoever asks is told so at once: components ask while their whole instance waits, and
//! to wait for a server that is away, one after the other, would hold up those who need nothing of it.

use std::convert::Infallible;
use std::error::Error;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind,
    Value, cmd,
};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use super::subscription::Subscription;

/// How long an answer may take. Redis itself holds up writes for two seconds where the disk is slow and
/// `appendfsync` is `everysec`; much longer, and those who publish give up before they are told.
const PATIENCE: Duration = Duration::from_secs(3);

/// Between two attempts to connect: first, and at most. Longer, and a server that is back waits for its nodes;
/// shorter, and they keep it from coming back. A connection that lives for less than the longest was one more attempt.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// How often a connection that works is looked at. Longer: readers stand still for longer at a server that was made a
/// replica, where nothing is written that would tell; shorter: more questions.
const LOOK: Duration = Duration::from_secs(5);

/// A connection, which many use at once.
#[derive(Debug)]
pub(super) struct Link {
    state: watch::Receiver<State>,
    guard: Arc<OnceLock<Guard>>,
    /// Those that broke, to the task that makes others. It ends when nobody can tell it any more.
    broken: mpsc::UnboundedSender<Broken>,
}

#[derive(Clone, Debug)]
enum State {
    Connected(u64, MultiplexedConnection),
    Away(RedisError),
}

/// A connection's number, and what went wrong on it.
type Broken = (u64, RedisError);

impl Link {
    /// Connects. The key is one that never has a value.
    pub(super) async fn open(client: Client, unused: String) -> Result<Self, RedisError> {
        let guard = Arc::default();
        let server = Server {
            client,
            unused,
            guard: Arc::clone(&guard),
        };
        let first = server.connect().await?;
        let (states, state) = watch::channel(State::Connected(0, first));
        let (broken, told) = mpsc::unbounded_channel();
        tokio::spawn(keep(server, states, told));
        Ok(Self {
            state,
            guard,
            broken,
        })
    }

    /// What is asked whenever it connects again. The first is kept.
    pub(super) fn guard(&self, guard: Guard) {
        self.guard.get_or_init(|| guard);
    }

    /// The number of its connection, if there is one.
    pub(super) fn number(&self) -> Option<u64> {
        match &*self.state.borrow() {
            State::Connected(number, _) => Some(*number),
            State::Away(_) => None,
        }
    }

    /// Waits until there is another connection than the one of this number.
    pub(super) async fn reconnected(&self, number: Option<u64>) {
        let is_other =
            |state: &State| matches!(state, State::Connected(other, _) if Some(*other) != number);
        // The task is there as long as this is.
        self.state.clone().wait_for(is_other).await.ok();
    }

    /// Asks the server. An error may hide that it did what it was asked.
    pub(super) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        let state = self.state.borrow().clone();
        let (number, mut connection) = match state {
            State::Connected(number, connection) => (number, connection),
            State::Away(error) => return Err(error),
        };
        let answer = command.query_async(&mut connection).await;
        if let Err(error) = &answer
            && breaks(error)
        {
            // The task is there as long as this is.
            self.broken.send((number, error.clone())).ok();
        }
        answer
    }
}

/// Whether an error tells that the connection, or the server behind it, is of no use any more.
fn breaks(error: &RedisError) -> bool {
    // Who writes to a replica has the server of before a failover; one that has lost its primary may not even read.
    let of_no_use = [
        ServerErrorKind::ReadOnly,
        ServerErrorKind::BusyLoading,
        ServerErrorKind::MasterDown,
    ];
    error.is_io_error()
        || error.is_unrecoverable_error()
        || of_no_use.map(ErrorKind::Server).contains(&error.kind())
        // What a script meets there, Redis before 7 tells in the text of another error.
        || error.detail().is_some_and(|detail| detail.contains("-READONLY "))
}

/// Makes another connection whenever one is told to be broken, and tells in the log when the store goes away and
/// when it is back.
async fn keep(
    server: Server,
    states: watch::Sender<State>,
    mut broken: mpsc::UnboundedReceiver<Broken>,
) {
    let mut current = 0;
    let mut pause = Duration::ZERO;
    let mut since = Instant::now();
    loop {
        let error = tokio::select! {
            told = broken.recv() => match told {
                None => return,
                Some((number, error)) if number == current => error,
                // Everybody tells whom it met.
                Some(_) => continue,
            },
            Err(error) = server.look(&states) => error,
        };
        tracing::warn!(error = &error as &dyn Error, "the store is away");
        let mut told = error.to_string();
        states.send_replace(State::Away(error));
        if since.elapsed() >= PAUSES.1 {
            pause = Duration::ZERO;
        }
        let connection = loop {
            sleep(pause).await;
            pause = (pause * 2).clamp(PAUSES.0, PAUSES.1);
            if broken.is_closed() {
                return;
            }
            match server.connect().await {
                Ok(connection) => break connection,
                Err(error) => {
                    if told != error.to_string() {
                        tracing::warn!(error = &error as &dyn Error, "the store stays away");
                        told = error.to_string();
                    }
                    states.send_replace(State::Away(error));
                }
            }
        };
        current += 1;
        since = Instant::now();
        states.send_replace(State::Connected(current, connection));
        tracing::info!("the store is back");
    }
}

/// Where it is, and a key there that never has a value.
struct Server {
    client: Client,
    unused: String,
    guard: Arc<OnceLock<Guard>>,
}

/// Keeps a host from a store that it may not serve any more.
#[derive(Debug)]
pub(super) struct Guard {
    /// The channel by which hosts show that they serve.
    pub(super) shown: String,
    /// The key whose value says whether they may.
    pub(super) key: String,
    pub(super) judge: fn(&[u8]) -> Admission,
}

impl Guard {
    async fn admit(&self, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        let mut get = cmd("GET");
        get.arg(&self.key);
        while let Some(value) = get.query_async::<Option<Vec<u8>>>(connection).await? {
            match (self.judge)(&value) {
                Admission::Granted => break,
                Admission::Refused(why) => {
                    return Err((ErrorKind::Client, "the store is not served", why).into());
                }
                Admission::Noted(noted) => {
                    let mut swap = cmd("EVAL");
                    swap.arg(super::SWAP).arg(1).arg(&self.key);
                    swap.arg(value).arg(noted);
                    if swap.query_async::<bool>(connection).await? {
                        tracing::warn!("the store is about to be moved: it is served here");
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}

/// What a value says to a host that begins to serve the store it stands in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Granted,
    /// Once it has put this in its place.
    Noted(Vec<u8>),
    /// Why not.
    Refused(String),
}

impl Server {
    /// Connects to a server that serves and is nobody's replica: what a replica tells may be old.
    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let connecting = self
            .client
            .get_multiplexed_async_connection_with_config(&config);
        let mut connection = bounded(connecting).await?;
        // Refused while the server reads its data.
        cmd("PING").query_async::<Value>(&mut connection).await?;
        self.refuse_replica(&mut connection).await?;
        if let Some(guard) = self.guard.get() {
            self.pass(guard, &mut connection).await?;
        }
        Ok(connection)
    }

    async fn refuse_replica(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> Result<(), RedisError> {
        match cmd("ROLE").query_async::<Vec<Value>>(connection).await {
            Ok(role) if is_replica(&role) => Err((
                ErrorKind::Server(ServerErrorKind::ReadOnly),
                "the server is a replica",
            )
                .into()),
            Ok(_) => Ok(()),
            Err(error) if breaks(&error) => Err(error),
            // Not every server lets itself be asked. A replica refuses to delete even what is not there.
            Err(_) => {
                let mut delete = cmd("DEL");
                delete.arg(&self.unused);
                match delete.query_async::<Value>(connection).await {
                    Err(error) if breaks(&error) => Err(error),
                    _ => Ok(()),
                }
            }
        }
    }

    /// Shows that it serves, and then asks whether it may: whoever moves a store says so first, and then looks who
    /// serves it.
    async fn pass(
        &self,
        guard: &Guard,
        connection: &mut MultiplexedConnection,
    ) -> Result<(), RedisError> {
        // Who may not, and tries again all the time, does not show itself.
        guard.admit(connection).await?;
        let shown = Subscription::new(&self.client, guard.shown.clone(), LOOK).await?;
        guard.admit(connection).await?;
        tokio::spawn(shown.show());
        Ok(())
    }

    /// Looks at the connection that there is, again and again, until it is of no use any more. Whether the store may be
    /// served, too: who moves it does not see a host whose subscription was cut and not its connection.
    async fn look(&self, states: &watch::Sender<State>) -> Result<Infallible, RedisError> {
        loop {
            sleep(LOOK).await;
            let state = states.borrow().clone();
            if let State::Connected(_, mut connection) = state {
                self.refuse_replica(&mut connection).await?;
                if let Some(guard) = self.guard.get() {
                    guard.admit(&mut connection).await?;
                }
            }
        }
    }
}

fn is_replica(role: &[Value]) -> bool {
    matches!(role.first(), Some(Value::BulkString(name)) if name == b"slave")
}

/// Gives up what the library itself would wait for without end, such as the server's part in a handshake.
pub(super) async fn bounded<T>(
    asked: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, RedisError> {
    timeout(PATIENCE, asked)
        .await
        .unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_met_at_a_replica_breaks_a_connection() {
        let breaks = |answer: &str| {
            let answer = redis::parse_redis_value(format!("-{answer}\r\n").as_bytes());
            let answer = answer.and_then(Value::extract_error);
            breaks(&answer.expect_err("it is an error"))
        };
        for of_no_use in [
            "READONLY You can't write against a read only replica.",
            "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            "LOADING Redis is loading the dataset in memory",
            "ERR Error running script (call to f_0): @user_script:1: @user_script: 1: -READONLY You can't write against a read only replica.",
        ] {
            assert!(breaks(of_no_use), "{of_no_use}");
        }
        for of_the_question in [
            "ERR value is not an integer or out of range",
            "OOM command not allowed when used memory > 'maxmemory'.",
            "WRONGTYPE Operation against a key holding the wrong kind of value",
        ] {
            assert!(!breaks(of_the_question), "{of_the_question}");
        }
    }
}
