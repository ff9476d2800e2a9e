//! up, test, build, bench, dist

fn main() {}
