//! Load generator: one table

fn main() {}
