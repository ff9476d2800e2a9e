//! What the server's own settings make of an acknowledged message.

use std::collections::HashMap;

use redis::{RedisError, cmd};

use super::link::Link;

/// What was found, to be told once at the start. Empty: all is as it should be.
pub(super) async fn look(link: &Link) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut found = HashMap::new();
    for setting in ["appendonly", "appendfsync", "maxmemory", "maxmemory-policy"] {
        match get(link, setting).await {
            Ok(value) => {
                found.insert(setting, value);
            }
            // Managed servers forbid it.
            Err(error) => {
                let unknown = "the settings of Redis cannot be looked at";
                warnings.push(format!("{unknown} ({error}): see that {WANTED}"));
                return warnings;
            }
        }
    }
    warnings.extend(judge(|setting| {
        found.get(setting).map_or("", String::as_str)
    }));
    warnings
}

const WANTED: &str = "appendonly is yes, appendfsync always, and maxmemory-policy noeviction";

async fn get(link: &Link, setting: &str) -> Result<String, RedisError> {
    let asked = cmd("CONFIG").arg("GET").arg(setting).to_owned();
    let found: Vec<String> = link.ask(&asked).await?;
    Ok(found.into_iter().nth(1).unwrap_or_default())
}

/// What these settings may lose, in words.
fn judge<'a>(setting: impl Fn(&str) -> &'a str) -> Vec<String> {
    let mut warnings = Vec::new();
    if setting("appendonly") != "yes" {
        warnings.push(
            "Redis has appendonly off: when it ends, acknowledged messages since its last snapshot are lost"
                .to_owned(),
        );
    } else if setting("appendfsync") != "always" {
        let lost = match setting("appendfsync") {
            "everysec" => "about the last second of acknowledged messages is lost",
            _ => "acknowledged messages of half a minute are lost",
        };
        let policy = setting("appendfsync");
        warnings.push(format!(
            "Redis has appendfsync {policy}: when its machine loses power, {lost}; with `always` none is"
        ));
    }
    let policy = setting("maxmemory-policy");
    // Others evict only what has a time to live, which no key of ours has.
    if policy.starts_with("allkeys") {
        let memory = setting("maxmemory");
        let when = match memory {
            "0" => "if it is ever given a limit of memory".to_owned(),
            _ => format!("at {memory} bytes"),
        };
        warnings.push(format!(
            "Redis has maxmemory-policy {policy}: {when} it throws messages away; with `noeviction` it refuses new ones instead"
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_lost_is_told() {
        #[track_caller]
        fn check(settings: [&str; 4], told: &[&str]) {
            let names = ["appendonly", "appendfsync", "maxmemory", "maxmemory-policy"];
            let warnings = judge(|asked| {
                let at = names.iter().position(|name| *name == asked);
                at.map_or("", |at| settings[at])
            });
            assert_eq!(warnings.len(), told.len(), "{warnings:?}");
            for (warning, told) in warnings.iter().zip(told) {
                assert!(warning.contains(told), "{warning}");
            }
        }
        check(["yes", "always", "0", "noeviction"], &[]);
        check(["yes", "always", "1048576", "volatile-lru"], &[]);
        check(["yes", "everysec", "0", "noeviction"], &["the last second"]);
        check(["yes", "no", "0", "noeviction"], &["half a minute"]);
        check(["no", "always", "0", "noeviction"], &["its last snapshot"]);
        check(
            ["no", "everysec", "1048576", "allkeys-lru"],
            &["its last snapshot", "at 1048576 bytes"],
        );
        check(
            ["yes", "always", "0", "allkeys-random"],
            &["if it is ever given a limit"],
        );
    }
}
