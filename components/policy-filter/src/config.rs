//! What a deployment says about words and links.

use crate::filter::Filter;
use crate::links::{BadHost, Links};
use crate::words::{BadWords, Words};

#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("the configuration cannot be read: {0}")]
    Away(String),
    #[error("filtered_words: {0}")]
    Words(#[from] BadWords),
    #[error("allowed_links: {0}")]
    Links(#[from] BadHost),
}

/// `variable` answers none for one that is not defined.
pub(crate) fn read(
    variable: impl Fn(&str) -> Result<Option<String>, String>,
) -> Result<Filter, ConfigError> {
    let variable = |name| match variable(name) {
        Ok(value) => Ok(value.unwrap_or_default()),
        Err(why) => Err(ConfigError::Away(why)),
    };
    Ok(Filter {
        words: Words::parse(&variable("filtered_words")?)?,
        links: Links::parse(&variable("allowed_links")?)?,
    })
}
