use std::mem;

use serde_json::value::RawValue;

use crate::{Error, Parser};

/// JSON texts, one a line.
#[derive(Debug, Default)]
pub struct Lines {
    /// The beginning of a line whose end is still to come.
    line: Vec<u8>,
}

impl Parser for Lines {
    fn feed(&mut self, bytes: &[u8]) -> Result<Vec<String>, Error> {
        let mut texts = Vec::new();
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                let line = mem::take(&mut self.line);
                let json: &RawValue = serde_json::from_slice(&line)?;
                texts.push(json.get().to_owned());
            }
        }
        Ok(texts)
    }
}
