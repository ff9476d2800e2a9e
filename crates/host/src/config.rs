//! `spin:variables` and `wasi:config`: the variables that the manifest gives a component.

use wasmtime::component::{Accessor, HasSelf};

use crate::bindings::spin::variables::variables;
use crate::bindings::wasi::config::store;
use crate::state::State;
use crate::variables::check_name;

impl variables::Host for State {}

impl<T: 'static> variables::HostWithStore<T> for HasSelf<State> {
    async fn get(
        accessor: &Accessor<T, Self>,
        name: String,
    ) -> wasmtime::Result<Result<String, variables::Error>> {
        if let Err(error) = check_name(&name) {
            return Ok(Err(variables::Error::InvalidName(error.to_string())));
        }
        let value = accessor.with(|mut access| access.get().grants.variables.get(&name).cloned());
        Ok(value.ok_or_else(|| variables::Error::Undefined(format!("no variable for {name:?}"))))
    }
}

impl store::Host for State {
    /// A key that is no variable's name has no value: the interface knows no error for it.
    fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<String>, store::Error>> {
        Ok(Ok(self.grants.variables.get(&key).cloned()))
    }

    fn get_all(&mut self) -> wasmtime::Result<Result<Vec<(String, String)>, store::Error>> {
        Ok(Ok(self.grants.variables.clone().into_iter().collect()))
    }
}
