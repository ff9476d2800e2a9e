//! Every test there is, ring by ring: what fails close to the cause comes first.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result, bail};

use crate::cargo::{self, Artifact, Package, cargo, root};
use crate::process::exists;
use crate::runner::{Tally, check, observe};
use crate::terminal;
use crate::{autobahn, build, debian, node, peers};

/// A group of tests that is run, and fails, as one.
struct Ring {
    name: &'static str,
    about: &'static str,
    tests: Tests,
    /// What of it is run against many hosts too, by parts of the names of tests: all where there are none. The
    /// tests ask the environment how many.
    nodes: Option<&'static [&'static str]>,
}

/// Where a ring's tests are.
enum Tests {
    /// One cargo command that succeeds or does not.
    Command(&'static [&'static str]),
    /// The tests of the packages in a folder, as far as they are of that group, and the programs that they
    /// run, each of a Debian package of that name, or as [`peers::REDIS`].
    Packages(&'static str, Group, &'static [&'static str]),
    /// The examples in the documentation.
    Examples,
    /// A suite that others wrote, against the built host.
    Autobahn,
    /// The tests of a folder's npm package, run by node, which are of that group, and the programs that they
    /// run, as those of packages.
    Node(&'static str, Group, &'static [&'static str]),
    /// Parts of other rings, against [`SOME`] hosts: a ring, and what its test programs take.
    Nodes(&'static [(&'static str, &'static [&'static str])]),
}

/// Hosts in every run: fewer than three, and one that is not asked would be no third party to anything.
const SOME: u8 = 3;

impl Tests {
    /// The programs that they run.
    fn programs(&self) -> Vec<&'static str> {
        match self {
            Self::Packages(_, _, programs) | Self::Node(_, _, programs) => programs.to_vec(),
            Self::Nodes(parts) => RINGS
                .iter()
                .filter(|ring| parts.iter().any(|(name, _)| *name == ring.name))
                .flat_map(|ring| ring.tests.programs())
                .collect(),
            Self::Command(_) | Self::Examples | Self::Autobahn => Vec::new(),
        }
    }
}

/// What is compiled at once, since the selection decides the features of the dependencies.
#[derive(Clone, Copy, PartialEq)]
enum Group {
    /// Needs no host: tested minutes before wasmtime is compiled.
    Alone,
    /// Compiled with the host, which comes with it, or runs it.
    Hosted,
}

impl Group {
    /// Cargo's option for how it is compiled. What needs no host takes longer to optimize than to run; where it does not,
    /// the workspace's manifest says so.
    fn profile(self) -> Option<&'static str> {
        match self {
            Self::Alone => None,
            Self::Hosted => Some("--release"),
        }
    }
}

const GROUPS: [Group; 2] = [Group::Alone, Group::Hosted];

/// The folders of [`Group::Hosted`].
const HOSTED: &[&str] = &["crates/host", "crates/sandbox", "tests"];

