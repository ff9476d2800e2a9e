//! What components print: a line of the host's log each.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};

/// The longest line that is kept together. Shorter, and a panic's message is torn; longer, and a
/// component that prints without line breaks holds that much of the host's memory.
const LONGEST: usize = 8192;

/// One of a component's two outputs.
#[derive(Clone)]
pub(crate) struct Output {
    component: Arc<str>,
    /// The line that has no end yet; all streams of one output share it.
    line: Arc<Mutex<Vec<u8>>>,
}

impl Output {
    pub(crate) fn new(component: &str) -> Self {
        Self {
            component: component.into(),
            line: Arc::default(),
        }
    }

    fn print(&self, bytes: &[u8]) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            for part in part.chunks(LONGEST) {
                line.extend_from_slice(part);
                if line.ends_with(b"\n") || line.len() >= LONGEST {
                    let text = String::from_utf8_lossy(&line);
                    tracing::info!(target: "witter::guest", component = &*self.component, "{}", text.trim_end());
                    line.clear();
                }
            }
        }
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for Output {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.print(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
