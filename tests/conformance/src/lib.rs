//! A client of Witter that shares no code with it: what it reads was parsed by other people's libraries,
//! so that a mistake made twice in the same way still shows.
//!
//! The corpus that is run with it stands in `tests/`.

mod client;
mod cluster;
mod command;
mod deployed;
mod hook;
mod live;
mod process;
mod raw;
mod reader;
mod server;
mod socket;
mod token;
mod wire;

pub use client::{Answer, Client, Session};
pub use cluster::Cluster;
pub use deployed::{Deployed, nodes, spin};
pub use hook::{Attempt, HOOK_SECRET, Hook, Said as HookSaid};
pub use live::{Live, State};
pub use process::{Process, manifest, program};
pub use raw::{RawAnswer, exchange, read_answer, read_head};
pub use reader::{Batch, Denied, Envelope, Fault, Gap, Query, Reader};
pub use server::{Gateway, Server, UNLIMITED, Wakeup};
pub use socket::{Said, Socket};
pub use token::{SECRET, sign, token};
pub use wire::{Wire, Wiring};
pub use yawc::Frame;

include!(concat!(env!("OUT_DIR"), "/transport.rs"));