const RINGS: &[Ring] = &[
    Ring {
        name: "format",
        about: "the source is formatted",
        tests: Tests::Command(&["fmt", "--all", "--check"]),
        nodes: None,
    },
    Ring {
        name: "client",
        about: "the client library by itself",
        tests: Tests::Node("client", Group::Alone, &[]),
        nodes: None,
    },
    Ring {
        name: "crates",
        about: "each crate by itself",
        tests: Tests::Packages("crates", Group::Alone, &[]),
        nodes: None,
    },
    Ring {
        name: "components",
        about: "what of them runs natively",
        tests: Tests::Packages("components", Group::Alone, &[]),
        nodes: None,
    },
    Ring {
        name: "javascript",
        about: "the policy in JavaScript by itself",
        tests: Tests::Node("components/policy-javascript", Group::Alone, &[]),
        nodes: None,
    },
    Ring {
        name: "host",
        about: "the host by itself",
        tests: Tests::Packages("crates", Group::Hosted, &["redis-server"]),
        nodes: None,
    },
    Ring {
        name: "serving",
        about: "the host and a component that misbehaves, over real sockets",
        tests: Tests::Packages("tests/serving", Group::Hosted, &["redis-server"]),
        nodes: None,
    },
    Ring {
        name: "examples",
        about: "those in the documentation",
        tests: Tests::Examples,
        nodes: None,
    },
    Ring {
        name: "conformance",
        about: "one corpus over every transport",
        tests: Tests::Packages("tests/conformance", Group::Hosted, &[]),
        nodes: Some(&[]),
    },
    Ring {
        name: "autobahn",
        about: "the Autobahn suite of WebSocket, against an echo",
        tests: Tests::Autobahn,
        nodes: None,
    },
    Ring {
        name: "faults",
        about: "kills, cuts, proxies and broken stores",
        tests: Tests::Packages("tests/faults", Group::Hosted, &["nginx", "redis-server"]),
        nodes: Some(&[
            "changes::",
            "cuts::",
            "kills::",
            "presence::a_",
            "redis::",
            "webhook::",
        ]),
    },
    Ring {
        name: "browser",
        about: "people chat in Chromium, and other programs over WebSockets",
        tests: Tests::Node(
            "tests/browser",
            Group::Hosted,
            &[
                "chromium",
                "chromium-headless-shell",
                "curl",
                "nginx",
                "openssl",
                "redis-server",
            ],
        ),
        nodes: Some(&[]),
    },
    Ring {
        name: "nodes",
        about: "a part of it all on three hosts that share a Redis; the whole: --nodes 3",
        tests: Tests::Nodes(&[
            ("conformance", &["native/"]),
            ("browser", &["chat.test.js"]),
        ]),
        nodes: None,
    },
];

/// Programs whose packages start a service where they are installed: they are unpacked.
const SERVICES: &[&str] = &["nginx"];

/// Programs in whose place tests take another, which takes longer, where they cannot be installed.
const REPLACED: &[&str] = &["chromium-headless-shell"];

/// How the tests in a browser are told to save pictures of what they see.
const PICTURES: &str = "WITTER_SCREENSHOTS";

/// What the command's help says of the rings.
pub(crate) fn help() -> String {
    let rings: Vec<_> = RINGS
        .iter()
        .map(|ring| format!("  {:<12} {}", ring.name, ring.about))
        .collect();
    format!(
        "Rings:\n{}\n\n{}=all makes the ring autobahn run the whole suite, which takes many minutes.\n\
         {PICTURES}=1 makes the ring browser save pictures of the page to target/screenshots.",
        rings.join("\n"),
        autobahn::CASES,
    )
}

/// The names by which rings are asked for.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    RINGS.iter().map(|ring| ring.name)
}

/// Runs the rings, all or those named, until one fails. `arguments` go to the test programs. With more than one node,
/// what can be is run against so many hosts that share a Redis, and nothing else.
///
/// The last line printed is the sum of the tests. Tells whether all passed.
pub(crate) fn run(only: &[String], nodes: u8, arguments: &[String]) -> Result<bool> {
    let is_named = |ring: &Ring| only.iter().any(|name| name == ring.name);
    let mut rings: Vec<&Ring> = RINGS.iter().collect();
    rings.retain(|ring| only.is_empty() || is_named(ring));
    if nodes > 1 {
        let mut named = rings.iter().filter(|ring| is_named(ring));
        if let Some(ring) = named.find(|ring| ring.nodes.is_none()) {
            bail!("nothing of the ring {} is about many hosts", ring.name);
        }
        rings.retain(|ring| ring.nodes.is_some());
    }
    let mut suite = Suite {
        packages: tested_packages()?,
        built: Vec::new(),
        nodes,
        arguments: arguments.to_vec(),
        installing: install(lacking(&rings)),
        preparing: prepare(&rings),
    };
    let mut total = Tally::default();
    let mut failed = None;
    for ring in rings {
        if let (2.., Some(part)) = (nodes, ring.nodes) {
            suite.part(part, arguments);
        }
        let tally = suite.run(&ring.tests).unwrap_or_else(|error| {
            terminal::error(&error);
            Tally::ONE_FAILED
        });
        total.add(tally);
        if tally.failed > 0 {
            failed = Some(ring.name);
            break;
        }
        let verb = if tally == Tally::ONE_SKIPPED {
            "Skipped"
        } else {
            "Passed"
        };
        terminal::say(
            verb,
            &format!("ring {}, {}: {tally}", ring.name, ring.about),
        );
    }
    drop(suite);
    if let Some(name) = failed {
        terminal::complain(
            "Failed",
            &match nodes {
                1 => format!("ring {name}; again: cargo xtask test --ring {name}"),
                _ => format!("ring {name}; again: cargo xtask test --nodes {nodes} --ring {name}"),
            },
        );
    }
    println!("{total}");
    Ok(failed.is_none())
}

