//! The `ragq` program.

fn main() {}
