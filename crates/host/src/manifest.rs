//! The application, as its `spin.toml` tells it: manifest version 2, as Spin 4.1 takes it.
//!
//! One file serves both hosts, so this one refuses what Spin refuses (a key it does not know, an id or a
//! variable's name against its rules, dependencies that contradict each other) and takes what Spin takes,
//! as far as it can keep what the manifest promises:
//!
//! * Sources and dependencies are files here. A URL, a registry or another component as the source of one
//!   is an error: this host fetches nothing.
//! * Of triggers it answers `http`; any other is an error, and so are `static_response`, the `wagi`
//!   executor, middleware, and `files`: a component would run without what it was promised.
//! * `sqlite_databases` and `ai_models` permit what this host does not have. They are no error: the component
//!   that imports such a thing is refused for the import.
//! * `allowed_outbound_hosts` says where a component may send requests over HTTP, and which Redis it may connect to.
//! * `build`, `targets`, `profile`, descriptions and other tools' tables are checked for their form only.
//!
//! The host's own table stands where Spin keeps free room for tools. It says which open component, one
//! that still imports things, stands for a closed one that Spin must be given:
//!
//! ```toml
//! [application.tool.witter.open."dist/messenger.wasm"]
//! component = "dist/messenger-open.wasm"
//! plugs = ["dist/policy-token.wasm"]
//! ```
//!
//! And it names routes that the host asks by itself, by a `POST` as soon as it serves and again so many seconds after
//! each answer; where `if` is there, only if that text is not empty once its variables are filled in:
//!
//! ```toml
//! [application.tool.witter.visit."/witter/webhook"]
//! seconds = 10
//! if = "{{ webhook_host }}"
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::env::VarError;
use std::fmt;
use std::fs;
use std::io;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use semver::{BuildMetadata, Version};
use serde::de::value::MapAccessDeserializer;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_path_to_error::Segment;
use toml::Spanned;
use toml::de::{DeArray, DeTable};

use crate::allowed::AllowedHost;
use crate::variables::{Declaration, Variables, check_name};

/// An application.
#[derive(Debug)]
pub struct App {
    /// Its name.
    pub name: String,
    /// Its components by their ids, those without a trigger too.
    pub components: BTreeMap<String, Component>,
    /// Which component answers which route, in the manifest's order. Private endpoints have none.
    pub triggers: Vec<Trigger>,
    /// What the host asks by itself.
    pub visits: Vec<Visit>,
    open: BTreeMap<PathBuf, Open>,
}

/// A route that the host asks by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Visit {
    /// As a trigger has it.
    pub route: String,
    /// The component's id.
    pub component: String,
    /// From an answer to the next request.
    pub seconds: u64,
}

/// A route and the component that answers it.
#[derive(Clone, Debug, PartialEq)]
pub struct Trigger {
    /// The pattern, see [`crate::routes`].
    pub route: String,
    /// The component's id; it is one of [`App::components`].
    pub component: String,
}

/// A component and what it may use.
#[derive(Clone, PartialEq)]
pub struct Component {
    /// Its name in the application.
    pub id: String,
    /// Its file.
    pub source: PathBuf,
    /// What its imports are satisfied with.
    pub dependencies: Vec<Dependency>,
    /// The labels of the stores that it may open.
    pub key_value_stores: Vec<String>,
    /// Its variables with their values. Some are secrets: `Debug` shows the names only.
    pub variables: BTreeMap<String, String>,
    /// The environment variables that it sees.
    pub environment: BTreeMap<String, String>,
    /// Where it may send requests to.
    pub allowed_outbound_hosts: Vec<AllowedHost>,
}

impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id,
            source,
            dependencies,
            key_value_stores,
            variables,
            environment,
            allowed_outbound_hosts,
        } = self;
        f.debug_struct("Component")
            .field("id", id)
            .field("source", source)
            .field("dependencies", dependencies)
            .field("key_value_stores", key_value_stores)
            .field("variables", &variables.keys())
            .field("environment", &environment.keys())
            .field("allowed_outbound_hosts", allowed_outbound_hosts)
            .finish()
    }
}

/// A component that satisfies imports of another one.
#[derive(Clone, Debug, PartialEq)]
pub struct Dependency {
    /// What it satisfies: `namespace:package`, `namespace:package/interface`, either with `@version`, or a
    /// plain name.
    pub import: String,
    /// Its file.
    pub path: PathBuf,
    /// What it may use of what its dependent may.
    pub inherit: Inherit,
}

/// What a dependency may use of what its dependent may.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Inherit {
    /// All of it.
    All,
    /// Nothing.
    #[default]
    None,
    /// The kinds named: `key_value_stores`, `variables`, `environment` and so on. A name that means nothing
    /// permits nothing.
    Some(BTreeSet<String>),
}

/// The open component that stands for a closed one.
#[derive(Clone, Debug, PartialEq)]
pub struct Open {
    /// Its file.
    pub component: PathBuf,
    /// The components that are plugged into it, one after the other.
    pub plugs: Vec<PathBuf>,
}

/// Why a manifest cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file is not there, or no UTF-8.
    #[error("{}: cannot be read", .file.display())]
    Read {
        /// The manifest.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something in it is wrong.
    #[error("{}{}: {}{reason}", .file.display(), Line(*.line), Field(.field))]
    Invalid {
        /// The manifest.
        file: PathBuf,
        /// Counted from 1.
        line: Option<usize>,
        /// Where: keys from the root, as in `component.chat.source`. Empty: the file as a whole.
        field: String,
        /// What is wrong.
        reason: String,
    },
}

struct Line(Option<usize>);

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}

struct Field<'a>(&'a str);

impl fmt::Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            Ok(())
        } else {
            write!(f, "{}: ", self.0)
        }
    }
}

