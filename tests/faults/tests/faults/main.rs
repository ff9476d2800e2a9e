//! Kills, cuts, proxies and broken stores. One program: to link the host into one for each file takes minutes.

mod changes;
mod cuts;
mod handover;
mod idle;
mod kills;
mod migration;
mod presence;
mod proxies;
mod readers;
mod redis;
mod redis_components;
mod stopping;
mod store;
mod webhook;
