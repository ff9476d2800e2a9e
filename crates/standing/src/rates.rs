use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// How many are remembered, in two halves. Fewer, and somebody with many identities makes the others' debts
/// forgotten sooner; more cost memory, about 150 bytes each.
const REMEMBERED: usize = 1 << 14;

/// How often something may be done: so many in a period, and so many at once.
///
/// In words `20/s`, `1200/min` or `50/h`, each with ` burst 200` or without, where it is the first number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// From one to the next, in microseconds.
    interval: u64,
    burst: u64,
}

/// It is no rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a rate is like 20/s, 1200/min or 50/h, and may have a burst: 20/s burst 200")]
pub struct BadRate;

impl FromStr for Rate {
    type Err = BadRate;

    fn from_str(text: &str) -> Result<Self, BadRate> {
        let mut words = text.split_whitespace();
        let (count, unit) = words
            .next()
            .and_then(|word| word.split_once('/'))
            .ok_or(BadRate)?;
        let period: u64 = match unit {
            "s" => 1_000_000,
            "min" => 60 * 1_000_000,
            "h" => 3600 * 1_000_000,
            _ => return Err(BadRate),
        };
        let count = number(count)?;
        let burst = match (words.next(), words.next(), words.next()) {
            (None, ..) => count,
            (Some("burst"), Some(burst), None) => number(burst)?,
            _ => return Err(BadRate),
        };
        Ok(Self {
            interval: period / count,
            burst,
        })
    }
}

/// 1 to a million: the interval is a whole number of microseconds, and no sum of them overflows.
fn number(text: &str) -> Result<u64, BadRate> {
    match text.parse() {
        Ok(number @ 1..=1_000_000) => Ok(number),
        _ => Err(BadRate),
    }
}

/// What one identity may do, and what all of one address may. Without a rate there is no limit.
#[derive(Debug, Default)]
pub struct Limits {
    senders: Buckets,
    addresses: Buckets,
}

impl Limits {
    /// Nobody has done anything yet.
    #[must_use]
    pub fn new(sender: Option<Rate>, address: Option<Rate>) -> Self {
        Self {
            senders: Buckets::new(sender),
            addresses: Buckets::new(address),
        }
    }

    /// As [`Self::admit`], and nothing is done yet.
    ///
    /// # Errors
    /// As there.
    pub fn look(
        &self,
        sender: Option<&str>,
        address: Option<&str>,
        count: usize,
        now: u64,
    ) -> Result<(), u32> {
        self.noted(sender, address, count, now.saturating_mul(1000))
            .map(|_| ())
    }

    fn noted<'a>(
        &self,
        sender: Option<&'a str>,
        address: Option<&'a str>,
        count: usize,
        now: u64,
    ) -> Result<[Noted<'a>; 2], u32> {
        let sender = self.senders.look(sender, count, now);
        let address = self.addresses.look(address, count, now);
        match (sender, address) {
            (Ok(sender), Ok(address)) => Ok([sender, address]),
            (sender, address) => Err(sender.err().max(address.err()).unwrap_or(1)),
        }
    }

    /// Whether so many may be done now, by this sender from this address; `now` is in milliseconds and only goes
    /// forward. All of them or none: what is refused costs nothing, from neither.
    ///
    /// More at once than a burst are let pass by who has done nothing for long, and are paid for afterwards: else
    /// they never would.
    ///
    /// # Errors
    /// In how many seconds as many may be done, if nothing else is until then.
    pub fn admit(
        &mut self,
        sender: Option<&str>,
        address: Option<&str>,
        count: usize,
        now: u64,
    ) -> Result<(), u32> {
        let [sender, address] = self.noted(sender, address, count, now.saturating_mul(1000))?;
        self.senders.pay(sender);
        self.addresses.pay(address);
        Ok(())
    }
}

/// Whose bucket is full again when; none: it is not counted.
type Noted<'a> = Option<(&'a str, u64)>;

