//! What is built: the components, what they are composed to, and the host.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::cargo::{self, Package, root};
use crate::manifest;
use crate::node;
use crate::terminal;
use crate::wasm::{self, Compiler};

/// A component made of others: `output` is `socket` with its imports filled by `plugs`.
///
/// The names are those of files in dist/, without `.wasm`; a socket may be the output of one before. Another
/// policy, another store, another wakeup is a line in [`COMPOSITIONS`].
struct Composition {
    output: &'static str,
    socket: &'static str,
    plugs: &'static [&'static str],
}

/// A messenger is *open* where it imports its policy and its wakeup. A policy that wraps another leaves that
/// import open again, so that what it wraps is plugged in next.
const COMPOSITIONS: &[Composition] = &[
    Composition {
        output: "messenger",
        socket: "messenger-open",
        plugs: &["policy-token", "wakeup-timer"],
    },
    Composition {
        output: "messenger-filter-open",
        socket: "messenger-open",
        plugs: &["policy-filter"],
    },
    Composition {
        output: "messenger-filter",
        socket: "messenger-filter-open",
        plugs: &["policy-token", "wakeup-timer"],
    },
    Composition {
        output: "messenger-redis",
        socket: "messenger-open",
        plugs: &["policy-token", "keyvalue-redis", "wakeup-redis"],
    },
];

/// Those with the policy in JavaScript.
const JAVASCRIPT: &[Composition] = &[
    Composition {
        output: "messenger-javascript-open",
        socket: "messenger-open",
        plugs: &["policy-javascript"],
    },
    Composition {
        output: "messenger-javascript",
        socket: "messenger-javascript-open",
        plugs: &["policy-token", "wakeup-timer"],
    },
];

/// Builds every component, and the compositions, into dist/. Those that only tests use go to
/// target/test-components/.
///
/// The policy in JavaScript is made of packages of npm that nothing else needs: without them the rest is built
/// all the same, and it is said.
pub(crate) fn components() -> Result<()> {
    rust_components()?;
    manifests()?;
    if let Err(error) = javascript() {
        terminal::complain("Left out", &format!("policy-javascript: {error:#}"));
    }
    Ok(())
}

/// Builds every component, and fails where one cannot be built.
pub(crate) fn all_components() -> Result<()> {
    rust_components()?;
    manifests()?;
    javascript()
}

/// Writes the manifests that follow from the one at the root, beside the components.
fn manifests() -> Result<()> {
    let text = fs::read_to_string(root().join("spin.toml")).context("spin.toml cannot be read")?;
    let path = dist("spin-redis").with_extension("toml");
    if write(&path, manifest::with_redis(&text)?.as_bytes())? {
        terminal::say("Made", &path.display().to_string());
    }
    Ok(())
}

fn javascript() -> Result<()> {
    node::build_policy()?;
    JAVASCRIPT.iter().try_for_each(compose)
}

/// The client library comes first: one of the components carries it in itself.
fn rust_components() -> Result<()> {
    node::build_client()?;
    let compiler = Compiler::find()?;
    let packages: Vec<Package> = cargo::packages()?
        .into_iter()
        .filter(Package::is_component)
        .collect();

    let target_dir = root().join("target/wasm");
    let mut arguments = vec![
        "build",
        "--profile",
        "wasm",
        "--target",
        wasm::TARGET,
        "--keep-going",
    ];
    arguments.extend(compiler.arguments());
    arguments.extend([
        "--target-dir",
        target_dir
            .to_str()
            .context("the path of the checkout is not UTF-8")?,
    ]);
    arguments.extend(
        packages
            .iter()
            .flat_map(|package| ["--package", package.name.as_str()]),
    );
    let built = cargo::compile(
        compiler.cargo(),
        &arguments,
        &format!("{} components", packages.len()),
    )?;

    let mut failed = Vec::new();
    for package in &packages {
        let file = built
            .artifacts
            .iter()
            .filter(|artifact| artifact.package_id == package.id);
        let file = file
            .flat_map(|artifact| &artifact.filenames)
            .find(|file| file.extension() == Some("wasm".as_ref()));
        match file {
            Some(file) => {
                let bytes =
                    fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
                write(&destination(package), &bytes)?;
            }
            None => failed.push(package.name.as_str()),
        }
    }
    // What can be composed is, so that who works on one component may try it while another is broken.
    let composed = COMPOSITIONS.iter().try_for_each(compose);
    if !failed.is_empty() {
        bail!("could not build {}", failed.join(", "));
    }
    if !built.success {
        bail!("cargo failed after every component was built");
    }
    composed
}

