//! The store that ends with the process.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{StoreError, count, encode};

type Label = HashMap<String, Vec<u8>>;

/// One map under one lock: an operation holds it for less than a microsecond, so that finer locks would
/// buy nothing that is measured, and every operation, of many keys too, is atomic as it stands.
#[derive(Debug, Default)]
pub(super) struct Memory(RwLock<HashMap<String, Label>>);

impl Memory {
    // No operation panics between its first and its last change: a poisoned map is whole.
    fn read(&self) -> RwLockReadGuard<'_, HashMap<String, Label>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<String, Label>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get_many(&self, label: &str, keys: &[String]) -> Vec<Option<Vec<u8>>> {
        let labels = self.read();
        let values = labels.get(label);
        keys.iter().map(|key| values?.get(key).cloned()).collect()
    }

    pub(super) fn exists(&self, label: &str, key: &str) -> bool {
        self.read()
            .get(label)
            .is_some_and(|values| values.contains_key(key))
    }

    pub(super) fn keys(&self, label: &str) -> Vec<String> {
        self.read()
            .get(label)
            .map(|values| values.keys().cloned().collect())
            .unwrap_or_default()
    }

    pub(super) fn entries(&self) -> Vec<(String, String)> {
        let labels = self.read();
        let entries = labels
            .iter()
            .flat_map(|(label, values)| values.keys().map(|key| (label.clone(), key.clone())));
        entries.collect()
    }

    pub(super) fn set_many(&self, label: &str, pairs: Vec<(String, Vec<u8>)>) {
        self.write()
            .entry(label.to_owned())
            .or_default()
            .extend(pairs);
    }

    pub(super) fn delete_many(&self, label: &str, keys: &[String]) {
        if let Some(values) = self.write().get_mut(label) {
            for key in keys {
                values.remove(key);
            }
        }
    }

    pub(super) fn increment(&self, label: &str, key: &str, delta: i64) -> Result<i64, StoreError> {
        let mut labels = self.write();
        let values = labels.entry(label.to_owned()).or_default();
        let sum = count(key, values.get(key).map(Vec::as_slice), delta)?;
        values.insert(key.to_owned(), encode(sum));
        Ok(sum)
    }

    pub(super) fn swap(
        &self,
        label: &str,
        key: &str,
        expected: Option<&[u8]>,
        value: &[u8],
    ) -> bool {
        let mut labels = self.write();
        let values = labels.entry(label.to_owned()).or_default();
        if values.get(key).map(Vec::as_slice) != expected {
            return false;
        }
        values.insert(key.to_owned(), value.to_owned());
        true
    }
}
