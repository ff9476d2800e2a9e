//! npm packages: their tests, and what is built of some.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};

use crate::cargo::root;
use crate::process::{self, exists, names, printed};
use crate::runner::{Tally, observe};
use crate::terminal;

/// How long the packages may take to arrive.
const INSTALL_PATIENCE: Duration = Duration::from_secs(300);

/// How long a package may take to be built: seconds, where nothing else goes on.
const BUILD_PATIENCE: Duration = Duration::from_secs(300);

/// A package whose script `build` makes what others need.
struct Built {
    /// What it is for people.
    what: &'static str,
    /// Its folder.
    folder: &'static str,
    /// What it is built of, seen from its folder.
    sources: &'static [&'static str],
    /// What is built last, seen from there: as old as the build.
    outputs: &'static [&'static str],
    /// What npm is told when it installs what it needs.
    install: &'static [&'static str],
}

/// The client library.
const CLIENT: Built = Built {
    what: "the client library",
    folder: "client",
    sources: &[
        "package.json",
        "package-lock.json",
        "scripts",
        "src",
        "tsconfig.json",
    ],
    outputs: &[
        "dist/witter.js",
        "dist/witter.es5.js",
        "dist/witter.d.ts",
        "dist/messaging.js",
        "dist/messaging.es5.js",
        "dist/messaging.d.ts",
    ],
    install: &[],
};

/// The policy in JavaScript.
const POLICY: Built = Built {
    what: "the policy in JavaScript",
    folder: "components/policy-javascript",
    sources: &[
        "package.json",
        "package-lock.json",
        "scripts",
        "src",
        "../../wit",
    ],
    outputs: &["../../dist/policy-javascript.wasm"],
    // Most who build can do without it: where npm's registry is away they are not to wait for long.
    install: &["--fetch-retries=1", "--fetch-timeout=30000"],
};

/// Builds the client library, which a component carries in itself, unless nothing changed since it was built.
pub(crate) fn build_client() -> Result<()> {
    CLIENT.build()
}

/// Builds the policy in JavaScript to `dist/policy-javascript.wasm`, unless nothing changed since.
pub(crate) fn build_policy() -> Result<()> {
    POLICY.build()
}

/// Installs the servers that Witter is measured beside.
pub(crate) fn install_peers() -> Result<()> {
    // None of them is built where it is installed. Where npm's registry is away nobody is to wait for long.
    let arguments = [
        "--ignore-scripts",
        "--fetch-retries=1",
        "--fetch-timeout=30000",
    ];
    install(&root().join("crates/bench/peers"), &arguments)
}

impl Built {
    fn build(&self) -> Result<()> {
        // Whoever builds this checkout at the same time waits: there is one folder of packages.
        let target = root().join("target");
        fs::create_dir_all(&target)?;
        let alone = File::create(target.join(self.folder.replace('/', "-") + ".lock"))?;
        alone.lock()?;

        let folder = root().join(self.folder);
        if is_fresh(&folder, self.outputs, self.sources) {
            terminal::say("Fresh", self.what);
            return Ok(());
        }
        let build = || {
            install(&folder, self.install)?;
            process::run(
                npm(&folder)?.args(["run", "build"]),
                self.what,
                BUILD_PATIENCE,
            )
        };
        build().with_context(|| format!("could not build {}", self.what))?;
        terminal::say("Built", self.what);
        Ok(())
    }
}

/// Packs the built client library into a folder, as npm publishes it, and tells where it is.
pub(crate) fn pack_client(into: &Path) -> Result<PathBuf> {
    let mut npm = npm(&root().join(CLIENT.folder))?;
    npm.args(["pack", "--ignore-scripts", "--silent"]);
    let name = printed(npm.arg("--pack-destination").arg(into))?;
    Ok(into.join(name.trim()))
}

