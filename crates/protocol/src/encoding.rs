/// Whether a client that sends this `Accept-Encoding` takes `gzip` (RFC 9110, section 12.5.3).
#[must_use]
pub fn accepts_gzip(accept_encoding: &str) -> bool {
    let weight = |wanted: &[&str]| {
        accept_encoding.split(',').find_map(|item| {
            let (coding, parameters) = item.split_once(';').unwrap_or((item, ""));
            let coding = coding.trim();
            if !wanted
                .iter()
                .any(|wanted| coding.eq_ignore_ascii_case(wanted))
            {
                return None;
            }
            let weight = match parameters.trim().split_once('=') {
                Some((name, value)) if name.trim().eq_ignore_ascii_case("q") => {
                    value.trim().parse().ok()
                }
                _ => Some(1.0),
            };
            Some(weight.unwrap_or(0.0) > 0.0)
        })
    };
    weight(&["gzip", "x-gzip"])
        .or_else(|| weight(&["*"]))
        .unwrap_or(false)
}