/// Debian's packages of the programs that rings run and that are not there.
fn lacking(rings: &[&Ring]) -> Vec<&'static str> {
    let programs = rings.iter().flat_map(|ring| ring.tests.programs());
    let mut packages: Vec<_> = programs
        .filter(|program| !SERVICES.contains(program))
        .filter_map(|program| match program {
            peers::REDIS => peers::redis_package(),
            program => (!exists(program)).then_some(program),
        })
        .collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

/// Installs packages at once, and beside what is compiled and tested without them. What does not come this way is told
/// by the ring that needs it, which tries again.
fn install(packages: Vec<&'static str>) -> Option<JoinHandle<()>> {
    if packages.is_empty() {
        return None;
    }
    let install = move || drop(debian::install_available(&packages));
    Some(thread::spawn(install))
}

/// Does the same for the Autobahn suite. What ends meanwhile leaves a part that does not count.
fn prepare(rings: &[&Ring]) -> Option<JoinHandle<()>> {
    let needed = |ring: &&Ring| matches!(ring.tests, Tests::Autobahn);
    let prepare = || drop(autobahn::prepare());
    rings.iter().any(needed).then(|| thread::spawn(prepare))
}

/// The packages whose tests run natively. What of WebAssembly only tests use has none.
fn tested_packages() -> Result<Vec<Package>> {
    let mut packages = cargo::packages()?;
    packages.retain(|package| !(package.is_component() && package.folder().starts_with("tests")));
    Ok(packages)
}

/// How many tests of a program go on at once. Those that start hosts wait for what happens there, most of the time: one
/// for each core, which is what they are by default, leaves the cores idle. What is set already stands.
fn threads(group: Group) -> Option<(&'static str, String)> {
    const THREADS: &str = "RUST_TEST_THREADS";
    let waits = group == Group::Hosted && std::env::var_os(THREADS).is_none();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    waits.then(|| (THREADS, (2 * cores).to_string()))
}

fn group(package: &Package) -> Group {
    let hosted = HOSTED
        .iter()
        .any(|folder| package.folder().starts_with(folder));
    if hosted { Group::Hosted } else { Group::Alone }
}

/// What the rings share.
struct Suite {
    packages: Vec<Package>,
    /// The test programs of the groups that a ring asked for.
    built: Vec<(Group, Rc<[Artifact]>)>,
    /// By how many hosts what tests start is served.
    nodes: u8,
    arguments: Vec<String>,
    /// What installs programs.
    installing: Option<JoinHandle<()>>,
    /// What installs the Autobahn suite.
    preparing: Option<JoinHandle<()>>,
}

/// How test programs are told by how many hosts what they start is served.
const NODES: &str = "WITTER_NODES";

impl Suite {
    /// The arguments for a part of a ring; who names tests has chosen.
    fn part(&mut self, part: &[&str], arguments: &[String]) {
        self.arguments = arguments.to_vec();
        if !arguments.iter().any(|argument| !argument.starts_with('-')) {
            self.arguments.extend(part.iter().map(ToString::to_string));
        }
    }

    fn run(&mut self, tests: &Tests) -> Result<Tally> {
        match tests {
            Tests::Command(command) => check(cargo().args(*command)),
            Tests::Packages(folder, group, programs) => self.packages(folder, *group, programs),
            Tests::Examples => self.examples(),
            Tests::Autobahn => {
                let host = self.host()?;
                join(&mut self.preparing);
                autobahn::run(&host)
            }
            Tests::Node(folder, group, programs) => self.node(folder, *group, programs),
            Tests::Nodes(parts) => self.nodes(parts),
        }
    }

