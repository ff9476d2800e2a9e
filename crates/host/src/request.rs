//! What a component sees of a request: its head as Spin would show it, its body whole.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, FORWARDED, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, request};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::timeout;
use wasmtime_wasi_http::WasiBody;

use crate::answer::Refusal;
use crate::routes::Match;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// What Spin calls its headers begins so; a client's own of that kind would be taken for Spin's.
const SPIN: &str = "spin-";

/// How much more than allowed is read of a body before it is refused, so that its sender gets to see why
/// (in multiples of what is allowed).
const SURPLUS: usize = 4;

/// Makes the head what the component sees: without what concerns this connection only, with the client's
/// address as this host knows it, and with what Spin adds.
pub(crate) fn rewrite(
    head: &mut request::Parts,
    found: &Match<'_>,
    scheme: Scheme,
    peer: SocketAddr,
    client: IpAddr,
) {
    pass_on(&mut head.headers, client);
    let headers = &mut head.headers;
    let host = headers
        .get(HOST)
        .and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let host = head.uri.authority().cloned().or(host);
    let target = head
        .uri
        .path_and_query()
        .cloned()
        .unwrap_or_else(|| PathAndQuery::from_static("/"));
    // The port of a client behind a proxy is nobody's here.
    let address = SocketAddr::new(
        client,
        if client == peer.ip().to_canonical() {
            peer.port()
        } else {
            0
        },
    );
    let named = host.as_ref().map_or("localhost", Authority::as_str);
    let prefix = found.route.strip_suffix("/...").unwrap_or(found.route);
    for (name, value) in [
        (
            "spin-path-info",
            value(found.rest.clone().unwrap_or_default()),
        ),
        (
            "spin-full-url",
            value(format!("{scheme}://{named}{target}")),
        ),
        ("spin-matched-route", value(found.route.to_owned())),
        ("spin-base-path", HeaderValue::from_static("/")),
        ("spin-raw-component-route", value(found.route.to_owned())),
        ("spin-component-route", value(prefix.to_owned())),
        ("spin-client-addr", value(address.to_string())),
    ] {
        headers.insert(HeaderName::from_static(name), value);
    }
    for (name, matched) in &found.params {
        if let Ok(name) =
            HeaderName::try_from(format!("spin-path-match-{}", name.to_ascii_lowercase()))
        {
            headers.insert(name, value(matched.clone()));
        }
    }

    let mut uri = http::uri::Parts::default();
    uri.path_and_query = Some(target);
    if host.is_some() {
        uri.scheme = Some(scheme);
        uri.authority = host;
    }
    if let Ok(uri) = Uri::from_parts(uri) {
        head.uri = uri;
    }
}

/// Makes the head what an application elsewhere sees: for the host that its client named, and without what
/// concerns this connection only, with the client's address as this host knows it.
pub(crate) fn forward(head: &mut request::Parts, client: IpAddr) {
    pass_on(&mut head.headers, client);
    if let Some(named) = head.uri.authority() {
        // It counts more than the header (RFC 9112, section 3.2.2), which HTTP/2 has none of.
        head.headers.insert(HOST, value(named.to_string()));
    }
}

fn pass_on(headers: &mut HeaderMap, client: IpAddr) {
    strip(headers);
    let spin: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with(SPIN))
        .cloned()
        .collect();
    for name in spin {
        headers.remove(name);
    }
    headers.remove(FORWARDED);
    headers.insert(X_FORWARDED_FOR, value(client.to_string()));
}

/// Takes away what concerns one connection only (RFC 9110, section 7.6.1).
pub(crate) fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(|name| HeaderName::try_from(name.trim()).ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    headers.remove("keep-alive");
    headers.remove("proxy-connection");
}

/// A header's value from what came in a request: whatever a URI may hold, a header may.
fn value(text: String) -> HeaderValue {
    HeaderValue::from_maybe_shared(Bytes::from(text))
        .unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Reads the whole body, before the component is asked: it then holds up nobody but its sender.
pub(crate) async fn body(
    mut body: Incoming,
    most: usize,
    time: Duration,
) -> Result<WasiBody, Refusal> {
    if body.is_end_stream() {
        return Ok(empty());
    }
    let whole = async {
        let mut bytes = BytesMut::new();
        let mut length = 0;
        let told = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        if told > most.saturating_mul(SURPLUS) {
            return Err(Refusal::BodyTooLarge);
        }
        while let Some(frame) = body.frame().await {
            // The sender has left, or breaks HTTP's rules in the middle of the body.
            let frame = frame.map_err(|_| Refusal::BadRequest)?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            length += data.len();
            if length > most.saturating_mul(SURPLUS) {
                break;
            }
            if length <= most {
                bytes.extend_from_slice(&data);
            }
        }
        if length > most {
            Err(Refusal::BodyTooLarge)
        } else {
            Ok(bytes.freeze())
        }
    };
    let bytes = timeout(time, whole).await.map_err(|_| Refusal::Timeout)??;
    Ok(http_body_util::Full::new(bytes)
        .map_err(|never| match never {})
        .boxed_unsync())
}

/// No body.
pub(crate) fn empty() -> WasiBody {
    http_body_util::Empty::new()
        .map_err(|never| match never {})
        .boxed_unsync()
}
