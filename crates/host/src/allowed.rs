//! Where a component may send requests to, as its manifest says: `allowed_outbound_hosts`, in Spin's grammar.
//!
//! Each entry is `SCHEME://HOST[:PORT]`. A `*` stands for any scheme, host or port; `*.example.com` for any host
//! below that name; `10.0.0.0/8` for the addresses of a network, asked for as addresses; `8000..8010` for ports from
//! the first up to the one before the last. Without a port it is the scheme's own. `self` stands for requests that
//! name no host: this host sends none to itself, so it permits nothing here. Neither does an entry without a host, as is
//! left of one whose host is a variable that is empty.

use std::net::IpAddr;

use http::Uri;
use ipnet::IpNet;

/// One entry.
#[derive(Clone, Debug, PartialEq)]
pub struct AllowedHost {
    /// None: any.
    scheme: Option<String>,
    host: Host,
    ports: Ports,
}

#[derive(Clone, Debug, PartialEq)]
enum Host {
    Any,
    /// With its leading dot.
    Below(String),
    /// Nobody that a request could name.
    Itself,
    Network(IpNet),
    Name(String),
}

#[derive(Clone, Debug, PartialEq)]
enum Ports {
    Any,
    /// From the first, up to the one before the second.
    Range(u32, u32),
}

/// Why an entry means nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllowedHostError {
    /// There is no `://` in it.
    #[error("{0:?} has no scheme: expected https://example.com, or *:// for any")]
    NoScheme(String),
    /// The scheme has other characters than letters.
    #[error("{0:?} is no scheme")]
    Scheme(String),
    /// The host has a `*` elsewhere than in front, or what stands in no name.
    #[error("{0:?} is no host: expected a name, an address, a network, *, or *. and a name")]
    Host(String),
    /// The port is no number and no range of numbers.
    #[error("{0:?} is no port: expected a number, * or a range such as 8000..8010")]
    Port(String),
    /// No port was told, and the scheme has none of its own.
    #[error("{0:?} tells no port, and its scheme has none of its own")]
    NoPort(String),
    /// There is a path behind it.
    #[error("{0:?} has a path: whole hosts are allowed, or not")]
    Path(String),
}

impl AllowedHost {
    /// Reads an entry.
    pub fn parse(entry: &str) -> Result<Self, AllowedHostError> {
        let entry = entry.trim();
        let (scheme, rest) = entry
            .split_once("://")
            .ok_or_else(|| AllowedHostError::NoScheme(entry.to_owned()))?;
        if scheme != "*" && (scheme.is_empty() || !scheme.bytes().all(|b| b.is_ascii_alphabetic()))
        {
            return Err(AllowedHostError::Scheme(scheme.to_owned()));
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        // The colons of an address in brackets, and of none, belong to the host.
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.contains([']', '/']) => (host, Some(port)),
            _ => (rest, None),
        };
        let ports = match port {
            Some("*") => Ports::Any,
            Some(port) => range(port).ok_or_else(|| AllowedHostError::Port(port.to_owned()))?,
            None => match own_port(scheme) {
                Some(port) => Ports::Range(port.into(), u32::from(port) + 1),
                None => return Err(AllowedHostError::NoPort(entry.to_owned())),
            },
        };
        Ok(Self {
            scheme: (scheme != "*").then(|| scheme.to_ascii_lowercase()),
            host: Host::parse(host, entry)?,
            ports,
        })
    }

    /// Whether a request may go there. Where it names no port, it is the scheme's own.
    pub(crate) fn allows(&self, uri: &Uri) -> bool {
        let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) else {
            return false;
        };
        let Some(port) = uri.port_u16().or_else(|| own_port(scheme)) else {
            return false;
        };
        let is_scheme = self.scheme.as_deref().is_none_or(|own| own == scheme);
        let is_port = match self.ports {
            Ports::Any => true,
            Ports::Range(first, end) => (first..end).contains(&port.into()),
        };
        is_scheme && is_port && self.host.allows(host)
    }
}

