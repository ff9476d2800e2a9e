//! `witter top`: a host as it is now, in a terminal, from what it tells at `/metrics`.

mod scrape;
mod table;
mod view;

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use console::Term;
use http::StatusCode;
use tokio::time::{Instant, MissedTickBehavior, interval};

use self::scrape::Scrape;
use self::view::{History, Now};
use crate::asking::{self, Asking};
use crate::options::seconds;

/// How many of the last rates are drawn.
const DRAWN: usize = 32;

/// What is looked at, and how.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Which host
    #[command(flatten)]
    pub host: asking::Options,

    /// How often it is asked
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "1")]
    pub interval: Duration,

    /// Ask twice, an interval apart, print what was seen and end
    #[arg(long)]
    pub once: bool,
}

/// Shows a host until it is dropped, or what is shown cannot be written.
///
/// # Errors
/// Where the URL is none, nothing can be written, or, with `once`, the host does not answer.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let asking = Asking::new(&options.host.url, "/metrics")?;
    ensure!(
        options.interval >= Duration::from_millis(100),
        "an interval of less than 0.1 s would show the asking more than the host"
    );
    let term = Term::stdout();
    if options.once {
        let earlier = scrape(&asking).await?;
        tokio::time::sleep(options.interval).await;
        let later = scrape(&asking).await?;
        let now = Now::new(&later, Some(&earlier));
        return print(
            &term,
            &view::lines(
                &now,
                &History::default(),
                width(&term),
                None,
                asking.authority(),
            ),
        );
    }
    let _screen = Screen::enter(&term)?;
    watch(&asking, &term, options.interval).await
}

async fn watch(asking: &Asking, term: &Term, every: Duration) -> anyhow::Result<()> {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut earlier: Option<Scrape> = None;
    let mut history = History::default();
    loop {
        ticks.tick().await;
        let lines = match scrape(asking).await {
            Ok(later) => {
                let now = Now::new(&later, earlier.as_ref());
                history.push(&now, DRAWN);
                let height = term.is_term().then(|| usize::from(term.size().0));
                let lines = view::lines(&now, &history, width(term), height, asking.authority());
                earlier = Some(later);
                lines
            }
            Err(error) => {
                // Rates over the time that it was away would be none of now.
                earlier = None;
                vec![
                    format!("{error:#}"),
                    "it is asked again each interval".to_owned(),
                ]
            }
        };
        if term.is_term() {
            draw(term, &lines)?;
        } else {
            print(term, &lines)?;
        }
    }
}

/// As wide as the terminal is, or a page that is read.
fn width(term: &Term) -> usize {
    if term.is_term() {
        usize::from(term.size().1)
    } else {
        120
    }
}

fn print(term: &Term, lines: &[String]) -> anyhow::Result<()> {
    term.write_line(&format!("{}\n", lines.join("\n")))
        .context("nothing can be written")
}

/// Over what is on the screen, in one write, so that nothing flickers.
fn draw(term: &Term, lines: &[String]) -> anyhow::Result<()> {
    let mut text = "\x1b[H".to_owned();
    for (at, line) in lines.iter().enumerate() {
        text.push_str(if at > 0 { "\r\n" } else { "" });
        text.push_str(line);
        text.push_str("\x1b[K");
    }
    text.push_str("\x1b[J");
    term.write_str(&text).context("nothing can be written")
}

/// A screen of its own, where there is one; what was on the terminal is there again when this is dropped.
struct Screen<'a>(Option<&'a Term>);

impl<'a> Screen<'a> {
    fn enter(term: &'a Term) -> anyhow::Result<Self> {
        if !term.is_term() {
            return Ok(Self(None));
        }
        term.write_str("\x1b[?1049h\x1b[?25l")?;
        Ok(Self(Some(term)))
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        if let Some(term) = self.0 {
            term.write_str("\x1b[?25h\x1b[?1049l").ok();
        }
    }
}

async fn scrape(asking: &Asking) -> anyhow::Result<Scrape> {
    let (status, text) = asking.ask().await?;
    ensure!(status == StatusCode::OK, "it answers {status}");
    let scrape = Scrape::read(&text, Instant::now().into_std());
    ensure!(
        scrape.value("witter_ready").is_some(),
        "no host of this kind answers there, or it still begins"
    );
    Ok(scrape)
}

/// The newest of some numbers.
#[derive(Debug, Default)]
struct Recent(VecDeque<f64>);

impl Recent {
    fn push(&mut self, value: f64, most: usize) {
        while self.0.len() >= most {
            self.0.pop_front();
        }
        self.0.push_back(value);
    }
}
