//! The filter on a whole body.

use crate::json;
use crate::links::{Links, Refusal};
use crate::words::Words;

/// The rules of one deployment.
pub(crate) struct Filter {
    /// None where there are no words to mask.
    pub(crate) words: Option<Words>,
    /// None where links may lead anywhere.
    pub(crate) links: Option<Links>,
}

impl Filter {
    /// What is stored in place of a body, which is JSON text; none: the body as it is. Never longer than
    /// the body.
    pub(crate) fn review(&self, body: &str) -> Result<Option<String>, Refusal> {
        if self.words.is_none() && self.links.is_none() {
            return Ok(None);
        }
        let mut changed = String::new();
        let mut copied = 0;
        for range in json::strings(body) {
            let characters = json::characters(body, range);
            if let Some(links) = &self.links {
                let text: String = characters.iter().map(|character| character.char).collect();
                links.check(&text)?;
            }
            for mask in self.words.iter().flat_map(|words| words.masks(&characters)) {
                changed.push_str(&body[copied..mask.range.start]);
                changed.extend(std::iter::repeat_n('*', mask.length));
                copied = mask.range.end;
            }
        }
        if copied == 0 {
            return Ok(None);
        }
        changed.push_str(&body[copied..]);
        Ok(Some(changed))
    }
}
