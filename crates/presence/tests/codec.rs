//! What is written is read as it was, and what nobody wrote is read as nothing.

use presence::documents::{Directory, Lease, Marks, Roster, Typist, decode, encode};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;

fn typist() -> impl Strategy<Value = Typist> {
    let parts = (any::<String>(), any::<String>(), any::<u64>(), any::<u64>());
    parts.prop_map(|(sender, name, said, until)| Typist {
        sender,
        name,
        said,
        until,
    })
}

fn directory() -> impl Strategy<Value = Directory> {
    let instances = prop::collection::btree_map("[0-9a-f]{16}", any::<u64>(), 0..8);
    let typing = prop::collection::vec(typist(), 0..4);
    (instances, typing).prop_map(|(instances, typing)| Directory { instances, typing })
}

fn roster() -> impl Strategy<Value = Roster> {
    let here = prop::collection::vec((any::<String>(), any::<String>()), 0..20);
    (here, any::<u64>()).prop_map(|(here, others)| Roster { here, others })
}

fn lease() -> impl Strategy<Value = Lease> {
    let parts = (any::<u64>(), any::<u64>(), any::<u64>());
    parts.prop_map(|(beat, told, at)| Lease { beat, told, at })
}

fn marks() -> impl Strategy<Value = Marks> {
    let marks = prop::collection::vec((any::<String>(), any::<u64>(), any::<u64>()), 0..20);
    (any::<u64>(), marks).prop_map(|(epoch, marks)| Marks { epoch, marks })
}

fn goes_round<D>(document: &D) -> Result<(), TestCaseError>
where
    D: Serialize + for<'a> Deserialize<'a> + Default + PartialEq + Debug,
{
    let encoded = encode(document);
    prop_assert_eq!(&decode::<D>(Some(&encoded)), document);
    // Cut off, it is nothing.
    let cut = encoded.len() / 2;
    prop_assert_eq!(decode::<D>(Some(&encoded[..cut])), D::default());
    Ok(())
}

proptest! {
    #[test]
    fn documents_are_read_as_they_were_written(
        directory in directory(),
        roster in roster(),
        lease in lease(),
        marks in marks(),
    ) {
        goes_round(&directory)?;
        goes_round(&roster)?;
        goes_round(&lease)?;
        goes_round(&marks)?;
    }

    #[test]
    fn whatever_is_found_is_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode::<Directory>(Some(&bytes));
        let _ = decode::<Roster>(Some(&bytes));
        let _ = decode::<Lease>(Some(&bytes));
        let _ = decode::<Marks>(Some(&bytes));
    }
}

#[test]
fn what_is_not_there_or_not_ours_is_nothing() {
    for bytes in [
        None,
        Some(&b""[..]),
        Some(b"[]"),
        Some(b"null"),
        Some(br#"{"instances":7}"#),
        Some(&[0xff; 8]),
    ] {
        assert_eq!(decode::<Directory>(bytes), Directory::default());
    }
}

#[test]
fn members_of_another_version_are_passed_over() {
    let written = br#"{"here":[["g.1","Ann"]],"later":{"a":1}}"#;
    let roster: Roster = decode(Some(written));
    assert_eq!(roster.here, [("g.1".to_owned(), "Ann".to_owned())]);
    assert_eq!(roster.others, 0);
}
