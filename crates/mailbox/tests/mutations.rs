//! The simulation finds mistakes: with any one of them in the mailbox it fails.
//!
//! Each patch in `mutations/` makes one mistake that an author might make. `git` and `cargo` are run.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::{env, io, panic, thread};

/// The first seed that fails is among the first few hundred for every mistake there is.
const SEEDS: &str = "4000";

/// A copy of this crate in a workspace of its own, with its own build directory, which is kept.
struct Copy {
    root: PathBuf,
}

impl Copy {
    fn new(name: &str) -> io::Result<Self> {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let copy = Self { root };
        fs::create_dir_all(copy.package())?;
        let manifest = fs::read_to_string(workspace.join("Cargo.toml"))?;
        let manifest: Vec<&str> = manifest
            .lines()
            .filter(|line| !line.starts_with("default-members") && !line.starts_with("exclude"))
            .map(|line| match line.split_once(" = ") {
                Some(("members", _)) => "members = [\"crates/mailbox\"]",
                _ => line,
            })
            .collect();
        write(
            &copy.root.join("Cargo.toml"),
            manifest.join("\n").as_bytes(),
        )?;
        fs::copy(workspace.join("Cargo.lock"), copy.root.join("Cargo.lock"))?;
        Ok(copy)
    }

    fn package(&self) -> PathBuf {
        self.root.join("crates/mailbox")
    }

    /// The build directory. Two copies cannot share one: cargo tells packages apart by their place in the workspace,
    /// which is the same, and builds in a directory one after the other.
    fn target(&self) -> PathBuf {
        self.root.join("target")
    }

    /// Takes over what another copy has built, unless it has built by itself: what the crate depends on is the same.
    fn take_over(&self, other: &Self) -> io::Result<()> {
        if self.target().is_dir() {
            return Ok(());
        }
        // What an interrupted run left may be a part.
        let partial = self.root.join("partial");
        if partial.is_dir() {
            fs::remove_dir_all(&partial)?;
        }
        copy(&other.target(), &partial)?;
        fs::rename(partial, self.target())
    }

    /// As the crate is.
    fn restore(&self) -> io::Result<()> {
        let from = Path::new(env!("CARGO_MANIFEST_DIR"));
        // What only other tests use need not be built.
        let manifest = fs::read_to_string(from.join("Cargo.toml"))?;
        let manifest: Vec<&str> = manifest
            .split("\n\n")
            .filter(|section| !section.starts_with("[dev-dependencies]"))
            .collect();
        write(
            &self.package().join("Cargo.toml"),
            manifest.join("\n\n").as_bytes(),
        )?;
        for folder in ["src", "tests/simulation"] {
            fs::create_dir_all(self.package().join(folder))?;
            for file in fs::read_dir(from.join(folder))? {
                let file = file?;
                let to = self.package().join(folder).join(file.file_name());
                write(&to, &fs::read(file.path())?)?;
            }
        }
        Ok(())
    }

    fn patch(&self, patch: &Path) -> io::Result<Output> {
        Command::new("git")
            .args(["apply", "--whitespace=nowarn"])
            .arg(patch)
            // The copy may lie in a work tree, whose paths would count then.
            .env("GIT_CEILING_DIRECTORIES", &self.root)
            .current_dir(self.package())
            .output()
    }

    fn simulate(&self, seeds: &str, more: &[&str]) -> io::Result<Output> {
        Command::new(env!("CARGO"))
            .args(["test", "--offline", "--quiet", "--package", "mailbox"])
            // Seeds run an order of magnitude faster than without, and it builds faster than what is optimized fully.
            .args(["--config", "profile.dev.package.mailbox.opt-level=1"])
            .args(["--test", "simulation"])
            .args(more)
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", self.target())
            .env("CARGO_PROFILE_DEV_DEBUG", "false")
            .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
            .env("WITTER_SEEDS", seeds)
            .env("RUST_BACKTRACE", "0")
            .env_remove("WITTER_SEED")
            .env_remove("WITTER_FIRST_SEED")
            .output()
    }
}

/// Writes what differs only, so that what is the same is not built again.
fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    match fs::read(path) {
        Ok(there) if there == content => Ok(()),
        _ => fs::write(path, content),
    }
}

/// Copies a folder with the times of its files, by which cargo tells what is fresh.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), &to)?;
            let file = File::options().write(true).open(&to)?;
            file.set_modified(entry.metadata()?.modified()?)?;
        }
    }
    Ok(())
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Makes a mistake in a copy and has the simulation find it.
fn check(copy: &Copy, patch: &Path) -> io::Result<()> {
    let name = patch.file_stem().unwrap_or_default().to_string_lossy();
    copy.restore()?;
    let output = copy.patch(patch)?;
    assert!(
        output.status.success(),
        "{name} does not apply:\n{}",
        told(&output)
    );
    let output = copy.simulate(SEEDS, &["--no-run"])?;
    assert!(
        output.status.success(),
        "{name} does not build:\n{}",
        told(&output)
    );
    let output = copy.simulate(SEEDS, &[])?;
    let told = told(&output);
    let seed = told.lines().find(|line| line.starts_with("seed "));
    assert!(
        !output.status.success(),
        "the simulation does not notice {name}"
    );
    let seed = seed.unwrap_or_else(|| panic!("{name} fails otherwise:\n{told}"));
    println!("{name}: {seed}");
    Ok(())
}

#[test]
fn the_simulation_fails_with_each_known_mistake() -> io::Result<()> {
    let alone = File::create(Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutations.lock"))?;
    alone.lock()?;
    // Two at a time: to compile one crate keeps a second core busy for a part of the time only.
    let copies = [Copy::new("mutations")?, Copy::new("mutations-2")?];
    let [first, second] = &copies;
    first.restore()?;
    let output = first.simulate("200", &[])?;
    assert!(output.status.success(), "unmutated:\n{}", told(&output));
    second.take_over(first)?;

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("mutations");
    let mut patches: Vec<PathBuf> = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<_>>()?;
    patches.sort();
    assert!(!patches.is_empty(), "there are no mutations");
    let patches = Mutex::new(patches.into_iter());
    let next = || patches.lock().expect("nobody panics with it").next();
    let work = |copy: &Copy| -> io::Result<()> {
        while let Some(patch) = next() {
            check(copy, &patch)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers = copies
            .each_ref()
            .map(|copy| scope.spawn(move || work(copy)));
        // One that fails ends with its mistake; the other goes on, and may name more.
        workers.into_iter().try_for_each(|worker| {
            let outcome = worker.join();
            outcome.unwrap_or_else(|panic| panic::resume_unwind(panic))
        })
    })
}
