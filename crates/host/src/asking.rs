//! Asking a host what it tells those who run it: the other end of [`operating`](crate::operating).

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use bytes::Bytes;
use http::uri::{PathAndQuery, Scheme};
use http::{StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::time::timeout;

/// The most that is read of an answer. A host with hundreds of routes tells a tenth of it.
const LONGEST: usize = 16 << 20;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Which host is asked.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Options {
    /// Where the host is asked: the address of its `--metrics`
    #[arg(
        long,
        value_name = "URL",
        env = "WITTER_METRICS_URL",
        default_value = "http://127.0.0.1:9464"
    )]
    pub url: Uri,
}

/// Whether a host is ready to serve; else why it is not.
///
/// # Errors
/// Where it is not, or does not answer.
pub async fn ready(options: &Options) -> anyhow::Result<()> {
    let (status, text) = Asking::new(&options.url, "/readyz")?.ask().await?;
    ensure!(status == StatusCode::OK, "{}", text.trim());
    Ok(())
}

/// A path of a host, which is asked again and again.
pub(crate) struct Asking {
    client: Client<HttpConnector, Empty<Bytes>>,
    url: Uri,
}

impl Asking {
    /// # Errors
    /// Where the URL is not of the form `http://HOST:PORT`.
    pub(crate) fn new(url: &Uri, path: &'static str) -> anyhow::Result<Self> {
        let mut parts = url.clone().into_parts();
        let is_http = *parts.scheme.get_or_insert(Scheme::HTTP) == Scheme::HTTP;
        if !is_http || parts.authority.is_none() || !url.path().trim_matches('/').is_empty() {
            bail!("{url} is not of the form http://HOST:PORT");
        }
        parts.path_and_query = Some(PathAndQuery::from_static(path));
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
            url: Uri::from_parts(parts)?,
        })
    }

    /// The host and its port.
    pub(crate) fn authority(&self) -> &str {
        self.url
            .authority()
            .map_or("", |authority| authority.as_str())
    }

    /// # Errors
    /// Where there is no answer.
    pub(crate) async fn ask(&self) -> anyhow::Result<(StatusCode, String)> {
        let answered = timeout(PATIENCE, async {
            let response = self.client.get(self.url.clone()).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), LONGEST).collect().await;
            let body = body.map_err(|error| anyhow!(error))?.to_bytes();
            Ok::<_, anyhow::Error>((status, String::from_utf8_lossy(&body).into_owned()))
        });
        let unreachable = || format!("{} does not answer", self.authority());
        answered
            .await
            .with_context(unreachable)?
            .with_context(unreachable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_where_a_url_says_and_nowhere_else() {
        for (url, expected) in [
            (
                "http://127.0.0.1:9464",
                Some("http://127.0.0.1:9464/readyz"),
            ),
            ("http://[::1]:1/", Some("http://[::1]:1/readyz")),
            ("localhost:9464", Some("http://localhost:9464/readyz")),
            ("https://localhost:9464", None),
            ("http://localhost/metrics", None),
            ("/metrics", None),
        ] {
            let asking = Asking::new(&url.parse().expect("a URI"), "/readyz");
            assert_eq!(
                asking.ok().map(|asking| asking.url.to_string()).as_deref(),
                expected
            );
        }
    }
}
