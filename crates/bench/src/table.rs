//! A table on a terminal.

use std::fmt;

use console::{measure_text_width, style};

/// A table whose neighbouring columns share a heading.
pub(crate) struct Table {
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Line>,
}

pub(crate) struct Column {
    group: String,
    title: String,
}

/// One line below the headings.
pub(crate) enum Line {
    /// As many as there are columns.
    Cells(Vec<Cell>),
    /// What the lines behind it have in common.
    Heading(&'static str),
    /// A row without figures: its name, and why there are none.
    Words(&'static str, String),
}

/// What is shown, and how.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cell {
    text: String,
    look: Look,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Look {
    Plain,
    Bold,
    Dim,
    Good,
    Worse,
    Bad,
}

/// A ratio that is nearer to 1 says nothing.
const ALIKE: std::ops::RangeInclusive<f64> = 0.9..=1.1;

/// Which of two figures one would rather have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    Less,
    More,
}

/// Between two columns, and between two groups of them.
const SPACE: usize = 2;
const GROUP_SPACE: usize = 3;

impl Table {
    /// How wide each column is; the last of a group takes what the group's heading lacks.
    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = (0..self.columns.len())
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| match row {
                    Line::Cells(cells) => Some(measure_text_width(&cells[column].text)),
                    Line::Words(name, _) if column == 0 => Some(measure_text_width(name)),
                    Line::Heading(_) | Line::Words(..) => None,
                });
                cells.fold(measure_text_width(&self.columns[column].title), usize::max)
            })
            .collect();
        for (begin, end) in self.groups() {
            let lacking = self.columns[begin]
                .group
                .len()
                .saturating_sub(spread(&widths[begin..end]));
            widths[end - 1] += lacking;
        }
        widths
    }

    /// Runs of columns that share a heading.
    fn groups(&self) -> Vec<(usize, usize)> {
        let mut groups = Vec::new();
        let mut begin = 0;
        for end in 1..=self.columns.len() {
            if end == self.columns.len() || self.columns[end].group != self.columns[begin].group {
                groups.push((begin, end));
                begin = end;
            }
        }
        groups
    }
}

/// The width of columns side by side.
fn spread(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + SPACE * widths.len().saturating_sub(1)
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (widths, groups) = (self.widths(), self.groups());
        let space = |begin: usize| " ".repeat(if begin == 0 { SPACE } else { GROUP_SPACE });
        // Where no columns belong together, nothing stands above their names.
        if self.columns.iter().any(|column| !column.group.is_empty()) {
            for &(begin, end) in &groups {
                let width = spread(&widths[begin..end]);
                let group = style(format!("{:^width$}", self.columns[begin].group));
                write!(f, "{}{}", space(begin), group.bold())?;
            }
            writeln!(f)?;
            for &(begin, end) in &groups {
                let line = if self.columns[begin].group.is_empty() {
                    " "
                } else {
                    "─"
                };
                let width = spread(&widths[begin..end]);
                write!(f, "{}{}", space(begin), style(line.repeat(width)).dim())?;
            }
            writeln!(f)?;
        }
        let line = |f: &mut fmt::Formatter<'_>, cells: &dyn Fn(usize) -> (String, Look)| {
            for &(begin, end) in &groups {
                for (column, &width) in widths.iter().enumerate().take(end).skip(begin) {
                    let (text, look) = cells(column);
                    // Names stand on the left, figures on the right.
                    let text = if column == 0 {
                        format!("{text:<width$}")
                    } else {
                        format!("{text:>width$}")
                    };
                    let text = match look {
                        Look::Plain => style(text),
                        Look::Bold => style(text).bold(),
                        Look::Dim => style(text).dim(),
                        Look::Good => style(text).green(),
                        Look::Worse => style(text).yellow(),
                        Look::Bad => style(text).red().bold(),
                    };
                    let space = if column == begin {
                        space(begin)
                    } else {
                        " ".repeat(SPACE)
                    };
                    write!(f, "{space}{text}")?;
                }
            }
            writeln!(f)
        };
        line(f, &|column| (self.columns[column].title.clone(), Look::Dim))?;
        for row in &self.rows {
            match row {
                Line::Cells(cells) => {
                    line(f, &|column| {
                        (cells[column].text.clone(), cells[column].look)
                    })?;
                }
                Line::Heading(text) => {
                    writeln!(f, "{}{}", space(0), style(text).cyan())?;
                }
                Line::Words(name, words) => {
                    let width = widths[0];
                    let words = style(words).dim();
                    writeln!(f, "{}{name:<width$}{}{words}", space(0), space(1))?;
                }
            }
        }
        Ok(())
    }
}

impl Column {
    pub(crate) fn new(group: &str, title: &str) -> Self {
        Self {
            group: group.to_owned(),
            title: title.to_owned(),
        }
    }
}

