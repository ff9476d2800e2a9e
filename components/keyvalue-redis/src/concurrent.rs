//! `spin:key-value`: asynchronous, so that only the calling task waits.

use crate::bindings::exports::spin::key_value::key_value::{
    Error, Guest, GuestStore, Store as Handle,
};
use crate::bindings::{wit_future, wit_stream};
use crate::{LABEL, Store, commands};
use spin_redis::Redis;
use std::rc::Rc;
use wit_bindgen::{FutureReader, StreamReader};

pub(crate) struct Open(Rc<Redis>);

fn other(error: spin_redis::Error) -> Error {
    Error::Other(error.to_string())
}

impl Guest for Store {
    type Store = Open;
}

impl GuestStore for Open {
    async fn open(label: String) -> Result<Handle, Error> {
        // Of a call that is answered at once, Wasmtime (48 to 50) keeps some bytes for good.
        wit_bindgen::yield_async().await;
        if label != LABEL {
            return Err(Error::NoSuchStore);
        }
        Ok(Handle::new(Open(Redis::shared().map_err(other)?)))
    }

    async fn get(&self, key: String) -> Result<Option<Vec<u8>>, Error> {
        let Self(redis) = self;
        let answer = redis.query(commands::get(redis.prefix(), &key)).await;
        answer.and_then(commands::got).map_err(other)
    }

    async fn set(&self, key: String, value: Vec<u8>) -> Result<(), Error> {
        let Self(redis) = self;
        let answer = redis.query(commands::set(redis.prefix(), &key, value));
        answer.await.map(drop).map_err(other)
    }

    async fn delete(&self, key: String) -> Result<(), Error> {
        let Self(redis) = self;
        let answer = redis.query(commands::delete(redis.prefix(), [key.as_str()]));
        answer.await.map(drop).map_err(other)
    }

    async fn exists(&self, key: String) -> Result<bool, Error> {
        let Self(redis) = self;
        let answer = redis.query(commands::exists(redis.prefix(), &key)).await;
        answer.and_then(commands::existed).map_err(other)
    }

    async fn get_keys(&self) -> (StreamReader<String>, FutureReader<Result<(), Error>>) {
        wit_bindgen::yield_async().await;
        let (mut keys, read) = wit_stream::new();
        let (end, told) = wit_future::new(|| Ok(()));
        let redis = Rc::clone(&self.0);
        wit_bindgen::spawn_local(async move {
            let mut cursor = Some(commands::START.to_owned());
            let mut ended = Ok(());
            while let Some(at) = cursor {
                let page = match commands::list(redis.prefix(), &at) {
                    Ok(command) => redis.query(command).await.map_err(other),
                    Err(error) => Err(Error::Other(error)),
                };
                let page =
                    page.and_then(|answer| commands::listed(redis.prefix(), answer).map_err(other));
                match page {
                    Ok(page) => {
                        if !keys.write_all(page.keys).await.is_empty() {
                            // Nobody reads on.
                            break;
                        }
                        cursor = page.next;
                    }
                    Err(error) => {
                        ended = Err(error);
                        break;
                    }
                }
            }
            drop(keys);
            // Whoever asked may have left.
            end.write(ended).await.ok();
        });
        (read, told)
    }
}
