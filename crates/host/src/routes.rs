//! Which component answers a path, decided as Spin decides it.
//!
//! Patterns are matched by `routefinder`, the library that Spin uses, so that a path which leads
//! somewhere under Spin leads there under this host too:
//!
//! * `/a/b` matches that path, with or without slashes at either end;
//! * `/a/...` (or `/a/*`) matches `/a` and everything below it;
//! * `/a/:name/b` matches one segment, not empty;
//! * of several that match, the more specific wins, from the left: text over `:name` over `...`, whatever
//!   their order in the manifest; of equal patterns the last in the manifest wins.
//!
//! Paths are compared as they were sent, not percent-decoded.

use routefinder::{RouteSpec, Router, Segment};

/// What Spin answers itself. No route is found below it.
pub const RESERVED: &str = "/.well-known/spin/";

/// The routes of one application.
#[derive(Debug)]
pub struct Routes {
    router: Router<Target>,
}

#[derive(Debug)]
struct Target {
    component: String,
    route: String,
}

/// What a path led to.
#[derive(Debug, PartialEq)]
pub struct Match<'a> {
    /// The component's id.
    pub component: &'a str,
    /// The pattern, as the manifest has it.
    pub route: &'a str,
    /// What each `:name` matched, from left to right.
    pub params: Vec<(&'a str, String)>,
    /// Where the pattern ends in a wildcard, what that matched: empty or beginning with a slash.
    pub rest: Option<String>,
}

/// A pattern that cannot be a route.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("route {route:?} of component {component:?}: {reason}")]
pub struct RouteError {
    /// The pattern, as the manifest has it.
    pub route: String,
    /// The component that it would lead to.
    pub component: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Routes {
    /// Takes pairs of a pattern and the id of its component, in the order of the manifest.
    pub fn new<P, C>(routes: impl IntoIterator<Item = (P, C)>) -> Result<Self, RouteError>
    where
        P: Into<String>,
        C: Into<String>,
    {
        let mut targets: Vec<Target> = Vec::new();
        for (route, component) in routes {
            let target = Target {
                component: component.into(),
                route: route.into(),
            };
            match targets
                .iter_mut()
                .find(|earlier| earlier.route == target.route)
            {
                Some(earlier) => {
                    tracing::warn!(
                        route = target.route,
                        unreachable = earlier.component,
                        by = target.component,
                        "a route is given twice, the last wins"
                    );
                    *earlier = target;
                }
                None => targets.push(target),
            }
        }
        let mut router = Router::new();
        for target in targets {
            match parse(&target.route) {
                Ok(spec) => {
                    let Ok(()) = router.add(spec, target);
                }
                Err(reason) => {
                    return Err(RouteError {
                        route: target.route,
                        component: target.component,
                        reason,
                    });
                }
            }
        }
        Ok(Self { router })
    }

    /// What `path` leads to: the path of a request's URI, without its query.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<Match<'_>> {
        if path.starts_with(RESERVED) {
            return None;
        }
        let (spec, target, captures) = self
            .router
            .iter()
            .find_map(|(spec, target)| Some((spec, target, spec.matches(path)?)))?;
        let mut captures = captures.into_iter();
        let names = spec.segments().iter().filter_map(|segment| match segment {
            Segment::Param(name) => Some(name.as_str()),
            _ => None,
        });
        // The names come first: the other way round `zip` would take a capture for a name that is not there.
        let params = names
            .zip(captures.by_ref())
            .map(|(name, value)| (name, value.to_owned()))
            .collect();
        let rest = captures.next().map(|rest| rest_of(path, rest));
        Some(Match {
            component: &target.component,
            route: &target.route,
            params,
            rest,
        })
    }
}

/// What a trailing wildcard matched, with the slashes that routefinder takes off: a component tells
/// `/a/` from `/a` by it.
fn rest_of(path: &str, matched: &str) -> String {
    let mut rest = String::with_capacity(matched.len() + 2);
    if !matched.is_empty() {
        rest.push('/');
        rest.push_str(matched);
    }
    if path.ends_with('/') {
        rest.push('/');
    }
    rest
}

fn parse(route: &str) -> Result<RouteSpec, String> {
    let spec: RouteSpec = match route
        .strip_suffix("/...")
        .or_else(|| (route == "...").then_some(""))
    {
        Some(prefix) => format!("{prefix}/*"),
        None => route.to_owned(),
    }
    .parse()?;
    // Routefinder takes such a pattern, and panics when a path comes.
    match spec.segments() {
        [before @ .., _] if before.contains(&Segment::Wildcard) => {
            Err("a wildcard must stand at the end".to_owned())
        }
        _ => Ok(spec),
    }
}
