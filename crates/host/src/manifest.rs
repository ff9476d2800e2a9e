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
//! * `allowed_outbound_hosts`, `sqlite_databases` and `ai_models` permit what this host does not have. They
//!   are no error: the component that imports such a thing is refused for the import.
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
use toml::Spanned;
use toml::de::{DeArray, DeTable};

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
    open: BTreeMap<PathBuf, Open>,
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
        } = self;
        f.debug_struct("Component")
            .field("id", id)
            .field("source", source)
            .field("dependencies", dependencies)
            .field("key_value_stores", key_value_stores)
            .field("variables", &variables.keys())
            .field("environment", &environment.keys())
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
            let below: Vec<String> = error.path().iter().map(ToString::to_string).collect();
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
        let open = self.open(raw.application.tool, folder)?;
        Ok(App {
            name: raw.application.name,
            components,
            triggers,
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

    fn open(
        &self,
        mut tools: BTreeMap<String, toml::Table>,
        folder: &Path,
    ) -> Result<BTreeMap<PathBuf, Open>, ManifestError> {
        let Some(table) = tools.remove("witter") else {
            return Ok(BTreeMap::new());
        };
        let tool: RawTool = self.deserialize(&["application", "tool", "witter"], table)?;
        let open = |raw: RawOpen| Open {
            component: folder.join(raw.component),
            plugs: raw
                .plugs
                .into_iter()
                .map(|plug| folder.join(plug))
                .collect(),
        };
        Ok(tool
            .open
            .into_iter()
            .map(|(closed, raw)| (folder.join(closed), open(raw)))
            .collect())
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
        let differ = |one: Option<&Version>, other: Option<&Version>| {
            one.zip(other)
                .is_some_and(|(one, other)| compatible(one) != compatible(other))
        };
        self.package == other.package
            && !differ(self.version.as_ref(), other.version.as_ref())
            && !self
                .interface
                .as_ref()
                .zip(other.interface.as_ref())
                .is_some_and(|(one, other)| one != other)
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTool {
    #[serde(default)]
    open: BTreeMap<String, RawOpen>,
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
