//! The witter command.

fn main() {}
