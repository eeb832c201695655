//! The registry's command line.

fn main() {}
