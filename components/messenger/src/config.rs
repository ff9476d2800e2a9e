//! What the deployment says.

use crate::bindings::exports::witter::messaging::messenger::Error;
use crate::bindings::wasi::config::store;
use std::fmt::Display;
use std::str::FromStr;

/// A variable; none where it is empty or not defined.
pub(crate) fn variable<T>(name: &str) -> Result<Option<T>, Error>
where
    T: FromStr<Err: Display>,
{
    let value = store::get(name).map_err(|error| Error::Unavailable(format!("{name}: {error:?}")));
    let value = value?.filter(|value| !value.trim().is_empty());
    value
        .map(|value| value.parse())
        .transpose()
        .map_err(|error| wrong(format!("{name}: {error}")))
}

/// What the deployment says cannot be followed.
pub(crate) fn wrong(why: impl Display) -> Error {
    Error::Unavailable(format!("this server is set up wrong: {why}"))
}
