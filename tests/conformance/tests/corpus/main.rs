//! The corpus: each case over every transport, in process and over sockets against the built host, with
//! the host's own wakeups and with the timer that serves other hosts.
//!
//! A trial's name is host, wakeup, transport and case, so that any part of it is run alone:
//! `cargo test -p conformance --test corpus -- built/timer/sse`. `WITTER_NODES=3` has every case run against as many
//! hosts with a Redis, behind a balancer that hands each request to another one; `WITTER_SPIN=/usr/local/bin/spin`,
//! against that program of Spin, with a gateway in front.

mod calling;
mod carrying;
mod commanding;
mod conversing;
mod hostile;
mod living;
mod publishing;
mod reading;
mod refusing;
mod rooms;
mod sharing;
mod world;
mod xdomain;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use conformance::{Transport, nodes, spin};
use libtest_mimic::{Arguments, Trial};
use tokio::runtime::Runtime;
use tokio::time::timeout;
use world::{Host, Setting, World};

/// How long a case may take before it hangs. Nothing here is measured: a busy machine passes too.
const HANGS: Duration = Duration::from_secs(90);
/// Cases wait more than they work.
const AT_ONCE: usize = 16;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    let runtime = Arc::new(Runtime::new().expect("a runtime starts"));
    let mut trials = Vec::new();
    let mut settings = Vec::new();
    for host in hosts() {
        for &wakeup in host.wakeups() {
            let setting = Arc::new(Setting::new(host.clone(), wakeup));
            settings.push(Arc::clone(&setting));
            let scope = format!("{}/{}", host.name(), wakeup.name());
            for &transport in Transport::ALL {
                if !host.concerns(transport) {
                    continue;
                }
                let scope = format!("{scope}/{}", transport.name());
                let mut corpus = Corpus {
                    trials: &mut trials,
                    scope,
                    setting: &setting,
                    runtime: &runtime,
                };
                reading::cases(&mut corpus, transport);
                hostile::cases(&mut corpus, transport);
                living::cases(&mut corpus, transport);
                refusing::cases(&mut corpus, transport);
                commanding::cases(&mut corpus, transport);
                rooms::cases(&mut corpus, transport);
                if transport.upgrades() {
                    conversing::cases(&mut corpus, transport);
                } else {
                    // What is about bodies and their headers.
                    sharing::cases(&mut corpus, transport);
                    carrying::cases(&mut corpus, transport);
                    xdomain::cases(&mut corpus, transport);
                }
            }
            let mut corpus = Corpus {
                trials: &mut trials,
                scope,
                setting: &setting,
                runtime: &runtime,
            };
            publishing::cases(&mut corpus);
            calling::cases(&mut corpus);
            sharing::cases_of_sending(&mut corpus);
            xdomain::cases_of_sending(&mut corpus);
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if conclusion.has_failed() {
        settings
            .iter()
            .filter_map(|setting| setting.log())
            .for_each(|log| eprintln!("{log}"));
    }
    conclusion.exit_code()
}

/// What cases run against: one host in two ways, and a gateway; where it is asked for, many hosts or Spin in their place.
fn hosts() -> Vec<Host> {
    if let Some(spin) = spin() {
        return vec![Host::Spin(spin)];
    }
    match nodes() {
        1 => vec![Host::InProcess, Host::Built, Host::Gateway],
        nodes => vec![Host::Nodes(nodes)],
    }
}

/// Where cases are added.
struct Corpus<'a> {
    trials: &'a mut Vec<Trial>,
    scope: String,
    setting: &'a Arc<Setting>,
    runtime: &'a Arc<Runtime>,
}

impl Corpus<'_> {
    /// Adds a case that is the same for every transport, named as its function is.
    fn reads<F>(&mut self, transport: Transport, case: F)
    where
        F: AsyncFn(&World, Transport) -> Result<()> + Send + 'static,
    {
        self.case(name_of(&case), async move |world: &World| {
            case(world, transport).await
        });
    }

    /// Adds a case, named as its function is.
    fn add<F>(&mut self, case: F)
    where
        F: AsyncFn(&World) -> Result<()> + Send + 'static,
    {
        self.case(name_of(&case), case);
    }

    fn case<F>(&mut self, name: &str, case: F)
    where
        F: AsyncFn(&World) -> Result<()> + Send + 'static,
    {
        let (setting, runtime) = (Arc::clone(self.setting), Arc::clone(self.runtime));
        self.trials
            .push(Trial::test(format!("{}/{name}", self.scope), move || {
                let run = async {
                    let world = setting.world().await?;
                    timeout(HANGS, case(world)).await.context("it hangs")?
                };
                runtime
                    .block_on(run)
                    .map_err(|error: anyhow::Error| format!("{error:#}").into())
            }));
    }
}

/// The last part of a function's path.
fn name_of<F>(_: &F) -> &'static str {
    let path = std::any::type_name::<F>();
    path.rsplit("::").next().unwrap_or(path)
}
