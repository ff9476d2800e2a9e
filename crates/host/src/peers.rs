//! Who is at the other end, and how much of the host one of them may take.
//!
//! An address counts for itself in IPv4 and with its /64 in IPv6: a /64 is what one customer is given,
//! and whoever has one has all its addresses.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderMap;
use http::header::FORWARDED;
use ipnet::IpNet;

const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// How many addresses are remembered for their rate, in two halves. Fewer, and somebody with a /48 of
/// IPv6 makes the host forget the others sooner; more cost memory, about 64 bytes each.
const REMEMBERED: usize = 1 << 16;

/// What is allowed.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Whose word about the address behind them counts.
    pub trusted_proxies: Vec<IpNet>,
    /// Connections at once, in all.
    pub connections: usize,
    /// Connections at once from one address; behind a trusted proxy, requests at once.
    pub connections_per_address: usize,
    /// Guests minted for one address within [`Self::guest_period`], all at once if need be. 0: none.
    pub guests: u32,
    /// The time in which an address gets its [`Self::guests`] back.
    pub guest_period: Duration,
}

/// The peers of one host: what they hold, and who they are. Clones are the same table.
#[derive(Clone, Debug)]
pub struct Peers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: Limits,
    held: Mutex<Held>,
    guests: Mutex<Rates>,
}

#[derive(Debug, Default)]
struct Held {
    connections: usize,
    /// No entry holds 0: the table is no longer than what is held.
    by_address: HashMap<Block, usize>,
}

/// Why a connection or a request is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// There are too many connections in all.
    #[error("too many connections")]
    Host,
    /// There are too many from this address.
    #[error("too many connections from one address")]
    Address,
}

/// A place taken, given back when dropped.
#[derive(Debug)]
#[must_use = "dropping it gives the place back"]
pub struct Slot {
    peers: Peers,
    connection: bool,
    block: Option<Block>,
}

impl Peers {
    /// Nobody is here yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self(Arc::new(Inner {
            limits,
            held: Mutex::default(),
            guests: Mutex::default(),
        }))
    }

    /// A connection from `peer`, the address of the socket. From a trusted proxy it counts only among
    /// all: its requests count for those who sent them.
    pub fn connect(&self, peer: IpAddr) -> Result<Slot, Full> {
        let block = (!self.trusts(peer)).then(|| Block::of(peer));
        self.hold(true, block)
    }

    /// A request of `client`, as [`Self::client`] told it, on a connection from `peer`. Counts where the
    /// connection did not.
    pub fn request(&self, peer: IpAddr, client: IpAddr) -> Result<Slot, Full> {
        let block = self.trusts(peer).then(|| Block::of(client));
        self.hold(false, block)
    }

    /// How many connections there are.
    #[must_use]
    pub fn connections(&self) -> usize {
        lock(&self.0.held).connections
    }

    /// Whose request this is: `peer`, or, where that is a trusted proxy, the last address on the way here
    /// that is none. What stands before that one was written by whoever has it, and is not read.
    ///
    /// Both `X-Forwarded-For` and `Forwarded` (RFC 7239) are understood. A proxy writes one of them and
    /// may let the other one pass as it came, and which is which cannot be known: where both stand and
    /// differ, neither counts. Neither counts either where the address is hidden, unknown or no address.
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.trusts(peer) {
            return peer;
        }
        let x_forwarded_for = headers
            .contains_key(X_FORWARDED_FOR)
            .then(|| self.walk(peer, x_forwarded_for(headers)));
        let forwarded = headers
            .contains_key(FORWARDED)
            .then(|| self.walk(peer, forwarded(headers)));
        match (x_forwarded_for, forwarded) {
            (None, None) => peer,
            (Some(client), None) | (None, Some(client)) => client,
            (Some(one), Some(other)) if one == other => one,
            (Some(_), Some(_)) => peer,
        }
    }

    /// Whether one more guest may be minted for `address`; if not, when.
    pub fn admit_guest(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let Limits {
            guests,
            guest_period,
            ..
        } = self.0.limits;
        lock(&self.0.guests).take(Block::of(address), guests, guest_period, now)
    }

    fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0
            .limits
            .trusted_proxies
            .iter()
            .any(|net| net.contains(&address))
    }

    /// Follows `hops`, from the nearest, for as long as proxies that are trusted vouch for them.
    fn walk(&self, peer: IpAddr, hops: impl Iterator<Item = Option<IpAddr>>) -> IpAddr {
        let mut nearest = peer;
        for hop in hops {
            match hop {
                Some(address) if self.trusts(address) => nearest = address,
                Some(address) => return address,
                None => break,
            }
        }
        nearest
    }

    fn hold(&self, connection: bool, block: Option<Block>) -> Result<Slot, Full> {
        let limits = &self.0.limits;
        let mut held = lock(&self.0.held);
        if connection && held.connections >= limits.connections {
            return Err(Full::Host);
        }
        if let Some(block) = block {
            let count = held.by_address.get(&block).copied().unwrap_or(0);
            if count >= limits.connections_per_address {
                return Err(Full::Address);
            }
            held.by_address.insert(block, count + 1);
        }
        held.connections += usize::from(connection);
        Ok(Slot {
            peers: self.clone(),
            connection,
            block,
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut held = lock(&self.peers.0.held);
        held.connections -= usize::from(self.connection);
        if let Some(block) = self.block
            && let Some(count) = held.by_address.get_mut(&block)
        {
            *count -= 1;
            if *count == 0 {
                held.by_address.remove(&block);
            }
        }
    }
}

/// What counts as one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Block(IpAddr);

impl Block {
    pub(crate) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
            v4 => v4,
        })
    }
}

