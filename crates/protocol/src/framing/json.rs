use super::{AnswerFraming, Framing};
use crate::Error;

/// JSON as it is, for a reader that parses JSON: nothing is left to escape.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

impl Framing for Json {
    const CONTENT_TYPE: &'static str = "application/json";

    fn refusal(&self, error: &Error) -> Vec<u8> {
        self.write(error.to_json())
    }
}

impl AnswerFraming for Json {
    fn write(&self, json: String) -> Vec<u8> {
        json.into_bytes()
    }
}
