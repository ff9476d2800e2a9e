//! `wasi:keyvalue` and `spin:key-value` on the host's store.
//!
//! `wasi:keyvalue`'s functions are synchronous for the component that calls them: its whole instance waits
//! for the answer, and nobody else. `spin:key-value`'s are asynchronous: only the calling task waits.

use wasmtime::component::{Accessor, FutureReader, HasSelf, Resource, StreamReader};

use crate::bindings::spin::key_value::key_value as spin;
use crate::bindings::wasi::keyvalue::{atomics, batch, store as wasi};
use crate::state::{Grants, State};
use crate::store::{Store, StoreError};

/// An open store.
#[derive(Clone, Debug)]
#[expect(
    unreachable_pub,
    reason = "the generated bindings re-export it, privately"
)]
pub struct Bucket {
    store: Store,
    label: String,
}

/// A key and the value that a swap expects there.
#[derive(Debug)]
#[expect(
    unreachable_pub,
    reason = "the generated bindings re-export it, privately"
)]
pub struct Cas {
    bucket: Bucket,
    key: String,
    expected: Option<Vec<u8>>,
}

impl Grants {
    /// None where the manifest does not grant the label. One that it grants exists.
    fn open(&self, label: String) -> Option<Bucket> {
        self.stores.contains(&label).then(|| Bucket {
            store: self.store.clone(),
            label,
        })
    }
}

impl Bucket {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.get(&self.label, key).await
    }

    async fn cas(self, key: String) -> Result<Cas, StoreError> {
        let expected = self.get(&key).await?;
        Ok(Cas {
            bucket: self,
            key,
            expected,
        })
    }
}

/// What a component may know of a store's failure. The store itself logs when a fault begins and ends, so the
/// cause of each call's is for whoever asks for it.
fn told(error: &StoreError) -> String {
    match error {
        StoreError::Unavailable(cause) => tracing::debug!(%cause, "{error}"),
        _ => tracing::debug!("{error}"),
    }
    error.to_string()
}

impl From<StoreError> for wasi::Error {
    fn from(error: StoreError) -> Self {
        Self::Other(told(&error))
    }
}

impl From<StoreError> for spin::Error {
    fn from(error: StoreError) -> Self {
        Self::Other(told(&error))
    }
}

impl State {
    fn bucket(&self, bucket: &Resource<Bucket>) -> wasmtime::Result<Bucket> {
        Ok(self.table.get(bucket)?.clone())
    }
}

impl wasi::Host for State {
    fn open(
        &mut self,
        identifier: String,
    ) -> wasmtime::Result<Result<Resource<Bucket>, wasi::Error>> {
        match self.grants.open(identifier) {
            Some(bucket) => Ok(Ok(self.table.push(bucket)?)),
            None => Ok(Err(wasi::Error::AccessDenied)),
        }
    }
}

impl wasi::HostBucket for State {
    async fn get(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
    ) -> wasmtime::Result<Result<Option<Vec<u8>>, wasi::Error>> {
        Ok(self.bucket(&bucket)?.get(&key).await.map_err(Into::into))
    }

    async fn set(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), wasi::Error>> {
        let Bucket { store, label } = self.bucket(&bucket)?;
        Ok(store
            .set_many(&label, vec![(key, value)])
            .await
            .map_err(Into::into))
    }

    async fn delete(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
    ) -> wasmtime::Result<Result<(), wasi::Error>> {
        let Bucket { store, label } = self.bucket(&bucket)?;
        Ok(store.delete(&label, &key).await.map_err(Into::into))
    }

    async fn exists(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
    ) -> wasmtime::Result<Result<bool, wasi::Error>> {
        let Bucket { store, label } = self.bucket(&bucket)?;
        Ok(store.exists(&label, &key).await.map_err(Into::into))
    }

    /// All keys at once, as Spin does.
    async fn list_keys(
        &mut self,
        bucket: Resource<Bucket>,
        cursor: Option<String>,
    ) -> wasmtime::Result<Result<wasi::KeyResponse, wasi::Error>> {
        if cursor.is_some() {
            return Ok(Err(wasi::Error::Other(
                "no page has a cursor, so none can be asked for".to_owned(),
            )));
        }
        let Bucket { store, label } = self.bucket(&bucket)?;
        let keys = store.keys(&label).await;
        Ok(keys
            .map(|keys| wasi::KeyResponse { keys, cursor: None })
            .map_err(Into::into))
    }

    fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl batch::Host for State {
    async fn get_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> wasmtime::Result<Result<Vec<(String, Option<Vec<u8>>)>, wasi::Error>> {
        let Bucket { store, label } = self.bucket(&bucket)?;
        let values = store.get_many(&label, &keys).await;
        Ok(values
            .map(|values| keys.into_iter().zip(values).collect())
            .map_err(Into::into))
    }

    async fn set_many(
        &mut self,
        bucket: Resource<Bucket>,
        pairs: Vec<(String, Vec<u8>)>,
    ) -> wasmtime::Result<Result<(), wasi::Error>> {
        let Bucket { store, label } = self.bucket(&bucket)?;
        Ok(store.set_many(&label, pairs).await.map_err(Into::into))
    }

    async fn delete_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> wasmtime::Result<Result<(), wasi::Error>> {
        let Bucket { store, label } = self.bucket(&bucket)?;
        Ok(store.delete_many(&label, &keys).await.map_err(Into::into))
    }
}

impl atomics::Host for State {
    async fn increment(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        delta: i64,
    ) -> wasmtime::Result<Result<i64, wasi::Error>> {
        let Bucket { store, label } = self.bucket(&bucket)?;
        Ok(store
            .increment(&label, &key, delta)
            .await
            .map_err(Into::into))
    }

