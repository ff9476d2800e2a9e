//! One file for each way of reading.

pub(crate) mod htmlfile;
pub(crate) mod jsonp_polling;
pub(crate) mod long_polling;
pub(crate) mod short_polling;
pub(crate) mod sse;
pub(crate) mod websocket;
pub(crate) mod xhr_streaming;

mod batch;
mod frames;
mod lines;
