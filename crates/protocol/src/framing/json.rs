use super::{Batch, BatchFraming};

/// A batch as one JSON object, for a reader that parses JSON: nothing is left to escape.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

impl BatchFraming for Json {
    const CONTENT_TYPE: &'static str = "application/json";

    fn write(&self, batch: &Batch<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(batch.to_json().as_bytes());
    }
}
