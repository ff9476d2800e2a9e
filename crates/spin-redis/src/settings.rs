//! Which Redis, as the deployment says.

use crate::Error;
use crate::bindings::wasi::config::store;
use crate::prefix::Prefix;

pub(crate) struct Settings {
    /// `redis://[user:password@]host[:port][/database]`; `rediss://` speaks TLS. Secret.
    pub(crate) address: String,
    pub(crate) prefix: Prefix,
}

impl Settings {
    pub(crate) fn read() -> Result<Self, Error> {
        Self::of(variable)
    }

    fn of(variable: impl Fn(&str) -> Result<Option<String>, Error>) -> Result<Self, Error> {
        let address = variable("redis_url")?.filter(|address| !address.is_empty());
        let address = address.ok_or_else(|| Error::Settings("redis_url is not set".to_owned()))?;
        // The host would take what has no scheme for a name, or a file.
        if !["redis://", "rediss://"]
            .iter()
            .any(|scheme| address.starts_with(scheme))
        {
            return Err(Error::Settings(
                "redis_url begins neither with redis:// nor with rediss://".to_owned(),
            ));
        }
        let prefix = Prefix::new(variable("redis_prefix")?.unwrap_or_default());
        Ok(Self { address, prefix })
    }
}

fn variable(name: &str) -> Result<Option<String>, Error> {
    store::get(name).map_err(|error| Error::Settings(format!("{name}: {error:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: Option<&str>, prefix: Option<&str>) -> Result<(String, Prefix), Error> {
        let settings = Settings::of(|name| {
            let value = match name {
                "redis_url" => url,
                "redis_prefix" => prefix,
                _ => None,
            };
            Ok(value.map(str::to_owned))
        })?;
        Ok((settings.address, settings.prefix))
    }

    #[test]
    fn an_address_is_taken_as_it_is_written() {
        for url in [
            "redis://127.0.0.1:6379",
            "rediss://u:p@redis.example:6380/2",
        ] {
            let (address, prefix) = settings(Some(url), None).expect("it is an address");
            assert_eq!(address, url);
            assert_eq!(prefix, Prefix::default());
        }
        let (_, prefix) = settings(Some("redis://r"), Some("app:")).expect("it is an address");
        assert_eq!(prefix, Prefix::new("app:".to_owned()));
    }

    #[test]
    fn what_is_no_address_is_told_without_its_secret() {
        for url in [
            None,
            Some(""),
            Some("127.0.0.1:6379"),
            Some("http://:secret@h"),
        ] {
            let error = settings(url, None).expect_err("no address").to_string();
            assert!(error.contains("redis_url"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
