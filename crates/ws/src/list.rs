//! The lists that headers of the handshake hold: RFC 6455 section 9.1 over RFC 2616 section 2.
//!
//! Several headers of one name are one list; empty elements count for nothing.

/// The most tokens that a list may hold. Each is compared with all before it: a head full of them would take seconds.
const MOST_TOKENS: usize = 64;

/// A header that breaks its grammar, or holds more than anybody means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// An extension that the client offers, and its parameters in order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Extension {
    pub(crate) name: String,
    pub(crate) parameters: Vec<(String, Option<String>)>,
}

/// A list of distinct tokens: RFC 6455 section 4.1, item 10 of the client's requirements.
pub(crate) fn tokens(values: &[String]) -> Result<Vec<String>, Malformed> {
    let mut tokens = Vec::new();
    elements(values, |reader| {
        let token = reader.token()?;
        if tokens.len() == MOST_TOKENS || tokens.contains(&token) {
            return Err(Malformed);
        }
        tokens.push(token);
        Ok(())
    })?;
    Ok(tokens)
}

/// A list of extensions, in the client's order of preference.
pub(crate) fn extensions(values: &[String]) -> Result<Vec<Extension>, Malformed> {
    let mut extensions = Vec::new();
    elements(values, |reader| {
        let name = reader.token()?;
        let mut parameters = Vec::new();
        while reader.takes(b';') {
            let name = reader.token()?;
            let value = reader.takes(b'=').then(|| reader.value()).transpose()?;
            parameters.push((name, value));
        }
        extensions.push(Extension { name, parameters });
        Ok(())
    })?;
    Ok(extensions)
}

fn elements(
    values: &[String],
    mut read: impl FnMut(&mut Reader) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    for value in values {
        let mut reader = Reader(value.as_bytes());
        while !reader.ends() {
            if reader.takes(b',') {
                continue;
            }
            read(&mut reader)?;
            if !reader.ends() && !reader.takes(b',') {
                return Err(Malformed);
            }
        }
    }
    Ok(())
}

/// What is left of a value. White space may stand before everything.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn ends(&mut self) -> bool {
        self.0 = self.0.trim_ascii_start();
        self.0.is_empty()
    }

    fn takes(&mut self, delimiter: u8) -> bool {
        let found = !self.ends() && self.0[0] == delimiter;
        if found {
            self.0 = &self.0[1..];
        }
        found
    }

    fn token(&mut self) -> Result<String, Malformed> {
        if self.ends() {
            return Err(Malformed);
        }
        let length = self
            .0
            .iter()
            .position(|byte| !is_token(*byte))
            .unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(length);
        self.0 = rest;
        owned_token(token)
    }

    /// A token, bare or between quotation marks, where a backslash stands before any character.
    fn value(&mut self) -> Result<String, Malformed> {
        if !self.takes(b'"') {
            return self.token();
        }
        let mut value = Vec::new();
        loop {
            let (&byte, rest) = self.0.split_first().ok_or(Malformed)?;
            self.0 = rest;
            match byte {
                b'"' => return owned_token(&value),
                b'\\' => {
                    let (&escaped, rest) = self.0.split_first().ok_or(Malformed)?;
                    self.0 = rest;
                    value.push(escaped);
                }
                _ => value.push(byte),
            }
        }
    }
}

/// A token has at least one character: RFC 2616 section 2.2.
fn owned_token(bytes: &[u8]) -> Result<String, Malformed> {
    if bytes.is_empty() || !bytes.iter().copied().all(is_token) {
        return Err(Malformed);
    }
    String::from_utf8(bytes.to_vec()).map_err(|_| Malformed)
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
