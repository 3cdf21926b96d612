//! Small complete programs, one idea each. Run one with `cargo run -p sockeye-examples --example NAME`.
