use crate::deflate;
use std::sync::OnceLock;

/// A text that goes to many connections, alone or with a rest that differs: compressed once for each window,
/// whatever their number.
#[derive(Debug)]
pub struct Prepared {
    text: String,
    /// By the bits of the window, from 9. None inside where the text is not shorter compressed.
    compressed: [OnceLock<Option<Vec<u8>>>; 7],
}

impl Prepared {
    /// Nothing is compressed before the first connection asks for it.
    pub fn new(text: String) -> Self {
        Self {
            text,
            compressed: Default::default(),
        }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn compressed(&self, window_bits: u8) -> Option<&[u8]> {
        self.compressed
            .get(usize::from(window_bits) - 9)?
            .get_or_init(|| deflate::shorten(self.text.as_bytes(), window_bits))
            .as_deref()
    }
}
