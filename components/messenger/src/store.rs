//! The mailbox's store: the host's key-value store, by two interfaces.
//!
//! Reads and plain writes go through `spin:key-value`, which is asynchronous, so that a slow store does
//! not hold the instance; what must be atomic goes through `wasi:keyvalue`, the only one that has it, and so does
//! reading what is to be replaced.

use crate::bindings::wasi::keyvalue::{atomics, store};
use mailbox::{StoreError, Swap};
use spin_sdk::key_value;
use std::cell::RefCell;
use std::rc::Rc;

/// The store's label: the only one that exists everywhere without a runtime configuration.
const LABEL: &str = "default";

/// Opened at first use, and again after a failure to open.
#[derive(Default)]
pub(crate) struct KeyValue {
    plain: RefCell<Option<Rc<key_value::Store>>>,
    atomic: RefCell<Option<Rc<store::Bucket>>>,
}

impl KeyValue {
    async fn plain(&self) -> Result<Rc<key_value::Store>, StoreError> {
        if let Some(store) = &*self.plain.borrow() {
            return Ok(Rc::clone(store));
        }
        let store = Rc::new(key_value::Store::open(LABEL).await.map_err(plain_error)?);
        *self.plain.borrow_mut() = Some(Rc::clone(&store));
        Ok(store)
    }

    fn atomic(&self) -> Result<Rc<store::Bucket>, StoreError> {
        if let Some(bucket) = &*self.atomic.borrow() {
            return Ok(Rc::clone(bucket));
        }
        let bucket = Rc::new(store::open(LABEL).map_err(atomic_error)?);
        *self.atomic.borrow_mut() = Some(Rc::clone(&bucket));
        Ok(bucket)
    }
}

impl mailbox::Store for KeyValue {
    type Held = atomics::Cas;

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.plain().await?.get(key).await.map_err(plain_error)
    }

    async fn hold(&self, key: &str) -> Result<Option<(Vec<u8>, atomics::Cas)>, StoreError> {
        let cas = atomics::Cas::new(&*self.atomic()?, key).map_err(atomic_error)?;
        let value = cas.current().map_err(atomic_error)?;
        Ok(value.map(|value| (value, cas)))
    }

    async fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.plain()
            .await?
            .set(key, value)
            .await
            .map_err(plain_error)
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.plain().await?.delete(key).await.map_err(plain_error)
    }

    async fn increment(&self, key: &str, delta: i64) -> Result<i64, StoreError> {
        atomics::increment(&*self.atomic()?, key, delta).map_err(atomic_error)
    }

    async fn swap(&self, cas: atomics::Cas, value: &[u8]) -> Result<Swap, StoreError> {
        match atomics::swap(cas, value) {
            Ok(()) => Ok(Swap::Won),
            Err(atomics::CasError::CasFailed(_)) => Ok(Swap::Lost),
            Err(atomics::CasError::StoreError(error)) => Err(atomic_error(error)),
        }
    }
}

fn plain_error(error: key_value::Error) -> StoreError {
    StoreError(error.to_string())
}

fn atomic_error(error: store::Error) -> StoreError {
    StoreError(match error {
        store::Error::NoSuchStore => "no such store".to_owned(),
        store::Error::AccessDenied => "access to the store denied".to_owned(),
        store::Error::Other(detail) => detail,
    })
}
