//! Others' servers, which Witter is measured beside: from npm, and from Debian.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

use crate::process::exists;
use crate::terminal;
use crate::{debian, node};

/// Where nginx, as Debian builds it, makes a folder as soon as Nchan is loaded, whatever its configuration says.
const NGINX_STATE: &str = "/var/lib/nginx";

/// A server whose package starts a service where it is installed. The one with its tools starts none, and has the
/// same program under the other name, by which tests and the load generator find it too.
pub(crate) const REDIS: &str = "redis-server";
const REDIS_TOOLS: (&str, &str) = ("redis-tools", "redis-check-rdb");

/// Brings what can be had, and gives what the load generator is told about it: where it is, or why it is not.
/// `options` are those that it is given anyway.
pub(crate) fn options(options: &[String]) -> Vec<OsString> {
    // Which stores those are is the load generator's to say; it looks for Redis where this puts it.
    if options.iter().any(|option| option.starts_with("--store"))
        && let Err(error) = redis()
    {
        terminal::complain("Left out", &format!("Redis: {error:#}"));
    }
    let without = ["--ours", "--help", "-h"];
    if options.iter().any(|option| without.contains(&&**option)) {
        return Vec::new();
    }
    let mut told = Vec::new();
    if let Err(error) = node::install_peers() {
        told.extend(lacking("--no-node", "the servers on Node.js", &error));
    }
    match nginx() {
        Ok((program, module)) => {
            told.extend(["--nginx".into(), program.into_os_string()]);
            told.extend(["--nchan".into(), module.into_os_string()]);
        }
        Err(error) => told.extend(lacking("--no-nginx", "nginx", &error)),
    }
    told
}

/// Sees to it that there is a Redis.
pub(crate) fn redis() -> Result<()> {
    match redis_package() {
        Some(package) => debian::ensure_installed(&[package]),
        None => Ok(()),
    }
}

/// Debian's package that brings Redis, and starts no service; none where there is one.
pub(crate) fn redis_package() -> Option<&'static str> {
    let (package, program) = REDIS_TOOLS;
    (!exists(REDIS) && !exists(program)).then_some(package)
}

fn lacking(option: &str, what: &str, error: &anyhow::Error) -> [OsString; 2] {
    terminal::complain("Left out", &format!("{what}: {error:#}"));
    [option.into(), format!("{error:#}").into()]
}

/// Where nginx and Nchan are. The two have to be of one make: what the system has may be another's.
fn nginx() -> Result<(PathBuf, PathBuf)> {
    let program = debian::unpacked("nginx")?.join("usr/sbin/nginx");
    let module = debian::unpacked("libnginx-mod-nchan")?;
    let module = module.join("usr/lib/nginx/modules/ngx_nchan_module.so");
    for file in [&program, &module] {
        ensure!(file.is_file(), "there is no {}", file.display());
    }
    fs::create_dir_all(NGINX_STATE)
        .with_context(|| format!("nginx with Nchan needs {NGINX_STATE}, which cannot be made"))?;
    Ok((program, module))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_brought_for_those_who_measure_witter_alone() {
        for given in ["--ours", "--help", "-h"] {
            let given = ["--quick".to_owned(), given.to_owned()];
            assert!(options(&given).is_empty());
        }
    }

    #[test]
    fn what_is_lacking_is_told_with_its_reason() {
        let error = anyhow::anyhow!("no network").context("npm ci failed");
        let told = lacking("--no-node", "the servers on Node.js", &error);
        assert_eq!(told, ["--no-node", "npm ci failed: no network"]);
    }
}
