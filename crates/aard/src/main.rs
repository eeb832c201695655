//! The registry's daemon.

fn main() {}
