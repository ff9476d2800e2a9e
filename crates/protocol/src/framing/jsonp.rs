use super::{AnswerFraming, Framing, script};
use crate::Error;
use crate::query::Query;

/// A script that calls the page's function: `/**/callback(JSON.parse('…'));`, across origins before CORS.
///
/// The comment keeps the response from being taken for something that begins with the callback's bytes: a
/// Flash file of letters and digits ("Rosetta Flash", CVE-2014-4671).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jsonp {
    callback: String,
}

impl Jsonp {
    /// Reads the parameter `callback`: a dotted identifier of at most 128 bytes.
    ///
    /// # Errors
    /// 400 where it is missing or not one.
    pub fn from_query(query: &str) -> Result<Self, Error> {
        let query = Query::parse(query)?;
        let callback = script::callback(&query, true)?
            .ok_or_else(|| Error::Invalid("callback: one is needed".to_owned()))?;
        Ok(Self { callback })
    }
}

impl Framing for Jsonp {
    // Of RFC 9239. Without the charset, a page's own would be taken.
    const CONTENT_TYPE: &'static str = "text/javascript; charset=utf-8";
    const INLINE_ERRORS: bool = true;

    fn refusal(&self, error: &Error) -> Vec<u8> {
        self.write(error.to_json())
    }
}

impl AnswerFraming for Jsonp {
    fn write(&self, json: String) -> Vec<u8> {
        let mut out = format!("/**/{}(", self.callback).into_bytes();
        out.reserve(json.len() + 32);
        script::expression(&json, &mut out);
        out.extend_from_slice(b");");
        out
    }
}
