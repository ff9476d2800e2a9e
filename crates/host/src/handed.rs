//! A listening socket that whoever starts the process hands over, as systemd does (sd_listen_fds(3)).
//!
//! The socket is open before the process and after it: whoever connects while one ends and the next begins waits in
//! its queue, and is refused by nobody.

use std::fmt;
use std::net::TcpListener;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use listenfd::ListenFd;

/// A socket that listens already. Clones are the same socket.
#[derive(Clone)]
pub struct Handed(Arc<TcpListener>);

impl fmt::Debug for Handed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handed").field(&self.0.local_addr()).finish()
    }
}

impl Handed {
    /// The one that the environment tells of, if it does. It changes the environment, so that no process takes it a
    /// second time: no other thread may run yet.
    ///
    /// # Errors
    /// Where it is no TCP socket, or there are several.
    pub fn from_environment() -> anyhow::Result<Option<Self>> {
        let mut handed = ListenFd::from_env();
        ensure!(
            handed.len() <= 1,
            "{} sockets are handed over, one is taken",
            handed.len()
        );
        let listener = handed.take_tcp_listener(0);
        let listener = listener.context("the socket that is handed over is unusable")?;
        Ok(listener.map(|listener| Self(Arc::new(listener))))
    }

    /// The socket, for the runtime that this is called in.
    pub(crate) fn listener(&self) -> std::io::Result<tokio::net::TcpListener> {
        let listener = self.0.try_clone()?;
        listener.set_nonblocking(true)?;
        tokio::net::TcpListener::from_std(listener)
    }
}
