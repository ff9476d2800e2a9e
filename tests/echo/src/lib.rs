//! A WebSocket that sends back what it gets, for suites that others wrote.

use guest::socket::{Handshake, Socket};
use guest::{Request, Response};
use ws::{CloseCode, Event, Limits};

/// The suites send messages of 16 MiB.
const LIMITS: Limits = Limits {
    frame: 32 * 1024 * 1024,
    message: 32 * 1024 * 1024,
    pending: 64 * 1024 * 1024,
};

async fn handle(request: Request) -> Response {
    match Handshake::read(&request, &[], LIMITS) {
        Ok(handshake) => {
            let (response, socket) = handshake.accept(request);
            guest::spawn(echo(socket));
            response
        }
        Err(response) => response,
    }
}

async fn echo(mut socket: Socket) {
    while let Some(event) = socket.receive().await {
        // It fails only where the connection is closed, and then nothing more is received.
        let _ = match event {
            Event::Text(text) => socket.connection().send_text(&text),
            Event::Binary(bytes) => socket.connection().send_binary(&bytes),
            Event::Ping(_) | Event::Pong(_) => Ok(()),
            Event::Close { .. } | Event::Failed(_) => break,
        };
        if !socket.flush().await {
            return;
        }
    }
    socket.close(CloseCode::NORMAL, "").await;
}

guest::serve!(handle);