/// A token bucket for each name, kept as the one moment at which it is full again, in microseconds.
///
/// Remembered in two halves: when one is full the other is forgotten, so that a look-up costs the same under any
/// flood of names. Who is forgotten has a full bucket.
#[derive(Default)]
struct Buckets {
    rate: Option<Rate>,
    recent: HashMap<String, u64>,
    before: HashMap<String, u64>,
}

impl fmt::Debug for Buckets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buckets")
            .field("rate", &self.rate)
            .field("names", &(self.recent.len() + self.before.len()))
            .finish()
    }
}

impl Buckets {
    fn new(rate: Option<Rate>) -> Self {
        Self {
            rate,
            ..Self::default()
        }
    }

    /// What is to be noted when it is done; or after how many seconds it may be.
    fn look<'a>(&self, name: Option<&'a str>, count: usize, now: u64) -> Result<Noted<'a>, u32> {
        let (Some(name), Some(Rate { interval, burst })) = (name, self.rate) else {
            return Ok(None);
        };
        let count = u64::try_from(count).unwrap_or(u64::MAX).min(1 << 20);
        let known = self.recent.get(name).or_else(|| self.before.get(name));
        let full = known.copied().unwrap_or(now).max(now);
        let most = now + (burst - count.min(burst)) * interval;
        match full.checked_sub(most) {
            Some(early @ 1..) => {
                let seconds = early.div_ceil(1_000_000);
                Err(u32::try_from(seconds).unwrap_or(u32::MAX))
            }
            _ => Ok(Some((name, full + count * interval))),
        }
    }

    fn pay(&mut self, noted: Noted<'_>) {
        let Some((name, full)) = noted else {
            return;
        };
        if let Some(known) = self.recent.get_mut(name) {
            *known = full;
            return;
        }
        if self.recent.len() >= REMEMBERED / 2 {
            self.before = std::mem::take(&mut self.recent);
        }
        self.recent.insert(name.to_owned(), full);
    }
}

