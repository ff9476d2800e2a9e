//! The files, and what HTTP says about them.

/// Nothing but our own script and style, and requests to where they came from. The icon stands in the
/// page as a data URL.
pub(crate) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; \
    style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// One file of the site.
#[derive(Debug)]
pub(crate) struct File {
    path: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) body: &'static str,
}

const FILES: [File; 3] = [
    File {
        path: "/",
        content_type: "text/html; charset=utf-8",
        body: include_str!("../page/index.html"),
    },
    File {
        path: "/chat.css",
        content_type: "text/css; charset=utf-8",
        body: include_str!("../page/chat.css"),
    },
    File {
        path: "/chat.js",
        content_type: "text/javascript; charset=utf-8",
        body: include_str!("../page/chat.js"),
    },
];

/// The file at a path.
pub(crate) fn file(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path)
}

impl File {
    /// A strong validator (RFC 9110, section 8.8.3): FNV-1a, 64 bits, of the body.
    pub(crate) fn etag(&self) -> String {
        let hash = self
            .body
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        format!("\"{hash:016x}\"")
    }
}

/// Whether `If-None-Match` names this validator (RFC 9110, section 13.1.2). Ours hold no comma.
pub(crate) fn matches(if_none_match: &str, etag: &str) -> bool {
    if_none_match.split(',').map(str::trim).any(|known| {
        // A proxy that compresses on the way weakens the validator.
        known == "*" || known.strip_prefix("W/").unwrap_or(known) == etag
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_files_of_the_site_are_there() {
        for path in ["/", "/chat.css", "/chat.js"] {
            assert!(file(path).is_some(), "{path}");
        }
        for path in [
            "",
            "//",
            "/index.html",
            "/chat.js/",
            "/CHAT.JS",
            "/../chat.js",
            "/%63hat.js",
            "/witter/sse",
        ] {
            assert!(file(path).is_none(), "{path}");
        }
    }

    #[test]
    fn each_file_has_a_validator_of_its_own() {
        let [html, css, js] = FILES.each_ref().map(File::etag);
        assert!(html != css && css != js && js != html);
    }

    #[test]
    fn a_validator_is_found_among_others() {
        let etag = "\"0123456789abcdef\"";
        for (header, found) in [
            (etag, true),
            ("W/\"0123456789abcdef\"", true),
            ("\"a\", W/\"b\",\"0123456789abcdef\"", true),
            ("*", true),
            ("", false),
            ("0123456789abcdef", false),
            ("\"0123456789ABCDEF\"", false),
            ("w/\"0123456789abcdef\"", false),
            ("\"a\"", false),
        ] {
            assert_eq!(matches(header, etag), found, "{header}");
        }
    }

    #[test]
    fn the_page_works_under_its_own_policy() {
        let html = file("/").expect("the page").body;
        for forbidden in [
            " style=",
            "<style",
            "javascript:",
            " on",
            "http://",
            "https://",
        ] {
            let html = html.replace("http://www.w3.org/2000/svg", "");
            assert!(
                !html.contains(forbidden),
                "{forbidden:?} is cut off by the policy"
            );
        }
        for (_, rest) in html
            .match_indices("<script")
            .map(|(at, _)| html.split_at(at))
        {
            assert!(rest.starts_with("<script type=\"module\" src=\"chat.js\"></script>"));
        }
        let js = file("/chat.js").expect("the script").body;
        for sink in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "Function(",
        ] {
            assert!(
                !js.contains(sink),
                "{sink} would make a message part of the page"
            );
        }
    }
}
