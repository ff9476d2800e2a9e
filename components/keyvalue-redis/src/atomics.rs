//! `wasi:keyvalue/atomics`.

use crate::bindings::exports::wasi::keyvalue::atomics::{
    BucketBorrow, Cas as Handle, CasError, Error, Guest, GuestCas,
};
use crate::bucket::{Bucket, other};
use crate::commands::Swapped;
use crate::{Store, commands};
use spin_redis::Redis;
use std::rc::Rc;

/// A key, and the value that a swap expects there; none: that there is none.
pub(crate) struct Cas {
    redis: Rc<Redis>,
    key: String,
    expected: Option<Vec<u8>>,
}

impl Guest for Store {
    type Cas = Cas;

    fn increment(bucket: BucketBorrow<'_>, key: String, delta: i64) -> Result<i64, Error> {
        let Bucket(redis) = bucket.get();
        let answer = redis.call(commands::increment(redis.prefix(), &key, delta));
        answer.and_then(commands::incremented).map_err(other)
    }

    fn swap(cas: Handle, value: Vec<u8>) -> Result<(), CasError> {
        let Cas {
            redis,
            key,
            expected,
        } = cas.into_inner();
        let command = commands::swap(redis.prefix(), &key, expected.as_deref(), value);
        match redis.call(command).and_then(commands::swapped) {
            Ok(Swapped::Won) => Ok(()),
            Ok(Swapped::Lost(current)) => Err(CasError::CasFailed(Handle::new(Cas {
                redis,
                key,
                expected: current,
            }))),
            Err(error) => Err(CasError::StoreError(other(error))),
        }
    }
}

impl GuestCas for Cas {
    /// Reads the value that a swap will expect; `current` tells it without reading again.
    fn new(bucket: BucketBorrow<'_>, key: String) -> Result<Handle, Error> {
        let Bucket(redis) = bucket.get();
        let answer = redis.call(commands::get(redis.prefix(), &key));
        let expected = answer.and_then(commands::got).map_err(other)?;
        Ok(Handle::new(Cas {
            redis: Rc::clone(redis),
            key,
            expected,
        }))
    }

    fn current(&self) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.expected.clone())
    }
}
