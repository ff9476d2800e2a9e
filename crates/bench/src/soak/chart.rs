//! The host's memory over the time.

use svg::Document;
use svg::node::element::{Line, Polyline, Style, Title};

use super::memory::{Memory, mib};
use crate::charts::{round, text};
use crate::table::figure;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 300.0;
/// The figures of the axis are left of it.
const LEFT: f64 = 56.0;
const RIGHT: f64 = 744.0;
const TOP: f64 = 56.0;
const BOTTOM: f64 = 268.0;
/// Lines across, from nothing to the most.
const ACROSS: u32 = 4;

const STYLE: &str = "\
text { font: 13px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #1f2328 }
.title { font-size: 16px; font-weight: 600 }
.dim { fill: #59636e }
line { stroke: #8c959f; stroke-opacity: .35 }
polyline { fill: none; stroke: #0f7b6c; stroke-width: 1.5 }
line.trend { stroke: #1f2328; stroke-opacity: 1; stroke-dasharray: 6 4 }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc }
.dim { fill: #9198a1 }
polyline { stroke: #2dba9f }
line.trend { stroke: #f0f6fc }
}";

/// Draws the samples, and the line through those that count.
pub(super) fn draw(memory: &Memory) -> Document {
    let seconds = memory
        .samples
        .last()
        .map_or(0.0, |sample| sample.seconds)
        .max(1.0);
    let most = memory
        .samples
        .iter()
        .map(|sample| mib(sample.resident))
        .fold(1.0, f64::max);
    let most = step(most / f64::from(ACROSS)) * f64::from(ACROSS);
    let x = |at: f64| round(LEFT + (RIGHT - LEFT) * at / seconds);
    let y = |mib: f64| round(BOTTOM - (BOTTOM - TOP) * mib / most);
    let title = "The host's memory";
    let unit = match memory.trend {
        Some(trend) => format!(
            "MiB resident, over {:.0} minutes; dashed: {:+.1} KiB a minute",
            seconds / 60.0,
            trend.kib_per_minute
        ),
        None => format!("MiB resident, over {seconds:.0} seconds"),
    };
    let mut drawing = Document::new()
        .set("role", "img")
        .add(Title::new(title))
        .add(Style::new(STYLE))
        .add(text(title, 0.0, 16.0, "title"))
        .add(text(&unit, 0.0, 36.0, "dim"));
    for nth in 0..=ACROSS {
        let value = most * f64::from(nth) / f64::from(ACROSS);
        let figure = text(&figure(value), LEFT - 8.0, y(value) + 4.0, "dim");
        drawing = drawing
            .add(line((LEFT, y(value)), (RIGHT, y(value)), "grid"))
            .add(figure.set("text-anchor", "end"));
    }
    let minutes = format!("{:.0} min", seconds / 60.0);
    let ends = [("0", LEFT, "start"), (&*minutes, RIGHT, "end")];
    for (said, at, anchor) in ends {
        drawing = drawing.add(text(said, at, BOTTOM + 20.0, "dim").set("text-anchor", anchor));
    }
    let points: Vec<_> = memory
        .samples
        .iter()
        .map(|sample| format!("{},{}", x(sample.seconds), y(mib(sample.resident))))
        .collect();
    drawing = drawing.add(Polyline::new().set("points", points.join(" ")));
    if let Some(trend) = memory.trend {
        let at = |seconds: f64, bytes: f64| (x(seconds), y(bytes / f64::from(1 << 20)));
        let (begin, end) = (at(trend.from, trend.begin), at(trend.to, trend.end));
        drawing = drawing.add(line(begin, end, "trend"));
    }
    drawing
        .set("viewBox", (0, 0, WIDTH, HEIGHT))
        .set("width", WIDTH)
        .set("height", HEIGHT)
}

/// The next of 1, 2, 5, 10, 20 and so on.
fn step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    steps
        .into_iter()
        .find(|step| *step >= least)
        .unwrap_or(least)
}

fn line(from: (f64, f64), to: (f64, f64), class: &str) -> Line {
    Line::new()
        .set("class", class)
        .set("x1", from.0)
        .set("y1", from.1)
        .set("x2", to.0)
        .set("y2", to.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::memory::Sample;

    #[test]
    fn memory_is_drawn_from_nothing_and_the_trend_through_it() {
        let sample = |seconds, mib: u64| Sample {
            seconds,
            resident: mib << 20,
            processor: 0.0,
        };
        let memory = Memory::of(vec![
            sample(0.0, 40),
            sample(60.0, 80),
            sample(90.0, 80),
            sample(120.0, 80),
        ]);
        let drawn = draw(&memory).to_string();
        for part in [
            r#"points="56,162 400,56 572,56 744,56""#,
            "+0.0 KiB a minute",
            r#"class="trend" x1="572" x2="744" y1="56" y2="56""#,
            ">80.0<",
            ">2 min<",
        ] {
            assert!(drawn.replace('\n', "").contains(part), "{part} in {drawn}");
        }
    }

    #[test]
    fn steps_are_round() {
        for (least, expected) in [
            (0.3, 0.5),
            (1.0, 1.0),
            (1.1, 2.0),
            (34.0, 50.0),
            (60.0, 100.0),
        ] {
            assert!((step(least) - expected).abs() < 1e-9, "{least}");
        }
    }
}
