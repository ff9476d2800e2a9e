//! Rules over other rules: masks words, and refuses links to elsewhere.
//!
//! It exports `policy` and imports `policy`. Who somebody is and what they may do is left to the imported
//! one; what it lets through in `review` is filtered then, as these variables say:
//!
//! | variable | meaning |
//! |---|---|
//! | `filtered_words` | words and phrases, separated by commas; empty: none |
//! | `allowed_links` | the hosts that links may lead to, separated by commas: `example.org`, `*.example.org` for all below it; empty: any; `none`: no link at all |
//!
//! A word is found wherever it stands whole, in any case and in whatever style of letters, in every
//! string of a body, and an asterisk stands for each of its characters then. A link to another host
//! refuses the message. The names of an object's members are left alone. All else of a body is kept as it
//! was written.

mod bindings;
mod config;
mod filter;
mod json;
mod links;
#[cfg(test)]
mod tests;
mod words;

use bindings::exports::witter::messaging::policy as wit;
use bindings::witter::messaging::policy as inner;
use config::ConfigError;
use filter::Filter;
use std::cell::OnceCell;

/// What `bindings` exports.
struct Component;

impl wit::Guest for Component {
    fn authenticate(
        credential: Option<String>,
        context: wit::Context,
    ) -> Result<wit::Identity, wit::Error> {
        inner::authenticate(credential.as_deref(), &context)
    }

    fn permit(
        identity: wit::Identity,
        action: wit::Action,
        places: Vec<wit::Place>,
    ) -> Vec<Result<(), wit::Error>> {
        inner::permit(&identity, action, &places)
    }

    fn admit(
        name: String,
        entropy: Vec<u8>,
        context: wit::Context,
    ) -> Result<wit::Guest_, wit::Error> {
        inner::admit(&name, &entropy, &context)
    }

    fn review(
        identity: wit::Identity,
        place: wit::Place,
        body: String,
        context: wit::Context,
    ) -> Result<Option<String>, wit::Error> {
        let changed = inner::review(&identity, &place, &body, &context)?;
        let filtered = with_filter(|filter| filter.review(changed.as_deref().unwrap_or(&body)))??;
        Ok(filtered.or(changed))
    }
}

/// The configuration is read once in the life of an instance; an error is not kept, for it may pass.
fn with_filter<T>(review: impl FnOnce(&Filter) -> T) -> Result<T, ConfigError> {
    thread_local! {
        static FILTER: OnceCell<Filter> = const { OnceCell::new() };
    }
    FILTER.with(|cell| {
        let filter = match cell.get() {
            Some(filter) => filter,
            None => {
                let filter = config::read(|name| {
                    bindings::wasi::config::store::get(name).map_err(|error| format!("{error:?}"))
                })?;
                cell.get_or_init(|| filter)
            }
        };
        Ok(review(filter))
    })
}

impl From<ConfigError> for wit::Error {
    fn from(error: ConfigError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<links::Refusal> for wit::Error {
    fn from(refusal: links::Refusal) -> Self {
        Self::Forbidden(refusal.to_string())
    }
}
