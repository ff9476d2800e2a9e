//! The way to the server: one connection for all, which is made again when it breaks.
//!
//! While there is none, whoever asks is told so at once: components ask while their whole instance waits, and
//! to wait for a server that is away, one after the other, would hold up those who need nothing of it.

use std::error::Error;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind,
    Value, cmd,
};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

/// How long an answer may take. Redis itself holds up writes for two seconds where the disk is slow and
/// `appendfsync` is `everysec`; much longer, and those who publish give up before they are told.
const PATIENCE: Duration = Duration::from_secs(3);

/// Between two attempts to connect: first, and at most. Longer, and a server that is back waits for its nodes;
/// shorter, and they keep it from coming back. A connection that lives for less than the longest was one more attempt.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// A connection, which many use at once.
#[derive(Debug)]
pub(super) struct Link {
    state: watch::Receiver<State>,
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
        let server = Server { client, unused };
        let first = server.connect().await?;
        let (states, state) = watch::channel(State::Connected(0, first));
        let (broken, told) = mpsc::unbounded_channel();
        tokio::spawn(keep(server, states, told));
        Ok(Self { state, broken })
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
    // Who writes to a replica has the server of before a failover.
    let of_no_use = [ServerErrorKind::ReadOnly, ServerErrorKind::BusyLoading];
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
    while let Some((number, error)) = broken.recv().await {
        // Everybody tells whom it met.
        if number != current {
            continue;
        }
        tracing::warn!(error = &error as &dyn Error, "the store is away");
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
                Err(error) => states.send_replace(State::Away(error)),
            };
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
        match cmd("ROLE").query_async::<Vec<Value>>(&mut connection).await {
            Ok(role) if is_replica(&role) => Err((
                ErrorKind::Server(ServerErrorKind::ReadOnly),
                "the server is a replica",
            )
                .into()),
            Ok(_) => Ok(connection),
            Err(error) if breaks(&error) => Err(error),
            // Not every server lets itself be asked. A replica refuses to delete even what is not there.
            Err(_) => {
                let mut delete = cmd("DEL");
                delete.arg(&self.unused);
                match delete.query_async::<Value>(&mut connection).await {
                    Err(error) if breaks(&error) => Err(error),
                    _ => Ok(connection),
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
    fn what_a_script_meets_at_a_replica_breaks_a_connection() {
        let told = |detail: &str| {
            let kind = ErrorKind::Server(ServerErrorKind::ResponseError);
            breaks(&(kind, "ERR", detail.to_owned()).into())
        };
        assert!(told(
            "Error running script (call to f_0): @user_script:1: @user_script: 1: -READONLY You can't write against a read only replica."
        ));
        assert!(!told("value is not an integer or out of range"));
    }
}