/// The address that counts for one, out of what a proxy may have made a list of: the last one, in IPv6 its /64, which
/// is what one customer is given. None for what is no address.
#[must_use]
pub fn address(told: &str) -> Option<String> {
    let last = told.rsplit(',').next().unwrap_or_default();
    Some(match last.trim().parse::<IpAddr>().ok()?.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).to_string(),
        v4 @ IpAddr::V4(_) => v4.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Rate {
        text.parse().expect("the case has a rate")
    }

    fn by_sender(text: &str) -> Limits {
        Limits::new(Some(rate(text)), None)
    }

    #[test]
    fn to_look_costs_nothing() {
        let mut limits = by_sender("1/s burst 2");
        for _ in 0..5 {
            assert_eq!(limits.look(Some("ann"), None, 2, 0), Ok(()));
        }
        assert_eq!(limits.admit(Some("ann"), None, 2, 0), Ok(()));
        assert_eq!(limits.look(Some("ann"), None, 1, 0), Err(1));
        assert_eq!(limits.admit(Some("ann"), None, 1, 1_000), Ok(()));
    }

    #[test]
    fn a_rate_is_read_with_its_unit_and_its_burst() {
        for (text, interval, burst) in [
            ("20/s", 50_000, 20),
            ("20/s burst 200", 50_000, 200),
            (" 1200/min  burst 1 ", 50_000, 1),
            ("50/h", 72_000_000, 50),
            ("1000000/s", 1, 1_000_000),
        ] {
            assert_eq!(text.parse(), Ok(Rate { interval, burst }), "{text}");
        }
        for text in [
            "",
            "20",
            "20/",
            "/s",
            "0/s",
            "-1/s",
            "1.5/s",
            "20 /s",
            "20/day",
            "1000001/s",
            "20/s 200",
            "20/s burst",
            "20/s burst 0",
            "20/s burst 2 3",
            "20/s, burst 2",
        ] {
            assert_eq!(text.parse::<Rate>(), Err(BadRate), "{text}");
        }
    }

    #[test]
    fn a_burst_passes_at_once_and_the_rate_afterwards() {
        let mut limits = by_sender("2/s burst 3");
        let mut admit = |now| limits.admit(Some("ann"), None, 1, now);
        for _ in 0..3 {
            assert_eq!(admit(1000), Ok(()));
        }
        assert_eq!(admit(1000), Err(1));
        assert_eq!(admit(1499), Err(1));
        assert_eq!(admit(1500), Ok(()));
        assert_eq!(admit(1500), Err(1));
        // Silence fills the bucket, and no more than that.
        for _ in 0..3 {
            assert_eq!(admit(100_000), Ok(()));
        }
        assert_eq!(admit(100_000), Err(1));
    }

    #[test]
    fn many_at_once_count_each_and_pass_together_or_not_at_all() {
        let mut limits = by_sender("10/s burst 100");
        let mut admit = |count, now| limits.admit(Some("ann"), None, count, now);
        assert_eq!(admit(60, 0), Ok(()));
        assert_eq!(admit(60, 0), Err(2));
        // What was refused has cost nothing.
        assert_eq!(admit(40, 0), Ok(()));
        assert_eq!(admit(100, 0), Err(10));
        assert_eq!(admit(100, 9_999), Err(1));
        assert_eq!(admit(100, 10_000), Ok(()));
    }

    #[test]
    fn more_than_a_burst_passes_when_the_bucket_is_full_and_is_paid_for() {
        let mut limits = by_sender("1/s burst 5");
        let mut admit = |count, now| limits.admit(Some("ann"), None, count, now);
        assert_eq!(admit(20, 0), Ok(()));
        assert_eq!(admit(1, 0), Err(16));
        assert_eq!(admit(1, 16_000), Ok(()));
        assert_eq!(admit(20, 16_000), Err(5));
        assert_eq!(admit(20, 21_000), Ok(()));
    }

    #[test]
    fn each_sender_has_a_bucket_and_all_of_an_address_share_one() {
        let mut limits = Limits::new(Some(rate("1/s burst 2")), Some(rate("1/s burst 3")));
        let mut admit = |sender, address| limits.admit(Some(sender), Some(address), 1, 0);
        assert_eq!(admit("ann", "192.0.2.1"), Ok(()));
        assert_eq!(admit("ann", "192.0.2.1"), Ok(()));
        assert_eq!(admit("ann", "192.0.2.2"), Err(1));
        assert_eq!(admit("bob", "192.0.2.1"), Ok(()));
        assert_eq!(admit("bob", "192.0.2.1"), Err(1));
        // What the one refuses costs nothing of the other.
        assert_eq!(admit("bob", "192.0.2.2"), Ok(()));
        for address in [None, Some("192.0.2.1")] {
            for _ in 0..10 {
                let mut limits = Limits::default();
                assert_eq!(limits.admit(Some("ann"), address, 1_000_000, 0), Ok(()));
            }
        }
    }

    #[test]
    fn a_flood_of_names_takes_no_more_memory_and_the_latest_stay_known() {
        let mut limits = by_sender("1/h");
        for number in 0..3 * REMEMBERED {
            let sender = format!("sender-{number}");
            assert_eq!(limits.admit(Some(&sender), None, 1, 0), Ok(()));
        }
        let Buckets { recent, before, .. } = &limits.senders;
        assert!(recent.len() + before.len() <= REMEMBERED);
        let last = format!("sender-{}", 3 * REMEMBERED - 1);
        assert_eq!(limits.admit(Some(&last), None, 1, 0), Err(3600));
    }

    #[test]
    fn an_address_counts_alone_or_with_its_64() {
        for (told, expected) in [
            ("192.0.2.1", Some("192.0.2.1")),
            ("203.0.113.9, 192.0.2.1", Some("192.0.2.1")),
            ("::ffff:192.0.2.1", Some("192.0.2.1")),
            ("2001:db8:0:1:2:3:4:5", Some("2001:db8:0:1::")),
            ("", None),
            ("192.0.2.1, unknown", None),
            ("192.0.2.1:80", None),
        ] {
            assert_eq!(address(told).as_deref(), expected, "{told}");
        }
    }
}