/// Reads the manifest at `path`. Paths in it count from its folder; variables are overridden by this
/// process's environment. Whether the files of components exist is not looked at.
pub fn load(path: &Path) -> Result<App, ManifestError> {
    load_with(path, |name| std::env::var(name))
}

/// [`load`], with another environment.
pub fn load_with(
    path: &Path,
    environment: impl Fn(&str) -> Result<String, VarError>,
) -> Result<App, ManifestError> {
    let read = |source| ManifestError::Read {
        file: path.to_owned(),
        source,
    };
    let text = fs::read_to_string(path).map_err(read)?;
    let folder = std::path::absolute(path)
        .map_err(read)?
        .parent()
        .map(Path::to_owned)
        .unwrap_or_default();
    Source::new(path, &text)?.app(&folder, environment)
}

impl App {
    /// The open component that stands for the closed one at this path, if the manifest names one.
    ///
    /// `closed` is a path out of this application: of a component's source or of a dependency.
    #[must_use]
    pub fn open(&self, closed: &Path) -> Option<&Open> {
        self.open.get(closed)
    }
}

/// A manifest's text, with what it takes to say where in it something is wrong.
struct Source<'a> {
    file: &'a Path,
    text: &'a str,
    tree: Spanned<DeTable<'a>>,
}

