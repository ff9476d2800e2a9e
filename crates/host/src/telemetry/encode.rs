//! What a collector is told, as OTLP has it in JSON: identifiers in hexadecimal digits, whole numbers of 64 bits as
//! strings.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::Span;
use crate::metrics::{self, BOUNDS, Family, Kind, OTHER, Unit, named, since_1970};

/// `SPAN_KIND_SERVER`.
const SERVER: u32 = 2;
/// `STATUS_CODE_ERROR`.
const ERROR: u32 = 2;
/// `AGGREGATION_TEMPORALITY_CUMULATIVE`.
const CUMULATIVE: u32 = 2;

/// A whole number by its convention. Prometheus knows text only.
const STATUS: &str = "http.response.status_code";

/// Who tells.
#[derive(Debug)]
pub(super) struct Resource {
    service: String,
    /// Tells hosts apart that are known by the same name.
    instance: String,
}

impl Resource {
    pub(super) fn new(service: &str) -> Self {
        Self {
            service: service.to_owned(),
            instance: format!("{:032x}", fastrand::u128(..)),
        }
    }

    fn attributes(&self) -> Value {
        json!({ "attributes": [
            text("service.name", &self.service),
            text("service.version", env!("CARGO_PKG_VERSION")),
            text("service.instance.id", &self.instance),
        ] })
    }

    /// The body of a request to `/v1/traces`.
    pub(super) fn traces(&self, spans: &[Span]) -> Value {
        let spans: Vec<_> = spans.iter().map(span).collect();
        json!({ "resourceSpans": [{
            "resource": self.attributes(),
            "scopeSpans": [{ "scope": scope(), "spans": spans }],
        }] })
    }

    /// The body of a request to `/v1/metrics`.
    pub(super) fn metrics(&self, families: &[Family], begun: SystemTime, now: SystemTime) -> Value {
        let metrics: Vec<_> = families
            .iter()
            .filter(|family| !family.samples.is_empty())
            .map(|family| metric(family, begun, now))
            .collect();
        json!({ "resourceMetrics": [{
            "resource": self.attributes(),
            "scopeMetrics": [{ "scope": scope(), "metrics": metrics }],
        }] })
    }
}

fn scope() -> Value {
    json!({ "name": "witter", "version": env!("CARGO_PKG_VERSION") })
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

fn whole(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "intValue": value } })
}

fn time(time: SystemTime) -> String {
    since_1970(time).as_nanos().to_string()
}

fn span(span: &Span) -> Value {
    let method = named(&span.method);
    let mut attributes = vec![
        text("http.request.method", method),
        whole(STATUS, span.status.as_str()),
    ];
    // As the convention has it for methods that nobody knows.
    let method = if method == OTHER { "HTTP" } else { method };
    let mut name = method.to_owned();
    if let Some(route) = &span.route {
        attributes.push(text("http.route", route));
        name = format!("{method} {route}");
    }
    let mut told = json!({
        "traceId": format!("{:032x}", span.context.trace),
        "spanId": format!("{:016x}", span.context.span),
        "name": name,
        "kind": SERVER,
        "startTimeUnixNano": time(span.begun),
        "endTimeUnixNano": time(span.ended),
    });
    if let Some(parent) = span.parent {
        told["parentSpanId"] = format!("{parent:016x}").into();
    }
    // What a client did wrong is no error of the server's.
    if span.status.is_server_error() {
        attributes.push(text("error.type", span.status.as_str()));
        told["status"] = json!({ "code": ERROR });
    }
    told["attributes"] = attributes.into();
    told
}

