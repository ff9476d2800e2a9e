//! What the host's stores and variables promise, asked from inside.

use crate::bindings::spin::key_value::key_value as spin;
use crate::bindings::spin::variables::variables;
use crate::bindings::wasi::config::store as config;
use crate::bindings::wasi::keyvalue::atomics::{self, Cas, CasError};
use crate::bindings::wasi::keyvalue::batch;
use crate::bindings::wasi::keyvalue::store::{self as wasi, Bucket};

fn bucket() -> Bucket {
    wasi::open("default").expect("the manifest grants it")
}

pub(crate) fn set(key: &str, value: &str) {
    bucket()
        .set(key, value.as_bytes())
        .expect("the store is there");
}

pub(crate) fn get(key: &str) -> Vec<u8> {
    bucket()
        .get(key)
        .expect("the store is there")
        .unwrap_or_default()
}

/// Counts by swaps, until one is won; told is what it made of the key, or why it could not.
pub(crate) fn count(key: &str) -> String {
    let counted = || {
        let mut cas = Cas::new(&bucket(), key).map_err(|error| format!("{error:?}"))?;
        loop {
            let current = cas.current().map_err(|error| format!("{error:?}"))?;
            let current = String::from_utf8(current.unwrap_or_default()).unwrap_or_default();
            let next = (current.parse::<u64>().unwrap_or_default() + 1).to_string();
            match atomics::swap(cas, next.as_bytes()) {
                Ok(()) => return Ok(next),
                Err(CasError::CasFailed(again)) => cas = again,
                Err(CasError::StoreError(error)) => return Err(format!("{error:?}")),
            }
        }
    };
    counted().unwrap_or_else(|error| error)
}

/// What opening a label gives, through both interfaces.
pub(crate) async fn open(label: &str) -> String {
    let wasi = wasi::open(label).map_or_else(|error| format!("{error:?}"), |_| "open".to_owned());
    let spin = spin::Store::open(label.to_owned())
        .await
        .map_or_else(|error| format!("{error:?}"), |_| "open".to_owned());
    format!("{wasi} {spin}")
}

/// What a variable is, through both interfaces.
pub(crate) async fn variable(name: &str) -> String {
    let spin = variables::get(name.to_owned()).await;
    format!("{spin:?} {:?}", config::get(name))
}

/// "kept", or the first law that the store breaks.
pub(crate) async fn laws() -> String {
    let laws = async {
        let bucket = bucket();
        expect(
            "an absent key has no value",
            bucket.get("a").ok() == Some(None),
        )?;
        expect("and does not exist", bucket.exists("a").ok() == Some(false))?;
        expect("deleting it is no error", bucket.delete("a").is_ok())?;
        expect("a value can be set", bucket.set("a", b"\x00\xff").is_ok())?;
        expect(
            "and is read back",
            bucket.get("a").ok() == Some(Some(b"\x00\xff".to_vec())),
        )?;
        expect(
            "an empty value is a value",
            bucket.set("e", b"").is_ok() && bucket.get("e").ok() == Some(Some(Vec::new())),
        )?;

        expect(
            "a counter begins at 0",
            atomics::increment(&bucket, "n", 0).ok() == Some(0),
        )?;
        // As files and Redis have it.
        let is = |number: i64| {
            let found = bucket.get("n").ok().flatten().unwrap_or_default();
            found == number.to_le_bytes() || found == number.to_string().as_bytes()
        };
        expect("as 8 bytes, or in digits", is(0))?;
        expect(
            "and counts both ways",
            atomics::increment(&bucket, "n", -2).ok() == Some(-2),
        )?;
        expect("and what it has come to is there", is(-2))?;

        let cas = Cas::new(&bucket, "a").map_err(|_| "a cas can be had")?;
        expect(
            "a cas knows the value",
            cas.current().ok() == Some(Some(b"\x00\xff".to_vec())),
        )?;
        expect(
            "and swaps it",
            atomics::swap(cas, b"1").is_ok() && bucket.get("a").ok() == Some(Some(b"1".to_vec())),
        )?;
        let late = Cas::new(&bucket, "a").map_err(|_| "a cas can be had")?;
        expect(
            "a value may change meanwhile",
            bucket.set("a", b"2").is_ok(),
        )?;
        match atomics::swap(late, b"3") {
            Err(CasError::CasFailed(again)) => {
                expect(
                    "a lost swap changes nothing",
                    bucket.get("a").ok() == Some(Some(b"2".to_vec())),
                )?;
                expect(
                    "its handle is fresh",
                    again.current().ok() == Some(Some(b"2".to_vec())),
                )?;
                expect("and can win", atomics::swap(again, b"4").is_ok())?;
            }
            _ => return Err("a swap loses against a change"),
        }
        let (first, second) = (Cas::new(&bucket, "new"), Cas::new(&bucket, "new"));
        let (Ok(first), Ok(second)) = (first, second) else {
            return Err("an absent key can be swapped");
        };
        expect(
            "an absent key has no current value",
            first.current().ok() == Some(None),
        )?;
        expect(
            "the first writer wins",
            atomics::swap(first, b"first").is_ok(),
        )?;
        expect(
            "the second loses",
            matches!(
                atomics::swap(second, b"second"),
                Err(CasError::CasFailed(_))
            ),
        )?;
        expect(
            "and the first's value stays",
            bucket.get("new").ok() == Some(Some(b"first".to_vec())),
        )?;

        let pairs = [
            ("x".to_owned(), b"1".to_vec()),
            ("y".to_owned(), b"2".to_vec()),
        ];
        expect("many can be set", batch::set_many(&bucket, &pairs).is_ok())?;
        let keys = ["y", "none", "x"].map(str::to_owned);
        let found = batch::get_many(&bucket, &keys).map_err(|_| "many can be read")?;
        let expected = [
            ("y", Some(b"2".to_vec())),
            ("none", None),
            ("x", Some(b"1".to_vec())),
        ];
        expect(
            "in their order",
            found == expected.map(|(key, value)| (key.to_owned(), value)),
        )?;
        expect(
            "many can be deleted",
            batch::delete_many(&bucket, &keys).is_ok(),
        )?;
        let left = bucket.list_keys(None).map_err(|_| "keys can be listed")?;
        let mut left = left.keys;
        left.sort();
        expect("all others are left", left == ["a", "e", "n", "new"])?;

        let store = spin::Store::open("default".to_owned())
            .await
            .map_err(|_| "spin's interface opens")?;
        expect(
            "spin's interface sees the same",
            store.get("a".to_owned()).await.ok() == Some(Some(b"4".to_vec())),
        )?;
        expect(
            "sets",
            store.set("s".to_owned(), b"s".to_vec()).await.is_ok(),
        )?;
        expect(
            "knows what exists",
            store.exists("s".to_owned()).await.ok() == Some(true),
        )?;
        expect(
            "deletes",
            store.delete("s".to_owned()).await.is_ok()
                && store.exists("s".to_owned()).await.ok() == Some(false),
        )?;
        let (keys, end) = store.get_keys().await;
        let mut keys = keys.collect().await;
        keys.sort();
        expect(
            "lists",
            keys == ["a", "e", "n", "new"] && end.await.ok() == Some(()),
        )
    };
    laws.await
        .map_or_else(str::to_owned, |()| "kept".to_owned())
}

fn expect(law: &'static str, kept: bool) -> Result<(), &'static str> {
    if kept { Ok(()) } else { Err(law) }
}