/// Builds the host, at target/release/witter, and tells where it is.
pub(crate) fn host() -> Result<PathBuf> {
    program("host")
}

/// Builds the host as it is packed, at target/dist/witter, and tells where it is. It takes longer.
pub(crate) fn packed_host() -> Result<PathBuf> {
    program_by("host", "dist")
}

/// Builds a package's program, and tells where it is.
pub(crate) fn program(package: &str) -> Result<PathBuf> {
    program_by(package, "release")
}

fn program_by(package: &str, profile: &str) -> Result<PathBuf> {
    let built = cargo::compile(
        cargo::cargo(),
        &["build", "--profile", profile, "--package", package],
        package,
    )?;
    if !built.success {
        bail!("could not build {package}");
    }
    let program = built
        .artifacts
        .iter()
        .find_map(|artifact| artifact.program());
    Ok(program
        .with_context(|| format!("{package} has no program"))?
        .to_owned())
}

fn compose(composition: &Composition) -> Result<()> {
    let Composition {
        output,
        socket,
        plugs,
    } = composition;
    let plugs: Vec<_> = plugs.iter().map(|plug| dist(plug)).collect();
    plug(&dist(output), &dist(socket), &plugs)
}

/// Fills the imports of the component in a file with those in others, one after the other, and writes what
/// comes of it.
pub(crate) fn plug(output: &Path, socket: &Path, plugs: &[PathBuf]) -> Result<()> {
    let name = |path: &Path| path.file_stem().unwrap_or_default().display().to_string();
    let names: Vec<_> = plugs.iter().map(|plug| name(plug)).collect();
    let what = format!("{} of {}, {}", name(output), name(socket), names.join(", "));
    let composed = plugs
        .iter()
        .try_fold(read(socket)?, |socket, plug| {
            compose::plug(&socket, &[&read(plug)?])
        })
        .with_context(|| format!("could not compose {what}"))?;
    if write(output, &composed)? {
        terminal::say("Composed", &what);
    }
    Ok(())
}

/// Where a package's component goes. One that a composition is named after is the *open* form of it.
fn destination(package: &Package) -> PathBuf {
    if package.folder().starts_with("tests") {
        return root()
            .join("target/test-components")
            .join(&package.name)
            .with_extension("wasm");
    }
    let composed = COMPOSITIONS
        .iter()
        .any(|composition| composition.output == package.name);
    dist(&if composed {
        format!("{}-open", package.name)
    } else {
        package.name.clone()
    })
}

fn dist(name: &str) -> PathBuf {
    root().join("dist").join(name).with_extension("wasm")
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
}

/// Writes a file unless it is there already: who watches it, or caches what it compiled of it, is left
/// alone. Tells whether it wrote.
fn write(path: &Path, bytes: &[u8]) -> Result<bool> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(false);
    }
    let folder = path.parent().context("a file stands in a folder")?;
    // By renaming: a host that starts meanwhile reads the old file or the new one.
    let unfinished = path.with_extension("unfinished");
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&unfinished, bytes))
        .and_then(|()| fs::rename(&unfinished, path))
        .with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_names_only_what_is_built() {
        let mut built: Vec<_> = cargo::packages()
            .expect("the workspace can be read")
            .iter()
            .filter(|package| package.is_component())
            .map(destination)
            .collect();
        let composed = COMPOSITIONS.iter().chain(JAVASCRIPT);
        built.extend(composed.map(|composition| dist(composition.output)));

        let text = fs::read_to_string(root().join("spin.toml")).expect("the manifest is there");
        let manifest: toml::Value = toml::from_str(&text).expect("the manifest is TOML");
        let mut named = Vec::new();
        collect(&manifest, &mut named);
        assert!(!named.is_empty());
        for file in named {
            assert!(built.contains(&root().join(&file)), "{file} is not built");
        }
    }

    /// Every file of a component that a manifest names, as a key too.
    fn collect(value: &toml::Value, into: &mut Vec<String>) {
        match value {
            toml::Value::String(text) if text.ends_with(".wasm") => into.push(text.clone()),
            toml::Value::Array(values) => values.iter().for_each(|value| collect(value, into)),
            toml::Value::Table(table) => {
                into.extend(table.keys().filter(|key| key.ends_with(".wasm")).cloned());
                table.values().for_each(|value| collect(value, into));
            }
            _ => {}
        }
    }
}
