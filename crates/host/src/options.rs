//! What a host is told when it starts.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;
use std::time::Duration;

use anyhow::bail;
use clap::{Parser, ValueEnum};
use ipnet::IpNet;
use tokio_rustls::TlsAcceptor;

use crate::compose::Wakeup;
use crate::handed::Handed;
use crate::operating;
use crate::peers::{self, Peers};
use crate::store::Durability;
use crate::{server, tls};

/// In how long an address gets back the guests that it may make.
const GUEST_PERIOD: Duration = Duration::from_secs(3600);

/// How an application is served. [`Options::default`] is what the command line begins with.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The application's manifest
    #[arg(long = "from", value_name = "PATH", default_value = "spin.toml")]
    pub manifest: PathBuf,

    /// The address to listen on; port 0 takes a free one. A socket that is handed over, as by systemd, comes first
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "WITTER_LISTEN",
        default_value = "127.0.0.1:3000"
    )]
    pub listen: SocketAddr,

    /// A socket that listens already, in place of that address: the one that systemd hands over
    #[arg(skip)]
    pub handed: Option<Handed>,

    /// Where keys and values are kept: `sqlite:PATH`, `memory`, or in a Redis or Valkey that many hosts share,
    /// `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE][?prefix=PREFIX]`, `rediss://` for TLS [default:
    /// sqlite:.witter/mailbox.db in the manifest's folder]
    #[arg(long, value_name = "URL", env = "WITTER_STORE")]
    pub store: Option<String>,

    /// When a write into a file is answered: once it survives the host's end, or loss of power too
    #[arg(long, value_enum, env = "WITTER_DURABILITY", default_value_t)]
    pub durability: Durability,

    /// Where compiled components are kept [default: .witter/cache in the manifest's folder]
    #[arg(long, value_name = "PATH", env = "WITTER_CACHE")]
    pub cache: Option<PathBuf>,

    /// Who wakes those who wait for messages
    #[arg(long, value_enum, default_value_t)]
    pub wakeup: Wakeup,

    /// Whether connections are upgraded to WebSockets; else a component is asked as by any other request,
    /// and answers 426
    #[arg(long, value_enum, env = "WITTER_UPGRADES", default_value_t)]
    pub upgrades: Upgrades,

    /// The most instances of one component at once [default: one for each core]
    #[arg(long, value_name = "NUMBER")]
    pub instances_per_component: Option<usize>,

    /// The memory of one instance
    #[arg(long, value_name = "BYTES", value_parser = bytes, default_value = "256MiB")]
    pub instance_memory: usize,

    /// How long an instance may compute without returning to its event loop before it is ended
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "5")]
    pub guest_timeout: Duration,

    /// Names what components compute in a file that `perf` reads, /tmp/perf-PID.map, and so in its profiles
    #[arg(long)]
    pub perf_map: bool,

    /// A variable of the application, whatever the environment says; repeatable. For secrets the environment is
    /// better: a command line is seen by others
    #[arg(long = "variable", value_name = "NAME=VALUE", value_parser = variable)]
    pub variables: Vec<(String, String)>,

    /// The most guests that one address may make in an hour
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000)]
    pub guests_per_address: u32,

    /// What connections may be
    #[command(flatten)]
    pub connections: Connections,

    /// How the host is run
    #[command(flatten)]
    pub operating: operating::Options,
}

/// What connections may be, and requests on them.
#[derive(Clone, Debug, clap::Args)]
pub struct Connections {
    /// The certificate for TLS: a PEM file with the host's own first and those that vouch for it after
    #[arg(
        long,
        value_name = "PATH",
        requires = "tls_key",
        env = "WITTER_TLS_CERT"
    )]
    pub tls_cert: Option<PathBuf>,

    /// The certificate's private key, a PEM file
    #[arg(
        long,
        value_name = "PATH",
        requires = "tls_cert",
        env = "WITTER_TLS_KEY"
    )]
    pub tls_key: Option<PathBuf>,

    /// The longest head of a request
    #[arg(long, value_name = "BYTES", value_parser = bytes, default_value = "72KiB")]
    pub max_head: usize,

    /// The longest body of a request
    #[arg(long, value_name = "BYTES", value_parser = bytes, default_value = "1MiB")]
    pub max_body: usize,

    /// How long a request's head may take to arrive, from its first byte
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "10")]
    pub head_timeout: Duration,

    /// How long a request's body may take to arrive, or the answer to an upgrade
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "30")]
    pub body_timeout: Duration,

    /// How long a connection is kept on which nothing is asked
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "60")]
    pub idle_timeout: Duration,

    /// How long what is open may take to end after SIGTERM or SIGINT
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "3")]
    pub stop_timeout: Duration,

    /// The most connections at once
    #[arg(long, value_name = "NUMBER", default_value_t = 50_000)]
    pub max_connections: usize,

    /// The most connections at once from one address (IPv6: from one /64)
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000)]
    pub max_connections_per_address: usize,

    /// The proxies whose word about the address behind them counts; repeatable
    #[arg(long = "trusted-proxy", value_name = "CIDR")]
    pub trusted_proxies: Vec<IpNet>,
}

