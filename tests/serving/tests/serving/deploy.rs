//! The recipes in `deploy/` and the pages about running it name what there is.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde::Deserialize as _;
use serde_yaml_ng::{Deserializer, Value};
use tempfile::TempDir;

use crate::support::{ask, serve, witter};

/// Metrics that a host tells once there is something to tell.
const SELDOM: [&str; 2] = [
    "http_client_request_duration_seconds",
    "witter_outbound_failures_total",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The files of `deploy/`, and what is in them.
fn recipes() -> Vec<(String, String)> {
    let mut folders = vec![root().join("deploy")];
    let mut recipes = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("it is there") {
            let path = entry.expect("it can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = fs::read_to_string(&path).expect("it is text");
                recipes.push((path.display().to_string(), text));
            }
        }
    }
    assert!(recipes.len() >= 6, "{recipes:?}");
    recipes
}

/// Pages that tell how to run it.
fn pages() -> Vec<(String, String)> {
    [
        "README.md",
        "docs/operating.md",
        "docs/sizing.md",
        "docs/redis.md",
    ]
    .map(|page| (page.to_owned(), read(page)))
    .to_vec()
}

/// The documents of a YAML file.
fn yaml(text: &str) -> Vec<Value> {
    Deserializer::from_str(text)
        .map(|document| Value::deserialize(document).expect("it is YAML"))
        .collect()
}

/// Every list of strings somewhere below that begins with a word.
fn lists(value: &Value, first: &str, found: &mut Vec<Vec<String>>) {
    match value {
        Value::Sequence(items) => {
            let texts: Option<Vec<_>> = items.iter().map(Value::as_str).collect();
            match texts {
                Some(texts) if texts.first() == Some(&first) => {
                    found.push(texts.into_iter().map(str::to_owned).collect());
                }
                _ => items.iter().for_each(|item| lists(item, first, found)),
            }
        }
        Value::Mapping(members) => {
            members
                .values()
                .for_each(|value| lists(value, first, found));
        }
        _ => {}
    }
}

/// The arguments of every command line of ours in a text of any kind.
fn commands(path: &str, text: &str) -> Vec<Vec<String>> {
    if path.ends_with(".yaml") {
        let mut found = Vec::new();
        for document in yaml(text) {
            lists(&document, "up", &mut found);
        }
        return found;
    }
    let mut found = Vec::new();
    // Lines that go on on the next are one.
    for line in text.replace("\\\n", " ").lines() {
        let line = line.trim();
        if let Some((_, list)) = line.split_once("CMD [") {
            let list: Vec<String> =
                serde_json::from_str(&format!("[{list}")).expect("it is a list");
            let ours = list.first().is_some_and(|first| first == "witter");
            found.push(list[usize::from(ours)..].to_vec());
        } else if let Some(command) = line
            .strip_prefix("ExecStart=/usr/local/bin/witter ")
            .or_else(|| line.strip_prefix("$ witter "))
            .or_else(|| {
                let (before, command) = line.split_once("target/release/witter ")?;
                before.starts_with("$ ").then_some(command)
            })
        {
            let command = command.split(" #").next().unwrap_or_default();
            found.push(command.split_whitespace().map(str::to_owned).collect());
        }
    }
    found
}

/// Whether a command line would be taken, short of its values' meaning: the first thing that is wrong is told
/// before its help is.
fn help(arguments: &[String]) -> Output {
    let mut command = witter();
    command.args(arguments).arg("--help").env_clear();
    command.output().expect("it runs")
}

#[test]
fn every_command_line_has_only_options_that_there_are() {
    let mut count = 0;
    for (path, text) in recipes().into_iter().chain(pages()) {
        for arguments in commands(&path, &text) {
            let output = help(&arguments);
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{path}: {arguments:?}: {told}");
            count += 1;
        }
    }
    assert!(count >= 12, "only {count} were found");
    // It is told where one is wrong.
    for wrong in [
        ["up", "--metric", "127.0.0.1:0"],
        ["serve", "--metrics", "127.0.0.1:0"],
    ] {
        assert!(!help(&wrong.map(str::to_owned)).status.success());
    }
}

/// The words of a text that begin with this, of letters, digits and underscores.
fn words<'a>(text: &'a str, beginning: &str) -> BTreeSet<&'a str> {
    text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'))
        .filter(|word| word.starts_with(beginning) && word.len() > beginning.len())
        .collect()
}

