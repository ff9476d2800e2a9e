//! Packages of a Debian system.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::process::{exists, output, printed, run};
use crate::terminal;

/// How long a package source may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// Installs those of the packages that are not installed.
///
/// # Errors
///
/// Where something is missing and this is no Debian system, or the user may not install packages.
pub(crate) fn ensure_installed(packages: &[&str]) -> Result<()> {
    let mut missing = Vec::new();
    for package in packages {
        if !is_installed(package)? {
            missing.push(*package);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let wanted = missing.join(" ");
    ensure!(
        exists("apt-get"),
        "there is no apt-get that could install {wanted}"
    );
    ensure!(
        printed(Command::new("id").arg("-u"))?.trim() == "0",
        "only root may install packages; run: sudo apt-get install --no-install-recommends {wanted}",
    );
    update()?;
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(missing);
    apt(&arguments)?;
    terminal::say("Installed", &wanted);
    Ok(())
}

/// The newest of the packages whose names are `prefix` and a number, installed ones first; none where
/// there is no such package.
pub(crate) fn newest(prefix: &str) -> Result<Option<String>> {
    let format = "${db:Status-Status} ${Package}\n";
    let listed =
        output(Command::new("dpkg-query").args(["-W", "-f", format, &format!("{prefix}*")]))?;
    let text = String::from_utf8_lossy(&listed.stdout);
    let installed = text
        .lines()
        .filter_map(|line| line.strip_prefix("installed "));
    if let Some(package) = greatest(prefix, installed) {
        return Ok(Some(package.to_owned()));
    }
    if printed(Command::new("id").arg("-u"))?.trim() == "0" {
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

fn update() -> Result<()> {
    apt(&["update"])
}

fn apt(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command
        .arg("-q")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive");
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
