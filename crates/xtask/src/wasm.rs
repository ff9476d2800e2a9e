//! The compiler for the components: whichever way to one this machine offers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::cargo::{cargo, root};
use crate::process::{exists, names, output, printed, run};
use crate::terminal;

/// What the components are compiled for.
pub(crate) const TARGET: &str = "wasm32-wasip2";

/// How long rustup may try. Its own limits add up to many minutes where a network swallows packets; a
/// slow line still brings 25 MB in this time at 2 Mbit/s.
const RUSTUP_PATIENCE: Duration = Duration::from_secs(100);

/// How long a package source or a registry may take.
const INSTALL_PATIENCE: Duration = Duration::from_secs(600);

/// Debian's compiler, the source of its standard library and its C library. The linker has a version in
/// its name.
const DEBIAN_PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "wasi-libc"];

/// A cargo that can compile for [`TARGET`].
pub(crate) enum Compiler {
    /// The ordinary one; the target is installed.
    Ordinary,
    /// Debian's, which builds the standard library from source.
    Debian(Debian),
}

/// The parts of Debian's way, where the packages put them.
pub(crate) struct Debian {
    rustc: PathBuf,
    cargo: PathBuf,
    /// `wasm-ld`.
    linker: PathBuf,
    /// `wasm-component-ld`: links by `wasm-ld` and turns the module into a component.
    component_linker: PathBuf,
    /// The folder of the C library.
    libc: PathBuf,
}

impl Compiler {
    /// Finds a compiler, or installs one, and says which.
    ///
    /// The target may be installed already, or rustup can install it, or Debian has packages. Where all is
    /// there nothing is downloaded.
    pub(crate) fn find() -> Result<Self> {
        if is_installed()? {
            terminal::say("Toolchain", &format!("{TARGET} is installed"));
            return Ok(Self::Ordinary);
        }
        let rustup = rustup_add();
        if rustup.is_ok() && is_installed()? {
            terminal::say("Toolchain", &format!("{TARGET} was installed by rustup"));
            return Ok(Self::Ordinary);
        }
        match Debian::find() {
            Ok(debian) => {
                terminal::say(
                    "Toolchain",
                    &format!("{TARGET} by Debian's {}", debian.version()?),
                );
                Ok(Self::Debian(debian))
            }
            Err(error) => bail!(
                "no way to compile for {TARGET} on this machine:\n  \
                 by rustup: {:#}\n  by Debian's packages: {error:#}",
                rustup.err().unwrap_or_else(|| anyhow::anyhow!(
                    "it installed the target for another toolchain"
                )),
            ),
        }
    }

    /// The command to which `build --target` is given.
    pub(crate) fn cargo(&self) -> Command {
        match self {
            Self::Ordinary => cargo(),
            Self::Debian(debian) => debian.cargo(),
        }
    }

    /// What `build` needs beside the target.
    pub(crate) fn arguments(&self) -> &'static [&'static str] {
        match self {
            Self::Ordinary => &[],
            Self::Debian(_) => &["-Zbuild-std=std,panic_abort"],
        }
    }
}

/// Whether the ordinary compiler has the target's standard library.
fn is_installed() -> Result<bool> {
    let libraries =
        printed(Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]))?;
    Ok(names(Path::new(libraries.trim())).any(|file| file.starts_with("libstd-")))
}

/// Has rustup install the target, unless it failed to before.
fn rustup_add() -> Result<()> {
    let refused = root().join("target/wasm/rustup-has-no-target");
    if let Ok(reason) = fs::read_to_string(&refused) {
        bail!("{} (remembered in {})", reason.trim(), refused.display());
    }
    let mut command = Command::new("rustup");
    command.args(["--quiet", "target", "add", TARGET]).env_remove("RUST_BACKTRACE");
    let outcome = run(
        &mut command,
        &format!("rustup target add {TARGET}"),
        RUSTUP_PATIENCE,
    );
    if let Err(error) = &outcome {
        fs::create_dir_all(root().join("target/wasm"))?;
        fs::write(&refused, format!("{error:#}\n"))?;
    }
    outcome
}

impl Debian {
    fn find() -> Result<Self> {
        ensure!(exists("dpkg-query"), "this is not a Debian system");
        let linker = match installed_linker()? {
            Some(linker) if missing_packages()?.is_empty() => linker,
            linker => {
                install(missing_packages()?, linker.is_none())?;
                installed_linker()?.context("no package lld-NN brought wasm-ld")?
            }
        };
        let libc = owned("wasi-libc", |path| path.ends_with("libc.a"))?;
        Ok(Self {
            rustc: owned("rustc-web", |path| path.ends_with("bin/rustc"))?,
            cargo: owned("cargo-web", |path| path.ends_with("bin/cargo"))?,
            linker,
            component_linker: component_linker()?,
            libc: libc
                .parent()
                .context("libc.a stands in no folder")?
                .to_owned(),
        })
    }

