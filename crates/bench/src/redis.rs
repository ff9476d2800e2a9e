//! A Redis that our host keeps its store in: a server beside it, on the same cores, whose costs are its own.

use std::env;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tokio::process::Command;

use crate::server::{Cores, Server};
use crate::subject::Durability;

/// The names of the server. In Debian's `redis-tools` it stands under the last one, which it has to be asked not to
/// go by.
const PROGRAMS: [&str; 3] = ["redis-server", "valkey-server", "redis-check-rdb"];

/// Where it is, or why there is none.
pub(crate) fn find() -> Result<PathBuf, String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = env::split_paths(&path).collect();
    let programs = PROGRAMS
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let mut there = programs.filter(|program| program.is_file());
    there
        .next()
        .ok_or_else(|| "there is no Redis: apt-get install redis-tools".to_owned())
}

/// Starts one on what the one before it left in the folder, and tells where it is.
pub(crate) async fn start(
    program: &Path,
    folder: &Path,
    cores: &Cores,
    durability: Durability,
) -> Result<(Server, SocketAddr)> {
    let folder = folder.join("redis");
    fs::create_dir_all(&folder)?;
    let named = folder.join(PROGRAMS[0]);
    if !named.exists() {
        symlink(program, &named).context("Redis cannot be called by its name")?;
    }
    // It takes no free port by itself.
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let mut command = Command::new(named);
    command.args(["--bind", "127.0.0.1", "--port"]);
    command.arg(address.port().to_string());
    command.arg("--dir").arg(&folder).args(["--save", ""]);
    command.args(match durability {
        Durability::None => ["--appendonly", "no", "--appendfsync", "no"],
        Durability::Normal => ["--appendonly", "yes", "--appendfsync", "everysec"],
        Durability::Full => ["--appendonly", "yes", "--appendfsync", "always"],
    });
    let ready = |line: &str| line.contains("Ready to accept connections").then_some(());
    let (server, ()) = Server::start(command, cores, &folder, ready).await?;
    Ok((server, address))
}
