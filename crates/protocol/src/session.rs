use crate::query::Query;
use crate::{Error, json};

/// The longest display name, in characters (Unicode scalar values).
const LONGEST_NAME: usize = 64;

/// A credential for a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The bearer token.
    pub token: String,
    /// The identity drawn for the guest: what envelopes carry as `sender`.
    pub sender: String,
    /// What envelopes carry as `name`.
    pub name: String,
    /// Milliseconds since 1970.
    pub expires_at: u64,
}

impl Session {
    /// `{"token","sender","name","expires_at"}`.
    #[must_use]
    pub fn to_json(&self) -> String {
        json::Object::new()
            .text("token", &self.token)
            .text("sender", &self.sender)
            .text("name", &self.name)
            .number("expires_at", self.expires_at)
            .end()
    }
}

/// The name in `{"name":"Ann"}`, without white space around it.
///
/// # Errors
/// 400 for what is not JSON; 422 for another shape, and for a name that has not 1 to 64 characters or has
/// a control character.
pub fn parse_session(body: &[u8]) -> Result<String, Error> {
    let [name] = json::members(json::value(body)?, ["name"])?;
    let name = name.ok_or_else(|| unprocessable("missing"))?;
    let name: String =
        serde_json::from_str(name.get()).map_err(|_| unprocessable("not a string"))?;
    named(&name)
}

/// The parameter `name` of a query, without its `?`, for who cannot send a body.
///
/// # Errors
/// 400 for what the grammar does not allow; 422 as [`parse_session`].
pub fn session_from_query(query: &str) -> Result<String, Error> {
    let query = Query::parse(query)?;
    let name = query.one("name")?.ok_or_else(|| unprocessable("missing"))?;
    named(name)
}

/// A name as it is shown: white space around it goes, then 1 to 64 characters, no control characters. None: it is no
/// such name.
#[must_use]
pub fn display_name(name: &str) -> Option<&str> {
    let name = name.trim();
    let length = name.chars().take(LONGEST_NAME + 1).count();
    let fits = (1..=LONGEST_NAME).contains(&length) && !name.chars().any(char::is_control);
    fits.then_some(name)
}

fn named(name: &str) -> Result<String, Error> {
    let why = "1 to 64 characters without control characters are expected";
    let name = display_name(name).ok_or_else(|| unprocessable(why))?;
    Ok(name.to_owned())
}

fn unprocessable(why: &str) -> Error {
    Error::Unprocessable(format!("name: {why}"))
}
