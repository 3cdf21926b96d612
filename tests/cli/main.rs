//! The command line of `sockeye`, as a person and a pipe meet it.

mod authorize;
mod bench;
mod check;
mod common;
mod config;
mod connect;
mod data;
mod doctor;
mod echo;
mod events;
mod examples;
mod hostile_server;
#[cfg(target_os = "linux")]
mod io;
mod jwks;
mod listen;
mod listen_exec;
mod listen_files;
mod listen_roads;
mod log;
mod operation;
mod outputs;
mod pasted;
mod publish;
mod serve;
mod service_manager;
mod shells;
mod signals;
mod stalled;
mod subscribe;
mod tap;
mod terminal;
mod tls;
mod token;
mod traces;
mod typed;
