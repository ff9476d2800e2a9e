//! The host: routes from spin.toml, stores, dispatch, wakeups