#[test]
fn every_variable_of_the_environment_is_one_that_is_read() {
    let all: String = ["up", "gateway", "migrate", "top", "ready"]
        .map(|command| {
            let told = help(&[command.to_owned()]).stdout;
            String::from_utf8(told).expect("help is text")
        })
        .concat();
    let manifest = read("spin.toml");
    let manifest: toml::Table = manifest.parse().expect("it is TOML");
    let declared = manifest["variables"].as_table().expect("it is a table");
    for (path, text) in recipes().into_iter().chain(pages()) {
        for beginning in ["WITTER_", "OTEL_"] {
            for name in words(&text, beginning) {
                let known = [format!("[env: {name}=]"), format!("[env: {name}]")];
                assert!(
                    known.iter().any(|known| all.contains(known)),
                    "{path}: {name}"
                );
            }
        }
        for name in words(&text, "SPIN_VARIABLE_") {
            let variable = name.trim_start_matches("SPIN_VARIABLE_").to_lowercase();
            // Those of the manifest that is made for Redis.
            let known = declared.contains_key(&variable) || variable.starts_with("redis_");
            assert!(known, "{path}: {name}");
        }
    }
    let (_, spinkube) = recipes()
        .into_iter()
        .find(|(path, _)| path.ends_with("spinkube.yaml"))
        .expect("it is there");
    let app = yaml(&spinkube)
        .into_iter()
        .find(|document| document["kind"] == "SpinApp")
        .expect("there is one");
    let variables = app["spec"]["variables"].as_sequence().expect("it has some");
    for variable in variables {
        let name = variable["name"].as_str().expect("it has a name");
        assert!(declared.contains_key(name), "{name}");
    }
    let stores = &app["spec"]["runtimeConfig"]["keyValueStores"];
    assert_eq!(stores[0]["name"], "default");
}

#[test]
fn what_refers_to_another_part_of_a_manifest_finds_it() {
    for name in ["kubernetes.yaml", "spinkube.yaml"] {
        let documents = yaml(&read(&format!("deploy/{name}")));
        let of = |kind: &str| documents.iter().find(|document| document["kind"] == kind);
        for document in &documents {
            for member in ["apiVersion", "kind"] {
                assert!(document[member].is_string(), "{name}: {document:?}");
            }
        }
        let secret = of("Secret").expect("there is one");
        let text = serde_yaml_ng::to_string(&documents).expect("it is YAML");
        for key in text.split("secretKeyRef:").skip(1) {
            let mut lines = key.lines().skip(1).take(2).map(str::trim);
            assert!(lines.any(|line| line == "name: witter"), "{name}: {key}");
            let key = key
                .lines()
                .take(3)
                .find_map(|line| line.trim().strip_prefix("key: "));
            let key = key.expect("it names a key");
            assert!(secret["stringData"][key].is_string(), "{name}: {key}");
        }
        let Some(deployment) = of("Deployment") else {
            continue;
        };
        let pod = &deployment["spec"]["template"];
        let labels = &pod["metadata"]["labels"];
        assert_eq!(labels, &deployment["spec"]["selector"]["matchLabels"]);
        let container = &pod["spec"]["containers"][0];
        let ports: Vec<_> = container["ports"]
            .as_sequence()
            .expect("it has ports")
            .iter()
            .map(|port| port["name"].as_str().expect("it has a name"))
            .collect();
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            let port = container[probe]["httpGet"]["port"]
                .as_str()
                .expect("a name");
            assert!(ports.contains(&port), "{probe}");
        }
        let service = of("Service").expect("there is one");
        assert_eq!(labels, &service["spec"]["selector"]);
        let port = service["spec"]["ports"][0]["targetPort"].as_str();
        assert!(port.is_some_and(|port| ports.contains(&port)));
    }
}

/// Whether systemd takes the units, where there is one to ask; whatever they name is there in either case.
#[test]
fn systemd_takes_the_units() {
    let folder = TempDir::new().expect("a folder can be made");
    let mut paths = Vec::new();
    for name in ["witter.service", "witter.socket"] {
        let text = read(&format!("deploy/systemd/{name}"));
        let is_assignment = |line: &&str| {
            line.is_empty()
                || line.starts_with(['#', '['])
                || line.split_once('=').is_some_and(|(name, _)| {
                    !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric())
                })
        };
        let wrong = text.lines().find(|line| !is_assignment(line));
        assert_eq!(wrong, None, "{name}");
        let path = folder.path().join(name);
        let program = witter().get_program().to_string_lossy().into_owned();
        let text = text.replace("/usr/local/bin/witter", &program);
        fs::write(&path, text).expect("it can be written");
        paths.push(path);
    }
    let verified = Command::new("systemd-analyze")
        .arg("verify")
        .args(&paths)
        .output();
    match verified {
        Ok(output) => {
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && told.trim().is_empty(), "{told}");
        }
        Err(error) => println!("systemd is not asked: {error}"),
    }
}

#[tokio::test]
async fn every_metric_that_is_named_is_told_and_every_one_that_is_told_has_its_row() {
    let host = serve(|options| {
        options.operating.metrics = Some((Ipv4Addr::LOCALHOST, 0).into());
    })
    .await;
    host.get("hello").await;
    let desk = host.running.metrics().expect("it can be asked");
    let asking = "GET /metrics HTTP/1.1\r\nhost: desk\r\nconnection: close\r\n\r\n";
    let told = ask(desk, asking).await.body;
    let families: BTreeSet<&str> = told
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .chain(SELDOM)
        .collect();
    let page = read("docs/operating.md");
    for family in &families {
        assert!(
            words(&page, "").contains(family),
            "docs/operating.md has no {family}"
        );
    }
    let texts = pages().into_iter().chain(recipes());
    for (path, text) in texts.filter(|(path, _)| path != "README.md") {
        for beginning in [
            "witter_",
            "http_server_",
            "http_client_",
            "db_client_",
            "process_",
        ] {
            for word in words(&text, beginning) {
                let family = ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|end| word.strip_suffix(end))
                    .unwrap_or(word);
                assert!(families.contains(family), "{path}: {word}");
            }
        }
    }
}
