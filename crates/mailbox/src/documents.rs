//! Documents: small values beside the logs, each changed as a whole by a verified swap.
//!
//! A document is born by an election, as a channel is: a pointer names the key that it stands under, and never
//! changes after. So only pointers are ever incremented, and a store that cannot bear that of other keys is not asked
//! to; the first content is that of the candidate who wins. Each content is stored behind a stamp of its own, so that
//! a writer recognizes what it wrote, and a swap that comes late, after its error, never meets the value it expects
//! again.

use crate::{Env, Inner, MOST_CHANNELS, Store, StoreError, integers};
use std::fmt;
use std::rc::Rc;

/// Attempts before a change gives up. Each lost one means that another writer won.
const ATTEMPTS: u32 = 16;
/// What a stored document begins with.
const MARK: u8 = b'd';
/// The mark and the stamp.
const HEAD: usize = 9;

/// The documents in a mailbox's store. Names have at most 96 bytes of printable ASCII.
pub struct Documents<S: Store, E>(Rc<Inner<S, E>>);

impl<S: Store, E> fmt::Debug for Documents<S, E> {
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
        let found = self.find(name, async |key| self.0.store.get(key).await);
        found
            .await?
            .map(|(_, value)| Ok(content(&value)?.to_vec()))
            .transpose()
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
        let Inner { store, env, .. } = &*self.0;
        for attempt in 0..ATTEMPTS {
            let found = self.find(name, async |key| store.hold(key).await).await?;
            let present = found
                .as_ref()
                .map(|(_, (value, _))| content(value))
                .transpose()?;
            let Some(wanted) = change(present)? else {
                return Ok(());
            };
            let wanted = stamped(env.random(), &wanted);
            let Some((key, (_, held))) = found else {
                if self.bear(name, &wanted).await? {
                    return Ok(());
                }
                continue;
            };
            let swapped = store.swap(held, &wanted).await;
            // What a swap answers may be wrong: what is there now tells.
            if store.get(&key).await?.as_ref() == Some(&wanted) {
                return Ok(());
            }
            swapped?;
            self.0.back_off(attempt).await;
        }
        Err(StoreError("too many writers at once".to_owned()).into())
    }

    /// The key that a document stands under, and what `read` finds there.
    async fn find<T>(
        &self,
        name: &str,
        read: impl AsyncFn(&str) -> Result<Option<T>, StoreError>,
    ) -> Result<Option<(String, T)>, StoreError> {
        let documents = &self.0.documents;
        let known = documents.borrow().get(name).copied();
        if let Some(elected) = known {
            let key = key(name, elected);
            if let Some(value) = read(&key).await? {
                return Ok(Some((key, value)));
            }
            // The store was wiped, or is at fault.
            documents.borrow_mut().remove(name);
        }
        let Some(elected) = self.0.elected(&pointer_key(name)).await? else {
            return Ok(None);
        };
        let key = key(name, elected);
        let value = read(&key).await?;
        let value = value.ok_or_else(|| StoreError("the store has lost a document".to_owned()))?;
        self.remember(name, elected);
        Ok(Some((key, value)))
    }

    /// Has a document begin with this value, unless it begins with another's.
    async fn bear(&self, name: &str, value: &[u8]) -> Result<bool, StoreError> {
        let candidate = self.0.candidate();
        let key = key(name, candidate);
        self.0.store.set(&key, value).await?;
        let elected = self.0.elect(&pointer_key(name), 0, candidate, &key).await?;
        self.remember(name, elected);
        Ok(elected == candidate)
    }

    fn remember(&self, name: &str, elected: u64) {
        let mut documents = self.0.documents.borrow_mut();
        if documents.len() >= MOST_CHANNELS {
            documents.clear();
        }
        documents.insert(name.to_owned(), elected);
    }
}

fn pointer_key(name: &str) -> String {
    format!("{}{name}", integers::DOCUMENT)
}

fn key(name: &str, elected: u64) -> String {
    format!("w1/d/{name}/{elected:x}")
}

fn stamped(stamp: u64, content: &[u8]) -> Vec<u8> {
    [&[MARK], &stamp.to_le_bytes()[..], content].concat()
}

/// What a stored value holds.
fn content(value: &[u8]) -> Result<&[u8], StoreError> {
    match value {
        [MARK, ..] if value.len() >= HEAD => Ok(&value[HEAD..]),
        _ => Err(StoreError("the store holds a damaged document".to_owned())),
    }
}
