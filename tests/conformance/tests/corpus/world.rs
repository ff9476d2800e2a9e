//! The hosts that cases run against.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, ensure};
use conformance::{Answer, Client, Reader, Server, Session, Transport, Wakeup};
use http::Method;
use http_body_util::Full;
use serde::Deserialize;
use tokio::sync::OnceCell;

/// More readers of one channel than are woken at once, by far.
pub(crate) const CROWD: usize = 40;

/// Of a crowd, a third leaves, from among those who stay.
pub(crate) fn thin(crowd: &mut Vec<Reader>) {
    let mut number = 0;
    crowd.retain(|_| {
        number += 1;
        number % 3 > 0
    });
}

/// How a host runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// As a library, with a store in memory.
    InProcess,
    /// As the built program, with a store in a file.
    Built,
    /// As so many of them, with a Redis, behind a balancer without affinity.
    Nodes(usize),
    /// As the built program where it upgrades nothing, behind a gateway.
    Gateway,
    /// By the program of Spin, behind a gateway.
    Spin(PathBuf),
}

impl Host {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::InProcess => "in-process",
            Self::Built => "built",
            Self::Nodes(_) => "nodes",
            Self::Gateway => "gateway",
            Self::Spin(_) => "spin",
        }
    }

    /// By what wakeups it is run.
    pub(crate) const fn wakeups(&self) -> &'static [Wakeup] {
        match self {
            Self::InProcess | Self::Built | Self::Nodes(_) => &[Wakeup::Native, Wakeup::Timer],
            Self::Gateway => &[Wakeup::Native],
            Self::Spin(_) => &[Wakeup::Timer],
        }
    }

    /// Whether cases of this transport say of it what those of the host behind it do not.
    pub(crate) fn concerns(&self, transport: Transport) -> bool {
        !matches!(self, Self::Gateway) || transport.upgrades()
    }
}

/// One host, started when the first case wants it.
#[derive(Debug)]
pub(crate) struct Setting {
    host: Host,
    wakeup: Wakeup,
    world: OnceCell<World>,
}

impl Setting {
    pub(crate) fn new(host: Host, wakeup: Wakeup) -> Self {
        Self {
            host,
            wakeup,
            world: OnceCell::new(),
        }
    }

    /// What the host has logged, if it is a process of its own.
    pub(crate) fn log(&self) -> Option<String> {
        let log = self.world.get()?.server.log()?;
        let (host, wakeup) = (self.host.name(), self.wakeup.name());
        Some(format!("{host}/{wakeup} said:\n{log}"))
    }

    pub(crate) async fn world(&self) -> Result<&World> {
        self.world
            .get_or_try_init(async || {
                let server = match &self.host {
                    Host::InProcess => Server::in_process(self.wakeup).await?,
                    Host::Built => Server::built(self.wakeup, &[])?,
                    Host::Nodes(nodes) => Server::nodes(*nodes, self.wakeup)?,
                    Host::Gateway => Server::behind_gateway(self.wakeup)?,
                    Host::Spin(spin) => Server::spin(spin)?,
                };
                let client = server.client();
                let ann = client.session("Ann").await?;
                let bob = client.session("Bob").await?;
                Ok(World {
                    server,
                    client,
                    ann,
                    bob,
                    drawn: AtomicU64::new(0),
                })
            })
            .await
    }
}

/// A running host, and two guests. Cases share it, and keep apart by the channels they draw.
#[derive(Debug)]
pub(crate) struct World {
    server: Server,
    pub(crate) client: Client,
    pub(crate) ann: Session,
    pub(crate) bob: Session,
    drawn: AtomicU64,
}

/// What a publisher is told of a stored message.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Receipt {
    pub(crate) channel: String,
    pub(crate) offset: u64,
    pub(crate) id: String,
}

impl World {
    /// A number that no other case has.
    fn draw(&self) -> u64 {
        self.drawn.fetch_add(1, Ordering::Relaxed)
    }

    /// A channel of this case's own, and not born yet.
    pub(crate) fn channel(&self) -> String {
        format!("channel-{}", self.draw())
    }

    /// An id of this case's own.
    pub(crate) fn id(&self) -> String {
        format!("id-{}", self.draw())
    }

    /// What a `GET` by a transport is answered first, with its JSON out of the framing.
    pub(crate) async fn first(&self, transport: Transport, target: &str) -> Result<Answer> {
        let request = self.client.request(Method::GET, target);
        let response = self.client.open(request.body(Full::default())?).await?;
        Ok(transport.first(response).await?)
    }

    /// Ann says something, which is any JSON; where it is stored.
    pub(crate) async fn say(&self, channel: &str, body: &str) -> Result<u64> {
        let answer = self
            .client
            .publish(&self.ann, channel, &self.id(), body)
            .await?;
        ensure!(answer.status == 201, "not stored: {answer:?}");
        Ok(answer.json::<Receipt>()?.offset)
    }

    /// Ann says numbers.
    pub(crate) async fn count(
        &self,
        channel: &str,
        numbers: std::ops::Range<u64>,
    ) -> Result<Vec<u64>> {
        let mut offsets = Vec::new();
        for number in numbers {
            offsets.push(self.say(channel, &number.to_string()).await?);
        }
        Ok(offsets)
    }

    /// Ann says this many zeros, a hundred at once; where the last one is stored.
    pub(crate) async fn fill(&self, channel: &str, count: usize) -> Result<u64> {
        const AT_ONCE: usize = 100;
        let target = format!("/witter/publish?channel={channel}");
        let mut last = 0;
        for begin in (0..count).step_by(AT_ONCE) {
            let drafts: Vec<String> = (begin..count.min(begin + AT_ONCE))
                .map(|_| format!(r#"{{"id":"{}","body":0}}"#, self.id()))
                .collect();
            let body = format!("[{}]", drafts.join(","));
            let answer = self
                .client
                .post(&target, Some(&self.ann.token), body)
                .await?;
            ensure!(answer.status == 201, "not stored: {answer:?}");
            let receipts: Vec<Receipt> = answer.json()?;
            last = receipts
                .last()
                .expect("there is a receipt for each draft")
                .offset;
        }
        Ok(last)
    }
}
