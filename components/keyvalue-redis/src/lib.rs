//! A store in Redis: `wasi:keyvalue` with the guarantees that it promises, and `spin:key-value`, on `spin:redis`.
//!
//! For hosts whose own store lacks something: Spin's store in Redis tells every swap as lost and fails at reading
//! many keys, some clouds' have no atomics at all. Keys and values are where and what Spin's store in Redis makes
//! them, so both may serve one Redis at once.

mod atomics;
mod batch;
mod bindings;
mod bucket;
mod commands;
mod concurrent;

/// The one label: with plain keys, two would be the same keys.
const LABEL: &str = "default";

struct Store;
