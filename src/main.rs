//! Axenic.
fn main() {}
