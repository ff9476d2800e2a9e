//! `spin:redis`, and the synchronous one of Spin 2: connections to where the manifest lets a component connect.
//!
//! What Redis answers comes as Spin gives it: lists in lists as one list.

use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, FromRedisValue, IntoConnectionInfo as _,
    RedisError, Value, cmd,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use wasmtime::component::{Accessor, HasSelf, Resource};

use crate::bindings::fermyon::spin::redis as blocking;
use crate::bindings::spin::redis::redis as concurrent;
use crate::state::{Grants, State};

/// The most connections that an instance has open. A component that forgets to close its own harms nobody else.
const CONNECTIONS: usize = 64;

/// How long a server may take to let somebody in.
const WELCOME: Duration = Duration::from_secs(5);

/// How long it may take to answer while an instance is held. Shorter: commands that wait for something fail; longer,
/// and all requests of an instance stand still for as long as a server that hangs. Others may take any time.
const HELD: Duration = Duration::from_secs(10);

/// An open connection, which many commands use at once.
#[derive(Clone, Debug)]
#[expect(
    unreachable_pub,
    reason = "the generated bindings re-export it, privately"
)]
pub struct Connection {
    line: MultiplexedConnection,
    _permit: Arc<OwnedSemaphorePermit>,
}

/// How many connections an instance may still open.
#[derive(Clone, Debug)]
pub(crate) struct Connections(Arc<Semaphore>);

impl Default for Connections {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(CONNECTIONS)))
    }
}

/// Why there is no answer.
#[derive(Debug)]
enum Failure {
    /// It is no address, or one that the manifest does not allow.
    Address,
    Connections,
    Redis(RedisError),
    Late,
}

impl Connections {
    async fn open(self, grants: Arc<Grants>, address: String) -> Result<Connection, Failure> {
        let info = address.into_connection_info();
        let info = info.map_err(|_| Failure::Address)?;
        // Of what will be connected to, and not of the text, which others may read in another way.
        let place = place(info.addr()).ok_or(Failure::Address)?;
        let mut allowed = grants.allowed_outbound_hosts.iter();
        if !allowed.any(|host| host.allows(&place)) {
            tracing::debug!(component = %grants.id, %place, "not in allowed_outbound_hosts");
            return Err(Failure::Address);
        }
        let permit = self.0.try_acquire_owned();
        let permit = permit.map_err(|_| Failure::Connections)?;
        let settings = info.tcp_settings().clone().set_nodelay(true);
        let client = Client::open(info.set_tcp_settings(settings))?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(WELCOME))
            .set_response_timeout(None);
        let opened = client.get_multiplexed_async_connection_with_config(&config);
        Ok(Connection {
            line: timeout(WELCOME, opened)
                .await
                .map_err(|_| Failure::Late)??,
            _permit: Arc::new(permit),
        })
    }
}

/// None: a file, to which nobody may connect.
fn place(address: &ConnectionAddr) -> Option<Uri> {
    let (scheme, host, port) = match address {
        ConnectionAddr::Tcp(host, port) => ("redis", host, port),
        ConnectionAddr::TcpTls { host, port, .. } => ("rediss", host, port),
        _ => return None,
    };
    let authority = if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    };
    let uri = Uri::builder().scheme(scheme).authority(authority);
    uri.path_and_query("/").build().ok()
}

impl Connection {
    async fn ask<T: FromRedisValue>(mut self, command: &Cmd) -> Result<T, Failure> {
        Ok(command.query_async(&mut self.line).await?)
    }

    async fn publish(self, channel: String, payload: Vec<u8>) -> Result<(), Failure> {
        self.ask(cmd("PUBLISH").arg(channel).arg(payload)).await
    }

    async fn get(self, key: String) -> Result<Option<Vec<u8>>, Failure> {
        self.ask(cmd("GET").arg(key)).await
    }

    async fn set(self, key: String, value: Vec<u8>) -> Result<(), Failure> {
        self.ask(cmd("SET").arg(key).arg(value)).await
    }

