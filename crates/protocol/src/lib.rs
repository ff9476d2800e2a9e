//! Request grammar, cursors, envelopes, framings and their escaping: pure
