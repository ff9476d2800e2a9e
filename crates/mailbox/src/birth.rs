//! Elections: what many instances may begin, and one begins for all.
//!
//! A channel's epoch, a secret and where a document stands are each decided by a pointer, an integer key that goes once from 0 to
//! the name of a candidate. What a candidate stands for is written before it stands. A channel's pointer goes on to
//! another where the store has lost what it leads to.

use crate::codec::Tail;
use crate::integers::{self, Integers, decode};
use crate::{Env, Inner, Store, StoreError};

/// Candidates have 19 decimal digits, so that a pointer's 8 bytes are never taken for digits.
const LEAST_CANDIDATE: u64 = 1_000_000_000_000_000_000;
/// Each round that decides nothing met a failing store.
const ROUNDS: u32 = 5;

pub(crate) fn pointer_key(channel: &str) -> String {
    format!("{}{channel}", integers::CHANNEL)
}

pub(crate) fn tail_key(channel: &str, epoch: u64) -> String {
    format!("w1/t/{channel}/{epoch:x}")
}

fn secret_pointer_key(name: &str) -> String {
    format!("{}{name}", integers::SECRET)
}

fn secret_key(name: &str, candidate: u64) -> String {
    format!("w1/k/{name}/{candidate:x}")
}

impl<S: Store, E: Env> Inner<S, E> {
    /// The channel's epoch; none: it is not born. Creates nothing.
    pub(crate) async fn epoch(&self, name: &str) -> Result<Option<u64>, StoreError> {
        let channel = self.channel(name);
        if let Some(epoch) = channel.epoch.get() {
            return Ok(Some(epoch));
        }
        let epoch = self.elected(&pointer_key(name)).await?;
        channel.epoch.set(epoch);
        Ok(epoch)
    }

    /// The channel's epoch, after a birth where there was none.
    pub(crate) async fn born(&self, name: &str) -> Result<u64, StoreError> {
        match self.epoch(name).await? {
            Some(epoch) => Ok(epoch),
            None => self.bear(name, 0).await,
        }
    }

    /// Begins a channel anew whose tail is not there, if its pointer leads there all the same: the store has lost it, and
    /// nobody can publish behind it any more.
    pub(crate) async fn born_again(&self, name: &str, lost: u64) -> Result<(), StoreError> {
        if self.elected(&pointer_key(name)).await? == Some(lost) {
            self.bear(name, lost).await?;
        }
        Ok(())
    }

    async fn bear(&self, name: &str, before: u64) -> Result<u64, StoreError> {
        let candidate = self.candidate();
        let key = tail_key(name, candidate);
        self.store.set(&key, &Tail::empty().encode()).await?;
        let epoch = self
            .elect(&pointer_key(name), before, candidate, &key)
            .await?;
        self.channel(name).epoch.set(Some(epoch));
        Ok(epoch)
    }

    /// Whether the pointer still leads to this epoch. One that the store has lost is set again: whoever does not remember
    /// the channel would begin another beside it.
    pub(crate) async fn is_elected(&self, name: &str, epoch: u64) -> Result<bool, StoreError> {
        let pointer = pointer_key(name);
        let elected = match self.elected(&pointer).await? {
            Some(elected) => elected,
            None => {
                self.elect(&pointer, 0, epoch, &tail_key(name, epoch))
                    .await?
            }
        };
        if elected != epoch {
            self.forget(name);
        }
        Ok(elected == epoch)
    }

    pub(crate) async fn secret(&self, name: &str) -> Result<[u8; 32], StoreError> {
        let pointer = secret_pointer_key(name);
        let elected = match self.elected(&pointer).await? {
            Some(elected) => elected,
            None => {
                let candidate = self.candidate();
                let key = secret_key(name, candidate);
                let drawn = [(); 4].map(|()| self.env.random().to_le_bytes()).concat();
                self.store.set(&key, &drawn).await?;
                self.elect(&pointer, 0, candidate, &key).await?
            }
        };
        let secret = self.store.get(&secret_key(name, elected)).await?;
        secret
            .and_then(|secret| secret.try_into().ok())
            .ok_or_else(|| StoreError("the store has lost a secret".to_owned()))
    }

    pub(crate) fn candidate(&self) -> u64 {
        LEAST_CANDIDATE + self.env.random() % (i64::MAX as u64 - LEAST_CANDIDATE)
    }

    /// Who was elected, if anybody. A plain read: readers create no keys.
    pub(crate) async fn elected(&self, pointer: &str) -> Result<Option<u64>, StoreError> {
        match self.store.get(pointer).await? {
            Some(value) => Ok(Some(decode(&value)?).filter(|&elected| elected != 0)),
            None => Ok(None),
        }
    }

    /// Stands for election, in the place of who was elected `before`; answers who won, and clears `key` away where that
    /// is another.
    pub(crate) async fn elect(
        &self,
        pointer: &str,
        before: u64,
        candidate: u64,
        key: &str,
    ) -> Result<u64, StoreError> {
        let mut failure = StoreError("an election was not decided".to_owned());
        for _ in 0..ROUNDS {
            let round = async {
                self.store.increment(pointer, 0).await?;
                if let Some((number, held)) = self.store.hold(pointer).await?
                    && decode(&number)? == before
                {
                    // Whatever this answers, the pointer decides.
                    let number = Integers::of(&number).encode(candidate);
                    self.store.swap(held, &number).await.ok();
                }
                let elected = self.store.increment(pointer, 0).await?;
                Ok(elected.cast_unsigned())
            };
            match round.await {
                Ok(elected) if elected == before => {}
                Ok(elected) => {
                    if elected != candidate {
                        // It is decided; a candidate that stays is a few bytes that nobody reads.
                        self.store.delete(key).await.ok();
                    }
                    return Ok(elected);
                }
                Err(error) => failure = error,
            }
            self.env.sleep(1 + (self.env.random() % 20) as u32).await;
        }
        Err(failure)
    }
}