    async fn incr(self, key: String) -> Result<i64, Failure> {
        self.ask(cmd("INCR").arg(key)).await
    }

    async fn del(self, keys: Vec<String>) -> Result<u32, Failure> {
        self.ask(cmd("DEL").arg(keys)).await
    }

    async fn sadd(self, key: String, values: Vec<String>) -> Result<u32, Failure> {
        self.ask(cmd("SADD").arg(key).arg(values)).await
    }

    async fn smembers(self, key: String) -> Result<Vec<String>, Failure> {
        self.ask(cmd("SMEMBERS").arg(key)).await
    }

    async fn srem(self, key: String, values: Vec<String>) -> Result<u32, Failure> {
        self.ask(cmd("SREM").arg(key).arg(values)).await
    }

    async fn execute<R: Answer>(self, command: Cmd) -> Result<Vec<R>, Failure> {
        let value: Value = self.ask(&command).await?;
        let mut answer = Vec::new();
        append(value.extract_error()?, &mut answer)?;
        Ok(answer)
    }
}

/// One value of an answer, as either interface has it.
trait Answer {
    const NIL: Self;
    fn status(text: String) -> Self;
    fn int64(value: i64) -> Self;
    fn binary(bytes: Vec<u8>) -> Self;
}

fn append<R: Answer>(value: Value, answer: &mut Vec<R>) -> Result<(), Failure> {
    answer.push(match value {
        Value::Nil => R::NIL,
        Value::Int(value) => R::int64(value),
        Value::Boolean(value) => R::int64(value.into()),
        Value::Okay => R::status("OK".to_owned()),
        Value::SimpleString(text) => R::status(text),
        Value::BulkString(bytes) => R::binary(bytes),
        Value::Double(value) => R::binary(value.to_string().into()),
        Value::Array(values) | Value::Set(values) => {
            return values
                .into_iter()
                .try_for_each(|value| append(value, answer));
        }
        // Of the protocol's third version, which is not spoken here.
        _ => {
            let error = (redis::ErrorKind::UnexpectedReturnType, "an unknown answer");
            return Err(Failure::Redis(error.into()));
        }
    });
    Ok(())
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        Self::Redis(error)
    }
}

/// The same for both interfaces, which are the same but for being asynchronous.
macro_rules! translate {
    ($interface:ident) => {
        impl Answer for $interface::RedisResult {
            const NIL: Self = Self::Nil;

            fn status(text: String) -> Self {
                Self::Status(text)
            }

            fn int64(value: i64) -> Self {
                Self::Int64(value)
            }

            fn binary(bytes: Vec<u8>) -> Self {
                Self::Binary(bytes)
            }
        }

        impl From<Failure> for $interface::Error {
            fn from(failure: Failure) -> Self {
                match failure {
                    Failure::Address => Self::InvalidAddress,
                    Failure::Connections => Self::TooManyConnections,
                    Failure::Redis(error) if error.code() == Some("WRONGTYPE") => Self::TypeError,
                    Failure::Redis(error) => Self::Other(error.to_string()),
                    Failure::Late => Self::Other("the server does not answer".to_owned()),
                }
            }
        }

        impl $interface::RedisParameter {
            fn command(name: &str, arguments: Vec<Self>) -> Cmd {
                let mut command = cmd(name);
                for argument in arguments {
                    match argument {
                        Self::Int64(value) => command.arg(value),
                        Self::Binary(bytes) => command.arg(bytes),
                    };
                }
                command
            }
        }
    };
}

translate!(blocking);
translate!(concurrent);

impl State {
    fn connection(&self, connection: &Resource<Connection>) -> wasmtime::Result<Connection> {
        Ok(self.table.get(connection)?.clone())
    }
}

/// What the instance is held for.
async fn held<T>(
    asked: impl Future<Output = Result<T, Failure>>,
) -> wasmtime::Result<Result<T, blocking::Error>> {
    let answer = timeout(HELD, asked).await;
    Ok(answer.unwrap_or(Err(Failure::Late)).map_err(Into::into))
}

impl blocking::Host for State {}

