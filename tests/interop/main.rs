//! Real peers in other languages: their clients on our servers, our clients on their servers.

mod clients;
mod servers;