/// A token bucket for each address, kept as the one moment at which it is full again.
///
/// Remembered in two halves: when one is full the other is forgotten, so that a look-up costs the same
/// under any flood of addresses. Who is forgotten has a full bucket.
#[derive(Default)]
struct Rates {
    recent: HashMap<Block, Instant>,
    before: HashMap<Block, Instant>,
}

impl fmt::Debug for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rates")
            .field("addresses", &(self.recent.len() + self.before.len()))
            .finish()
    }
}

impl Rates {
    fn take(
        &mut self,
        block: Block,
        burst: u32,
        period: Duration,
        now: Instant,
    ) -> Result<(), Duration> {
        if burst == 0 {
            return Err(period);
        }
        let token = period / burst;
        let full = self
            .recent
            .get(&block)
            .or_else(|| self.before.get(&block))
            .copied()
            .unwrap_or(now)
            .max(now)
            + token;
        if let Some(early) = (full - now)
            .checked_sub(period)
            .filter(|early| !early.is_zero())
        {
            return Err(early);
        }
        if self.recent.len() >= REMEMBERED / 2 {
            self.before = std::mem::take(&mut self.recent);
        }
        self.recent.insert(block, full);
        Ok(())
    }
}

/// The addresses of `X-Forwarded-For`, from the right; none for what is no address.
fn x_forwarded_for(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    headers
        .get_all(X_FORWARDED_FOR)
        .iter()
        .rev()
        .flat_map(|line| line.to_str().unwrap_or("?").rsplit(','))
        .map(|element| address(element.trim()))
}

/// The addresses of `Forwarded`, from the right; none for an element that names no address.
fn forwarded(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    headers
        .get_all(FORWARDED)
        .iter()
        .rev()
        .flat_map(|line| elements(line.to_str().unwrap_or("?")).into_iter().rev())
        .map(|element| element.and_then(forwarded_for))
}

/// Splits a `Forwarded` line at the commas outside quoted strings; none for an element whose quotes do
/// not fit, which a client can bring about: it then spoils what its proxy appends, and speaks for nobody.
fn elements(line: &str) -> Vec<Option<&str>> {
    let (mut elements, mut start) = (Vec::new(), 0);
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                elements.push(Some(&line[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    elements.push((!quoted).then(|| &line[start..]));
    elements
}

/// The address in an element's `for`, RFC 7239 section 4: `for=192.0.2.1;proto=https`, in any case and
/// order; IPv6 stands in brackets and quotes, and a port may follow. None for anything else, two `for`
/// included.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut node = None;
    for pair in element
        .split(';')
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
    {
        let (name, value) = pair.split_once('=')?;
        // No escape and no delimiter belongs in an address, and no other value is looked at: one with a
        // semicolon in it is cut, and then refused for its odd quotes.
        let value = match value.strip_prefix('"') {
            Some(rest) => rest
                .strip_suffix('"')
                .filter(|inner| !inner.contains(['"', '\\']))?,
            None if value.contains('"') => return None,
            None => value,
        };
        if name.eq_ignore_ascii_case("for") && node.replace(value).is_some() {
            return None;
        }
    }
    address(node?)
}

/// An address as proxies write it: alone, or with a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = || {
        text.strip_prefix('[')?
            .strip_suffix(']')?
            .parse()
            .map(IpAddr::V6)
            .ok()
    };
    let alone = || text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().map(|socket| socket.ip()).ok();
    alone()
        .or_else(with_port)
        .or_else(bare)
        .map(|address| address.to_canonical())
}

