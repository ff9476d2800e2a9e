//! Columns that fit a width: those that matter least go first.

use console::{Style, measure_text_width, pad_str, truncate_str};

/// One column.
pub(super) struct Column {
    pub(super) title: &'static str,
    /// The larger, the sooner it is left out; 0 never is.
    pub(super) dispensable: u8,
    /// Words stand left, numbers right.
    pub(super) words: bool,
}

/// A text, and how it looks.
#[derive(Clone)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) style: Style,
}

impl Cell {
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self::styled(text, Style::new())
    }

    pub(super) fn styled(text: impl Into<String>, style: Style) -> Self {
        Self {
            text: text.into(),
            style,
        }
    }
}

/// Between two columns.
const GAP: usize = 2;

/// The lines of a table, its titles first, none longer than `width`.
pub(super) fn lines(columns: &[Column], rows: &[Vec<Cell>], width: usize) -> Vec<String> {
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(at, column)| {
            let cells = rows.iter().filter_map(|row| row.get(at));
            let widest = cells.map(|cell| measure_text_width(&cell.text)).max();
            widest.unwrap_or(0).max(measure_text_width(column.title))
        })
        .collect();
    let mut shown: Vec<usize> = (0..columns.len()).collect();
    let taken = |shown: &[usize]| -> usize {
        let text: usize = shown.iter().map(|at| widths[*at]).sum();
        text + GAP * shown.len().saturating_sub(1)
    };
    while taken(&shown) > width {
        let least = shown
            .iter()
            .copied()
            .max_by_key(|at| (columns[*at].dispensable, *at));
        match least.filter(|at| columns[*at].dispensable > 0) {
            Some(least) => shown.retain(|at| *at != least),
            None => break,
        }
    }
    let heading = Style::new().cyan();
    let titles: Vec<Cell> = columns
        .iter()
        .map(|column| Cell::styled(column.title, heading.clone()))
        .collect();
    [&titles]
        .into_iter()
        .chain(rows)
        .map(|row| {
            let cells = shown.iter().filter_map(|at| {
                let cell = row.get(*at)?;
                let align = if columns[*at].words {
                    console::Alignment::Left
                } else {
                    console::Alignment::Right
                };
                let padded = pad_str(&cell.text, widths[*at], align, None);
                Some(cell.style.apply_to(padded).to_string())
            });
            let line = cells.collect::<Vec<_>>().join(&" ".repeat(GAP));
            truncate_str(&line, width, "…").into_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [
        Column {
            title: "name",
            dispensable: 0,
            words: true,
        },
        Column {
            title: "most",
            dispensable: 2,
            words: false,
        },
        Column {
            title: "some",
            dispensable: 1,
            words: false,
        },
    ];

    #[test]
    fn the_least_needed_columns_go_first_and_the_rest_is_cut() {
        let row = ["a", "1", "22222"].map(Cell::plain).to_vec();
        for (width, expected) in [
            (80, ["name  most   some", "a        1  22222"]),
            (17, ["name  most   some", "a        1  22222"]),
            (16, ["name   some", "a     22222"]),
            (10, ["name", "a   "]),
            (3, ["na…", "a …"]),
        ] {
            let told = lines(&COLUMNS, std::slice::from_ref(&row), width);
            let told: Vec<_> = told
                .iter()
                .map(|line| console::strip_ansi_codes(line).into_owned())
                .collect();
            assert_eq!(told, expected, "{width}");
        }
    }
}
