//! What a host told at some moment, and what happened between two of them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Everything that a host told.
#[derive(Debug)]
pub(super) struct Scrape {
    at: Instant,
    samples: HashMap<String, Vec<Sample>>,
}

#[derive(Debug, PartialEq)]
pub(super) struct Sample {
    labels: Vec<(String, String)>,
    pub(super) value: f64,
}

impl Sample {
    pub(super) fn label(&self, name: &str) -> &str {
        let found = self.labels.iter().find(|(other, _)| other == name);
        found.map_or("", |(_, value)| value)
    }

    fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels
            .iter()
            .all(|(name, value)| self.label(name) == *value)
    }
}

impl Scrape {
    /// Reads the text format of Prometheus; lines that are none are left out.
    pub(super) fn read(text: &str, at: Instant) -> Self {
        let mut samples: HashMap<String, Vec<Sample>> = HashMap::new();
        for (name, sample) in text.lines().filter_map(line) {
            samples.entry(name.to_owned()).or_default().push(sample);
        }
        Self { at, samples }
    }

    pub(super) fn all(&self, name: &str) -> &[Sample] {
        self.samples.get(name).map_or(&[], Vec::as_slice)
    }

    pub(super) fn value(&self, name: &str) -> Option<f64> {
        self.all(name).first().map(|sample| sample.value)
    }

    /// Of all that have these labels together.
    pub(super) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let of = self.all(name).iter().filter(|sample| sample.has(labels));
        of.fold(0.0, |sum, sample| sum + sample.value)
    }

    /// The values of a label that there are, in order.
    pub(super) fn values_of(&self, name: &str, label: &str) -> Vec<String> {
        let mut values: Vec<String> = self
            .all(name)
            .iter()
            .map(|sample| sample.label(label).to_owned())
            .collect();
        values.sort_unstable();
        values.dedup();
        values
    }

    pub(super) fn since(&self, earlier: &Self) -> Duration {
        self.at.saturating_duration_since(earlier.at)
    }

    /// How many of a histogram's values were at most how large.
    pub(super) fn buckets(&self, name: &str, labels: &[(&str, &str)]) -> Vec<(f64, f64)> {
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for sample in self.all(&format!("{name}_bucket")) {
            if !sample.has(labels) {
                continue;
            }
            let Ok(bound) = sample.label("le").parse::<f64>() else {
                continue;
            };
            match buckets.iter_mut().find(|(other, _)| *other == bound) {
                Some((_, count)) => *count += sample.value,
                None => buckets.push((bound, sample.value)),
            }
        }
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        buckets
    }
}

/// The value below which a share of those is that buckets have counted, with each bucket's evenly spread. None: there
/// are none.
pub(super) fn quantile(share: f64, buckets: &[(f64, f64)]) -> Option<f64> {
    let total = buckets
        .last()
        .map(|(_, count)| *count)
        .filter(|total| *total > 0.0)?;
    let wanted = share * total;
    let (mut below, mut counted) = (0.0, 0.0);
    for &(bound, count) in buckets {
        if count >= wanted {
            if bound.is_infinite() {
                // Nobody knows more than that it is beyond.
                return Some(below);
            }
            let within = if count > counted {
                (wanted - counted) / (count - counted)
            } else {
                0.0
            };
            return Some(below + (bound - below) * within);
        }
        (below, counted) = (bound, count);
    }
    Some(below)
}

fn line(line: &str) -> Option<(&str, Sample)> {
    let line = line.trim();
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    if name.is_empty() || name.starts_with('#') {
        return None;
    }
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some((name, Sample { labels, value }))
}

/// The labels, and what stands behind their closing brace.
fn labels(mut rest: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let (value, behind) = value(quoted)?;
        labels.push((name.to_owned(), value));
        rest = behind;
    }
}

/// A value up to its closing quote, and what stands behind that.
fn value(quoted: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(match letters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrape(text: &str) -> Scrape {
        Scrape::read(text, Instant::now())
    }

    #[test]
    fn what_is_told_is_read_and_what_is_nothing_is_left_out() {
        let scrape = scrape(concat!(
            "# HELP a Words with {braces} 1\n",
            "# TYPE a counter\n",
            "a{x=\"1\",y=\"q\\\"\\\\\\n}\"} 2\n",
            "a{x=\"2\"} 3.5 1700000000\n",
            "b 1e3\n",
            "broken{x=\"1 4\n",
            "broken\n",
            "\n",
        ));
        assert_eq!(scrape.value("b"), Some(1000.0));
        assert_eq!(scrape.sum("a", &[]), 5.5);
        assert_eq!(scrape.sum("a", &[("x", "2")]), 3.5);
        assert_eq!(scrape.all("a")[0].label("y"), "q\"\\\n}");
        assert_eq!(scrape.values_of("a", "x"), ["1", "2"]);
        assert!(scrape.all("broken").is_empty());
    }

    #[test]
    fn quantiles_lie_within_their_bucket() {
        let scrape = scrape(concat!(
            "h_bucket{k=\"a\",le=\"1\"} 5\n",
            "h_bucket{k=\"b\",le=\"1\"} 5\n",
            "h_bucket{k=\"a\",le=\"2\"} 10\n",
            "h_bucket{k=\"b\",le=\"2\"} 10\n",
            "h_bucket{k=\"a\",le=\"+Inf\"} 10\n",
            "h_bucket{k=\"b\",le=\"+Inf\"} 20\n",
        ));
        let one = scrape.buckets("h", &[("k", "a")]);
        assert_eq!(one, [(1.0, 5.0), (2.0, 10.0), (f64::INFINITY, 10.0)]);
        let both = scrape.buckets("h", &[]);
        for (buckets, share, expected) in [
            (&one, 0.5, Some(1.0)),
            (&one, 0.75, Some(1.5)),
            (&one, 1.0, Some(2.0)),
            (&both, 0.99, Some(2.0)),
            (&Vec::new(), 0.5, None),
            (&vec![(1.0, 0.0), (f64::INFINITY, 0.0)], 0.5, None),
        ] {
            assert_eq!(quantile(share, buckets), expected, "{share} of {buckets:?}");
        }
    }
}