/// Keys from the root of the manifest.
type At<'a> = &'a [&'a str];

impl<'a> Source<'a> {
    fn new(file: &'a Path, text: &'a str) -> Result<Self, ManifestError> {
        match DeTable::parse(text) {
            Ok(tree) => Ok(Self { file, text, tree }),
            Err(error) => Err(ManifestError::Invalid {
                file: file.to_owned(),
                line: error.span().map(|span| line_of(text, span.start)),
                field: String::new(),
                reason: error.message().to_owned(),
            }),
        }
    }

    fn error(&self, at: At<'_>, reason: impl fmt::Display) -> ManifestError {
        ManifestError::Invalid {
            file: self.file.to_owned(),
            line: self.line(at),
            field: at.join("."),
            reason: reason.to_string(),
        }
    }

    /// The line of the deepest of these keys that stands in the text.
    fn line(&self, at: At<'_>) -> Option<usize> {
        let mut line = None;
        let (mut table, mut array) = (Some(self.tree.get_ref()), None::<&DeArray<'_>>);
        for key in at {
            let entry = match (table, array) {
                (Some(table), _) => table
                    .get_key_value(*key)
                    .map(|(key, value)| (key.span(), value.get_ref())),
                (None, Some(array)) => key
                    .parse()
                    .ok()
                    .and_then(|index: usize| array.get(index))
                    .map(|item| (item.span(), item.get_ref())),
                (None, None) => None,
            };
            let Some((span, value)) = entry else { break };
            line = Some(line_of(self.text, span.start));
            (table, array) = (value.as_table(), value.as_array());
        }
        line
    }

    /// Turns `input`, which stands at `at`, into what it should be, or says where it is not.
    fn deserialize<'de, T: Deserialize<'de>>(
        &self,
        at: At<'_>,
        input: impl Deserializer<'de, Error = toml::de::Error>,
    ) -> Result<T, ManifestError> {
        serde_path_to_error::deserialize(input).map_err(|error| {
            let below: Vec<String> = error
                .path()
                .iter()
                .map(|segment| match segment {
                    Segment::Seq { index } => index.to_string(),
                    key => key.to_string(),
                })
                .collect();
            let at: Vec<&str> = at
                .iter()
                .copied()
                .chain(below.iter().map(String::as_str))
                .collect();
            ManifestError::Invalid {
                file: self.file.to_owned(),
                line: error
                    .inner()
                    .span()
                    .map(|span| line_of(self.text, span.start))
                    .or_else(|| self.line(&at)),
                field: at.join("."),
                reason: error.inner().message().to_owned(),
            }
        })
    }

    fn app(
        &self,
        folder: &Path,
        environment: impl Fn(&str) -> Result<String, VarError>,
    ) -> Result<App, ManifestError> {
        let root = || toml::Deserializer::from(self.tree.clone());
        let Probe {
            spin_manifest_version,
        } = self.deserialize(&[], root())?;
        if spin_manifest_version != toml::Value::Integer(2) {
            return Err(self.error(&["spin_manifest_version"], "this host reads version 2"));
        }
        let raw: RawApp = self.deserialize(&[], root())?;

        if raw
            .application
            .trigger
            .http
            .base
            .is_some_and(|base| base != "/")
        {
            return Err(self.error(&["application", "trigger", "http", "base"], "must be \"/\""));
        }
        let variables =
            Variables::resolve(raw.variables, environment).map_err(|error| match error.name() {
                Some(name) => self.error(&["variables", name], &error),
                None => self.error(&["variables"], &error),
            })?;
        let mut components = BTreeMap::new();
        for (id, component) in raw.component {
            let at = ["component", &id];
            check_words(&id, '-').map_err(|reason| self.error(&at, reason))?;
            let component = self.component(&at, &id, component, &variables, folder)?;
            components.insert(id, component);
        }
        let mut triggers = Vec::new();
        for (index, trigger) in raw.trigger.http.into_iter().enumerate() {
            let index = index.to_string();
            let at = ["trigger", "http", &index];
            self.check_trigger(&at, &trigger)?;
            let at = ["trigger", "http", &index, "component"];
            let component = match trigger.component {
                None => return Err(self.error(&at, "is missing")),
                Some(TextOr::Text(id)) if components.contains_key(&id) => id,
                Some(TextOr::Text(id)) => {
                    return Err(self.error(&at, format_args!("there is no component {id:?}")));
                }
                Some(TextOr::Table(inline)) => {
                    let id = inline_id(&components);
                    let component = self.component(&at, &id, inline, &variables, folder)?;
                    components.insert(id.clone(), component);
                    id
                }
            };
            if let RawRoute::Path(route) = trigger.route {
                triggers.push(Trigger { route, component });
            }
        }
        let tool = self.tool(raw.application.tool)?;
        let open = self.open(tool.open, &components, folder)?;
        let visits = self.visits(tool.visit, &triggers, &variables)?;
        Ok(App {
            name: raw.application.name,
            components,
            triggers,
            visits,
            open,
        })
    }

    /// Refuses what a trigger promises and this host does not keep.
    fn check_trigger(&self, at: At<'_>, trigger: &RawTrigger) -> Result<(), ManifestError> {
        let RawTrigger {
            components,
            dependencies,
            route,
            executor,
            static_response,
            ..
        } = trigger;
        let unsupported = [
            ("components", !components.is_empty()),
            ("dependencies", !dependencies.is_empty()),
            ("static_response", static_response.is_some()),
            (
                "executor",
                executor
                    .as_ref()
                    .is_some_and(|executor| !matches!(executor.kind.as_str(), "http" | "spin")),
            ),
        ];
        for (key, is_used) in unsupported {
            if is_used {
                return Err(self.error(&join(at, key), "is not supported by this host"));
            }
        }
        match route {
            RawRoute::Private { private: false } => {
                Err(self.error(&join(at, "route"), "can only be private = true"))
            }
            _ => Ok(()),
        }
    }

    fn component(
        &self,
        at: At<'_>,
        id: &str,
        raw: RawComponent,
        variables: &Variables,
        folder: &Path,
    ) -> Result<Component, ManifestError> {
        let TextOr::Text(source) = raw.source else {
            return Err(self.error(
                &join(at, "source"),
                "must be a file: this host fetches nothing",
            ));
        };
        if !raw.files.is_empty() {
            return Err(self.error(&join(at, "files"), "is not supported by this host"));
        }
        for label in &raw.key_value_stores {
            check_words(label, '-')
                .or_else(|_| check_words(label, '_'))
                .map_err(|_| {
                    self.error(
                        &join(at, "key_value_stores"),
                        format_args!("{label:?} is no label: expected kebab-case or snake_case"),
                    )
                })?;
        }
        let mut values = BTreeMap::new();
        for (name, template) in raw.variables {
            let value = check_name(&name)
                .and_then(|()| variables.render(&template))
                .map_err(|error| self.error(&[at, &["variables", &name]].concat(), error))?;
            values.insert(name, value);
        }
        let mut allowed_outbound_hosts = Vec::new();
        for template in raw.allowed_outbound_hosts.unwrap_or_default() {
            let at = join(at, "allowed_outbound_hosts");
            let entry = variables
                .render(&template)
                .map_err(|error| self.error(&at, error))?;
            let host = AllowedHost::parse(&entry).map_err(|error| self.error(&at, error))?;
            allowed_outbound_hosts.push(host);
        }
        Ok(Component {
            id: id.to_owned(),
            source: folder.join(source),
            dependencies: self.dependencies(
                at,
                raw.dependencies,
                raw.dependencies_inherit_configuration,
                folder,
            )?,
            key_value_stores: raw.key_value_stores,
            variables: values,
            environment: raw.environment,
            allowed_outbound_hosts,
        })
    }

    fn dependencies(
        &self,
        at: At<'_>,
        raw: BTreeMap<String, toml::Value>,
        inherit_all: Option<bool>,
        folder: &Path,
    ) -> Result<Vec<Dependency>, ManifestError> {
        let mut dependencies = Vec::new();
        let mut names: Vec<Package> = Vec::new();
        for (import, value) in raw {
            let at = [at, &["dependencies", &import]].concat();
            match Package::of(&import).map_err(|reason| self.error(&at, reason))? {
                Some(name) => {
                    if names.iter().any(|other| name.overlaps(other)) {
                        return Err(self.error(&at, "overlaps with another dependency"));
                    }
                    names.push(name);
                }
                None => check_words(&import, '-').map_err(|reason| self.error(&at, reason))?,
            }
            if value.get("path").is_none() {
                return Err(self.error(&at, "must be { path = \"…\" }: this host fetches nothing"));
            }
            let raw: RawDependency = self.deserialize(&at, value)?;
            if raw.export.is_some() {
                return Err(self.error(&join(&at, "export"), "is not supported by this host"));
            }
            let inherit = match (inherit_all, raw.inherit_configuration) {
                (Some(_), Some(_)) => {
                    let reason = "contradicts dependencies_inherit_configuration: use one of them";
                    return Err(self.error(&join(&at, "inherit_configuration"), reason));
                }
                (Some(true), None) | (None, Some(RawInherit::All(true))) => Inherit::All,
                (None, Some(RawInherit::Some(kinds))) => Inherit::Some(kinds),
                (Some(false) | None, None) | (None, Some(RawInherit::All(false))) => Inherit::None,
            };
            dependencies.push(Dependency {
                import,
                path: folder.join(raw.path),
                inherit,
            });
        }
        Ok(dependencies)
    }

    fn tool(&self, mut tools: BTreeMap<String, toml::Table>) -> Result<RawTool, ManifestError> {
        let table = tools.remove("witter").unwrap_or_default();
        self.deserialize(&TOOL, table)
    }

    fn visits(
        &self,
        raw: BTreeMap<String, RawVisit>,
        triggers: &[Trigger],
        variables: &Variables,
    ) -> Result<Vec<Visit>, ManifestError> {
        let mut visits = Vec::new();
        for (route, raw) in raw {
            let at = [&TOOL[..], &["visit", &route]].concat();
            let Some(trigger) = triggers.iter().find(|trigger| trigger.route == route) else {
                return Err(self.error(&at, "is no route of this application"));
            };
            if raw.seconds == 0 {
                return Err(self.error(&join(&at, "seconds"), "must be 1 or more"));
            }
            let condition = raw.condition.as_deref().map(|text| variables.render(text));
            let condition = condition
                .transpose()
                .map_err(|error| self.error(&join(&at, "if"), error))?;
            if condition.is_none_or(|text| !text.trim().is_empty()) {
                visits.push(Visit {
                    route,
                    component: trigger.component.clone(),
                    seconds: raw.seconds,
                });
            }
        }
        Ok(visits)
    }

    fn open(
        &self,
        raw: BTreeMap<String, RawOpen>,
        components: &BTreeMap<String, Component>,
        folder: &Path,
    ) -> Result<BTreeMap<PathBuf, Open>, ManifestError> {
        let used: BTreeSet<&Path> = components
            .values()
            .flat_map(|component| {
                let dependencies = component.dependencies.iter();
                dependencies
                    .map(|dependency| dependency.path.as_path())
                    .chain([component.source.as_path()])
            })
            .collect();
        let mut open = BTreeMap::new();
        for (key, raw) in raw {
            let closed = folder.join(&key);
            // Else a slip of the pen would go unnoticed: the closed one works too, only slower.
            if !used.contains(closed.as_path()) {
                return Err(self.error(
                    &[&TOOL[..], &["open", &key]].concat(),
                    "is no file of this application",
                ));
            }
            let plugs = raw
                .plugs
                .into_iter()
                .map(|plug| folder.join(plug))
                .collect();
            open.insert(
                closed,
                Open {
                    component: folder.join(raw.component),
                    plugs,
                },
            );
        }
        Ok(open)
    }
}

fn join<'a>(at: At<'a>, key: &'a str) -> Vec<&'a str> {
    [at, &[key]].concat()
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()
        .iter()
        .take(at)
        .filter(|byte| **byte == b'\n')
        .count()
        + 1
}

/// An id for a component that stands inside its trigger; nobody can refer to it.
fn inline_id(components: &BTreeMap<String, Component>) -> String {
    let mut number = 1;
    loop {
        let id = format!("inline-component{number}");
        if !components.contains_key(&id) {
            return id;
        }
        number += 1;
    }
}

/// Whether `id` is made of words of ASCII letters and digits, each beginning with a letter and all of one
/// case, with one `delimiter` between them: kebab-case or snake_case as the component model has it.
fn check_words(id: &str, delimiter: char) -> Result<(), String> {
    let is_word = |word: &str| {
        let one_case = |lower: bool| {
            word.bytes().all(|byte| {
                byte.is_ascii_digit()
                    || if lower {
                        byte.is_ascii_lowercase()
                    } else {
                        byte.is_ascii_uppercase()
                    }
            })
        };
        word.starts_with(|first: char| first.is_ascii_alphabetic())
            && (one_case(true) || one_case(false))
    };
    if id.split(delimiter).all(is_word) {
        Ok(())
    } else {
        Err(format!(
            "{id:?} is no name: expected words of letters and digits with {delimiter:?} between them"
        ))
    }
}

/// The name of a dependency that is a package or an interface of one.
#[derive(Debug)]
struct Package {
    package: String,
    interface: Option<String>,
    version: Option<Version>,
}

impl Package {
    /// None for a plain name.
    fn of(import: &str) -> Result<Option<Self>, String> {
        if !import.contains([':', '/']) {
            return Ok(None);
        }
        let (name, version) = match import.split_once('@') {
            Some((name, version)) => (
                name,
                Some(
                    version
                        .parse()
                        .map_err(|error| format!("{version:?} is no version: {error}"))?,
                ),
            ),
            None => (import, None),
        };
        let (package, interface) = match name.split_once('/') {
            Some((package, interface)) => (package, Some(interface)),
            None => (name, None),
        };
        let (namespace, package_name) = package
            .split_once(':')
            .ok_or_else(|| format!("{package:?} is no package: expected namespace:name"))?;
        for word in [namespace, package_name].into_iter().chain(interface) {
            check_words(word, '-')?;
        }
        Ok(Some(Self {
            package: package.to_owned(),
            interface: interface.map(str::to_owned),
            version,
        }))
    }

    /// Whether one import could be meant by both: the same package, in versions that could stand for each
    /// other, and not two different interfaces of it.
    fn overlaps(&self, other: &Self) -> bool {
        fn agree<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
            one.zip(other).is_none_or(|(one, other)| one == other)
        }
        self.package == other.package
            && agree(
                self.version.as_ref().map(compatible),
                other.version.as_ref().map(compatible),
            )
            && agree(self.interface.as_ref(), other.interface.as_ref())
    }
}

/// The lowest version that semantic versioning calls compatible with this one.
fn compatible(version: &Version) -> Version {
    let mut lowest = version.clone();
    lowest.build = BuildMetadata::EMPTY;
    if lowest.pre.is_empty() && (lowest.major, lowest.minor) != (0, 0) {
        lowest.patch = 0;
        if lowest.major != 0 {
            lowest.minor = 0;
        }
    }
    lowest
}

/// Read before the rest: a manifest of another version has other keys.
#[derive(Deserialize)]
struct Probe {
    spin_manifest_version: toml::Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read for its form only")]
struct RawApp {
    spin_manifest_version: IgnoredAny,
    application: RawApplication,
    #[serde(default)]
    variables: BTreeMap<String, Declaration>,
    trigger: RawTriggers,
    #[serde(default)]
    component: BTreeMap<String, RawComponent>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read for its form only")]
struct RawApplication {
    name: String,
    version: Option<String>,
    description: Option<String>,
    authors: Option<Vec<String>>,
    targets: Option<Vec<RawTarget>>,
    #[serde(default)]
    trigger: RawTriggerSettings,
    #[serde(default)]
    tool: BTreeMap<String, toml::Table>,
}

/// Settings of other triggers do no harm where there are no such triggers.
#[derive(Default, Deserialize)]
struct RawTriggerSettings {
    #[serde(default)]
    http: RawHttpSettings,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHttpSettings {
    base: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTriggers {
    #[serde(default)]
    http: Vec<RawTrigger>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read for its form only")]
struct RawTrigger {
    id: Option<String>,
    component: Option<TextOr<RawComponent>>,
    #[serde(default)]
    components: BTreeMap<String, IgnoredAny>,
    #[serde(default)]
    dependencies: BTreeMap<String, IgnoredAny>,
    route: RawRoute,
    executor: Option<RawExecutor>,
    static_response: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "expected a pattern or { private = true }"
)]
enum RawRoute {
    Path(String),
    Private { private: bool },
}

#[derive(Deserialize)]
struct RawExecutor {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read for its form only")]
struct RawComponent {
    source: TextOr<IgnoredAny>,
    description: Option<String>,
    #[serde(default)]
    variables: BTreeMap<String, String>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    #[serde(default)]
    files: Vec<RawFiles>,
    exclude_files: Option<Vec<String>>,
    allowed_http_hosts: Option<Vec<String>>,
    allowed_outbound_hosts: Option<Vec<String>>,
    #[serde(default)]
    key_value_stores: Vec<String>,
    sqlite_databases: Option<Vec<String>>,
    ai_models: Option<Vec<String>>,
    targets: Option<Vec<RawTarget>>,
    build: Option<RawBuild>,
    tool: Option<BTreeMap<String, toml::Table>>,
    dependencies_inherit_configuration: Option<bool>,
    #[serde(default)]
    dependencies: BTreeMap<String, toml::Value>,
    profile: Option<BTreeMap<String, RawProfile>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDependency {
    path: PathBuf,
    export: Option<String>,
    inherit_configuration: Option<RawInherit>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected true, false or a list of names")]
enum RawInherit {
    All(bool),
    Some(BTreeSet<String>),
}

#[derive(Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "expected a pattern or { source, destination }"
)]
#[expect(dead_code, reason = "read for its form only")]
enum RawFiles {
    Pattern(String),
    Placement { source: String, destination: String },
}

#[derive(Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "expected a name, { url } or { path }"
)]
#[expect(dead_code, reason = "read for its form only")]
enum RawTarget {
    Name(String),
    Url { url: String },
    Path { path: PathBuf },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read for its form only")]
struct RawBuild {
    command: RawCommand,
    workdir: Option<String>,
    watch: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a command or a list of commands")]
#[expect(dead_code, reason = "read for its form only")]
enum RawCommand {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read for its form only")]
struct RawProfile {
    source: Option<TextOr<IgnoredAny>>,
    environment: Option<BTreeMap<String, String>>,
    dependencies: Option<BTreeMap<String, toml::Value>>,
    build: Option<RawProfileBuild>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read for its form only")]
struct RawProfileBuild {
    command: RawCommand,
}

/// Where the host's own table stands.
const TOOL: [&str; 3] = ["application", "tool", "witter"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTool {
    #[serde(default)]
    open: BTreeMap<String, RawOpen>,
    #[serde(default)]
    visit: BTreeMap<String, RawVisit>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawVisit {
    seconds: u64,
    #[serde(rename = "if")]
    condition: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOpen {
    component: PathBuf,
    #[serde(default)]
    plugs: Vec<PathBuf>,
}

/// What may be written short, as a string, or in full, as a table. Unlike serde's `untagged`, it says what is
/// wrong in the table, and where.
enum TextOr<T> {
    Text(String),
    Table(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for TextOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = TextOr<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a table")
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(TextOr::Text(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(TextOr::Table)
            }
        }

        deserializer.deserialize_any(Either(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLDER: &str = "/app";

    fn environment(name: &str) -> Result<String, VarError> {
        match name {
            "SPIN_VARIABLE_SECRET" => Ok("s3cret".into()),
            _ => Err(VarError::NotPresent),
        }
    }

    fn read(text: &str) -> Result<App, ManifestError> {
        Source::new(Path::new("spin.toml"), text)?.app(Path::new(FOLDER), environment)
    }

    #[track_caller]
    fn app(text: &str) -> App {
        match read(text) {
            Ok(app) => app,
            Err(error) => panic!("{error}"),
        }
    }

    /// Everything that Spin takes and this host serves.
    const WHOLE: &str = r#"
        spin_manifest_version = 2

        [application]
        name = "whole"
        version = "1.2.3"
        description = "All of it"
        authors = ["alice@example.com"]
        targets = ["spin-up:4.1", { url = "https://example.com/env.toml" }, { path = "env.toml" }]

        [application.trigger.http]
        base = "/"

        [application.trigger.redis]
        address = "redis://localhost"

        [application.tool.lint]
        level = "savage"

        [application.tool.witter.open."dist/messenger.wasm"]
        component = "dist/messenger-open.wasm"
        plugs = ["dist/policy.wasm", "/elsewhere/other.wasm"]

        [application.tool.witter.open."./lonely.wasm"]
        component = "dist/lonely-open.wasm"

        [variables]
        host = { default = "example.com", description = "Where" }
        secret = { required = true, secret = true }

        [[trigger.http]]
        id = "first"
        route = "/witter/publish"
        component = "publish"

        [[trigger.http]]
        route = "/..."
        executor = { type = "http" }
        component = { source = "inline.wasm", key_value_stores = ["a-b", "a_b"] }

        [[trigger.http]]
        route = { private = true }
        component = "lonely"

        [component.publish]
        source = "dist/publish.wasm"
        description = "Stores messages"
        environment = { LEVEL = "high" }
        exclude_files = ["**/secret"]
        allowed_http_hosts = []
        allowed_outbound_hosts = ["https://{{ host }}:443"]
        key_value_stores = ["default"]
        sqlite_databases = ["default"]
        ai_models = ["llama2-chat"]
        targets = ["spin-up:4.1"]

        [component.publish.variables]
        key = "{{ secret }}"
        url = "https://{{ host }}/"

        [component.publish.build]
        command = ["cargo build", "ls"]
        workdir = "components/publish"
        watch = ["src/**/*.rs"]

        [component.publish.tool.clean]
        command = "cargo clean"

        [component.publish.dependencies]
        "witter:messaging/messenger@0.1.0" = { path = "dist/messenger.wasm", inherit_configuration = true }
        "witter:messaging/policy@0.1.0" = { path = "dist/policy.wasm", inherit_configuration = ["variables", "key_value_stores"] }
        "other:package" = { path = "/elsewhere/other.wasm", inherit_configuration = false }
        plain-name = { path = "plain.wasm" }

        [component.publish.profile.debug]
        source = "dist/debug.wasm"
        environment = { LEVEL = "low" }
        build.command = "cargo build"

        [component.lonely]
        source = "lonely.wasm"
        dependencies_inherit_configuration = true
        dependencies = { "a:b/c" = { path = "c.wasm" } }
    "#;

    #[test]
    fn a_whole_manifest_is_read() {
        let app = app(WHOLE);
        assert_eq!(app.name, "whole");
        let trigger = |route: &str, component: &str| Trigger {
            route: route.into(),
            component: component.into(),
        };
        assert_eq!(
            app.triggers,
            [
                trigger("/witter/publish", "publish"),
                trigger("/...", "inline-component1")
            ]
        );
        assert_eq!(
            app.components.keys().collect::<Vec<_>>(),
            ["inline-component1", "lonely", "publish"]
        );

        let publish = &app.components["publish"];
        let dependency = |import: &str, path: &str, inherit| Dependency {
            import: import.into(),
            path: path.into(),
            inherit,
        };
        let kinds = BTreeSet::from(["key_value_stores".to_owned(), "variables".to_owned()]);
        assert_eq!(publish.id, "publish");
        assert_eq!(publish.source, Path::new("/app/dist/publish.wasm"));
        assert_eq!(publish.key_value_stores, ["default"]);
        assert_eq!(
            publish.environment,
            BTreeMap::from([("LEVEL".into(), "high".into())])
        );
        assert_eq!(
            publish.allowed_outbound_hosts,
            [AllowedHost::parse("https://example.com:443").expect("an entry")]
        );
        assert_eq!(
            publish.variables,
            BTreeMap::from([
                ("key".into(), "s3cret".into()),
                ("url".into(), "https://example.com/".into())
            ])
        );
        assert_eq!(
            publish.dependencies,
            [
                dependency("other:package", "/elsewhere/other.wasm", Inherit::None),
                dependency("plain-name", "/app/plain.wasm", Inherit::None),
                dependency(
                    "witter:messaging/messenger@0.1.0",
                    "/app/dist/messenger.wasm",
                    Inherit::All
                ),
                dependency(
                    "witter:messaging/policy@0.1.0",
                    "/app/dist/policy.wasm",
                    Inherit::Some(kinds)
                ),
            ]
        );
        assert_eq!(
            app.components["lonely"].dependencies,
            [dependency("a:b/c", "/app/c.wasm", Inherit::All)]
        );
        assert_eq!(
            app.components["inline-component1"].key_value_stores,
            ["a-b", "a_b"]
        );

        let open = app
            .open(&publish.dependencies[2].path)
            .expect("it is named");
        assert_eq!(open.component, Path::new("/app/dist/messenger-open.wasm"));
        assert_eq!(
            open.plugs,
            [
                Path::new("/app/dist/policy.wasm"),
                Path::new("/elsewhere/other.wasm")
            ]
        );
        assert!(
            app.open(Path::new("/app/lonely.wasm"))
                .is_some_and(|open| open.plugs.is_empty())
        );
        assert_eq!(app.open(&publish.source), None);
    }

    #[test]
    fn no_value_of_a_variable_is_shown() {
        let shown = format!("{:?}", app(WHOLE));
        assert!(!shown.contains("s3cret"), "{shown}");
    }

    #[test]
    fn a_small_manifest_is_read() {
        let app = app("spin_manifest_version = 2\napplication.name = \"small\"\n[trigger]\n");
        assert_eq!(
            (app.name.as_str(), app.components.len(), app.triggers.len()),
            ("small", 0, 0)
        );
    }

    #[test]
    fn an_empty_variable_visits_nothing() {
        let text = |host: &str| {
            format!(
                "spin_manifest_version = 2\n[application]\nname = \"x\"\n\
                 [application.tool.witter.visit.\"/a\"]\nseconds = 3\nif = \" {{{{ host }}}} \"\n\
                 [variables]\nhost = {{ default = \"{host}\" }}\n\
                 [[trigger.http]]\nroute = \"/a\"\ncomponent = \"c\"\n\
                 [component.c]\nsource = \"c.wasm\"\nallowed_outbound_hosts = [\"https://{{{{ host }}}}\"]\n"
            )
        };
        assert_eq!(app(&text("")).visits, []);
        let visit = Visit {
            route: "/a".into(),
            component: "c".into(),
            seconds: 3,
        };
        assert_eq!(app(&text("a.example")).visits, [visit]);
    }

    /// A manifest that is right but for its end: `more`, from line 10 on, within `[component.chat]`.
    #[track_caller]
    fn check_refused(more: &str, expected: &str) {
        let text = format!(
            "spin_manifest_version = 2\n[application]\nname = \"x\"\n[variables]\nhost = {{ default = \"h\" }}\n\
             [[trigger.http]]\nroute = \"/\"\ncomponent = \"chat\"\n[component.chat]\n{more}\n"
        );
        let error = read(&text).expect_err("it is wrong").to_string();
        // What serde lists as expected grows with the manifest, and says nothing of the place.
        let error = error
            .split(", expected one of")
            .next()
            .expect("split gives one at least");
        assert_eq!(error, expected);
    }

    #[test]
    fn an_error_names_the_line_and_the_field() {
        let source = "source = \"c.wasm\"\n";
        let check =
            |more: &str, expected: &str| check_refused(&format!("{source}{more}"), expected);
        // The file as a whole.
        check_refused(
            "source = ",
            "spin.toml:10: string values must be quoted, expected literal string",
        );
        check_refused("source = 'a'\nsource = 'b'", "spin.toml:11: duplicate key");
        // Form.
        check_refused("", "spin.toml:9: component.chat: missing field `source`");
        check_refused(
            "source = 7",
            "spin.toml:10: component.chat.source: invalid type: integer `7`, expected a string or a table",
        );
        check(
            "sauce = 1",
            "spin.toml:11: component.chat.sauce: unknown field `sauce`",
        );
        check(
            "key_value_stores = \"default\"",
            "spin.toml:11: component.chat.key_value_stores: invalid type: string \"default\", expected a sequence",
        );
        check(
            "build = { commando = \"x\" }",
            "spin.toml:11: component.chat.build.commando: unknown field `commando`",
        );
        check(
            "[[trigger.http]]\ncomponent = \"chat\"",
            "spin.toml:11: trigger.http.1: missing field `route`",
        );
        check(
            "[[trigger.http]]\nroute = 1\ncomponent = \"chat\"",
            "spin.toml:12: trigger.http.1.route: expected a pattern or { private = true }",
        );
        check(
            "[[trigger.http]]\nroute = \"/x\"\npath = \"/y\"",
            "spin.toml:13: trigger.http.1.path: unknown field `path`",
        );
        check(
            "[[trigger.http]]\nroute = \"/x\"\ncomponent = { sauce = 1 }",
            "spin.toml:13: trigger.http.1.component.sauce: unknown field `sauce`",
        );
        check(
            "[[trigger.redis]]\nchannel = \"x\"",
            "spin.toml:11: trigger.redis: unknown field `redis`, expected `http`",
        );
        check("[extra]", "spin.toml:11: extra: unknown field `extra`");
        // Sources and dependencies.
        check_refused(
            "source = { url = \"https://example.com/c.wasm\", digest = \"sha256:0\" }",
            "spin.toml:10: component.chat.source: must be a file: this host fetches nothing",
        );
        for other in [
            "\">= 0.1.0\"",
            "{ version = \"0.1.0\" }",
            "{ component = \"chat\" }",
            "{ url = \"https://example.com\", digest = \"x\" }",
        ] {
            check(
                &format!("dependencies.\"a:b\" = {other}"),
                "spin.toml:11: component.chat.dependencies.a:b: must be { path = \"…\" }: this host fetches nothing",
            );
        }
        check(
            "dependencies.\"a:b\" = { path = \"x\", version = \"1\" }",
            "spin.toml:11: component.chat.dependencies.a:b.version: unknown field `version`",
        );
        check(
            "dependencies.\"a:b/c\" = { path = \"x\", export = \"d\" }",
            "spin.toml:11: component.chat.dependencies.a:b/c.export: is not supported by this host",
        );
        check(
            "dependencies.\"a:b\" = { path = \"x\", inherit_configuration = 1 }",
            "spin.toml:11: component.chat.dependencies.a:b.inherit_configuration: expected true, false or a list of names",
        );
        check(
            "dependencies_inherit_configuration = false\ndependencies.\"a:b\" = { path = \"x\", inherit_configuration = true }",
            "spin.toml:12: component.chat.dependencies.a:b.inherit_configuration: contradicts dependencies_inherit_configuration: use one of them",
        );
        // What this host does not keep.
        check(
            "files = [\"a/*\"]",
            "spin.toml:11: component.chat.files: is not supported by this host",
        );
        for (key, value) in [
            ("static_response", "{ body = \"x\" }"),
            ("executor", "{ type = \"wagi\" }"),
            ("components", "{ x = \"chat\" }"),
            ("dependencies", "{ middleware = [] }"),
        ] {
            check(
                &format!("[[trigger.http]]\nroute = \"/x\"\n{key} = {value}\ncomponent = \"chat\""),
                &format!("spin.toml:13: trigger.http.1.{key}: is not supported by this host"),
            );
        }
        check(
            "[application.trigger.http]\nbase = \"/x\"",
            "spin.toml:12: application.trigger.http.base: must be \"/\"",
        );
        // What contradicts itself.
        check(
            "[[trigger.http]]\nroute = \"/x\"",
            "spin.toml:11: trigger.http.1.component: is missing",
        );
        check(
            "[[trigger.http]]\nroute = \"/x\"\ncomponent = \"cat\"",
            "spin.toml:13: trigger.http.1.component: there is no component \"cat\"",
        );
        check(
            "[[trigger.http]]\nroute = { private = false }\ncomponent = \"chat\"",
            "spin.toml:12: trigger.http.1.route: can only be private = true",
        );
        // Names and variables.
        check(
            "[component.\"a_b\"]\nsource = \"x\"",
            "spin.toml:11: component.a_b: \"a_b\" is no name: expected words of letters and digits with '-' between them",
        );
        check(
            "key_value_stores = [\"default\", \"a b\"]",
            "spin.toml:11: component.chat.key_value_stores: \"a b\" is no label: expected kebab-case or snake_case",
        );
        check(
            "variables = { Upper = \"x\" }",
            "spin.toml:11: component.chat.variables.Upper: \"Upper\" is no variable name: only lower-case letters, digits and underscores may stand in it",
        );
        check(
            "variables.x = \"{{ port }}\"",
            "spin.toml:11: component.chat.variables.x: unknown variable \"port\"",
        );
        check(
            "variables.x = \"{{ host\"",
            "spin.toml:11: component.chat.variables.x: `{{` without `}}`",
        );
        check(
            "[variables.port]\nrequired = true",
            "spin.toml:11: variables.port: variable \"port\" is required: set SPIN_VARIABLE_PORT",
        );
        check(
            "[variables.port]\nrequierd = true",
            "spin.toml:12: variables.port.requierd: unknown field `requierd`",
        );
        // Our own table.
        check(
            "[application.tool.witter.open.\"a.wasm\"]\ncomponent = \"b.wasm\"",
            "spin.toml:11: application.tool.witter.open.a.wasm: is no file of this application",
        );
        check(
            "[application.tool.witter]\nopened = {}",
            "spin.toml:12: application.tool.witter.opened: unknown field `opened`, expected `open` or `visit`",
        );
        check(
            "[application.tool.witter.visit.\"/x\"]\nseconds = 1",
            "spin.toml:11: application.tool.witter.visit./x: is no route of this application",
        );
        check(
            "[application.tool.witter.visit.\"/\"]\nseconds = 0",
            "spin.toml:12: application.tool.witter.visit./.seconds: must be 1 or more",
        );
        check(
            "[application.tool.witter.visit.\"/\"]\nseconds = 1\nif = \"{{ port }}\"",
            "spin.toml:13: application.tool.witter.visit./.if: unknown variable \"port\"",
        );
        // Where requests go.
        check(
            "allowed_outbound_hosts = [\"example.com\"]",
            "spin.toml:11: component.chat.allowed_outbound_hosts: \"example.com\" has no scheme: expected https://example.com, or *:// for any",
        );
        check(
            "allowed_outbound_hosts = [\"{{ port }}\"]",
            "spin.toml:11: component.chat.allowed_outbound_hosts: unknown variable \"port\"",
        );
        check(
            "[application.tool.witter.open.\"a.wasm\"]\nplugs = []",
            "spin.toml:11: application.tool.witter.open.a.wasm: missing field `component`",
        );
    }

    #[test]
    fn a_manifest_of_another_version_is_refused_for_that() {
        for (version, expected) in [
            (
                "spin_version = \"1\"\n",
                "spin.toml:1: missing field `spin_manifest_version`",
            ),
            (
                "spin_manifest_version = \"1\"\n",
                "spin.toml:1: spin_manifest_version: this host reads version 2",
            ),
            (
                "\nspin_manifest_version = 3\n[extra]",
                "spin.toml:2: spin_manifest_version: this host reads version 2",
            ),
        ] {
            assert_eq!(
                read(version).expect_err("it is wrong").to_string(),
                expected
            );
        }
    }

    #[track_caller]
    fn check_overlap(one: &str, other: &str, expected: bool) {
        let package = |import| {
            Package::of(import)
                .expect("it is a name")
                .expect("it is a package")
        };
        assert_eq!(
            package(one).overlaps(&package(other)),
            expected,
            "{one} {other}"
        );
        assert_eq!(
            package(other).overlaps(&package(one)),
            expected,
            "{other} {one}"
        );
    }

    #[test]
    fn dependencies_must_not_overlap() {
        for (one, other, expected) in [
            ("a:b@0.1.0", "a:b@0.2.0", false),
            ("a:b/c@0.1.0", "a:b/d@0.1.0", false),
            ("a:b/c@0.1.0", "a:b/c@0.2.0", false),
            ("a:b/c@0.1.0", "a:b@0.2.0", false),
            ("a:b@0.1.0-x", "a:b@0.1.0-y", false),
            ("a:b@1.0.0", "a:b@2.0.0", false),
            ("a:b@0.0.1", "a:b@0.0.2", false),
            ("a:b", "a:c", false),
            ("a:b@0.1.0", "a:b@0.1.1", true),
            ("a:b@1.1.0", "a:b@1.2.0", true),
            ("a:b@1.0.0+x", "a:b@1.0.0+y", true),
            ("a:b/c@0.1.0", "a:b@0.1.0", true),
            ("a:b/c", "a:b@0.1.0", true),
            ("a:b/c@0.1.0", "a:b", true),
            ("a:b", "a:b", true),
        ] {
            check_overlap(one, other, expected);
        }
    }

    #[test]
    fn names_of_dependencies_follow_the_component_model() {
        for good in [
            "a:b",
            "a:b/c-d",
            "a:b@1.0.0",
            "a1:B-C/d@0.2.0-draft2",
            "plain-name",
        ] {
            assert!(Package::of(good).is_ok(), "{good}");
        }
        for bad in [
            "a/b", "a:b/", "a:", ":b", "a:b:c", "a:b/c/d", "a:b@1", "a:b@x", "A-b:cD", "a_b:c",
        ] {
            assert!(Package::of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_told_by_its_name() {
        let error = load(Path::new("nowhere/spin.toml")).expect_err("there is none");
        assert_eq!(error.to_string(), "nowhere/spin.toml: cannot be read");
    }

    #[test]
    fn the_manifest_of_this_repository_is_one_for_both_hosts() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spin.toml");
        let app = load_with(&path, |_| Err(VarError::NotPresent)).expect("it asks for no variable");
        let closed = |dependency: &&Dependency| app.open(&dependency.path).is_some();
        for trigger in &app.triggers {
            let component = &app.components[&trigger.component];
            if !component.dependencies.is_empty() {
                assert!(
                    component
                        .dependencies
                        .iter()
                        .any(|dependency| closed(&dependency)),
                    "{component:?}"
                );
            }
        }
        crate::routes::Routes::new(
            app.triggers
                .into_iter()
                .map(|trigger| (trigger.route, trigger.component)),
        )
        .expect("every pattern is a route");
    }
}
