//! Packages of a Debian system.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Error, Result, ensure};

use crate::cargo::root;
use crate::process::{exists, names, output, printed, run};
use crate::terminal;

/// How long a package source may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// Installs those of the packages that are not installed.
///
/// # Errors
///
/// Where something is missing and this is no Debian system, or the user may not install packages.
pub(crate) fn ensure_installed(packages: &[&str]) -> Result<()> {
    // apt-get does not wait for another to end, and what is half installed is not there yet.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let missing = missing(packages)?;
    if missing.is_empty() {
        return Ok(());
    }
    let wanted = missing.join(" ");
    ensure!(
        exists("apt-get"),
        "there is no apt-get that could install {wanted}"
    );
    ensure!(
        is_root()?,
        "only root may install packages; run: sudo apt-get install --no-install-recommends {wanted}",
    );
    update()?;
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(missing);
    apt(root(), &arguments)?;
    terminal::say("Installed", &wanted);
    Ok(())
}

/// Installs those of the packages that are not installed and that the package sources have, where that can be done.
pub(crate) fn install_available(packages: &[&str]) -> Result<()> {
    if !exists("apt-get") || !is_root()? {
        return Ok(());
    }
    update()?;
    let mut available = Vec::new();
    for package in packages {
        // It says nothing of one that it knows from others' wishes only, and does not fail.
        let shown = output(Command::new("apt-cache").args(["show", "--no-all-versions", package]))?;
        if !shown.stdout.is_empty() {
            available.push(*package);
        }
    }
    ensure_installed(&available)
}

/// Those of the packages that are not installed.
pub(crate) fn missing<'a>(packages: &[&'a str]) -> Result<Vec<&'a str>> {
    let mut missing = Vec::new();
    for package in packages {
        if !is_installed(package)? {
            missing.push(*package);
        }
    }
    Ok(missing)
}

/// The folder with a package's files, unpacked below target/ and not installed: nothing of it is started, as
/// installing would start a service, and nobody has to be root. Its libraries are the system's.
///
/// # Errors
///
/// Where this is no Debian system, or its lists of packages do not tell where the package is.
pub(crate) fn unpacked(package: &str) -> Result<PathBuf> {
    let folder = root().join("target/debian").join(package);
    if folder.is_dir() {
        return Ok(folder);
    }
    ensure!(
        exists("apt-get"),
        "there is no apt-get that could download {package}"
    );
    if is_root()? {
        update()?;
    }
    // What an interrupted run left may be half of a package.
    let partial = folder.with_extension("partial");
    if partial.is_dir() {
        fs::remove_dir_all(&partial)?;
    }
    fs::create_dir_all(&partial)?;
    apt(&partial, &["download", package])?;
    let archive = names(&partial).find(|name| name.ends_with(".deb"));
    let archive = archive.with_context(|| format!("apt-get brought no archive of {package}"))?;
    let files = partial.join("files");
    printed(
        Command::new("dpkg-deb")
            .arg("--extract")
            .arg(partial.join(archive))
            .arg(&files),
    )?;
    fs::rename(&files, &folder)?;
    fs::remove_dir_all(&partial)?;
    terminal::say("Unpacked", &format!("{package} to {}", folder.display()));
    Ok(folder)
}

/// The newest of the packages whose names are `prefix` and a number, installed ones first; none where
/// there is no such package.
pub(crate) fn newest(prefix: &str) -> Result<Option<String>> {
    if let Some(package) = newest_installed(prefix)? {
        return Ok(Some(package));
    }
    if is_root()? {
        update()?;
    }
    let found = printed(Command::new("apt-cache").args([
        "search",
        "--names-only",
        &format!("^{prefix}[0-9]+$"),
    ]))?;
    let available = found.lines().filter_map(|line| line.split(' ').next());
    Ok(greatest(prefix, available).map(str::to_owned))
}

/// The newest of them that is installed.
pub(crate) fn newest_installed(prefix: &str) -> Result<Option<String>> {
    let format = "${db:Status-Status} ${Package}\n";
    let listed =
        output(Command::new("dpkg-query").args(["-W", "-f", format, &format!("{prefix}*")]))?;
    let text = String::from_utf8_lossy(&listed.stdout);
    let installed = text
        .lines()
        .filter_map(|line| line.strip_prefix("installed "));
    Ok(greatest(prefix, installed).map(str::to_owned))
}

/// The first file of an installed package that fits.
pub(crate) fn file(package: &str, fits: impl Fn(&str) -> bool) -> Result<PathBuf> {
    let files = printed(Command::new("dpkg-query").args(["-L", package]))?;
    let path = files.lines().find(|path| fits(path));
    path.map(PathBuf::from)
        .with_context(|| format!("the package {package} has not the file that it had in Debian 12"))
}

fn is_installed(package: &str) -> Result<bool> {
    ensure!(exists("dpkg-query"), "this is not a Debian system");
    let output =
        output(Command::new("dpkg-query").args(["-W", "-f", "${db:Status-Status}", package]))?;
    Ok(output.status.success() && output.stdout == b"installed")
}

fn greatest<'a>(prefix: &str, packages: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let number = |package: &str| package.strip_prefix(prefix)?.parse::<u32>().ok();
    packages
        .filter(|package| number(package).is_some())
        .max_by_key(|package| number(package))
}

fn is_root() -> Result<bool> {
    Ok(printed(Command::new("id").arg("-u"))?.trim() == "0")
}

/// Brings the lists of packages up to date, once: they do not change meanwhile, and where there is no network each try
/// takes its time.
fn update() -> Result<()> {
    static OUTCOME: OnceLock<Result<(), String>> = OnceLock::new();
    let update = || apt(root(), &["update"]).map_err(|error| format!("{error:#}"));
    OUTCOME.get_or_init(update).clone().map_err(Error::msg)
}

fn apt(folder: &Path, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command
        .arg("-q")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .current_dir(folder);
    run(
        &mut command,
        &format!("apt-get {}", arguments.join(" ")),
        PATIENCE,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_number_wins_and_other_names_do_not_count() {
        #[track_caller]
        fn check(packages: &[&str], expected: Option<&str>) {
            assert_eq!(greatest("lld-", packages.iter().copied()), expected);
        }
        check(&["lld-9", "lld-22", "lld-16"], Some("lld-22"));
        check(&["lld", "lld-doc", "lld-16-dev"], None);
        check(&[], None);
    }
}