impl blocking::HostConnection for State {
    async fn open(
        &mut self,
        address: String,
    ) -> wasmtime::Result<Result<Resource<Connection>, blocking::Error>> {
        let opened = self.connections.clone().open(self.grants.clone(), address);
        match opened.await {
            Ok(connection) => Ok(Ok(self.table.push(connection)?)),
            Err(failure) => Ok(Err(failure.into())),
        }
    }

    async fn publish(
        &mut self,
        connection: Resource<Connection>,
        channel: String,
        payload: Vec<u8>,
    ) -> wasmtime::Result<Result<(), blocking::Error>> {
        held(self.connection(&connection)?.publish(channel, payload)).await
    }

    async fn get(
        &mut self,
        connection: Resource<Connection>,
        key: String,
    ) -> wasmtime::Result<Result<Option<Vec<u8>>, blocking::Error>> {
        held(self.connection(&connection)?.get(key)).await
    }

    async fn set(
        &mut self,
        connection: Resource<Connection>,
        key: String,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), blocking::Error>> {
        held(self.connection(&connection)?.set(key, value)).await
    }

    async fn incr(
        &mut self,
        connection: Resource<Connection>,
        key: String,
    ) -> wasmtime::Result<Result<i64, blocking::Error>> {
        held(self.connection(&connection)?.incr(key)).await
    }

    async fn del(
        &mut self,
        connection: Resource<Connection>,
        keys: Vec<String>,
    ) -> wasmtime::Result<Result<u32, blocking::Error>> {
        held(self.connection(&connection)?.del(keys)).await
    }

    async fn sadd(
        &mut self,
        connection: Resource<Connection>,
        key: String,
        values: Vec<String>,
    ) -> wasmtime::Result<Result<u32, blocking::Error>> {
        held(self.connection(&connection)?.sadd(key, values)).await
    }

    async fn smembers(
        &mut self,
        connection: Resource<Connection>,
        key: String,
    ) -> wasmtime::Result<Result<Vec<String>, blocking::Error>> {
        held(self.connection(&connection)?.smembers(key)).await
    }

    async fn srem(
        &mut self,
        connection: Resource<Connection>,
        key: String,
        values: Vec<String>,
    ) -> wasmtime::Result<Result<u32, blocking::Error>> {
        held(self.connection(&connection)?.srem(key, values)).await
    }

    async fn execute(
        &mut self,
        connection: Resource<Connection>,
        command: String,
        arguments: Vec<blocking::RedisParameter>,
    ) -> wasmtime::Result<Result<Vec<blocking::RedisResult>, blocking::Error>> {
        let command = blocking::RedisParameter::command(&command, arguments);
        held(self.connection(&connection)?.execute(command)).await
    }

    fn drop(&mut self, connection: Resource<Connection>) -> wasmtime::Result<()> {
        self.table.delete(connection)?;
        Ok(())
    }
}

impl concurrent::Host for State {}

impl concurrent::HostConnection for State {
    fn drop(&mut self, connection: Resource<Connection>) -> wasmtime::Result<()> {
        self.table.delete(connection)?;
        Ok(())
    }
}

/// What only the calling task waits for.
async fn waited<T>(
    asked: impl Future<Output = Result<T, Failure>>,
) -> wasmtime::Result<Result<T, concurrent::Error>> {
    Ok(asked.await.map_err(Into::into))
}

fn connection_of<T>(
    accessor: &Accessor<T, HasSelf<State>>,
    connection: &Resource<Connection>,
) -> wasmtime::Result<Connection> {
    accessor.with(|mut access| access.get().connection(connection))
}

