//! A Redis of a test's own, or a Valkey: a process that is paused, killed and started again.

use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use anyhow::{Context, Result, bail, ensure};
use redis::{Client, FromRedisValue, cmd};
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

/// How long it may take to serve, also when it has to read what it has stored.
const READY: Duration = Duration::from_secs(30);

/// The names of the server. In Debian's `redis-tools` it stands under another one, which it has to be asked not
/// to go by.
const PROGRAMS: [&str; 3] = ["redis-server", "valkey-server", "redis-check-rdb"];

/// What it says, in its folder.
const LOG: &str = "log";

/// A server with a folder of its own, killed when dropped.
#[derive(Debug)]
pub struct RedisServer {
    child: Option<Child>,
    address: SocketAddr,
    /// Nobody else finds its port free, though it does not run.
    _kept: Socket,
    folder: TempDir,
    settings: Vec<String>,
}

impl RedisServer {
    /// Starts a server on a free port of the loopback interface, with more settings, such as
    /// `["--appendonly", "yes"]`, and returns when it serves.
    ///
    /// # Errors
    /// Where Redis is not installed, or refuses a setting.
    pub fn start(settings: &[&str]) -> Result<Self> {
        let folder = TempDir::new()?;
        symlink(program()?, folder.path().join(PROGRAMS[0]))?;
        let (kept, address) = keep_port()?;
        let mut server = Self {
            child: None,
            address,
            _kept: kept,
            folder,
            settings: settings.iter().map(ToString::to_string).collect(),
        };
        server.restart()?;
        Ok(server)
    }

    /// Starts it again where it was, with what it has stored.
    ///
    /// # Errors
    /// Where it does not serve.
    pub fn restart(&mut self) -> Result<()> {
        ensure!(self.child.is_none(), "it runs");
        let port = self.address.port().to_string();
        let log = fs::File::create(self.folder.path().join(LOG))?;
        // A write beyond a limit of the process is then an error that it is told, not a signal that ends it.
        let mut command = Command::new("sh");
        command
            .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
            .arg(self.folder.path().join(PROGRAMS[0]))
            .args(["--port", &port, "--bind", "127.0.0.1", "--dir"])
            .arg(self.folder.path())
            .args(["--save", ""])
            .args(&self.settings)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(Stdio::null());
        self.child = Some(command.spawn().with_context(|| format!("{command:?}"))?);
        let deadline = Instant::now() + READY;
        while !self.serves() {
            let ended = self.child.as_mut().map_or(Ok(None), Child::try_wait)?;
            if ended.is_some() || Instant::now() > deadline {
                self.kill()?;
                bail!("Redis does not serve; {}", self.log());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Whether it does, and not another that has taken its port meanwhile.
    fn serves(&self) -> bool {
        let id = format!("process_id:{}", self.id());
        let told = self.ask::<String>(&["INFO", "server"]);
        told.is_ok_and(|told| told.lines().any(|line| line == id))
            && self.ask::<String>(&["PING"]).is_ok()
    }

    /// Where it is, or was, and will be.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How a host is told to keep its store there.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// What it has logged since it was started.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join(LOG)).unwrap_or_default()
    }

    /// Asks it, by a connection of its own.
    ///
    /// # Errors
    /// Where it does not answer, or by an error.
    pub fn ask<T: FromRedisValue>(&self, command: &[&str]) -> Result<T> {
        let client = Client::open(self.url())?;
        let mut connection = client.get_connection_with_timeout(READY)?;
        connection.set_read_timeout(Some(READY))?;
        let (name, arguments) = command.split_first().context("a command has a name")?;
        Ok(cmd(name).arg(arguments).query(&mut connection)?)
    }

    /// Its process id.
    ///
    /// # Panics
    /// Where it does not run.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Ends it with SIGKILL, if it runs, and returns when it is gone.
    ///
    /// # Errors
    /// Where it cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Whether it has ended by itself.
    ///
    /// # Errors
    /// Where it cannot be looked at.
    pub fn has_ended(&mut self) -> Result<bool> {
        let Some(child) = &mut self.child else {
            return Ok(true);
        };
        let ended = child.try_wait()?.is_some();
        if ended {
            self.child = None;
        }
        Ok(ended)
    }

    /// Stops it where it is, with all connections open, as a machine does that swaps or whose network is cut.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn pause(&self) -> Result<()> {
        self.signal("-STOP")
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn resume(&self) -> Result<()> {
        self.signal("-CONT")
    }

    /// The length beyond which it may write into no file, as `prlimit` takes it. It meets another error there than on
    /// a full disk, which is the same to Redis: a write that failed.
    ///
    /// # Errors
    /// Where `prlimit` is not there.
    pub fn limit_files(&self, bytes: &str) -> Result<()> {
        let limit = format!("--fsize={bytes}:");
        run(&["prlimit", &limit, "--pid", &self.id().to_string()])
    }

    // The standard library sends no signal but SIGKILL.
    fn signal(&self, signal: &str) -> Result<()> {
        run(&["kill", signal, &self.id().to_string()])
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // One that has ended already is what was wanted.
        let _ = self.kill();
        if thread::panicking() {
            eprintln!("Redis said:\n{}", self.log());
        }
    }
}

fn run(command: &[&str]) -> Result<()> {
    let status = Command::new(command[0]).args(&command[1..]).status()?;
    ensure!(status.success(), "{command:?} failed");
    Ok(())
}

/// A port of the loopback interface that nobody else finds free while the socket is there. A Redis, which takes no free port
/// by itself, can listen at it: both let others have it too.
///
/// # Errors
/// Where there is none.
pub fn keep_port() -> Result<(Socket, SocketAddr)> {
    let kept = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    kept.set_reuse_address(true)?;
    kept.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    let address = kept.local_addr()?.as_socket();
    Ok((kept, address.context("it is bound to one")?))
}

fn program() -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    PROGRAMS
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|program| program.is_file())
        .context("Redis is not installed: apt-get install redis-tools")
}
