//! Documents: small values beside the logs, each changed as a whole by a verified swap.
//!
//! A document begins as a pointer does: `increment(key, 0)` makes a key without overwriting one, and what is found
//! there is swapped for the first content. Each content is stored behind a stamp of its own, so that a writer
//! recognizes what it wrote, and a swap that comes late, after its error, never meets the value it expects again.

use crate::{Env, Inner, Store, StoreError};
use std::fmt;
use std::rc::Rc;

/// Attempts before a change gives up. Each lost one means that another writer won.
const ATTEMPTS: u32 = 16;
/// What a stored document begins with. Integers, as which keys are born, are 8 bytes or digits.
const MARK: u8 = b'd';
/// The mark and the stamp.
const HEAD: usize = 9;

/// The documents in a mailbox's store. Names have at most 100 bytes of printable ASCII.
pub struct Documents<S, E>(Rc<Inner<S, E>>);

impl<S, E> fmt::Debug for Documents<S, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Documents").finish_non_exhaustive()
    }
}

impl<S: Store, E: Env> Documents<S, E> {
    pub(crate) fn new(inner: &Rc<Inner<S, E>>) -> Self {
        Self(Rc::clone(inner))
    }

    /// What a document holds; none: it was never written. Creates nothing.
    ///
    /// # Errors
    /// The store failed.
    pub async fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.0.store.get(&key(name)).await?;
        Ok(value.and_then(|value| content(&value).map(<[u8]>::to_vec)))
    }

    /// Changes a document: `change` is given what it holds and answers what it shall hold, or none to leave it as
    /// it is. It may be asked again, of what other writers made of it meanwhile, and also of what it made itself
    /// where that could not be told: it must not matter to it to be done twice.
    ///
    /// # Errors
    /// The change's own, with nothing written; or the store failed or is too contended, and the change may or may
    /// not be done, or be done later.
    pub async fn update<F: From<StoreError>>(
        &self,
        name: &str,
        mut change: impl FnMut(Option<&[u8]>) -> Result<Option<Vec<u8>>, F>,
    ) -> Result<(), F> {
        let key = key(name);
        let Inner { store, env, .. } = &*self.0;
        for attempt in 0..ATTEMPTS {
            let mut found = store.get(&key).await?;
            if found.is_none() {
                if change(None)?.is_none() {
                    return Ok(());
                }
                store.increment(&key, 0).await?;
                found = store.get(&key).await?;
            }
            let found = found.unwrap_or_default();
            let Some(wanted) = change(content(&found))? else {
                return Ok(());
            };
            let wanted = stamped(env.random(), &wanted);
            let swapped = store.swap(&key, &found, &wanted).await;
            // What a swap answers may be wrong: what is there now tells.
            if store.get(&key).await?.as_ref() == Some(&wanted) {
                return Ok(());
            }
            swapped?;
            self.0.back_off(attempt).await;
        }
        Err(StoreError("too many writers at once".to_owned()).into())
    }
}

fn key(name: &str) -> String {
    format!("w1/d/{name}")
}

fn stamped(stamp: u64, content: &[u8]) -> Vec<u8> {
    [&[MARK], &stamp.to_le_bytes()[..], content].concat()
}

/// What a stored value holds, where it is a document's and not the integer as which its key was born.
fn content(value: &[u8]) -> Option<&[u8]> {
    value.get(HEAD..).filter(|_| value[0] == MARK)
}
