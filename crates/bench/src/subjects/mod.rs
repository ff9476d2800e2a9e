//! One file for each way of reading, and for each of the others' servers.

pub(crate) mod faye;
pub(crate) mod htmlfile;
pub(crate) mod jsonp_polling;
pub(crate) mod long_polling;
pub(crate) mod nchan;
pub(crate) mod short_polling;
pub(crate) mod socket_io;
pub(crate) mod sockjs;
pub(crate) mod sse;
pub(crate) mod websocket;
pub(crate) mod ws;
pub(crate) mod xhr_streaming;

mod batch;
mod frames;
mod lines;
