//! The host and a component that misbehaves on request, over real sockets.

mod command;
mod deploy;
mod gateway;
mod http2;
mod instances;
mod limits;
mod log;
mod operating;
mod readers;
mod redis_components;
mod serve;
mod support;
mod telemetry;
mod tls;
mod upgrades;
