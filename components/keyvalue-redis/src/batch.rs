//! `wasi:keyvalue/batch`: each one command, so others see all of it or nothing.

use crate::bindings::exports::wasi::keyvalue::batch::{BucketBorrow, Error, Guest};
use crate::bucket::{Bucket, other};
use crate::commands::Pair;
use crate::{Store, commands};

impl Guest for Store {
    fn get_many(bucket: BucketBorrow<'_>, keys: Vec<String>) -> Result<Vec<Pair>, Error> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let Bucket(redis) = bucket.get();
        let answer = redis.call(commands::get_many(redis.prefix(), &keys));
        answer
            .and_then(|answer| commands::got_many(keys, answer))
            .map_err(other)
    }

    fn set_many(bucket: BucketBorrow<'_>, pairs: Vec<(String, Vec<u8>)>) -> Result<(), Error> {
        if pairs.is_empty() {
            return Ok(());
        }
        let Bucket(redis) = bucket.get();
        let answer = redis.call(commands::set_many(redis.prefix(), pairs));
        answer.map(drop).map_err(other)
    }

    fn delete_many(bucket: BucketBorrow<'_>, keys: Vec<String>) -> Result<(), Error> {
        if keys.is_empty() {
            return Ok(());
        }
        let Bucket(redis) = bucket.get();
        let keys = keys.iter().map(String::as_str);
        let answer = redis.call(commands::delete(redis.prefix(), keys));
        answer.map(drop).map_err(other)
    }
}
