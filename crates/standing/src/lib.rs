//! What stands between a credential that holds and what it allows: whether it was revoked, whose rights have
//! changed of late, and who asks too often.
//!
//! [`Revoked`] and [`Changes`] are documents, each one small JSON value that many instances change by
//! compare-and-swap; [`Limits`] is the memory of one instance. Nothing here has a clock or a store of its own.

mod changes;
mod rates;
mod revoked;

pub use changes::{Changes, Told};
pub use rates::{BadRate, Limits, Rate, address};
pub use revoked::{Full, Revoked};

/// A stored document is not what this version writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the document {0} is malformed")]
pub struct Malformed(pub &'static str);

/// A document's value; its default where it was never written.
fn read<'a, T: Default + serde::Deserialize<'a>>(
    name: &'static str,
    content: Option<&'a [u8]>,
) -> Result<T, Malformed> {
    match content {
        Some(json) => serde_json::from_slice(json).map_err(|_| Malformed(name)),
        None => Ok(T::default()),
    }
}

/// A document's content.
fn written(document: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(document).expect("texts and numbers become JSON")
}
