//! In which channels somebody may do what.

use protocol::Patterns;
use std::fmt;

/// What somebody may do, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Grants {
    pub(crate) read: Patterns,
    pub(crate) publish: Patterns,
    pub(crate) create: Patterns,
    pub(crate) moderate: Patterns,
}

/// The notes that the messenger hands back: a line for each action.
impl fmt::Display for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            read,
            publish,
            create,
            moderate,
        } = self;
        let [read, publish, create, moderate] =
            [read, publish, create, moderate].map(Patterns::as_text);
        write!(f, "{read}\n{publish}\n{create}\n{moderate}")
    }
}

impl Grants {
    /// Reads notes of this module's own writing; anything else grants nothing that it does not spell out.
    pub(crate) fn from_notes(notes: &str) -> Self {
        let lines: Vec<_> = notes.split('\n').collect();
        let [read, publish, create, moderate] = lines[..] else {
            return Self::default();
        };
        let patterns = Patterns::from_text;
        Self {
            read: patterns(read),
            publish: patterns(publish),
            create: patterns(create),
            moderate: patterns(moderate),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_survive_the_way_through_the_messenger() {
        let parse = |list| Patterns::parse(list).expect("well-formed");
        for [read, publish, create, moderate] in [
            ["", "", "", ""],
            ["a", "", "", ""],
            ["", "b", "", ""],
            ["", "", "c", "d"],
            ["a b* @c", "* @*", "@*", "*"],
        ] {
            let grants = Grants {
                read: parse(read),
                publish: parse(publish),
                create: parse(create),
                moderate: parse(moderate),
            };
            assert_eq!(Grants::from_notes(&grants.to_string()), grants);
        }
        for foreign in ["", "*", "*\n*", "*\n*\n*\n*\n*"] {
            assert_eq!(Grants::from_notes(foreign), Grants::default());
        }
    }
}