fn metric(family: &Family, begun: SystemTime, now: SystemTime) -> Value {
    let points: Vec<_> = family
        .samples
        .iter()
        .map(|sample| {
            let attributes: Vec<_> = sample
                .labels
                .iter()
                .map(|(name, value)| match *name {
                    STATUS => whole(name, value),
                    _ => text(name, value),
                })
                .collect();
            let mut point = json!({ "attributes": attributes, "timeUnixNano": time(now) });
            if family.kind != Kind::Gauge {
                point["startTimeUnixNano"] = time(begun).into();
            }
            match &sample.value {
                metrics::Value::Whole(value) => point["asInt"] = value.to_string().into(),
                metrics::Value::Real(value) => point["asDouble"] = (*value).into(),
                metrics::Value::Distribution(seen) => {
                    let counts: Vec<_> = seen.counts.iter().map(u64::to_string).collect();
                    let bounds: Vec<_> = BOUNDS.iter().map(|bound| *bound as f64 / 1e6).collect();
                    point["count"] = seen.count().to_string().into();
                    point["sum"] = seen.sum.as_secs_f64().into();
                    point["bucketCounts"] = counts.into();
                    point["explicitBounds"] = bounds.into();
                }
            }
            point
        })
        .collect();
    let unit = match family.unit {
        Unit::None => "1",
        Unit::Seconds => "s",
        Unit::Bytes => "By",
    };
    let mut told = json!({ "name": family.name, "description": family.help, "unit": unit });
    match family.kind {
        Kind::Gauge => told["gauge"] = json!({ "dataPoints": points }),
        Kind::Counter => {
            told["sum"] = json!({
                "dataPoints": points,
                "aggregationTemporality": CUMULATIVE,
                "isMonotonic": true,
            });
        }
        Kind::Histogram => {
            told["histogram"] =
                json!({ "dataPoints": points, "aggregationTemporality": CUMULATIVE });
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{Method, StatusCode};

    use super::super::context::Context;
    use super::*;
    use crate::metrics::Histogram;

    #[test]
    fn a_span_is_told_as_otlp_has_it() {
        let begun = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        let told = span(&Span {
            context: Context {
                trace: 0xa,
                span: 0xb,
                is_traced: true,
            },
            parent: Some(0xc),
            begun,
            ended: begun + Duration::from_millis(5),
            method: Method::POST,
            route: Some("/witter/publish".into()),
            status: StatusCode::SERVICE_UNAVAILABLE,
        });
        assert_eq!(
            told,
            json!({
                "traceId": "0000000000000000000000000000000a",
                "spanId": "000000000000000b",
                "parentSpanId": "000000000000000c",
                "name": "POST /witter/publish",
                "kind": 2,
                "startTimeUnixNano": "1000000000",
                "endTimeUnixNano": "1005000000",
                "status": { "code": 2 },
                "attributes": [
                    { "key": "http.request.method", "value": { "stringValue": "POST" } },
                    { "key": "http.response.status_code", "value": { "intValue": "503" } },
                    { "key": "http.route", "value": { "stringValue": "/witter/publish" } },
                    { "key": "error.type", "value": { "stringValue": "503" } },
                ],
            })
        );
    }

    #[test]
    fn a_method_that_a_stranger_makes_up_is_told_to_nobody() {
        let told = |method: &[u8], route: Option<&str>| {
            let told = span(&Span {
                context: Context {
                    trace: 0xa,
                    span: 0xb,
                    is_traced: true,
                },
                parent: None,
                begun: SystemTime::UNIX_EPOCH,
                ended: SystemTime::UNIX_EPOCH,
                method: Method::from_bytes(method).expect("a method"),
                route: route.map(Box::from),
                status: StatusCode::NOT_FOUND,
            });
            let method = &told["attributes"][0];
            assert_eq!(method["key"], "http.request.method");
            [&told["name"], &method["value"]["stringValue"]]
                .map(|text| text.as_str().expect("it is text").to_owned())
        };
        assert_eq!(told(b"BREW", None), ["HTTP", "_OTHER"]);
        assert_eq!(told(b"BREW", Some("/a/...")), ["HTTP /a/...", "_OTHER"]);
        assert_eq!(told(b"GET", None), ["GET", "GET"]);
    }

    #[test]
    fn a_status_is_a_number_of_metrics_too() {
        let now = SystemTime::UNIX_EPOCH;
        let family = Family::new("a.b", Kind::Counter, Unit::None, "Help");
        let labels = [(STATUS, "404".into()), ("k", "404".into())];
        let told = metric(&family.with(labels, 1), now, now);
        assert_eq!(
            told["sum"]["dataPoints"][0]["attributes"],
            json!([
                { "key": "http.response.status_code", "value": { "intValue": "404" } },
                { "key": "k", "value": { "stringValue": "404" } },
            ])
        );
    }

    #[test]
    fn a_metric_of_each_kind_is_told_as_otlp_has_it() {
        let begun = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        let now = begun + Duration::from_secs(1);
        let told = |kind, value: metrics::Value| {
            let family = Family::new("a.b", kind, Unit::Seconds, "Help");
            metric(&family.with([("k", "v".into())], value), begun, now)
        };
        let attributes = json!([{ "key": "k", "value": { "stringValue": "v" } }]);
        assert_eq!(
            told(Kind::Gauge, 1.5.into()),
            json!({
                "name": "a.b", "description": "Help", "unit": "s",
                "gauge": { "dataPoints": [
                    { "attributes": attributes, "timeUnixNano": "2000000000", "asDouble": 1.5 }
                ] },
            })
        );
        let counter = told(Kind::Counter, 7.into());
        assert_eq!(counter["sum"]["isMonotonic"], true);
        assert_eq!(counter["sum"]["aggregationTemporality"], 2);
        let point = &counter["sum"]["dataPoints"][0];
        assert_eq!(point["asInt"], "7");
        assert_eq!(point["startTimeUnixNano"], "1000000000");
        let seen = Histogram::default();
        seen.observe(Duration::from_millis(1));
        let histogram = told(Kind::Histogram, seen.get().into());
        let point = &histogram["histogram"]["dataPoints"][0];
        assert_eq!(point["count"], "1");
        assert_eq!(point["sum"], 0.001);
        assert_eq!(point["bucketCounts"][4], "1");
        assert_eq!(point["explicitBounds"][4], 0.001);
        let lengths = ["bucketCounts", "explicitBounds"]
            .map(|name| point[name].as_array().map_or(0, Vec::len));
        assert_eq!(lengths[0], lengths[1] + 1);
    }
}
