//! WASI for the instances of components, compiled once.
//!
//! wasmtime makes some kilobytes of code for each of WASI's three hundred functions and each type of state that an
//! engine keeps for an instance: two thirds of what there is to compile of a host. Here that type is one that hides the
//! host's own, so that the host, and its tests, are compiled without. It costs a call through a table where a component
//! calls WASI.

use std::any::Any;

use wasmtime::component::Linker;
use wasmtime_wasi::{WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView};

/// What a host has of an instance: anything in which WASI finds its own.
pub trait Guest: WasiView + WasiHttpView + Any {}

impl<G: WasiView + WasiHttpView + Any> Guest for G {}

/// The state of an instance as the engine keeps it.
pub struct Sandbox(Box<dyn Guest>);

impl Sandbox {
    /// Keeps what the host has of an instance.
    pub fn new(guest: impl Guest) -> Self {
        Self(Box::new(guest))
    }

    /// What the host has of the instance.
    ///
    /// # Panics
    /// Where that is of another type than what was put in.
    pub fn guest<G: Guest>(&mut self) -> &mut G {
        let guest: &mut dyn Any = &mut *self.0;
        guest.downcast_mut().expect("a host has one type of guests")
    }
}

impl WasiView for Sandbox {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.0.ctx()
    }
}

impl WasiHttpView for Sandbox {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.0.http()
    }
}

/// Lets components import WASI 0.2, and 0.3 with its HTTP.
///
/// # Errors
/// Where the linker has some of it already.
pub fn link(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    wasmtime_wasi::p3::add_to_linker(linker)?;
    wasmtime_wasi_http::p3::add_to_linker(linker)
}
