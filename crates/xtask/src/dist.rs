//! What is given to people who do not build: one archive.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::cargo::{self, root};
use crate::node;
use crate::process::{exists, printed, run};
use crate::terminal;

/// What goes along, beside the host and the components.
const FILES: &[&str] = &[
    "spin.toml",
    "runtime-config.example.toml",
    "dist/spin-redis.toml",
    "README.md",
    "ARCHITECTURE.md",
    "LICENSE",
    "client/README.md",
];
/// The same, with all that is below: what the pages lead to.
const FOLDERS: &[&str] = &["docs", "deploy", "examples", "wit"];

/// Packs the host, the components, what runs them and the client library's npm package to
/// `target/witter-VERSION-HOST.tar.gz`, with a list of SHA-256 sums inside and the archive's own beside it.
pub(crate) fn pack(host: &Path) -> Result<()> {
    let packages = cargo::packages()?;
    let version = &packages
        .iter()
        .find(|package| package.name == "host")
        .context("there is no host")?
        .version;
    let machine = printed(Command::new("rustc").args(["--print", "host-tuple"]))?;
    let name = format!("witter-{version}-{}", machine.trim());
    let target = root().join("target");
    let folder = target.join(&name);
    if folder.exists() {
        fs::remove_dir_all(&folder)
            .with_context(|| format!("{} cannot be removed", folder.display()))?;
    }

    let mut files = vec![(host.to_owned(), name_of(host)?)];
    files.extend(
        FILES
            .iter()
            .map(|file| (root().join(file), PathBuf::from(file))),
    );
    for folder in FOLDERS {
        for file in below(Path::new(folder))? {
            files.push((root().join(&file), file));
        }
    }
    for component in components()? {
        let name = Path::new("dist").join(name_of(&component)?);
        files.push((component, name));
    }
    let client = node::pack_client(&target)?;
    files.push((client.clone(), name_of(&client)?));
    let mut sums = String::new();
    for (from, name) in files {
        let to = folder.join(&name);
        copy(&from, &to)?;
        if from == host && exists("strip") {
            // Debug information, nine tenths of the program, serves those who profile what they built.
            printed(Command::new("strip").arg("--strip-debug").arg(&to))?;
        }
        sums.push_str(&line(&read(&to)?, &name));
    }
    write(&folder.join("SHA256SUMS"), sums.as_bytes())?;

    let archive = format!("{name}.tar.gz");
    let mut command = Command::new("tar");
    command
        .args(["--create", "--gzip", "--file", &archive, &name])
        .current_dir(&target);
    run(&mut command, "tar", Duration::from_secs(120))?;
    let path = target.join(&archive);
    write(
        &target.join(format!("{archive}.sha256")),
        line(&read(&path)?, Path::new(&archive)).as_bytes(),
    )?;
    terminal::say("Packed", &path.display().to_string());
    Ok(())
}

/// The components in dist/, in the order of their names.
fn components() -> Result<Vec<PathBuf>> {
    let dist = root().join("dist");
    let entries =
        fs::read_dir(&dist).with_context(|| format!("{} cannot be read", dist.display()))?;
    let mut components: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    components.retain(|path| path.extension() == Some("wasm".as_ref()));
    components.sort();
    if components.is_empty() {
        bail!("there is no component in {}", dist.display());
    }
    Ok(components)
}

/// All files below a folder of the workspace, in the order of their names.
fn below(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(root().join(folder))
        .with_context(|| format!("{} cannot be read", folder.display()))?;
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    let mut files = Vec::new();
    for name in names {
        let path = folder.join(name);
        if root().join(&path).is_dir() {
            files.extend(below(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

/// Copies a file, its permissions too.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to.parent().unwrap_or(to))
        .and_then(|()| fs::copy(from, to))
        .with_context(|| format!("{} cannot be copied", from.display()))?;
    Ok(())
}

fn name_of(file: &Path) -> Result<PathBuf> {
    Ok(file.file_name().context("a file has a name")?.into())
}

/// A line as `sha256sum --check` reads it.
fn line(bytes: &[u8], name: &Path) -> String {
    let mut line = String::new();
    for byte in Sha256::digest(bytes) {
        write!(line, "{byte:02x}").expect("a string takes everything");
    }
    line + "  " + &name.display().to_string() + "\n"
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("{} cannot be written", path.display()))
}
