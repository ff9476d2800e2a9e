//! The channel log over a store: pure, no clock, no randomness, no I/O of its own
