//! What the deployment says.

use crate::bindings::wasi::config::store;
use protocol::{Error, Origins};
use std::cell::OnceCell;
use std::rc::Rc;

/// A variable of the deployment; none where it is empty or not defined.
///
/// # Errors
/// 503 where the host cannot tell.
pub fn variable(name: &str) -> Result<Option<String>, Error> {
    match store::get(name) {
        Ok(value) => Ok(value.filter(|value| !value.is_empty())),
        Err(error) => Err(Error::Unavailable(format!("{name}: {error:?}"))),
    }
}

/// A variable that names origins; none where it is empty or not defined.
///
/// # Errors
/// 503 where the host cannot tell, and for what are no origins.
pub fn origins(name: &str) -> Result<Option<Origins>, Error> {
    let list = variable(name)?.map(|list| list.parse());
    list.transpose().map_err(|error| {
        Error::Unavailable(format!("this server is set up wrong: {name}: {error}"))
    })
}

/// The variable `origins`: whose pages may use this server; any, where it is not set. Read once in the life of
/// an instance; an error is not kept, for it may pass.
#[doc(hidden)]
pub fn sharing() -> Result<Rc<Origins>, Error> {
    thread_local! {
        static ORIGINS: OnceCell<Rc<Origins>> = const { OnceCell::new() };
    }
    ORIGINS.with(|cell| {
        if let Some(origins) = cell.get() {
            return Ok(Rc::clone(origins));
        }
        let origins = origins("origins")?.unwrap_or(Origins::Any);
        Ok(Rc::clone(cell.get_or_init(|| Rc::new(origins))))
    })
}
