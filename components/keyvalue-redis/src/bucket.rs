//! `wasi:keyvalue/store`: synchronous, so each call holds the instance.

use crate::bindings::exports::wasi::keyvalue::store::{
    Bucket as Handle, Error, Guest, GuestBucket, KeyResponse,
};
use crate::{LABEL, Store, commands};
use spin_redis::Redis;
use std::rc::Rc;

pub(crate) struct Bucket(pub(crate) Rc<Redis>);

pub(crate) fn other(error: spin_redis::Error) -> Error {
    Error::Other(error.to_string())
}

impl Guest for Store {
    type Bucket = Bucket;

    fn open(identifier: String) -> Result<Handle, Error> {
        if identifier != LABEL {
            return Err(Error::NoSuchStore);
        }
        Ok(Handle::new(Bucket(Redis::shared().map_err(other)?)))
    }
}

impl GuestBucket for Bucket {
    fn get(&self, key: String) -> Result<Option<Vec<u8>>, Error> {
        let Self(redis) = self;
        let answer = redis.call(commands::get(redis.prefix(), &key));
        answer.and_then(commands::got).map_err(other)
    }

    fn set(&self, key: String, value: Vec<u8>) -> Result<(), Error> {
        let Self(redis) = self;
        let answer = redis.call(commands::set(redis.prefix(), &key, value));
        answer.map(drop).map_err(other)
    }

    fn delete(&self, key: String) -> Result<(), Error> {
        let Self(redis) = self;
        let answer = redis.call(commands::delete(redis.prefix(), [key.as_str()]));
        answer.map(drop).map_err(other)
    }

    fn exists(&self, key: String) -> Result<bool, Error> {
        let Self(redis) = self;
        let answer = redis.call(commands::exists(redis.prefix(), &key));
        answer.and_then(commands::existed).map_err(other)
    }

    /// A page may have no key and a next one all the same; a key that is there all the time is in some page, and may
    /// be in two.
    fn list_keys(&self, cursor: Option<String>) -> Result<KeyResponse, Error> {
        let Self(redis) = self;
        let cursor = cursor.as_deref().unwrap_or(commands::START);
        let command = commands::list(redis.prefix(), cursor).map_err(Error::Other)?;
        let page = redis
            .call(command)
            .and_then(|answer| commands::listed(redis.prefix(), answer))
            .map_err(other)?;
        Ok(KeyResponse {
            keys: page.keys,
            cursor: page.next,
        })
    }
}