    fn version(&self) -> Result<String> {
        Ok(printed(Command::new(&self.rustc).arg("--version"))?
            .trim()
            .to_owned())
    }

    fn cargo(&self) -> Command {
        let flags = [
            "-C".to_owned(),
            format!("linker={}", self.component_linker.display()),
            "-C".to_owned(),
            format!("link-arg=--wasm-ld-path={}", self.linker.display()),
            "-C".to_owned(),
            "link-self-contained=no".to_owned(),
            "-L".to_owned(),
            format!("native={}", self.libc.display()),
            "-C".to_owned(),
            format!("link-arg={}", self.libc.join("crt1-reactor.o").display()),
        ];
        let mut command = Command::new(&self.cargo);
        command
            .current_dir(root())
            .env("RUSTC", &self.rustc)
            // Building the standard library is not stable; with this a released compiler does it.
            .env("RUSTC_BOOTSTRAP", "1")
            // The form that lets a path hold a space.
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
            .env_remove("RUSTFLAGS");
        command
    }
}

/// The linker that makes components: a part of rustup's toolchains, else of a crate.
fn component_linker() -> Result<PathBuf> {
    const NAME: &str = "wasm-component-ld";
    let sysroot = printed(Command::new("rustc").args(["--print", "sysroot"]))?;
    let host = printed(Command::new("rustc").args(["--print", "host-tuple"]))?;
    let shipped = Path::new(sysroot.trim())
        .join("lib/rustlib")
        .join(host.trim())
        .join("bin")
        .join(NAME);
    if shipped.exists() {
        return Ok(shipped);
    }
    let tools = root().join("target/tools");
    let installed = tools.join("bin").join(NAME);
    if !installed.exists() {
        let mut command = cargo();
        command
            .args(["install", "--locked", NAME, "--root"])
            .arg(tools);
        run(
            &mut command,
            &format!("cargo install {NAME}"),
            INSTALL_PATIENCE,
        )?;
    }
    Ok(installed)
}

/// Those of the packages that are not installed.
fn missing_packages() -> Result<Vec<String>> {
    let mut missing = Vec::new();
    for package in DEBIAN_PACKAGES {
        if !is_package_installed(package)? {
            missing.push(package.to_owned());
        }
    }
    Ok(missing)
}

fn is_package_installed(package: &str) -> Result<bool> {
    let output =
        output(Command::new("dpkg-query").args(["-W", "-f", "${db:Status-Status}", package]))?;
    Ok(output.status.success() && output.stdout == b"installed")
}

/// The newest `wasm-ld` that a package `lld-NN` has installed.
fn installed_linker() -> Result<Option<PathBuf>> {
    let output = output(Command::new("dpkg-query").args([
        "-W",
        "-f",
        "${db:Status-Status} ${Package}\n",
        "lld-*",
    ]))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let newest = newest_linker(
        text.lines()
            .filter_map(|line| line.strip_prefix("installed ")),
    );
    newest
        .map(|package| owned(package, |path| path.contains("/bin/wasm-ld-")))
        .transpose()
}

/// The package `lld-NN` with the greatest number.
fn newest_linker<'a>(packages: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let version = |package: &str| package.strip_prefix("lld-")?.parse::<u32>().ok();
    packages
        .filter(|package| version(package).is_some())
        .max_by_key(|package| version(package))
}

/// Installs packages, and the newest linker where there is none.
fn install(mut packages: Vec<String>, with_linker: bool) -> Result<()> {
    ensure!(
        exists("apt-get"),
        "there is no apt-get to install {} with",
        packages.join(" ")
    );
    let names = DEBIAN_PACKAGES.join(" ");
    ensure!(
        printed(Command::new("id").arg("-u"))?.trim() == "0",
        "only root can install packages; run: apt-get install --no-install-recommends {names} lld-NN (the newest)",
    );
    apt(&["update"])?;
    if with_linker {
        let found =
            printed(Command::new("apt-cache").args(["search", "--names-only", "^lld-[0-9]+$"]))?;
        let available = found.lines().filter_map(|line| line.split(' ').next());
        packages.push(
            newest_linker(available)
                .context("the package sources have no lld-NN")?
                .to_owned(),
        );
    }
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(packages.iter().map(String::as_str));
    apt(&arguments)
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
        INSTALL_PATIENCE,
    )
}

/// The first file of an installed package that fits.
fn owned(package: &str, fits: impl Fn(&str) -> bool) -> Result<PathBuf> {
    let listed = printed(Command::new("dpkg-query").args(["-L", package]))?;
    let path = listed.lines().find(|path| fits(path));
    path.map(PathBuf::from)
        .with_context(|| format!("the package {package} lacks what it had in Debian 12"))
}