impl<T: Send + 'static> concurrent::HostConnectionWithStore<T> for HasSelf<State> {
    async fn open(
        accessor: &Accessor<T, Self>,
        address: String,
    ) -> wasmtime::Result<Result<Resource<Connection>, concurrent::Error>> {
        let opened = accessor.with(|mut access| {
            let state = access.get();
            let connections = state.connections.clone();
            connections.open(state.grants.clone(), address)
        });
        match opened.await {
            Ok(connection) => {
                let pushed = accessor.with(|mut access| access.get().table.push(connection));
                Ok(Ok(pushed?))
            }
            Err(failure) => Ok(Err(failure.into())),
        }
    }

    async fn publish(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connection>,
        channel: String,
        payload: Vec<u8>,
    ) -> wasmtime::Result<Result<(), concurrent::Error>> {
        waited(connection_of(accessor, &connection)?.publish(channel, payload)).await
    }

    async fn get(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connection>,
        key: String,
    ) -> wasmtime::Result<Result<Option<Vec<u8>>, concurrent::Error>> {
        waited(connection_of(accessor, &connection)?.get(key)).await
    }

    async fn set(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connection>,
        key: String,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), concurrent::Error>> {
        waited(connection_of(accessor, &connection)?.set(key, value)).await
    }

    async fn incr(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connection>,
        key: String,
    ) -> wasmtime::Result<Result<i64, concurrent::Error>> {
        waited(connection_of(accessor, &connection)?.incr(key)).await
    }

    async fn del(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connection>,
        keys: Vec<String>,
    ) -> wasmtime::Result<Result<u32, concurrent::Error>> {
        waited(connection_of(accessor, &connection)?.del(keys)).await
    }

    async fn sadd(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connection>,
        key: String,
        values: Vec<String>,
    ) -> wasmtime::Result<Result<u32, concurrent::Error>> {
        waited(connection_of(accessor, &connection)?.sadd(key, values)).await
    }

    async fn smembers(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connection>,
        key: String,
    ) -> wasmtime::Result<Result<Vec<String>, concurrent::Error>> {
        waited(connection_of(accessor, &connection)?.smembers(key)).await
    }

    async fn srem(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connection>,
        key: String,
        values: Vec<String>,
    ) -> wasmtime::Result<Result<u32, concurrent::Error>> {
        waited(connection_of(accessor, &connection)?.srem(key, values)).await
    }

    async fn execute(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connection>,
        command: String,
        arguments: Vec<concurrent::RedisParameter>,
    ) -> wasmtime::Result<Result<Vec<concurrent::RedisResult>, concurrent::Error>> {
        let command = concurrent::RedisParameter::command(&command, arguments);
        waited(connection_of(accessor, &connection)?.execute(command)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_connection_goes_is_what_must_be_allowed() {
        #[track_caller]
        fn check(address: &str, goes: Option<&str>) {
            let info = address.into_connection_info().expect("it is an address");
            let place = place(info.addr()).map(|place| place.to_string());
            assert_eq!(place.as_deref(), goes);
        }
        check("redis://127.0.0.1", Some("redis://127.0.0.1:6379/"));
        check(
            "redis://u:p%40x@r.example:7/3",
            Some("redis://r.example:7/"),
        );
        check("rediss://:p@r.example", Some("rediss://r.example:6379/"));
        check("redis://[::1]:7", Some("redis://[::1]:7/"));
        check("redis+unix:///run/redis.sock", None);
        check("unix:///run/redis.sock", None);
    }

    #[test]
    fn lists_in_lists_come_as_one_list() {
        let text = |text: &str| Value::BulkString(text.into());
        let value = Value::Array(vec![
            text("a"),
            Value::Array(vec![
                Value::Int(1),
                Value::Array(vec![]),
                Value::Nil,
                Value::Okay,
            ]),
            Value::SimpleString("PONG".to_owned()),
        ]);
        let mut answer = Vec::new();
        append::<concurrent::RedisResult>(value, &mut answer).expect("it is known");
        let told: Vec<_> = answer.iter().map(|value| format!("{value:?}")).collect();
        let expected = [
            "RedisResult::Binary([97])",
            "RedisResult::Int64(1)",
            "RedisResult::Nil",
            "RedisResult::Status(\"OK\")",
            "RedisResult::Status(\"PONG\")",
        ];
        assert_eq!(told, expected);
        let strange = Value::Map(Vec::new());
        append::<blocking::RedisResult>(strange, &mut Vec::new()).expect_err("it is not");
    }
}
