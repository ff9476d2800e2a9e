//! The connections of an instance.

use crate::bindings::fermyon::spin::redis as blocking;
use crate::bindings::spin::redis::redis as concurrent;
use crate::prefix::Prefix;
use crate::settings::Settings;
use crate::spared::Spared;
use crate::{Command, Error, Value};
use futures::future::{Either, select};
use futures::lock::Mutex;
use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;
use wasip3::clocks::monotonic_clock;

/// How long an answer may take. Redis itself holds up writes for two seconds where its disk is slow; much longer, and
/// those who publish give up before they are told.
const PATIENCE: Duration = Duration::from_secs(5);

/// The Redis of this deployment, and the connections to it that all calls of an instance share.
pub struct Redis {
    settings: Settings,
    spared: Spared,
    blocking: RefCell<Option<Rc<blocking::Connection>>>,
    line: RefCell<Rc<Line>>,
}

/// A connection of its own for commands that wait in Redis, which would hold up what comes behind them.
#[derive(Default)]
pub struct Line {
    /// Locked while it is opened: who comes meanwhile waits for the same one.
    connection: Mutex<Option<Rc<concurrent::Connection>>>,
}

impl Redis {
    /// What this instance uses. An error is not kept, for it may pass.
    ///
    /// # Errors
    /// The deployment does not tell which Redis.
    pub fn shared() -> Result<Rc<Self>, Error> {
        thread_local! {
            static REDIS: RefCell<Option<Rc<Redis>>> = const { RefCell::new(None) };
        }
        REDIS.with_borrow_mut(|redis| {
            if let Some(redis) = redis {
                return Ok(Rc::clone(redis));
            }
            let made = Rc::new(Self {
                settings: Settings::read()?,
                spared: Spared::default(),
                blocking: RefCell::default(),
                line: RefCell::default(),
            });
            Ok(Rc::clone(redis.insert(made)))
        })
    }

    /// What keys begin with.
    pub fn prefix(&self) -> &Prefix {
        &self.settings.prefix
    }

    /// Sends a command and holds the instance until it is answered.
    ///
    /// # Errors
    /// No answer, or one that tells of an error: what was asked may be done.
    pub fn call(&self, command: Command) -> Result<Vec<Value>, Error> {
        let answer = self.call_once(&command);
        if answer.is_err() && command.repeatable {
            return self.call_once(&command);
        }
        answer
    }

    fn call_once(&self, command: &Command) -> Result<Vec<Value>, Error> {
        let kept = self.blocking.borrow().as_ref().map(Rc::clone);
        let connection = match kept {
            Some(connection) => connection,
            None => {
                let attempt = self.spared.attempt()?;
                let opened = Rc::new(blocking::Connection::open(&self.settings.address)?);
                attempt.succeeded();
                *self.blocking.borrow_mut() = Some(Rc::clone(&opened));
                opened
            }
        };
        let arguments = command.arguments.iter();
        let arguments: Vec<_> = arguments
            .map(|argument| blocking::RedisParameter::Binary(argument.clone()))
            .collect();
        match connection.execute(command.name, &arguments) {
            Ok(results) => Ok(results.into_iter().map(Value::from).collect()),
            Err(error) => {
                self.forget();
                Err(error.into())
            }
        }
    }

    /// Sends a command and waits for the answer; other tasks go on.
    ///
    /// # Errors
    /// No answer, or one that tells of an error: what was asked may be done.
    pub async fn query(&self, command: Command) -> Result<Vec<Value>, Error> {
        let answer = self.query_once(&command).await;
        if answer.is_err() && command.repeatable {
            return self.query_once(&command).await;
        }
        answer
    }

    async fn query_once(&self, command: &Command) -> Result<Vec<Value>, Error> {
        let line = Rc::clone(&self.line.borrow());
        let answer = self.send(&line, command, PATIENCE).await;
        if answer.is_err() && Rc::ptr_eq(&line, &self.line.borrow()) {
            self.forget();
        }
        answer
    }

    /// Sends a command over a connection of its own, once, and gives up after `patience`. After an error take another
    /// line.
    ///
    /// # Errors
    /// No answer, or one that tells of an error: what was asked may be done.
    pub async fn send(
        &self,
        line: &Line,
        command: &Command,
        patience: Duration,
    ) -> Result<Vec<Value>, Error> {
        let patience = u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX);
        let late = pin!(monotonic_clock::wait_for(patience));
        match select(pin!(self.answer(line, command)), late).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => Err(Error::Redis("no answer".to_owned())),
        }
    }

    async fn answer(&self, line: &Line, command: &Command) -> Result<Vec<Value>, Error> {
        let connection = {
            let mut kept = line.connection.lock().await;
            match &*kept {
                Some(connection) => Rc::clone(connection),
                None => {
                    let attempt = self.spared.attempt()?;
                    let address = self.settings.address.clone();
                    let opened = Rc::new(concurrent::Connection::open(address).await?);
                    attempt.succeeded();
                    Rc::clone(kept.insert(opened))
                }
            }
        };
        let arguments = command.arguments.iter();
        let arguments: Vec<_> = arguments
            .map(|argument| concurrent::RedisParameter::Binary(argument.clone()))
            .collect();
        let results = connection.execute(command.name.to_owned(), arguments).await;
        Ok(results?.into_iter().map(Value::from).collect())
    }

    /// Lets all connections go. What broke one, Redis being restarted, mostly broke the others as well.
    fn forget(&self) {
        *self.blocking.borrow_mut() = None;
        *self.line.borrow_mut() = Rc::default();
    }
}

impl From<blocking::Error> for Error {
    fn from(error: blocking::Error) -> Self {
        match error {
            blocking::Error::InvalidAddress => Self::Address,
            blocking::Error::TooManyConnections => Self::Connections,
            blocking::Error::TypeError => Self::Redis("a value of another type".to_owned()),
            blocking::Error::Other(detail) => Self::Redis(detail),
        }
    }
}

impl From<concurrent::Error> for Error {
    fn from(error: concurrent::Error) -> Self {
        match error {
            concurrent::Error::InvalidAddress => Self::Address,
            concurrent::Error::TooManyConnections => Self::Connections,
            concurrent::Error::TypeError => Self::Redis("a value of another type".to_owned()),
            concurrent::Error::Other(detail) => Self::Redis(detail),
        }
    }
}
