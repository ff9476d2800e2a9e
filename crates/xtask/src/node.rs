//! npm packages: their tests, and the client library that is built of one.

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

/// How long the client library may take to be built: seconds, where nothing else goes on.
const BUILD_PATIENCE: Duration = Duration::from_secs(120);

/// The client library's folder.
const CLIENT: &str = "client";

/// What the client library is built of, in its folder.
const SOURCES: &[&str] = &[
    "package.json",
    "package-lock.json",
    "scripts",
    "src",
    "tsconfig.json",
];

/// What is built last of the client library, in its folder: as old as the build.
const BUILT: &[&str] = &[
    "dist/witter.js",
    "dist/witter.es5.js",
    "dist/witter.d.ts",
    "dist/messaging.js",
    "dist/messaging.es5.js",
    "dist/messaging.d.ts",
];

/// Builds the client library, which a component carries in itself, unless nothing changed since it was built.
pub(crate) fn build_client() -> Result<()> {
    let what = "the client library";
    // Whoever builds this checkout at the same time waits: there is one folder of packages.
    let target = root().join("target");
    fs::create_dir_all(&target)?;
    let alone = File::create(target.join("client.lock"))?;
    alone.lock()?;

    let folder = root().join(CLIENT);
    if is_fresh(&folder, BUILT, SOURCES) {
        terminal::say("Fresh", what);
        return Ok(());
    }
    let build = || {
        install(&folder)?;
        process::run(npm(&folder)?.args(["run", "build"]), what, BUILD_PATIENCE)
    };
    build().context("could not build the client library")?;
    terminal::say("Built", what);
    Ok(())
}

/// Packs the built client library into a folder, as npm publishes it, and tells where it is.
pub(crate) fn pack_client(into: &Path) -> Result<PathBuf> {
    let mut npm = npm(&root().join(CLIENT))?;
    npm.args(["pack", "--ignore-scripts", "--silent"]);
    let name = printed(npm.arg("--pack-destination").arg(into))?;
    Ok(into.join(name.trim()))
}

/// Runs the tests of the package in a folder, as they are built; installs what they need first. `arguments` are
/// node's, or parts of the names of tests.
pub(crate) fn test(folder: &str, arguments: &[String]) -> Result<Tally> {
    let name = folder.rsplit('/').next().unwrap_or(folder);
    let folder = root().join(folder);
    install(&folder)?;
    let mut npm = npm(&folder)?;
    npm.args(["test", "--ignore-scripts", "--silent", "--"])
        .arg("--test-reporter=spec")
        .args(arguments.iter().map(|argument| {
            if argument.starts_with('-') {
                argument.clone()
            } else {
                format!("--test-name-pattern={argument}")
            }
        }));
    observe(&mut npm, name)
}

/// Installs what the package in a folder needs, as its lock file says, unless it is there.
fn install(folder: &Path) -> Result<()> {
    // npm writes the one in there when all is there.
    if is_fresh(
        folder,
        &["node_modules/.package-lock.json"],
        &["package-lock.json"],
    ) {
        return Ok(());
    }
    let mut npm = npm(folder)?;
    npm.args(["ci", "--no-audit", "--no-fund"]);
    process::run(&mut npm, "npm ci", INSTALL_PATIENCE)
}

fn npm(folder: &Path) -> Result<Command> {
    if !exists("npm") {
        bail!("there is no npm: install Node.js, 20.11 or later");
    }
    let mut npm = Command::new("npm");
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
    fn the_package_has_the_version_of_the_workspace() {
        let package = fs::read(root().join(CLIENT).join("package.json")).expect("it is there");
        let package: serde_json::Value = serde_json::from_slice(&package).expect("it is JSON");
        assert_eq!(package["version"], env!("CARGO_PKG_VERSION"));
    }
}
