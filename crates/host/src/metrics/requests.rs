//! Requests, by where they led, how they asked and how they were answered.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::{Method, StatusCode};

use super::family::{Family, Kind, Unit};
use super::instruments::Histogram;

/// What requests are counted by. Whoever asks makes up methods and paths: a method that is not among these is one,
/// and so is every path without a route.
const METHODS: [Method; 7] = [
    Method::GET,
    Method::POST,
    Method::OPTIONS,
    Method::HEAD,
    Method::CONNECT,
    Method::PUT,
    Method::DELETE,
];

/// What OpenTelemetry calls all others.
pub(crate) const OTHER: &str = "_OTHER";

/// What a method is told as.
pub(crate) fn named(method: &Method) -> &'static str {
    let known = METHODS.iter().find(|known| *known == method);
    known.map_or(OTHER, Method::as_str)
}

/// How long responses took, until their heads were there.
#[derive(Debug)]
pub(crate) struct Requests {
    scheme: &'static str,
    routes: BTreeMap<String, Route>,
    elsewhere: Route,
}

/// Of one route, by the place of the method in [`METHODS`] and the status. They are few and hardly ever more: a
/// request takes a lock to read.
#[derive(Debug, Default)]
struct Route(RwLock<Vec<(usize, StatusCode, Arc<Histogram>)>>);

impl Requests {
    pub(super) fn new<'a>(routes: impl IntoIterator<Item = &'a str>, scheme: &'static str) -> Self {
        Self {
            scheme,
            routes: routes
                .into_iter()
                .map(|route| (route.to_owned(), Route::default()))
                .collect(),
            elsewhere: Route::default(),
        }
    }

    pub(crate) fn answered(
        &self,
        route: Option<&str>,
        method: &Method,
        status: StatusCode,
        took: Duration,
    ) {
        let route = route
            .and_then(|route| self.routes.get(route))
            .unwrap_or(&self.elsewhere);
        route.histogram(method, status).observe(took);
    }

    pub(super) fn family(&self) -> Family {
        let family = Family::new(
            "http.server.request.duration",
            Kind::Histogram,
            Unit::Seconds,
            "Time from the head of a request until the head of its response was there; a stream's body goes on after",
        );
        let routes = self.routes.iter().map(|(route, of)| (route.as_str(), of));
        let all = routes.chain([("", &self.elsewhere)]);
        all.fold(family, |family, (name, route)| {
            let series = route.0.read().unwrap_or_else(PoisonError::into_inner);
            series
                .iter()
                .fold(family, |family, (method, status, seen)| {
                    let method = METHODS.get(*method).map_or(OTHER, Method::as_str);
                    family.with(
                        [
                            ("http.request.method", Cow::Owned(method.to_owned())),
                            ("http.route", Cow::Owned(name.to_owned())),
                            (
                                "http.response.status_code",
                                Cow::Owned(status.as_str().to_owned()),
                            ),
                            ("url.scheme", self.scheme.into()),
                        ],
                        seen.get(),
                    )
                })
        })
    }
}

impl Route {
    fn histogram(&self, method: &Method, status: StatusCode) -> Arc<Histogram> {
        let at = METHODS.iter().position(|known| known == method);
        let at = at.unwrap_or(METHODS.len());
        let find = |series: &[(usize, StatusCode, Arc<Histogram>)]| {
            let is_it =
                |entry: &&(usize, StatusCode, Arc<Histogram>)| (entry.0, entry.1) == (at, status);
            series.iter().find(is_it).map(|entry| entry.2.clone())
        };
        let found = find(&self.0.read().unwrap_or_else(PoisonError::into_inner));
        found.unwrap_or_else(|| {
            let mut series = self.0.write().unwrap_or_else(PoisonError::into_inner);
            // Somebody else may have been first.
            find(&series).unwrap_or_else(|| {
                let made = Arc::<Histogram>::default();
                series.push((at, status, made.clone()));
                made
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::family::Value;
    use super::*;

    #[test]
    fn what_strangers_make_up_is_counted_as_one() {
        let requests = Requests::new(["/a", "/b"], "https");
        let made_up = Method::from_bytes(b"BREW").expect("a method");
        for (route, method, status) in [
            (Some("/a"), Method::GET, StatusCode::OK),
            (Some("/a"), Method::GET, StatusCode::OK),
            (Some("/a"), Method::POST, StatusCode::OK),
            (Some("/a"), made_up.clone(), StatusCode::NOT_FOUND),
            (None, made_up, StatusCode::NOT_FOUND),
            (Some("/made/up"), Method::PATCH, StatusCode::NOT_FOUND),
        ] {
            requests.answered(route, &method, status, Duration::ZERO);
        }
        let told: Vec<(String, u64)> = requests
            .family()
            .samples
            .into_iter()
            .map(|sample| {
                let labels: Vec<_> = sample.labels.iter().map(|(_, value)| &**value).collect();
                let Value::Distribution(seen) = sample.value else {
                    panic!("it is a histogram");
                };
                (labels.join(" "), seen.count())
            })
            .collect();
        assert_eq!(
            told,
            [
                ("GET /a 200 https", 2),
                ("POST /a 200 https", 1),
                ("_OTHER /a 404 https", 1),
                ("_OTHER 404 https", 2),
            ]
            .map(|(labels, count)| (labels.to_owned(), count))
        );
    }
}
