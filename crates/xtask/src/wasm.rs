//! The compiler for the components: whichever way to one this machine offers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Error, Result, bail, ensure};

use crate::cargo::{cargo, root};
use crate::debian;
use crate::process::{exists, names, printed, run};
use crate::terminal;

/// What the components are compiled for.
pub(crate) const TARGET: &str = "wasm32-wasip2";

/// How long rustup may try. Its own limits add up to many minutes where a network swallows packets; a
/// slow line still brings 25 MB in this time at 2 Mbit/s.
const RUSTUP_PATIENCE: Duration = Duration::from_secs(100);

/// For how long rustup is not asked again after it failed, where there is another way. Shorter: where a network swallows
/// packets it is waited for again and again; longer: so is a network that is back.
const RUSTUP_REST: Duration = Duration::from_secs(3600);

/// How long the linker's crate may take to be compiled.
const INSTALL_PATIENCE: Duration = Duration::from_secs(600);

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
    /// there nothing is downloaded; where all of Debian's is there, rustup is asked now and then.
    pub(crate) fn find() -> Result<Self> {
        if is_installed()? {
            terminal::say("Toolchain", &format!("{TARGET} is installed"));
            return Ok(Self::Ordinary);
        }
        let rustup = match failed_lately() {
            Some(reason) if Debian::is_installed() => Err(Error::msg(reason)),
            _ => rustup_add(),
        };
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

/// Has rustup install the target.
fn rustup_add() -> Result<()> {
    // To find that out takes no time, and it may be installed the next moment.
    ensure!(exists("rustup"), "there is no rustup");
    let mut command = Command::new("rustup");
    command
        .args(["--quiet", "target", "add", TARGET])
        .env_remove("RUST_BACKTRACE");
    let outcome = run(
        &mut command,
        &format!("rustup target add {TARGET}"),
        RUSTUP_PATIENCE,
    );
    if let Err(error) = &outcome {
        fs::create_dir_all(root().join("target/wasm"))?;
        fs::write(failure(), format!("{error:#}"))?;
    }
    outcome
}

/// The file that says how rustup failed, and by its age when.
fn failure() -> PathBuf {
    root().join("target/wasm/rustup-failed")
}

/// How rustup failed within the last [`RUSTUP_REST`], if it did.
fn failed_lately() -> Option<String> {
    let written = failure().metadata().ok()?.modified().ok()?;
    let age = written.elapsed().ok()?;
    if age > RUSTUP_REST {
        return None;
    }
    fs::read_to_string(failure()).ok()
}

impl Debian {
    const PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "wasi-libc"];
    /// What the name of the linker's package begins with; a number follows.
    const LINKER: &str = "lld-";

    /// Whether there is nothing to install.
    fn is_installed() -> bool {
        let installed = || -> Result<bool> {
            let linker = debian::newest_installed(Self::LINKER)?;
            Ok(linker.is_some() && debian::missing(&Self::PACKAGES)?.is_empty())
        };
        installed().unwrap_or(false)
    }

    fn find() -> Result<Self> {
        ensure!(exists("dpkg-query"), "this is not a Debian system");
        let linker = debian::newest(Self::LINKER)?;
        let linker = linker.context("the package sources have no lld-NN")?;
        let mut packages = Self::PACKAGES.to_vec();
        packages.push(&linker);
        debian::ensure_installed(&packages)?;
        let libc = debian::file("wasi-libc", |path| path.ends_with("/libc.a"))?;
        Ok(Self {
            rustc: debian::file("rustc-web", |path| path.ends_with("/bin/rustc"))?,
            cargo: debian::file("cargo-web", |path| path.ends_with("/bin/cargo"))?,
            linker: debian::file(&linker, |path| path.contains("/bin/wasm-ld"))?,
            component_linker: component_linker()?,
            libc: libc
                .parent()
                .context("libc.a stands in no folder")?
                .to_owned(),
        })
    }

    fn version(&self) -> Result<String> {
        let version = printed(Command::new(&self.rustc).arg("--version"))?;
        Ok(version.split(" (").next().unwrap_or_default().to_owned())
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
