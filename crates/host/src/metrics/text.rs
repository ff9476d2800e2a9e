//! The text that Prometheus reads.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{self, Registry};

use super::family::{Family, Kind, Sample, Unit, Value};
use super::instruments::{BOUNDS, Distribution};

/// What the text is, as a response's `content-type`.
pub(crate) const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// # Errors
/// None that a string gives.
pub(crate) fn encode(families: Vec<Family>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Families(families)));
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Families(Vec<Family>);

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in self.0.iter().filter(|family| !family.samples.is_empty()) {
            let name = plain(family.name);
            let unit = match family.unit {
                Unit::None => None,
                Unit::Seconds => Some(registry::Unit::Seconds),
                Unit::Bytes => Some(registry::Unit::Bytes),
            };
            let kind = match family.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
            };
            let mut encoder = encoder.encode_descriptor(&name, family.help, unit.as_ref(), kind)?;
            for Sample { labels, value } in &family.samples {
                let labels: Vec<_> = labels
                    .iter()
                    .map(|(name, value)| (plain(name), &**value))
                    .collect();
                let mut encoder = encoder.encode_family(&labels)?;
                match (family.kind, value) {
                    (Kind::Gauge, Value::Whole(value)) => encoder.encode_gauge(value)?,
                    (Kind::Gauge, Value::Real(value)) => encoder.encode_gauge(value)?,
                    (_, Value::Whole(value)) => {
                        encoder.encode_counter::<NoLabelSet, _, u64>(value, None)?
                    }
                    (_, Value::Real(value)) => {
                        encoder.encode_counter::<NoLabelSet, _, f64>(value, None)?
                    }
                    (_, Value::Distribution(seen)) => encoder.encode_histogram::<NoLabelSet>(
                        seen.sum.as_secs_f64(),
                        seen.count(),
                        &buckets(seen),
                        None,
                    )?,
                }
            }
        }
        Ok(())
    }
}

fn buckets(seen: &Distribution) -> Vec<(f64, u64)> {
    let bounds = BOUNDS.iter().map(|bound| *bound as f64 / 1e6);
    // The last count is of what has no bound: the library tells it by itself.
    bounds.zip(seen.counts).collect()
}

/// A name as Prometheus takes it.
fn plain(name: &str) -> String {
    name.replace('.', "_")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::instruments::Histogram;
    use super::*;

    #[test]
    fn names_have_their_unit_and_what_grows_is_a_total() {
        let seen = Histogram::default();
        seen.observe(Duration::from_millis(1));
        seen.observe(Duration::from_secs(60));
        let text = encode(vec![
            Family::new("a.b", Kind::Counter, Unit::None, "Help")
                .with([("x.y", "1\"\n\\".into()), ("none", "".into())], 7),
            Family::new("c", Kind::Gauge, Unit::Bytes, "More").with([], 3),
            Family::new("empty", Kind::Gauge, Unit::None, "Nothing"),
            Family::new("d.e", Kind::Histogram, Unit::Seconds, "Times")
                .with([("k", "v".into())], seen.get()),
        ])
        .expect("a string takes it");
        let lines: Vec<_> = text.lines().collect();
        for line in [
            "# TYPE a_b_total counter",
            r#"a_b_total{x_y="1\"\n\\"} 7"#,
            "# TYPE c_bytes gauge",
            "c_bytes 3",
            "# TYPE d_e_seconds histogram",
            r#"d_e_seconds_bucket{k="v",le="0.0005"} 0"#,
            r#"d_e_seconds_bucket{k="v",le="0.001"} 1"#,
            r#"d_e_seconds_bucket{k="v",le="10"} 1"#,
            r#"d_e_seconds_bucket{k="v",le="+Inf"} 2"#,
            r#"d_e_seconds_sum{k="v"} 60.001"#,
            r#"d_e_seconds_count{k="v"} 2"#,
        ] {
            assert!(lines.contains(&line), "{line}\n{text}");
        }
        assert!(!text.contains("empty"), "{text}");
    }
}
