//! Whole-program tests: real clients and a real browser against the program `sockeye`.