    /// Runs parts of other rings against many hosts.
    fn nodes(&mut self, parts: &[(&str, &[&str])]) -> Result<Tally> {
        let (nodes, arguments) = (self.nodes, self.arguments.clone());
        let mut tally = Tally::default();
        for (name, part) in parts {
            let ring = RINGS.iter().find(|ring| ring.name == *name);
            let ring = ring.with_context(|| format!("there is no ring {name}"))?;
            self.nodes = SOME;
            self.part(part, &arguments);
            let outcome = self.run(&ring.tests);
            (self.nodes, self.arguments) = (nodes, arguments.clone());
            tally.add(outcome?);
        }
        Ok(tally)
    }

    /// The built host. It comes with the tests of its group: built by itself, with the features that it alone
    /// asks for, wasmtime would be compiled a second time.
    fn host(&mut self) -> Result<PathBuf> {
        let artifacts = self.build(Group::Hosted)?;
        let host = artifacts
            .iter()
            .filter(|artifact| artifact.target.name == "witter")
            .find_map(Artifact::program);
        Ok(host.context("the tests come without the host")?.to_owned())
    }

    /// Builds all test programs of a group.
    fn build(&mut self, group: Group) -> Result<Rc<[Artifact]>> {
        if let Some((_, artifacts)) = self.built.iter().find(|(built, _)| *built == group) {
            return Ok(Rc::clone(artifacts));
        }
        match group {
            // One of the components carries it in itself.
            Group::Alone => node::build_client()?,
            Group::Hosted => build::all_components()?,
        }
        let mut arguments = vec!["build", "--tests", "--examples"];
        arguments.extend(group.profile());
        if group == Group::Hosted {
            arguments.extend(["--bin", "witter"]);
        }
        arguments.extend(self.selection(group));
        let what = match group {
            Group::Alone => "tests of what needs no host",
            Group::Hosted => "tests of the host",
        };
        let built = cargo::compile(cargo(), &arguments, what)?;
        if !built.success {
            bail!("could not build the {what}");
        }
        let artifacts: Rc<[Artifact]> = built.artifacts.into();
        self.built.push((group, Rc::clone(&artifacts)));
        Ok(artifacts)
    }

    /// Cargo's arguments for a group.
    fn selection(&self, wanted: Group) -> impl Iterator<Item = &str> {
        let packages = self
            .packages
            .iter()
            .filter(move |package| group(package) == wanted);
        packages.flat_map(|package| ["--package", package.name.as_str()])
    }

    /// Runs the test programs of a group's packages in a folder.
    fn packages(&mut self, folder: &str, wanted: Group, programs: &[&str]) -> Result<Tally> {
        let artifacts = self.build(wanted)?;
        self.wait_for(programs);
        let path = path_to(programs)?;
        let mut tally = Tally::default();
        for package in &self.packages {
            if group(package) != wanted || !package.folder().starts_with(folder) {
                continue;
            }
            for artifact in artifacts
                .iter()
                .filter(|artifact| artifact.package_id == package.id)
            {
                let Some(program) = artifact.test_program() else {
                    continue;
                };
                let mut command = Command::new(program);
                command
                    .args(&self.arguments)
                    .env("PATH", &path)
                    .env(NODES, self.nodes.to_string())
                    .envs(threads(wanted))
                    .current_dir(root().join(package.folder()));
                // A library's target has underscores for its package's hyphens.
                let target = artifact.target.name.replace('_', "-");
                let name = if target == package.name {
                    target
                } else {
                    format!("{} {target}", package.name)
                };
                tally.add(observe(&mut command, &name)?);
            }
        }
        Ok(tally)
    }

    fn examples(&mut self) -> Result<Tally> {
        let mut tally = Tally::default();
        for group in GROUPS {
            self.build(group)?;
            let mut command = cargo();
            command
                .args(["test", "--doc"])
                .args(group.profile())
                .args(self.selection(group));
            command.arg("--").args(&self.arguments);
            tally.add(observe(&mut command, "examples")?);
        }
        Ok(tally)
    }

    /// Runs the tests of a folder's npm package.
    fn node(&mut self, folder: &str, group: Group, programs: &[&str]) -> Result<Tally> {
        match group {
            Group::Alone => node::build_client()?,
            Group::Hosted => {
                self.host()?;
            }
        }
        let (services, others): (Vec<&str>, Vec<&str>) = programs
            .iter()
            .partition(|program| SERVICES.contains(program) || **program == peers::REDIS);
        self.wait_for(programs);
        for program in others {
            if exists(program) {
                continue;
            }
            match debian::ensure_installed(&[program]) {
                Err(error) if REPLACED.contains(&program) => {
                    terminal::say("Without", &format!("{program}: {error:#}"));
                }
                installed => installed.with_context(|| format!("the tests need {program}"))?,
            }
        }
        let environment = [
            ("PATH", path_to(&services)?),
            (NODES, self.nodes.to_string().into()),
        ];
        node::test(folder, &self.arguments, environment)
    }

