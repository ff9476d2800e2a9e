//! One file for each way of reading.

pub(crate) mod long_polling;
pub(crate) mod short_polling;
pub(crate) mod sse;

mod batch;
