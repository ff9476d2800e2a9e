//! What Redis is asked.

/// A command and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub(crate) name: &'static str,
    pub(crate) arguments: Vec<Vec<u8>>,
    /// Whether it may be sent again where it is not known to have been done.
    pub(crate) repeatable: bool,
}

impl Command {
    /// One that may be done twice, such as reading. It is sent again, once, where it failed: so nobody notices
    /// that Redis was restarted while the instance was idle.
    #[must_use]
    pub fn repeatable(name: &'static str) -> Self {
        Self {
            name,
            arguments: Vec::new(),
            repeatable: true,
        }
    }

    /// One that must not be done twice. It is sent once, and may have been done where that failed.
    #[must_use]
    pub fn once(name: &'static str) -> Self {
        Self {
            repeatable: false,
            ..Self::repeatable(name)
        }
    }

    /// With one argument more.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<Vec<u8>>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// With more arguments.
    #[must_use]
    pub fn args<A: Into<Vec<u8>>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }
}