impl Connections {
    pub(crate) fn tls(&self) -> anyhow::Result<Option<TlsAcceptor>> {
        match (&self.tls_cert, &self.tls_key) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => tls::load(certificate, key).map(Some),
            _ => bail!("TLS takes both a certificate and its key"),
        }
    }

    pub(crate) fn peers(&self, guests: u32) -> Peers {
        Peers::new(peers::Limits {
            trusted_proxies: self.trusted_proxies.clone(),
            connections: self.max_connections,
            connections_per_address: self.max_connections_per_address,
            guests,
            guest_period: GUEST_PERIOD,
        })
    }

    pub(crate) fn limits(&self) -> server::Limits {
        server::Limits {
            head: self.max_head,
            body: self.max_body,
            head_timeout: self.head_timeout,
            body_timeout: self.body_timeout,
            idle_timeout: self.idle_timeout,
        }
    }
}

/// Whether a host upgrades connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Upgrades {
    /// It does.
    #[default]
    On,
    /// It leaves that to a gateway in front of it, or to nobody.
    Off,
}

/// For the defaults that clap knows.
#[derive(Parser)]
struct Defaults {
    #[command(flatten)]
    options: Options,
}

impl Default for Options {
    fn default() -> Self {
        Defaults::parse_from(["witter"]).options
    }
}

impl Default for Connections {
    fn default() -> Self {
        Options::default().connections
    }
}

impl Options {
    /// The store's URL. A relative path counts from the working folder; the default from the manifest's.
    pub(crate) fn store_url(&self) -> String {
        let default = || format!("sqlite:{}", self.own_folder().join("mailbox.db").display());
        self.store.clone().unwrap_or_else(default)
    }

    pub(crate) fn cache_folder(&self) -> PathBuf {
        self.cache
            .clone()
            .unwrap_or_else(|| self.own_folder().join("cache"))
    }

    pub(crate) fn instances(&self) -> usize {
        self.instances_per_component
            .unwrap_or_else(|| available_parallelism().map_or(1, usize::from))
    }

    fn own_folder(&self) -> PathBuf {
        self.manifest
            .parent()
            .unwrap_or(Path::new(""))
            .join(".witter")
    }
}

pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("no `=` in it")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn bytes(text: &str) -> Result<usize, String> {
    let (number, unit) = match text.find(|letter: char| !letter.is_ascii_digit()) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let unit: usize = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err("the unit is none of B, KiB, MiB, GiB".to_owned()),
    };
    let number: usize = number
        .parse()
        .map_err(|_| "not a number of bytes".to_owned())?;
    number
        .checked_mul(unit)
        .ok_or_else(|| "too large".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        for (text, expected) in [
            ("0", Ok(0)),
            ("17", Ok(17)),
            ("17B", Ok(17)),
            ("2KiB", Ok(2048)),
            ("3MiB", Ok(3 << 20)),
            ("1GiB", Ok(1 << 30)),
            ("", Err("not a number of bytes".to_owned())),
            ("MiB", Err("not a number of bytes".to_owned())),
            ("-1", Err("the unit is none of B, KiB, MiB, GiB".to_owned())),
            (
                "1MB",
                Err("the unit is none of B, KiB, MiB, GiB".to_owned()),
            ),
            ("18446744073709551615GiB", Err("too large".to_owned())),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }

    #[test]
    fn times_are_read_in_seconds() {
        assert_eq!(seconds("1.5"), Ok(Duration::from_millis(1500)));
        for text in ["", "-1", "nan", "1s", "1e40"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_variable_has_a_name_and_any_value() {
        for (text, name, value) in [("a=b", "a", "b"), ("a=", "a", ""), ("a=b=c", "a", "b=c")] {
            assert_eq!(variable(text), Ok((name.to_owned(), value.to_owned())));
        }
        assert!(variable("a").is_err());
    }

    #[test]
    fn what_is_kept_is_kept_beside_the_manifest() {
        let options = Options {
            manifest: "apps/chat/spin.toml".into(),
            store: None,
            cache: None,
            ..Options::default()
        };
        assert_eq!(options.store_url(), "sqlite:apps/chat/.witter/mailbox.db");
        assert_eq!(options.cache_folder(), Path::new("apps/chat/.witter/cache"));
    }
}