impl Cell {
    pub(crate) fn plain(text: String) -> Self {
        Self {
            text,
            look: Look::Plain,
        }
    }

    pub(crate) fn figure(value: f64) -> Self {
        if value.is_finite() {
            Self::plain(figure(value))
        } else {
            Self::none()
        }
    }

    pub(crate) fn name(text: &'static str, is_ours: bool) -> Self {
        Self {
            text: text.to_owned(),
            look: if is_ours { Look::Bold } else { Look::Plain },
        }
    }

    pub(crate) fn dim(text: String) -> Self {
        Self {
            text,
            look: Look::Dim,
        }
    }

    /// A figure that would be higher, had the generator done more.
    pub(crate) fn at_least(value: f64) -> Self {
        Self::plain(format!("≥{}", figure(value)))
    }

    /// A peer's figure as a multiple of ours: green where ours is the better one.
    pub(crate) fn ratio(theirs: Option<f64>, ours: Option<f64>, better: Better) -> Self {
        let ratio = theirs.zip(ours).map(|(theirs, ours)| theirs / ours);
        let Some(ratio) = ratio.filter(|ratio| ratio.is_finite()) else {
            return Self::dim(String::new());
        };
        let look = match better {
            _ if ALIKE.contains(&ratio) => Look::Dim,
            Better::Less if ratio > 1.0 => Look::Good,
            Better::More if ratio < 1.0 => Look::Good,
            _ => Look::Worse,
        };
        Self {
            text: format!("×{}", figure(ratio)),
            look,
        }
    }

    /// What the row has not.
    pub(crate) fn none() -> Self {
        Self {
            text: "–".to_owned(),
            look: Look::Dim,
        }
    }

    pub(crate) fn fault(count: u64) -> Self {
        let look = if count == 0 { Look::Dim } else { Look::Bad };
        Self {
            text: grouped(count as f64),
            look,
        }
    }
}

/// Three digits, as far as there are any behind the point.
pub(crate) fn figure(value: f64) -> String {
    match value {
        ..9.995 => format!("{value:.2}"),
        ..99.95 => format!("{value:.1}"),
        _ => grouped(value),
    }
}

/// A whole number with its thousands apart.
pub(crate) fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits() {
        for (value, expected) in [
            (0.0, "0.00"),
            (0.1234, "0.12"),
            (9.994, "9.99"),
            (9.996, "10.0"),
            (99.94, "99.9"),
            (99.96, "100"),
            (1234.5, "1,234"),
        ] {
            assert_eq!(figure(value), expected, "{value}");
        }
    }

    #[test]
    fn thousands_stand_apart() {
        for (value, expected) in [
            (0.0, "0"),
            (999.0, "999"),
            (1000.0, "1,000"),
            (1_234_567.0, "1,234,567"),
        ] {
            assert_eq!(grouped(value), expected);
        }
    }

    #[test]
    fn columns_line_up_under_their_headings() {
        let table = Table {
            columns: vec![
                Column::new("", ""),
                Column::new("a long heading", "x"),
                Column::new("b", "first"),
                Column::new("b", "2nd"),
            ],
            rows: vec![
                Line::Heading("some"),
                Line::Cells(vec![
                    Cell::plain("name".to_owned()),
                    Cell::figure(1.0),
                    Cell::none(),
                    Cell::fault(12_345),
                ]),
                Line::Words("other", "not there".to_owned()),
            ],
        };
        let text = console::strip_ansi_codes(&table.to_string()).into_owned();
        let expected = concat!(
            "          a long heading         b      \n",
            "          ──────────────   ─────────────\n",
            "                       x   first     2nd\n",
            "  some\n",
            "  name              1.00       –  12,345\n",
            "  other   not there\n",
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn a_ratio_is_of_theirs_to_ours() {
        #[track_caller]
        fn check(theirs: Option<f64>, ours: Option<f64>, better: Better, text: &str, look: Look) {
            let cell = Cell::ratio(theirs, ours, better);
            assert_eq!((&*cell.text, cell.look), (text, look));
        }
        check(Some(4.0), Some(2.0), Better::Less, "×2.00", Look::Good);
        check(Some(4.0), Some(2.0), Better::More, "×2.00", Look::Worse);
        check(Some(1.0), Some(2.0), Better::More, "×0.50", Look::Good);
        check(Some(1.0), Some(2.0), Better::Less, "×0.50", Look::Worse);
        check(Some(1.0), Some(1.05), Better::Less, "×0.95", Look::Dim);
        check(Some(1.0), None, Better::Less, "", Look::Dim);
        check(Some(1.0), Some(0.0), Better::Less, "", Look::Dim);
    }
}