    async fn swap(
        &mut self,
        cas: Resource<Cas>,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), atomics::CasError>> {
        let Cas {
            bucket,
            key,
            expected,
        } = self.table.delete(cas)?;
        let swapped = bucket
            .store
            .swap(&bucket.label, &key, expected.as_deref(), &value)
            .await;
        let again = match swapped {
            Ok(true) => return Ok(Ok(())),
            Ok(false) => bucket.cas(key).await,
            Err(error) => Err(error),
        };
        match again {
            Ok(cas) => Ok(Err(atomics::CasError::CasFailed(self.table.push(cas)?))),
            Err(error) => Ok(Err(atomics::CasError::StoreError(error.into()))),
        }
    }
}

impl atomics::HostCas for State {
    /// Reads the value that a swap will expect; `current` tells it without reading again.
    async fn new(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
    ) -> wasmtime::Result<Result<Resource<Cas>, wasi::Error>> {
        match self.bucket(&bucket)?.cas(key).await {
            Ok(cas) => Ok(Ok(self.table.push(cas)?)),
            Err(error) => Ok(Err(error.into())),
        }
    }

    async fn current(
        &mut self,
        cas: Resource<Cas>,
    ) -> wasmtime::Result<Result<Option<Vec<u8>>, wasi::Error>> {
        Ok(Ok(self.table.get(&cas)?.expected.clone()))
    }

    fn drop(&mut self, cas: Resource<Cas>) -> wasmtime::Result<()> {
        self.table.delete(cas)?;
        Ok(())
    }
}

impl spin::Host for State {}

impl spin::HostStore for State {
    fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

fn bucket_of<T>(
    accessor: &Accessor<T, HasSelf<State>>,
    bucket: &Resource<Bucket>,
) -> wasmtime::Result<Bucket> {
    accessor.with(|mut access| access.get().bucket(bucket))
}

impl<T: Send + 'static> spin::HostStoreWithStore<T> for HasSelf<State> {
    async fn open(
        accessor: &Accessor<T, Self>,
        label: String,
    ) -> wasmtime::Result<Result<Resource<Bucket>, spin::Error>> {
        accessor.with(|mut access| {
            let state = access.get();
            match state.grants.open(label) {
                Some(bucket) => Ok(Ok(state.table.push(bucket)?)),
                None => Ok(Err(spin::Error::AccessDenied)),
            }
        })
    }

    async fn get(
        accessor: &Accessor<T, Self>,
        bucket: Resource<Bucket>,
        key: String,
    ) -> wasmtime::Result<Result<Option<Vec<u8>>, spin::Error>> {
        Ok(bucket_of(accessor, &bucket)?
            .get(&key)
            .await
            .map_err(Into::into))
    }

    async fn set(
        accessor: &Accessor<T, Self>,
        bucket: Resource<Bucket>,
        key: String,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), spin::Error>> {
        let Bucket { store, label } = bucket_of(accessor, &bucket)?;
        Ok(store
            .set_many(&label, vec![(key, value)])
            .await
            .map_err(Into::into))
    }

    async fn delete(
        accessor: &Accessor<T, Self>,
        bucket: Resource<Bucket>,
        key: String,
    ) -> wasmtime::Result<Result<(), spin::Error>> {
        let Bucket { store, label } = bucket_of(accessor, &bucket)?;
        Ok(store.delete(&label, &key).await.map_err(Into::into))
    }

    async fn exists(
        accessor: &Accessor<T, Self>,
        bucket: Resource<Bucket>,
        key: String,
    ) -> wasmtime::Result<Result<bool, spin::Error>> {
        let Bucket { store, label } = bucket_of(accessor, &bucket)?;
        Ok(store.exists(&label, &key).await.map_err(Into::into))
    }

    async fn get_keys(
        accessor: &Accessor<T, Self>,
        bucket: Resource<Bucket>,
    ) -> wasmtime::Result<(StreamReader<String>, FutureReader<Result<(), spin::Error>>)> {
        let Bucket { store, label } = bucket_of(accessor, &bucket)?;
        let (keys, end) = match store.keys(&label).await {
            Ok(keys) => (keys, Ok(())),
            Err(error) => (Vec::new(), Err(spin::Error::from(error))),
        };
        accessor.with(|mut access| {
            let keys = StreamReader::new(&mut access, keys)?;
            let end = FutureReader::new(&mut access, async move { wasmtime::error::Ok(end) })?;
            Ok((keys, end))
        })
    }
}