/// Runs the tests of the package in a folder, as they are built; installs what they need first. `arguments` are
/// node's, files of tests, or parts of the names of tests.
pub(crate) fn test<const N: usize>(
    folder: &str,
    arguments: &[String],
    environment: [(&str, OsString); N],
) -> Result<Tally> {
    let name = folder.rsplit('/').next().unwrap_or(folder);
    let folder = root().join(folder);
    install(&folder, &[])?;
    let mut npm = npm(&folder)?;
    npm.args(["test", "--ignore-scripts", "--silent", "--"])
        .envs(environment)
        .arg("--test-reporter=spec");
    // Files stand behind all else.
    let (files, others): (Vec<_>, Vec<_>) = arguments
        .iter()
        .partition(|argument| argument.ends_with(".test.js"));
    npm.args(others.into_iter().map(|argument| {
        if argument.starts_with('-') {
            argument.clone()
        } else {
            format!("--test-name-pattern={argument}")
        }
    }));
    npm.args(files);
    observe(&mut npm, name)
}

/// Installs what the package in a folder needs, as its lock file says, unless it is there.
fn install(folder: &Path, arguments: &[&str]) -> Result<()> {
    // npm writes the one in there when all is there.
    if is_fresh(
        folder,
        &["node_modules/.package-lock.json"],
        &["package-lock.json"],
    ) {
        return Ok(());
    }
    let mut npm = npm(folder)?;
    npm.args(["ci", "--no-audit", "--no-fund"]).args(arguments);
    process::run(&mut npm, "npm ci", INSTALL_PATIENCE)
}

fn npm(folder: &Path) -> Result<Command> {
    // By its whole name: Windows completes a name by `.exe` only.
    const NPM: &str = if cfg!(windows) { "npm.cmd" } else { "npm" };
    if !exists(NPM) {
        bail!("there is no npm: install Node.js, 20.11 or later");
    }
    let mut npm = Command::new(NPM);
    npm.current_dir(folder);
    Ok(npm)
}

/// Whether files were written after the last change of those, or of what is in those folders, that they are
/// made of.
fn is_fresh(folder: &Path, built: &[&str], sources: &[&str]) -> bool {
    let written = built.iter().map(|file| modified(&folder.join(file))).min();
    let changed = sources.iter().map(|file| changed(&folder.join(file))).max();
    changed <= written
}

/// When something was last changed in a folder, which is changed itself where a file goes; or a file.
fn changed(path: &Path) -> Option<SystemTime> {
    names(path)
        .map(|name| changed(&path.join(name)))
        .fold(modified(path), Ord::max)
}

/// None where there is no such file.
fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata()
        .and_then(|metadata| metadata.modified())
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_is_fresh_until_a_source_is_changed_or_goes() {
        let folder = tempfile::tempdir().expect("there is a place for files");
        let path = |name: &str| folder.path().join(name);
        let is_fresh = || {
            is_fresh(
                folder.path(),
                &["built", "built too"],
                &["source", "sources"],
            )
        };
        #[track_caller]
        fn touch(path: &Path, second: u64) {
            let file = if path.is_dir() {
                File::open(path)
            } else {
                File::create(path)
            };
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
            file.and_then(|file| file.set_modified(time))
                .expect("it takes a time");
        }

        fs::create_dir_all(path("sources/deep")).expect("there is a place for folders");
        for source in ["source", "sources/deep/source", "sources/deep", "sources"] {
            touch(&path(source), 1);
        }
        touch(&path("built"), 2);
        assert!(!is_fresh(), "one was never built");
        touch(&path("built too"), 2);
        assert!(is_fresh());
        touch(&path("sources/deep/source"), 3);
        assert!(!is_fresh(), "a source was changed");
        touch(&path("sources/deep/source"), 1);
        assert!(is_fresh());
        touch(&path("built"), 0);
        assert!(!is_fresh(), "one is older");
        touch(&path("built"), 2);
        fs::remove_file(path("sources/deep/source")).expect("it goes");
        assert!(!is_fresh(), "a source went");
    }

    #[test]
    fn packages_have_the_version_of_the_workspace() {
        for Built { folder, .. } in [CLIENT, POLICY] {
            let package = fs::read(root().join(folder).join("package.json")).expect("it is there");
            let package: serde_json::Value = serde_json::from_slice(&package).expect("it is JSON");
            assert_eq!(package["version"], env!("CARGO_PKG_VERSION"));
        }
    }
}
