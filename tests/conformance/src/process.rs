//! The host as people run it: a process of its own.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use anyhow::{Context, Result, bail, ensure};
use tempfile::NamedTempFile;

/// How long a host may take to listen. Generous: the first one on a machine compiles the components.
const READY: Duration = Duration::from_secs(300);
/// How long a host may take to stop in order.
const STOPPED: Duration = Duration::from_secs(30);

/// A running `witter up`, killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    address: SocketAddr,
    log: NamedTempFile,
    /// It serves by a process of its own, which would outlive it if it were killed.
    has_child: bool,
}

impl Process {
    /// Starts the shipped app on a free port of the loopback interface, and returns when it listens.
    ///
    /// # Errors
    /// Where the host is not built, or ends or stays silent instead of listening.
    pub fn start<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let mut command = Command::new(program()?);
        command
            .args(["up", "--from"])
            .arg(manifest())
            .args(["--listen", "127.0.0.1:0"])
            .args(arguments);
        Self::spawn(command)
    }

    /// Starts the shipped app as a deployment with these variables, and a store in memory.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn deployed(variables: &[(&str, &str)]) -> Result<Self> {
        let mut command = Command::new(program()?);
        command.args(["up", "--from"]).arg(manifest()).args([
            "--listen",
            "127.0.0.1:0",
            "--store",
            "memory",
        ]);
        set(&mut command, variables);
        Self::spawn(command)
    }

    /// Starts the shipped app by Spin, with what it stores in a folder, and returns when it listens. Without its pool, which
    /// has no room for as many as wait at once.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn spin(spin: &Path, folder: &Path, variables: &[(&str, &str)]) -> Result<Self> {
        let mut command = Command::new(spin);
        command.args(["up", "--from"]).arg(manifest());
        command
            .args([
                "--disable-pooling",
                "--listen",
                "127.0.0.1:0",
                "--state-dir",
            ])
            .arg(folder);
        set(&mut command, variables);
        let mut process = Self::spawn(command)?;
        process.has_child = true;
        Ok(process)
    }

    /// Starts a host by a command that ends up as one, and returns when it listens.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn spawn(command: Command) -> Result<Self> {
        Self::spawn_with(command, Stdio::null())
    }

    /// The same, with a standard input for the command.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn spawn_with(mut command: Command, input: Stdio) -> Result<Self> {
        let log = NamedTempFile::new()?;
        command
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(log.reopen()?);
        let mut child = command.spawn().with_context(|| format!("{command:?}"))?;
        let stdout = child
            .stdout
            .take()
            .context("the child has a standard output")?;
        let (send, receive) = mpsc::channel();
        // Reads on for as long as the host lives: one that writes into a closed pipe would die of it.
        thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            let read = listening(&mut stdout);
            // Nobody listens any more after a time-out.
            let _ = send.send(read);
            let _ = stdout.read_to_end(&mut Vec::new());
        });
        let mut process = Self {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            log,
            has_child: false,
        };
        let address = receive
            .recv_timeout(READY)
            .with_context(|| format!("no address; {}", process.log()))?;
        process.address = address.with_context(|| process.log())?;
        Ok(process)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log.path()).unwrap_or_default()
    }

    /// Ends it with SIGKILL, and returns when it is gone.
    ///
    /// # Errors
    /// Where it cannot be waited for.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to stop in order, with SIGTERM.
    ///
    /// # Errors
    /// Where it is gone.
    pub fn terminate(&self) -> Result<()> {
        // The standard library sends no signal but SIGKILL.
        let sent = Command::new("kill")
            .args(["-TERM", &self.id().to_string()])
            .status()?;
        ensure!(sent.success(), "SIGTERM was not sent");
        Ok(())
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// Where it does not.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        let deadline = Instant::now() + STOPPED;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(10));
        }
        bail!("still running; {}", self.log())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended already is what was wanted.
        if self.has_child {
            let _ = self.terminate().and_then(|()| self.wait().map(drop));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the host said:\n{}", self.log());
        }
    }
}

/// Sets variables of the application.
pub(crate) fn set<T: AsRef<str>>(command: &mut Command, variables: &[(T, T)]) {
    for (name, value) in variables {
        let name = format!("SPIN_VARIABLE_{}", name.as_ref().to_uppercase());
        command.env(name, value.as_ref());
    }
}

/// Reads the lines with which a host begins, up to the one that says where it listens: our own host's first one, Spin's
/// second.
fn listening(stdout: &mut impl BufRead) -> Result<SocketAddr> {
    const BEGINS: [&str; 2] = ["listening on http://", "Serving http://"];
    let mut begun = String::new();
    loop {
        let line = begun.len();
        ensure!(stdout.read_line(&mut begun)? > 0, "it says {begun:?}");
        let address = BEGINS
            .iter()
            .find_map(|begins| begun[line..].trim_end().strip_prefix(begins));
        if let Some(address) = address {
            return Ok(address.parse()?);
        }
    }
}

/// The host that was built beside the running test.
///
/// # Errors
/// Where there is none.
pub fn program() -> Result<PathBuf> {
    let test = env::current_exe()?;
    let program = test
        .ancestors()
        .nth(2)
        .context("a test stands in a profile's folder")?
        .join("witter");
    if !program.exists() {
        bail!(
            "{} is not built: `cargo xtask build` builds it",
            program.display()
        );
    }
    Ok(program)
}

/// The manifest that ships.
#[must_use]
pub fn manifest() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spin.toml")
}
