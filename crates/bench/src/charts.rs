//! The figures as bars, for pages: one file each. They have no background of their own, and colours for light and
//! for dark ones.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use svg::Document;
use svg::node::element::{Rectangle, Style, Text, Title};

use crate::report::{Report, Row};
use crate::subject::Delivery;
use crate::table::figure;

const WIDTH: f64 = 796.0;
/// Where bars begin: names are left of it.
const BEGIN: f64 = 208.0;
/// The longest bar: its figure has the rest.
const LONGEST: f64 = 480.0;
const LINE: f64 = 22.0;
const BAR: f64 = 14.0;
/// Above the first bar: what the chart is about.
const HEAD: f64 = 48.0;

const STYLE: &str = "\
text { font: 13px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #1f2328 }
.title { font-size: 16px; font-weight: 600 }
.dim { fill: #59636e }
.kind { fill: #59636e; font-size: 12px; font-weight: 600 }
.ours { font-weight: 600 }
rect { fill: #8c959f }
rect.ours { fill: #0f7b6c }
rect.more { opacity: .35 }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc }
.dim, .kind { fill: #9198a1 }
rect { fill: #6e7681 }
rect.ours { fill: #2dba9f }
}";

/// One bar.
struct Bar {
    name: &'static str,
    /// What bars side by side have in common.
    kind: &'static str,
    is_ours: bool,
    value: f64,
    /// A bar that goes on behind the first.
    more: Option<f64>,
    /// The generator was at its end before the server.
    is_least: bool,
}

/// The value that a chart shows of a row, where its bar goes on to, and whether it is at the generator's limit.
type Of<'a> = &'a dyn Fn(&Row) -> Option<(f64, Option<f64>, bool)>;

/// What a chart says of figures that would be higher, had the generator done more.
const LEAST: &str = "≥: at the generator's limit";

/// Writes all charts into a folder.
pub(crate) fn write(report: &Report, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let conditions = &report.conditions;
    let few = format!(
        "{} readers, {} messages a second",
        conditions.few, conditions.rate
    );
    let level = report.rows.iter().find_map(|row| {
        let memory = &row.idle.as_ref()?.memory;
        let before = memory
            .iter()
            .rev()
            .nth(1)
            .map_or(0, |memory| memory.readers);
        Some((before, memory.last()?.readers))
    });
    let (before, level) = level.unwrap_or_default();
    let most = report
        .rows
        .iter()
        .flat_map(|row| row.sustained.iter().map(|load| load.readers))
        .max()
        .unwrap_or_default();
    let charts: [(&str, &str, String, Of<'_>); 4] = [
        (
            "delay",
            "Delay from publish to delivery",
            format!("milliseconds: half, and 99 of 100, are sooner; {few}"),
            &|row| row.delay().map(|delay| (delay.p50, Some(delay.p99), false)),
        ),
        (
            "processor",
            "Processor time of a delivery",
            format!("microseconds of the server; {few}"),
            &|row| Some((row.processor_us()?, None, false)),
        ),
        (
            "throughput",
            "Deliveries a second",
            format!(
                "thousands, with {}, to {most} readers; {LEAST}",
                match conditions.server_cores {
                    1 => "one core".to_owned(),
                    cores => format!("{cores} cores"),
                }
            ),
            &|row| {
                let load = row.sustained(most)?;
                Some((load.deliveries_per_second / 1e3, None, load.is_least()))
            },
        ),
        (
            "memory",
            "Memory of a reader that waits",
            format!("KiB of the server's memory for each that comes after {before}, up to {level}"),
            &|row| Some((row.memory(level)?, None, false)),
        ),
    ];
    for (name, title, unit, of) in charts {
        let rows = report.rows.iter();
        let bars: Vec<_> = rows
            // How late a poll is that comes once a second, its client decides.
            .filter(|row| row.delivery != Delivery::Polled)
            .filter_map(|row| {
                let (value, more, is_least) = of(row)?;
                Some(Bar {
                    name: row.name,
                    kind: row.delivery.heading(),
                    is_ours: row.is_ours(),
                    value,
                    more,
                    is_least,
                })
            })
            .collect();
        save(folder, name, title, &unit, &bars)?;
    }
    let publishing = report.publishing.iter().filter_map(|row| {
        let load = row.load.as_ref()?;
        Some(Bar {
            name: row.name,
            kind: row.means.heading(),
            is_ours: row.is_ours,
            value: load.published_per_second / 1e3,
            more: None,
            is_least: load.is_least(),
        })
    });
    let unit = format!(
        "thousands, by {} clients into one channel, each when it is answered or with up to {} not; {LEAST}",
        conditions.clients, conditions.unacknowledged
    );
    let title = "Acknowledged publishes a second";
    save(
        folder,
        "publishing",
        title,
        &unit,
        &Vec::from_iter(publishing),
    )
}

fn save(folder: &Path, name: &str, title: &str, unit: &str, bars: &[Bar]) -> Result<()> {
    if bars.is_empty() {
        return Ok(());
    }
    let path = folder.join(name).with_extension("svg");
    svg::save(&path, &chart(title, unit, bars))
        .with_context(|| format!("{} cannot be written", path.display()))
}

fn chart(title: &str, unit: &str, bars: &[Bar]) -> Document {
    let most = bars
        .iter()
        .map(|bar| bar.more.unwrap_or(bar.value).max(bar.value))
        .fold(f64::MIN_POSITIVE, f64::max);
    let long = |value: f64| round(LONGEST * value / most);
    let mut drawing = Document::new()
        .set("role", "img")
        .add(Title::new(title))
        .add(Style::new(STYLE))
        .add(text(title, 0.0, 16.0, "title"))
        .add(text(unit, 0.0, 36.0, "dim"));
    let mut y = HEAD;
    let mut kind = None;
    for bar in bars {
        if kind.replace(bar.kind) != Some(bar.kind) {
            drawing = drawing.add(text(bar.kind, 0.0, y + 16.0, "kind"));
            y += LINE;
        }
        let class = if bar.is_ours { "ours" } else { "peer" };
        let name = text(bar.name, BEGIN - 10.0, y + 12.0, class).set("text-anchor", "end");
        drawing = drawing.add(name);
        let rectangle = |begin: f64, end: f64, class: &str| {
            Rectangle::new()
                .set("class", class)
                .set("x", BEGIN + begin)
                .set("y", y)
                .set("width", round(end - begin))
                .set("height", BAR)
        };
        let mut end = long(bar.value);
        drawing = drawing.add(rectangle(0.0, end, class));
        let least = if bar.is_least { "≥ " } else { "" };
        let mut said = format!("{least}{}", figure(bar.value));
        if let Some(more) = bar.more.filter(|more| *more > bar.value) {
            drawing = drawing.add(rectangle(end, long(more), &format!("{class} more")));
            end = long(more);
            said = format!("{said} – {}", figure(more));
        }
        drawing = drawing.add(text(&said, BEGIN + end + 8.0, y + 12.0, "dim"));
        y += LINE;
    }
    drawing
        .set("viewBox", (0, 0, WIDTH, y))
        .set("width", WIDTH)
        .set("height", y)
}

pub(crate) fn text(content: &str, x: f64, y: f64, class: &str) -> Text {
    Text::new(content)
        .set("x", x)
        .set("y", y)
        .set("class", class)
}

/// A tenth of a pixel is fine enough.
pub(crate) fn round(pixels: f64) -> f64 {
    (pixels * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_has_the_most_and_ours_stand_out() {
        let bar = |name, is_ours, value, more| Bar {
            name,
            kind: "streams",
            is_ours,
            value,
            more,
            is_least: !is_ours,
        };
        let bars = [
            bar("ours", true, 1.0, Some(4.0)),
            bar("theirs", false, 2.0, None),
        ];
        let drawn = chart("a < b", "ms", &bars).to_string();
        for part in [
            "a &lt; b",
            "streams",
            r#"class="ours" height="14" width="120""#,
            r#"class="ours more" height="14" width="360""#,
            r#"class="peer" height="14" width="240""#,
            "1.00 – 4.00",
            "≥ 2.00",
        ] {
            assert!(drawn.contains(part), "{part} in {drawn}");
        }
    }
}