// A count is changed in one step: a table whose holder panicked is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("the case has an address")
    }

    fn peers(connections: usize, per_address: usize) -> Peers {
        Peers::new(Limits {
            trusted_proxies: ["10.0.0.0/8", "fd00::/8"]
                .map(|net| net.parse().expect("a network"))
                .into(),
            connections,
            connections_per_address: per_address,
            guests: 3,
            guest_period: Duration::from_secs(60),
        })
    }

    #[track_caller]
    fn check_client(peer: &str, lines: &[(&str, &str)], expected: &str) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name: HeaderName = name.parse().expect("a header's name");
            headers.append(
                name,
                HeaderValue::from_str(value).expect("a header's value"),
            );
        }
        assert_eq!(
            peers(1, 1).client(ip(peer), &headers),
            ip(expected),
            "{lines:?}"
        );
    }

    #[test]
    fn nobody_but_a_trusted_proxy_speaks_for_another() {
        check_client("192.0.2.7", &[], "192.0.2.7");
        check_client(
            "192.0.2.7",
            &[("x-forwarded-for", "198.51.100.1")],
            "192.0.2.7",
        );
        check_client(
            "192.0.2.7",
            &[("forwarded", "for=198.51.100.1")],
            "192.0.2.7",
        );
        check_client(
            "::ffff:192.0.2.7",
            &[("x-forwarded-for", "198.51.100.1")],
            "192.0.2.7",
        );
        check_client(
            "2001:db8::7",
            &[("x-forwarded-for", "10.0.0.1")],
            "2001:db8::7",
        );
    }

    #[test]
    fn the_last_address_that_is_no_proxy_is_the_client() {
        check_client("10.0.0.1", &[], "10.0.0.1");
        for name in ["x-forwarded-for", "X-Forwarded-For"] {
            check_client("10.0.0.1", &[(name, "198.51.100.1")], "198.51.100.1");
        }
        check_client(
            "::ffff:10.0.0.1",
            &[("x-forwarded-for", "198.51.100.1")],
            "198.51.100.1",
        );
        check_client(
            "fd00::1",
            &[("x-forwarded-for", "2001:db8::9")],
            "2001:db8::9",
        );
        // What the client wrote stands on the left.
        check_client(
            "10.0.0.1",
            &[("x-forwarded-for", "203.0.113.9, 198.51.100.1")],
            "198.51.100.1",
        );
        check_client(
            "10.0.0.1",
            &[("x-forwarded-for", "10.9.9.9, 198.51.100.1")],
            "198.51.100.1",
        );
        check_client(
            "10.0.0.1",
            &[("x-forwarded-for", "garbage,,\"198.51.100.1, 198.51.100.2")],
            "198.51.100.2",
        );
        check_client(
            "10.0.0.1",
            &[
                ("x-forwarded-for", "203.0.113.9"),
                ("x-forwarded-for", "198.51.100.1"),
            ],
            "198.51.100.1",
        );
        // Further proxies of ours in between.
        check_client(
            "10.0.0.1",
            &[(
                "x-forwarded-for",
                "203.0.113.9, 198.51.100.1, 10.0.0.2,10.0.0.3",
            )],
            "198.51.100.1",
        );
        check_client(
            "10.0.0.1",
            &[
                ("x-forwarded-for", "198.51.100.1"),
                ("x-forwarded-for", "fd00::2"),
            ],
            "198.51.100.1",
        );
        // A client among them.
        check_client(
            "10.0.0.1",
            &[("x-forwarded-for", "10.3.3.3, 10.2.2.2")],
            "10.3.3.3",
        );
        // Ports and brackets.
        check_client(
            "10.0.0.1",
            &[("x-forwarded-for", "198.51.100.1:4711")],
            "198.51.100.1",
        );
        check_client(
            "10.0.0.1",
            &[("x-forwarded-for", "[2001:db8::9]:4711")],
            "2001:db8::9",
        );
        check_client(
            "10.0.0.1",
            &[("x-forwarded-for", "[2001:db8::9]")],
            "2001:db8::9",
        );
        check_client(
            "10.0.0.1",
            &[("x-forwarded-for", "::ffff:198.51.100.1")],
            "198.51.100.1",
        );
    }

    #[test]
    fn where_a_proxy_tells_no_address_its_own_counts() {
        for value in [
            "",
            "unknown",
            "-",
            "198.51.100.1, unknown",
            "198.51.100.1 203.0.113.9",
            "198.51.100.1,",
            "1.2.3",
            "[198.51.100.1]",
        ] {
            check_client("10.0.0.1", &[("x-forwarded-for", value)], "10.0.0.1");
        }
        check_client(
            "10.0.0.1",
            &[("x-forwarded-for", "198.51.100.1, ?, 10.0.0.2")],
            "10.0.0.2",
        );
        for value in [
            "",
            "for=unknown",
            "for=_hidden",
            "proto=https",
            "for",
            "for=198.51.100.1;for=203.0.113.9",
            "for=198.51.100.1,",
            "for=\"198.51.100.1",
            "for=\"\\198.51.100.1\"",
            "for=2001:db8::9:x",
        ] {
            check_client("10.0.0.1", &[("forwarded", value)], "10.0.0.1");
        }
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_has_it() {
        check_client(
            "10.0.0.1",
            &[("forwarded", "for=198.51.100.1")],
            "198.51.100.1",
        );
        check_client(
            "10.0.0.1",
            &[("forwarded", "For=\"[2001:db8:cafe::17]:4711\"")],
            "2001:db8:cafe::17",
        );
        check_client(
            "10.0.0.1",
            &[("forwarded", "for=198.51.100.1;proto=http;by=203.0.113.43")],
            "198.51.100.1",
        );
        check_client(
            "10.0.0.1",
            &[("forwarded", "by=\"_a,b\" ; for=198.51.100.1;")],
            "198.51.100.1",
        );
        check_client(
            "10.0.0.1",
            &[("forwarded", "for=192.0.2.43, for=198.51.100.17")],
            "198.51.100.17",
        );
        check_client(
            "10.0.0.1",
            &[(
                "forwarded",
                "for=192.0.2.43, for=198.51.100.17;by=x, for=10.2.2.2",
            )],
            "198.51.100.17",
        );
        check_client(
            "10.0.0.1",
            &[
                ("forwarded", "for=192.0.2.43"),
                ("forwarded", "for=198.51.100.17"),
            ],
            "198.51.100.17",
        );
    }

    /// What a client sends is followed by what its proxy appends.
    #[test]
    fn quotes_that_a_client_leaves_open_do_not_make_it_somebody_else() {
        for sent in [
            "for=203.0.113.9;x=\"",
            "for=203.0.113.9, for=\"",
            "for=203.0.113.9;x=\"\\",
            "\"",
            "for=203.0.113.9;x=\"y\";z=\"",
            "for=203.0.113.9,\"",
        ] {
            for appended in [
                "for=198.51.100.1",
                "for=\"198.51.100.1:9\"",
                "for=\"[2001:db8::9]\";by=\"_p\"",
                "by=\"\";for=198.51.100.1",
            ] {
                check_client(
                    "10.0.0.1",
                    &[("forwarded", &format!("{sent}, {appended}"))],
                    "10.0.0.1",
                );
            }
        }
    }

    #[test]
    fn of_two_headers_that_differ_none_counts() {
        let forwarded = ("forwarded", "for=203.0.113.9");
        check_client(
            "10.0.0.1",
            &[forwarded, ("x-forwarded-for", "198.51.100.1")],
            "10.0.0.1",
        );
        check_client(
            "10.0.0.1",
            &[forwarded, ("x-forwarded-for", "203.0.113.9")],
            "203.0.113.9",
        );
    }

    #[test]
    fn a_slot_is_given_back_when_it_is_dropped() {
        let peers = peers(2, 9);
        let first = peers.connect(ip("192.0.2.1")).expect("there is room");
        let _second = peers.connect(ip("10.0.0.1")).expect("there is room");
        assert_eq!(
            peers
                .connect(ip("192.0.2.3"))
                .expect_err("the host is full"),
            Full::Host
        );
        assert_eq!(peers.connections(), 2);
        drop(first);
        let _third = peers.connect(ip("192.0.2.3")).expect("there is room again");
        assert_eq!(peers.connections(), 2);
        assert_eq!(lock(&peers.0.held).by_address.len(), 1);
    }

    #[track_caller]
    fn check_counts_together(one: &str, other: &str, expected: bool) {
        let peers = peers(9, 1);
        let _held = peers.connect(ip(one)).expect("there is room");
        assert_eq!(
            peers.connect(ip(other)).err(),
            expected.then_some(Full::Address),
            "{one} {other}"
        );
    }

    #[test]
    fn an_address_counts_in_ipv4_and_a_64_in_ipv6() {
        check_counts_together("192.0.2.1", "192.0.2.1", true);
        check_counts_together("192.0.2.1", "::ffff:192.0.2.1", true);
        check_counts_together("192.0.2.1", "192.0.2.2", false);
        check_counts_together("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true);
        check_counts_together("2001:db8::1", "2001:db8:0:1::1", false);
        check_counts_together("10.0.0.1", "10.0.0.1", false);
    }

    #[test]
    fn behind_a_trusted_proxy_requests_count_for_those_who_sent_them() {
        let peers = peers(9, 1);
        let (proxy, client) = (ip("10.0.0.1"), ip("198.51.100.1"));
        let held = peers.request(proxy, client).expect("there is room");
        assert_eq!(
            peers.request(proxy, client).expect_err("one is held"),
            Full::Address
        );
        drop(held);
        let _again = peers.request(proxy, client).expect("there is room again");
        // On connections of its own an address holds connections, and requests are free.
        let _connection = peers.connect(ip("192.0.2.1")).expect("there is room");
        let _one = peers
            .request(ip("192.0.2.1"), ip("192.0.2.1"))
            .expect("the connection counts already");
        let _two = peers
            .request(ip("192.0.2.1"), ip("192.0.2.1"))
            .expect("the connection counts already");
        assert_eq!(peers.connections(), 1);
    }

    #[test]
    fn guests_are_minted_at_a_rate() {
        let peers = peers(1, 1);
        let (address, start) = (ip("2001:db8::1"), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        for _ in 0..3 {
            assert_eq!(peers.admit_guest(address, at(0)), Ok(()));
        }
        assert_eq!(
            peers.admit_guest(ip("2001:db8::2"), at(0)),
            Err(Duration::from_secs(20))
        );
        assert_eq!(peers.admit_guest(ip("2001:db8:0:1::"), at(0)), Ok(()));
        assert_eq!(
            peers.admit_guest(address, at(19)),
            Err(Duration::from_secs(1))
        );
        assert_eq!(peers.admit_guest(address, at(20)), Ok(()));
        assert_eq!(
            peers.admit_guest(address, at(20)),
            Err(Duration::from_secs(20))
        );
        for _ in 0..3 {
            assert_eq!(peers.admit_guest(address, at(1000)), Ok(()));
        }
        assert!(peers.admit_guest(address, at(1000)).is_err());
    }

    #[test]
    fn a_flood_of_addresses_does_not_grow_the_table() {
        let mut rates = Rates::default();
        let now = Instant::now();
        let of = |number: u32| Block::of(IpAddr::V4(number.into()));
        for number in 0..3 * REMEMBERED as u32 {
            assert_eq!(
                rates.take(of(number), 1, Duration::from_secs(60), now),
                Ok(())
            );
            assert!(rates.recent.len() + rates.before.len() <= REMEMBERED);
        }
        let last = of(3 * REMEMBERED as u32 - 1);
        assert!(rates.take(last, 1, Duration::from_secs(60), now).is_err());
    }
}
