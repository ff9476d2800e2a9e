//! What the server's own settings make of an acknowledged message.

use std::collections::HashMap;

use redis::{ErrorKind, RedisError, cmd};

use super::link::Link;

/// What is asked for.
const SETTINGS: [&str; 6] = [
    "appendonly",
    "appendfsync",
    "no-appendfsync-on-rewrite",
    "maxmemory",
    "maxmemory-policy",
    "min-replicas-to-write",
];

/// What was found, to be told once at the start. Empty: all is as it should be.
pub(super) async fn look(link: &Link) -> Vec<String> {
    let mut found = HashMap::new();
    for setting in SETTINGS {
        match get(link, setting).await {
            Ok(value) => {
                found.insert(setting, value);
            }
            // Managed servers forbid it.
            Err(error) => {
                let unknown = "the settings of Redis cannot be looked at";
                return vec![format!("{unknown} ({error}): see that {WANTED}")];
            }
        }
    }
    let version = info(link, "server", "redis_version").await;
    judge(version.as_deref(), |setting| {
        found.get(setting).map_or("", String::as_str)
    })
}

const WANTED: &str = "appendonly is yes, appendfsync always, and maxmemory-policy noeviction";

async fn get(link: &Link, setting: &str) -> Result<String, RedisError> {
    let asked = cmd("CONFIG").arg("GET").arg(setting).to_owned();
    let found: Vec<String> = link.ask(&asked).await?;
    Ok(found.into_iter().nth(1).unwrap_or_default())
}

/// What the server says of itself, where it may be asked.
async fn info(link: &Link, section: &str, field: &str) -> Option<String> {
    let asked = cmd("INFO").arg(section).to_owned();
    let told: String = link.ask(&asked).await.ok()?;
    let mut fields = told.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(name, _)| *name == field)?;
    Some(value.to_owned())
}

/// An error where the server is one of a cluster: others have what it has not, and no command may name keys of two.
pub(super) async fn refuse_cluster(link: &Link) -> Result<(), RedisError> {
    match info(link, "cluster", "cluster_enabled").await.as_deref() {
        Some("1") => Err((
            ErrorKind::InvalidClientConfig,
            "this is a Redis Cluster, which is no store: give it a server that is none",
        )
            .into()),
        _ => Ok(()),
    }
}

/// What these settings may lose, in words.
fn judge<'a>(version: Option<&str>, setting: impl Fn(&str) -> &'a str) -> Vec<String> {
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
    if setting("appendonly") == "yes" && setting("no-appendfsync-on-rewrite") == "yes" {
        warnings.push(
            "Redis has no-appendfsync-on-rewrite: when its machine loses power while it rewrites its file or takes a snapshot, acknowledged messages since then are lost"
                .to_owned(),
        );
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
    let replicas = setting("min-replicas-to-write");
    let major = version.and_then(|version| version.split('.').next()?.parse::<u32>().ok());
    if !matches!(replicas, "" | "0")
        && let (Some(version), Some(..=6)) = (version, major)
    {
        warnings.push(format!(
            "Redis {version} does not heed min-replicas-to-write in scripts, by which messages are stored: cut off from its replicas, it goes on to acknowledge what a failover loses; from 7.0 it refuses"
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use redis_server::{RedisServer, keep_port};

    use super::*;
    use crate::store::Redis;

    #[test]
    fn what_may_be_lost_is_told() {
        #[track_caller]
        fn check(version: Option<&str>, settings: [&str; 6], told: &[&str]) {
            let warnings = judge(version, |asked| {
                let at = SETTINGS.iter().position(|name| *name == asked);
                at.map_or("", |at| settings[at])
            });
            assert_eq!(warnings.len(), told.len(), "{warnings:?}");
            for (warning, told) in warnings.iter().zip(told) {
                assert!(warning.contains(told), "{warning}");
            }
        }
        let check_all = |[only, fsync, memory, policy]: [&str; 4], told: &[&str]| {
            check(None, [only, fsync, "no", memory, policy, "0"], told);
        };
        check_all(["yes", "always", "0", "noeviction"], &[]);
        check_all(["yes", "always", "1048576", "volatile-lru"], &[]);
        check_all(["yes", "everysec", "0", "noeviction"], &["the last second"]);
        check_all(["yes", "no", "0", "noeviction"], &["half a minute"]);
        check_all(["no", "always", "0", "noeviction"], &["its last snapshot"]);
        check_all(
            ["no", "everysec", "1048576", "allkeys-lru"],
            &["its last snapshot", "at 1048576 bytes"],
        );
        check_all(
            ["yes", "always", "0", "allkeys-random"],
            &["if it is ever given a limit"],
        );
        let rewriting = |only| [only, "always", "yes", "0", "noeviction", ""];
        check(None, rewriting("yes"), &["no-appendfsync-on-rewrite"]);
        check(None, rewriting("no"), &["its last snapshot"]);
        let replicated = |replicas| ["yes", "always", "no", "0", "noeviction", replicas];
        check(
            Some("6.2.14"),
            replicated("1"),
            &["Redis 6.2.14 does not heed"],
        );
        for version in [Some("7.0.15"), Some("10.0"), Some("strange"), None] {
            check(version, replicated("1"), &[]);
        }
        check(Some("6.2.14"), replicated("0"), &[]);
        check(Some("5.0.3"), replicated(""), &[]);
    }

    #[tokio::test]
    async fn a_cluster_is_refused() {
        // By itself it takes a port that there may not be, 10,000 above the other.
        let (_kept, address) = keep_port().expect("there is one");
        let port = address.port().to_string();
        let settings = ["--cluster-enabled", "yes", "--cluster-port", &port];
        let server = RedisServer::start(&settings).expect("Redis starts");
        let error = Redis::open(&server.url()).await.expect_err("it is one");
        let error = format!("{:?}", anyhow::Error::from(error));
        assert!(error.contains("Redis Cluster"), "{error}");
    }
}
