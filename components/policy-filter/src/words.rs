//! Words, found as they are read: whatever their case, their style of letters, and what cannot be seen
//! between these.

use crate::json::Character;
use aho_corasick::AhoCorasick;
use icu_casemap::CaseMapper;
use icu_normalizer::DecomposingNormalizer;
use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory, GeneralCategoryGroup};
use icu_properties::{CodePointMapData, CodePointSetData};
use std::ops::Range;

/// Words and phrases to be masked.
pub(crate) struct Words(AhoCorasick);

/// Why a list of words is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadWords {
    #[error("{0:?} has nothing that can be seen")]
    Invisible(String),
    #[error("these are too many words")]
    TooMany,
}

/// What is to be masked, and by how many asterisks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mask {
    pub(crate) range: Range<usize>,
    pub(crate) length: usize,
}

/// A letter or another sign with the marks on it, which go with it.
struct Cluster {
    /// The bytes that write it.
    range: Range<usize>,
    /// Where what it is compared by stands in the text that is searched.
    folded: Range<usize>,
    /// Whether it belongs to the word that it touches.
    is_part: bool,
    is_masked: bool,
}

impl Words {
    /// A list separated by commas; none where it is empty. White space around a word does not count.
    pub(crate) fn parse(list: &str) -> Result<Option<Self>, BadWords> {
        let words = list
            .split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty());
        let folded = words
            .map(|word| match fold(word) {
                folded if folded.is_empty() => Err(BadWords::Invisible(word.to_owned())),
                folded => Ok(folded),
            })
            .collect::<Result<Vec<_>, _>>()?;
        if folded.is_empty() {
            return Ok(None);
        }
        let search = AhoCorasick::new(folded).map_err(|_| BadWords::TooMany)?;
        Ok(Some(Self(search)))
    }

    /// What is to be masked of a string, in order.
    ///
    /// A word is whole where neither the character before it nor the one behind it is a letter, a digit
    /// or a mark. Next to a sign at a word's own end, as in `c++`, anything may stand.
    pub(crate) fn masks(&self, characters: &[Character]) -> Vec<Mask> {
        let (mut clusters, text) = clusters(characters);
        for found in self.0.find_overlapping_iter(&text) {
            mark(&mut clusters, found.range());
        }
        let runs = clusters.chunk_by(|one, next| one.is_masked && next.is_masked);
        runs.filter(|run| run[0].is_masked)
            .filter_map(|run| {
                Some(Mask {
                    range: run.first()?.range.start..run.last()?.range.end,
                    length: run
                        .iter()
                        .filter(|cluster| !cluster.folded.is_empty())
                        .count(),
                })
            })
            .collect()
    }
}

/// Marks the clusters that a word was found in, if it is whole.
fn mark(clusters: &mut [Cluster], found: Range<usize>) {
    let first = clusters.partition_point(|cluster| cluster.folded.end <= found.start);
    let end = clusters.partition_point(|cluster| cluster.folded.start < found.end);
    let (before, rest) = clusters.split_at_mut(first);
    let (inside, behind) = rest.split_at_mut(end - first);
    let visible = |cluster: &&Cluster| !cluster.folded.is_empty();
    let (Some(start), Some(last)) = (inside.first(), inside.iter().rfind(visible)) else {
        return;
    };
    // A part of a ligature, or a letter without the marks on it, is another letter.
    if start.folded.start != found.start || last.folded.end != found.end {
        return;
    }
    let before = before.iter().rfind(visible);
    let behind = behind.iter().find(visible);
    let touches = |own: &Cluster, other: Option<&Cluster>| {
        own.is_part && other.is_some_and(|other| other.is_part)
    };
    if touches(start, before) || touches(last, behind) {
        return;
    }
    inside
        .iter_mut()
        .for_each(|cluster| cluster.is_masked = true);
}

/// A string as it is compared, and where its parts come from.
fn clusters(characters: &[Character]) -> (Vec<Cluster>, String) {
    let mut text = String::with_capacity(characters.len());
    let mut clusters = Vec::with_capacity(characters.len());
    for run in characters.chunk_by(|_, next| is_mark(next.char)) {
        let Some((first, last)) = run.first().zip(run.last()) else {
            continue;
        };
        let start = text.len();
        match run {
            [one] if one.char.is_ascii() => text.push(one.char.to_ascii_lowercase()),
            _ => text.push_str(&fold(&run.iter().map(|one| one.char).collect::<String>())),
        }
        clusters.push(Cluster {
            range: first.range.start..last.range.end,
            folded: start..text.len(),
            is_part: text[start..]
                .chars()
                .any(|char| char.is_alphanumeric() || is_mark(char)),
            is_masked: false,
        });
    }
    (clusters, text)
}

/// Text as it is compared: by Unicode's compatibility caseless match (section 3.13, D146), and without
/// what is not to be seen.
fn fold(text: &str) -> String {
    let normalizer = DecomposingNormalizer::new_nfkd();
    let folded = CaseMapper::new()
        .fold_string(&normalizer.normalize(text))
        .into_owned();
    let ignorable = CodePointSetData::new::<DefaultIgnorableCodePoint>();
    normalizer
        .normalize(&folded)
        .chars()
        .filter(|char| !ignorable.contains(*char))
        .collect()
}

fn is_mark(char: char) -> bool {
    let categories = CodePointMapData::<GeneralCategory>::new();
    !char.is_ascii() && GeneralCategoryGroup::Mark.contains(categories.get(char))
}
