//! Which component answers a path, decided as Spin decides it.
//!
//! Patterns are matched by `routefinder`, the library that Spin uses, so that a path which leads
//! somewhere under Spin leads there under this host too:
//!
//! * `/a/b` matches that path, with or without slashes at either end;
//! * `/a/...` (or `/a/*`) matches `/a` and everything below it;
//! * `/a/:name/b` matches any one segment there, an empty one too unless it is the last;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(patterns: &[&str]) -> Routes {
        // Each component has its pattern for an id.
        Routes::new(patterns.iter().map(|pattern| (*pattern, *pattern))).expect("they are patterns")
    }

    #[track_caller]
    fn check(patterns: &[&str], path: &str, expected: Option<&str>) {
        let routes = routes(patterns);
        let found = routes.find(path).map(|found| found.component);
        assert_eq!(found, expected, "{path} in {patterns:?}");
        // Their order in the manifest changes nothing.
        let reversed: Vec<_> = patterns.iter().rev().copied().collect();
        let routes = self::routes(&reversed);
        assert_eq!(
            routes.find(path).map(|found| found.component),
            expected,
            "{path} in {reversed:?}"
        );
    }

    #[test]
    fn a_path_leads_where_spin_leads_it() {
        // Exact.
        check(&["/foo", "/foo/bar"], "/foo", Some("/foo"));
        check(&["/foo", "/foo/bar"], "/foo/bar", Some("/foo/bar"));
        check(&["/foo"], "/", None);
        check(&["/foo"], "/foobar", None);
        check(&["/foo"], "/fo", None);
        check(&["/foo"], "/foo/bar", None);
        check(&["/foo"], "/Foo", None);
        check(&["/foo"], "/%66oo", None);
        check(&["/a.b"], "/a.b", Some("/a.b"));
        check(&["/a.b"], "/aXb", None);
        check(&["foo"], "/foo", Some("foo"));
        check(&[], "/", None);
        // The root.
        check(&["/"], "/", Some("/"));
        check(&["/"], "", Some("/"));
        check(&["/"], "/foo", None);
        check(&["/", "/..."], "/", Some("/"));
        check(&["/", "/..."], "/foo", Some("/..."));
        // Slashes at the end.
        check(&["/foo"], "/foo/", Some("/foo"));
        check(&["/foo/"], "/foo", Some("/foo/"));
        check(&["/foo/"], "/foo/", Some("/foo/"));
        check(&["/foo"], "//foo//", Some("/foo"));
        check(&["/foo/bar"], "/foo//bar", None);
        // Wildcards.
        check(&["/..."], "/", Some("/..."));
        check(&["/..."], "/abc/", Some("/..."));
        check(&["/..."], "/foo/bar", Some("/..."));
        check(&["..."], "/foo/bar", Some("..."));
        check(&["/*"], "/foo/bar", Some("/*"));
        check(&["/foo/..."], "/foo", Some("/foo/..."));
        check(&["/foo/..."], "/foo/", Some("/foo/..."));
        check(&["/foo/..."], "/foo/bar/baz", Some("/foo/..."));
        check(&["/foo/*"], "/foo/bar/baz", Some("/foo/*"));
        check(&["/foo/..."], "/foobar", None);
        check(&["/foo/..."], "/", None);
        // Parameters.
        check(&["/:name"], "/foo", Some("/:name"));
        check(&["/:name"], "/foo/", Some("/:name"));
        check(&["/:name"], "/", None);
        check(&["/:name"], "/foo/bar", None);
        check(&["/1/:two/3"], "/1/2/3", Some("/1/:two/3"));
        check(&["/1/:two/3"], "/1//3", Some("/1/:two/3"));
        check(&["/1/:two/3"], "/1/3", None);
        check(
            &["/file/:name.:suffix"],
            "/file/a.txt",
            Some("/file/:name.:suffix"),
        );
        check(&["/file/:name.:suffix"], "/file/a", None);
        // The most specific.
        check(&["/one", "/..."], "/one", Some("/one"));
        check(&["/one", "/one/..."], "/one", Some("/one"));
        check(&["/one", "/one/..."], "/one/", Some("/one"));
        check(
            &["/one/...", "/one/two/...", "/one/two/three/..."],
            "/one/two/three/four",
            Some("/one/two/three/..."),
        );
        check(
            &["/one/...", "/one/two/...", "/one/two/three/..."],
            "/one/two/four",
            Some("/one/two/..."),
        );
        check(
            &["/one/...", "/one/two/...", "/one/two/three/..."],
            "/one/twofold",
            Some("/one/..."),
        );
        check(&["/:any", "/foo", "/..."], "/foo", Some("/foo"));
        check(&["/:any", "/foo", "/..."], "/bar", Some("/:any"));
        check(&["/:any", "/foo", "/..."], "/foo/bar", Some("/..."));
        check(
            &["/users/:id", "/users/..."],
            "/users/7",
            Some("/users/:id"),
        );
        check(&["/users/:id", "/:kind/7"], "/users/7", Some("/users/:id"));
        // Reserved.
        check(&["/..."], "/.well-known/spin/health", None);
        check(&["/..."], "/.well-known/spin", Some("/..."));
        check(&["/..."], "/.well-known/spindle", Some("/..."));
    }

    #[track_caller]
    fn check_captures(pattern: &str, path: &str, params: &[(&str, &str)], rest: Option<&str>) {
        let routes = routes(&[pattern]);
        let expected = Match {
            component: pattern,
            route: pattern,
            params: params
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned()))
                .collect(),
            rest: rest.map(str::to_owned),
        };
        assert_eq!(routes.find(path), Some(expected), "{path} in {pattern}");
    }

    #[test]
    fn what_a_pattern_leaves_open_is_captured() {
        check_captures("/foo", "/foo/", &[], None);
        check_captures("/...", "/", &[], Some("/"));
        check_captures("/...", "/1/2/3", &[], Some("/1/2/3"));
        check_captures("/test/...", "/test", &[], Some(""));
        check_captures("/test/...", "/test/", &[], Some("/"));
        check_captures("/test/...", "/test/hello", &[], Some("/hello"));
        check_captures("/test/...", "/test/hello/", &[], Some("/hello/"));
        check_captures("/test/*", "/test/hello", &[], Some("/hello"));
        check_captures("/test/...", "/test/%2F/é", &[], Some("/%2F/é"));
        check_captures("/1/:two/3", "/1/2/3", &[("two", "2")], None);
        check_captures("/1/:two/3", "/1/a%20b/3", &[("two", "a%20b")], None);
        check_captures("/1/:two/3", "/1//3", &[("two", "")], None);
        check_captures("/:a/x/:b", "/1/x/2/", &[("a", "1"), ("b", "2")], None);
        check_captures("/1/:two/...", "/1/2/3", &[("two", "2")], Some("/3"));
        check_captures("/1/:two/...", "/1/2", &[("two", "2")], Some(""));
        check_captures(
            "/file/:name.:suffix",
            "/file/a.b.c",
            &[("name", "a"), ("suffix", "b.c")],
            None,
        );
    }

    #[test]
    fn of_equal_patterns_the_last_wins() {
        let routes = Routes::new([("/", "first"), ("/foo", "second"), ("/foo", "third")])
            .expect("they are patterns");
        assert_eq!(
            routes.find("/foo").map(|found| found.component),
            Some("third")
        );
        assert_eq!(routes.find("/").map(|found| found.component), Some("first"));
    }

    #[track_caller]
    fn check_refused(pattern: &str, reason: &str) {
        let error = Routes::new([("/", "fine"), (pattern, "wrong")]).expect_err("it is no pattern");
        assert_eq!(
            error.to_string(),
            format!("route {pattern:?} of component \"wrong\": {reason}")
        );
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        check_refused("/*/foo", "a wildcard must stand at the end");
        check_refused("/*.txt", "a wildcard must stand at the end");
        check_refused("/foo/*/...", "a wildcard must stand at the end");
        check_refused("/:", "params must be named");
        check_refused(
            "/*name",
            "since there can only be one wildcard, it doesn't need a name. replace `*name` with `*`",
        );
    }
}
