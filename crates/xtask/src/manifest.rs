//! Manifests that follow from the one at the root.

use anyhow::{Context as _, Result};
use toml::{Table, Value};

/// What the manifest at the root names, and what takes its place.
const MESSENGER: &str = "dist/messenger.wasm";
const WITH_REDIS: &str = "messenger-redis.wasm";

/// Where Redis is, in parts, so that who may connect where is told by the same words. A variable's name, its
/// description and its default; whether it is secret.
const VARIABLES: &[(&str, &str, &str, bool)] = &[
    ("redis_scheme", "redis, or rediss for TLS", "redis", false),
    (
        "redis_credentials",
        "A user, a colon, a password and an @, escaped as in a URL; empty: nobody is asked who they are",
        "",
        true,
    ),
    (
        "redis_host",
        "The host of Redis, a colon and its port",
        "127.0.0.1:6379",
        false,
    ),
    (
        "redis_database",
        "The number of the database within that Redis",
        "0",
        false,
    ),
    (
        "redis_prefix",
        "What all keys begin with, where others use the same database",
        "",
        false,
    ),
];
const URL: &str =
    "{{ redis_scheme }}://{{ redis_credentials }}{{ redis_host }}/{{ redis_database }}";
const PREFIX: &str = "{{ redis_prefix }}";
const ALLOWED: &str = "{{ redis_scheme }}://{{ redis_host }}";

/// The manifest of the application that keeps everything in a Redis which its components speak with themselves, for a
/// place in dist/: `text` is the one at the root.
pub(crate) fn with_redis(text: &str) -> Result<String> {
    let mut manifest: Table = text.parse().context("spin.toml is no TOML")?;
    let variables = table(&mut manifest, "variables")?;
    for (name, description, default, secret) in VARIABLES {
        let mut variable = Table::new();
        variable.insert("description".to_owned(), (*description).into());
        variable.insert("default".to_owned(), (*default).into());
        if *secret {
            variable.insert("secret".to_owned(), true.into());
        }
        variables.insert((*name).to_owned(), variable.into());
    }
    for (id, component) in table(&mut manifest, "component")?.iter_mut() {
        let component = component.as_table_mut();
        let component = component.with_context(|| format!("component.{id} is no table"))?;
        with_redis_in(component).with_context(|| format!("component.{id}"))?;
    }
    // What stands for which closed component: this one is closed, and wakes by itself.
    let tools = table(&mut manifest, "application")?.get_mut("tool");
    let witter = tools.and_then(|tools| tools.get_mut("witter")?.as_table_mut());
    if let Some(witter) = witter {
        witter.remove("open");
    }
    let manifest = toml::to_string(&manifest)?;
    Ok(format!(
        "# Made of spin.toml by `cargo xtask build`: the same application with everything in Redis.\n\n{manifest}"
    ))
}

fn with_redis_in(component: &mut Table) -> Result<()> {
    component.remove("build");
    let source = component.get_mut("source");
    let source = source.context("it has no source")?;
    beside(source)?;
    let Some(dependencies) = component.get_mut("dependencies") else {
        return Ok(());
    };
    let dependencies = dependencies.as_table_mut();
    let mut changed = false;
    for (_, dependency) in dependencies.context("dependencies are no table")? {
        let path = dependency.get_mut("path");
        let path = path.context("a dependency is no file")?;
        if path.as_str() != Some(MESSENGER) {
            beside(path)?;
            continue;
        }
        *path = WITH_REDIS.into();
        let inherited = dependency.get_mut("inherit_configuration");
        let inherited = inherited.and_then(Value::as_array_mut);
        let inherited = inherited.context("the messenger inherits no list")?;
        inherited.retain(|key| key.as_str() != Some("key_value_stores"));
        add(inherited, "allowed_outbound_hosts");
        changed = true;
    }
    if changed {
        component.remove("key_value_stores");
        let variables = table(component, "variables")?;
        variables.insert("redis_url".to_owned(), URL.into());
        variables.insert("redis_prefix".to_owned(), PREFIX.into());
        let allowed = component
            .entry("allowed_outbound_hosts")
            .or_insert_with(|| Value::Array(Vec::new()));
        add(allowed.as_array_mut().context("no list of hosts")?, ALLOWED);
    }
    Ok(())
}

fn table<'a>(parent: &'a mut Table, name: &str) -> Result<&'a mut Table> {
    let child = parent.get_mut(name).and_then(Value::as_table_mut);
    child.with_context(|| format!("there is no table {name}"))
}

/// Names a file of dist/ as it is named from there.
fn beside(path: &mut Value) -> Result<()> {
    let name = path.as_str().and_then(|path| path.strip_prefix("dist/"));
    *path = name.context("a component is not in dist/")?.into();
    Ok(())
}

fn add(list: &mut Vec<Value>, text: &str) {
    if !list.iter().any(|value| value.as_str() == Some(text)) {
        list.push(text.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cargo::root;
    use std::fs;

    #[test]
    fn every_messenger_of_the_manifest_is_the_one_with_redis() {
        let text = fs::read_to_string(root().join("spin.toml")).expect("the manifest is there");
        let made = with_redis(&text).expect("it is understood");
        assert!(!made.contains("dist/"), "{made}");
        assert!(!made.contains("key_value_stores"), "{made}");
        let made: Table = made.parse().expect("it is TOML");
        let mut with_messenger = 0;
        for (id, component) in made["component"].as_table().expect("a table") {
            let Some(dependencies) = component.get("dependencies") else {
                assert!(component.get("allowed_outbound_hosts").is_none(), "{id}");
                continue;
            };
            let messenger = &dependencies["witter:messaging/messenger@0.1.0"];
            assert_eq!(messenger["path"].as_str(), Some(WITH_REDIS), "{id}");
            let has = |list: &Value, text: &str| {
                let list = list.as_array().expect("a list");
                list.iter().any(|value| value.as_str() == Some(text))
            };
            let inherited = &messenger["inherit_configuration"];
            assert!(has(inherited, "allowed_outbound_hosts"), "{id}");
            assert!(has(inherited, "variables"), "{id}");
            assert!(has(&component["allowed_outbound_hosts"], ALLOWED), "{id}");
            assert_eq!(component["variables"]["redis_url"].as_str(), Some(URL));
            with_messenger += 1;
        }
        assert!(with_messenger > 0);
    }

    #[test]
    fn what_cannot_be_changed_is_told() {
        for (text, expected) in [
            ("x", "is no TOML"),
            ("a = 1", "there is no table variables"),
            (
                "[variables]\n[application]\n[component.a]\nsource = \"b.wasm\"",
                "component.a: a component is not in dist/",
            ),
        ] {
            let error = with_redis(text).expect_err(text);
            let error = format!("{error:#}");
            assert!(error.contains(expected), "{error}");
        }
    }
}
