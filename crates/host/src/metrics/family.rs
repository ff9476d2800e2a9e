//! What was counted by some moment, by the names that others know it by.
//!
//! A name is that of OpenTelemetry, with dots; Prometheus has underscores in their place, the unit behind it, and
//! `total` behind what only grows.

use std::borrow::Cow;

use super::instruments::Distribution;

/// One measure, of all that it is taken of.
#[derive(Clone, Debug)]
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) unit: Unit,
    pub(crate) kind: Kind,
    pub(crate) samples: Vec<Sample>,
}

/// What values are measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// They are counts.
    None,
    Seconds,
    Bytes,
}

/// How values move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// They only grow, from when the process began.
    Counter,
    /// They are of the moment.
    Gauge,
    /// They are counts of what took how long, which only grow.
    Histogram,
}

/// A value, and of what it is. A label without a value is left out.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) labels: Vec<(&'static str, Cow<'static, str>)>,
    pub(crate) value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Whole(u64),
    Real(f64),
    Distribution(Box<Distribution>),
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl From<Distribution> for Value {
    fn from(value: Distribution) -> Self {
        Self::Distribution(Box::new(value))
    }
}

impl Family {
    pub(crate) fn new(name: &'static str, kind: Kind, unit: Unit, help: &'static str) -> Self {
        Self {
            name,
            help,
            unit,
            kind,
            samples: Vec::new(),
        }
    }

    /// With one more value.
    pub(crate) fn with<const N: usize>(
        mut self,
        labels: [(&'static str, Cow<'static, str>); N],
        value: impl Into<Value>,
    ) -> Self {
        self.samples.push(Sample {
            labels: labels
                .into_iter()
                .filter(|(_, value)| !value.is_empty())
                .collect(),
            value: value.into(),
        });
        self
    }
}