    /// Waits until programs that tests run are there: what is half installed looks as if it were.
    fn wait_for(&mut self, programs: &[&str]) {
        if !programs.is_empty() {
            join(&mut self.installing);
        }
    }
}

/// Waits for what installs something, if it is not known to have ended.
fn join(installing: &mut Option<JoinHandle<()>>) {
    if let Some(installing) = installing.take() {
        let _ = installing.join();
    }
}

/// Whoever ends while something is installed leaves half a package behind.
impl Drop for Suite {
    fn drop(&mut self) {
        join(&mut self.installing);
    }
}

/// A `PATH` on which programs are found: the environment's, and where Debian keeps those that only root calls,
/// unless one has to be unpacked.
fn path_to(programs: &[&str]) -> Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.push(PathBuf::from("/usr/sbin"));
    for program in programs {
        if *program == peers::REDIS {
            peers::redis().with_context(|| format!("the tests need {program}"))?;
        } else if !folders.iter().any(|folder| folder.join(program).is_file()) {
            let unpacked = debian::unpacked(program);
            let unpacked = unpacked.with_context(|| format!("the tests need {program}"))?;
            folders.push(unpacked.join("usr/sbin"));
        }
    }
    Ok(std::env::join_paths(folders)?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_ring_has_a_name_of_its_own() {
        let mut unique: Vec<_> = names().collect();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), RINGS.len());
    }

    #[test]
    fn who_says_to_have_no_tests_has_none() -> Result<()> {
        let mut silent = 0;
        for package in cargo::packages()? {
            let folder = root().join(package.folder());
            let manifest: toml::Table = fs::read_to_string(folder.join("Cargo.toml"))?.parse()?;
            let tested = manifest.get("lib").and_then(|lib| lib.get("test"));
            if tested != Some(&toml::Value::Boolean(false)) {
                continue;
            }
            silent += 1;
            for file in fs::read_dir(folder.join("src"))? {
                let path = file?.path();
                let source = fs::read_to_string(&path)?;
                assert!(!source.contains("cfg(test)"), "{}", path.display());
                assert!(!source.contains("#[test]"), "{}", path.display());
            }
        }
        assert!(silent > 0);
        Ok(())
    }

    #[test]
    fn what_runs_on_many_hosts_in_part_runs_there_as_a_whole_too() {
        for ring in RINGS {
            let Tests::Nodes(parts) = ring.tests else {
                continue;
            };
            assert!(!parts.is_empty());
            for (name, _) in parts {
                let whole = RINGS.iter().find(|ring| ring.name == *name);
                assert!(whole.is_some_and(|ring| ring.nodes.is_some()), "{name}");
            }
        }
    }

    #[test]
    fn parts_of_rings_run_the_programs_of_these() {
        let programs = |name: &str| {
            let ring = RINGS.iter().find(|ring| ring.name == name);
            ring.map(|ring| ring.tests.programs())
        };
        assert_eq!(programs("client"), Some(vec![]));
        assert_eq!(programs("host"), Some(vec!["redis-server"]));
        assert_eq!(programs("nodes"), programs("browser"));
    }

    #[test]
    fn who_names_tests_chooses_them_and_options_choose_none() {
        let mut suite = Suite {
            packages: Vec::new(),
            built: Vec::new(),
            nodes: 3,
            arguments: Vec::new(),
            installing: None,
            preparing: None,
        };
        for (given, expected) in [
            (&[][..], &["redis::", "cuts::"][..]),
            (&["--nocapture"], &["--nocapture", "redis::", "cuts::"]),
            (&["kills::"], &["kills::"]),
        ] {
            let given: Vec<_> = given.iter().map(ToString::to_string).collect();
            suite.part(&["redis::", "cuts::"], &given);
            assert_eq!(suite.arguments, expected);
        }
    }
}