impl Host {
    fn parse(host: &str, entry: &str) -> Result<Self, AllowedHostError> {
        let bad = || AllowedHostError::Host(host.to_owned());
        if let Ok(network) = host.parse::<IpNet>() {
            return Ok(Self::Network(network.trunc()));
        }
        if host.contains('/') {
            return Err(AllowedHostError::Path(entry.to_owned()));
        }
        if let Some(address) = address(host) {
            return Ok(Self::Network(address.into()));
        }
        let (below, name) = match host.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, host),
        };
        match host {
            "*" => Ok(Self::Any),
            "self" | "self.alt" => Ok(Self::Itself),
            "" => Ok(Self::Itself),
            _ if name.is_empty() || name.contains(['*', '@', '?', '#', '{', ':']) => Err(bad()),
            _ if below => Ok(Self::Below(format!(".{}", name.to_ascii_lowercase()))),
            _ => Ok(Self::Name(name.to_ascii_lowercase())),
        }
    }

    fn allows(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        match self {
            Self::Any => true,
            Self::Below(suffix) => host.ends_with(suffix.as_str()),
            Self::Itself => false,
            Self::Network(network) => address(&host).is_some_and(|one| network.contains(&one)),
            Self::Name(name) => *name == host,
        }
    }
}

/// An address, in brackets or without.
fn address(host: &str) -> Option<IpAddr> {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    bare.unwrap_or(host).parse().ok()
}

fn range(text: &str) -> Option<Ports> {
    let (first, end) = match text.split_once("..") {
        Some((first, end)) => (first.parse::<u16>().ok()?, end.parse::<u16>().ok()?.into()),
        None => {
            let port = text.parse::<u16>().ok()?;
            (port, u32::from(port) + 1)
        }
    };
    Some(Ports::Range(first.into(), end))
}

/// The port that a scheme implies. Those of databases are Spin's: an entry may name one, and a request here cannot.
fn own_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        "redis" | "rediss" => Some(6379),
        "postgres" => Some(5432),
        "mysql" => Some(3306),
        "mqtt" => Some(1883),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_allows_what_spin_says_it_does() {
        for (entry, uri, allowed) in [
            ("https://a.example", "https://a.example/x?y", true),
            ("https://a.example/", "https://A.EXAMPLE:443/", true),
            ("https://A.example", "https://a.example/", true),
            ("https://a.example", "http://a.example/", false),
            ("https://a.example", "https://a.example:8443/", false),
            ("https://a.example", "https://b.a.example/", false),
            ("https://a.example:8443", "https://a.example:8443/", true),
            ("https://a.example:8443", "https://a.example/", false),
            ("http://a.example:*", "http://a.example:1/", true),
            (
                "http://a.example:8000..8010",
                "http://a.example:8000/",
                true,
            ),
            (
                "http://a.example:8000..8010",
                "http://a.example:8009/",
                true,
            ),
            (
                "http://a.example:8000..8010",
                "http://a.example:8010/",
                false,
            ),
            ("https://*.example", "https://a.example/", true),
            ("https://*.example", "https://b.a.example/", true),
            ("https://*.example", "https://example/", false),
            ("https://*.example", "https://badexample/", false),
            ("https://*", "https://anything/", true),
            ("https://*", "https://anything:8443/", false),
            ("http://*:*", "http://anything:8443/", true),
            ("*://*:*", "http://127.0.0.1:9/", true),
            ("*://a.example:80", "http://a.example/", true),
            ("http://127.0.0.1:9", "http://127.0.0.1:9/", true),
            ("http://10.0.0.0/8:80", "http://10.1.2.3/", true),
            ("http://10.0.0.0/8", "http://10.1.2.3/", true),
            ("http://10.0.0.0/8", "http://11.1.2.3/", false),
            ("http://10.0.0.0/8", "http://ten.example/", false),
            ("http://[::1]:9", "http://[::1]:9/", true),
            ("http://[::1]", "http://[::1]/", true),
            ("http://self", "http://self/", false),
            ("https://", "https://a.example/", false),
            ("https://:443", "https://a.example/", false),
            ("redis://a.example", "http://a.example:6379/", false),
            ("redis://a.example", "redis://a.example:6379/", true),
            ("redis://a.example", "rediss://a.example:6379/", false),
            ("rediss://a.example", "rediss://a.example/", true),
        ] {
            let parsed = AllowedHost::parse(entry).expect(entry);
            let uri: Uri = uri.parse().expect("a URI");
            assert_eq!(parsed.allows(&uri), allowed, "{entry} and {uri}");
        }
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        for entry in [
            "",
            "*",
            "a.example",
            "://a.example",
            "h2://a.example",
            "https://a.example:https",
            "https://a.example:70000",
            "https://a.example/path",
            "https://a.*.example",
            "https://*.*.example",
            "https://ann@a.example",
            "https://a.example?x",
            "ftp://a.example",
            "*://a.example",
            "{http,https}://a.example",
            "https://{a,b}.example",
        ] {
            assert!(AllowedHost::parse(entry).is_err(), "{entry}");
        }
    }
}
