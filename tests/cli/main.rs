//! The command line of `sockeye`, as a person and a pipe meet it.

mod bench;
mod common;
mod config;
mod connect;
mod data;
mod echo;
mod log;
mod operation;
mod outputs;
mod publish;
mod serve;
mod signals;
mod stalled;
mod subscribe;
mod terminal;
mod tls;
mod token;
