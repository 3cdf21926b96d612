//! `cargo xtask chaos`: messages lost, repeated and out of order, while everything goes wrong.

use anyhow::Result;
use clap::{Args, ValueEnum, builder::PossibleValue};

use crate::prepare::{self, Need};
use crate::shell;

/// What `cargo xtask chaos` is told.
#[derive(Args)]
pub(crate) struct Options {
    /// How many messages are published in a round
    #[arg(long, default_value_t = 100_000)]
    messages: u64,
    /// How many read, switching at random between bare transports and clients
    #[arg(long, default_value_t = 8)]
    readers: u64,
    /// How many more listen by plain WebSockets: to 16 and more the server writes by groups
    #[arg(long, default_value_t = 24)]
    audience: u64,
    /// The languages whose clients they switch to, beside four bare transports
    #[arg(
        long,
        value_name = "LANGUAGE",
        value_delimiter = ',',
        default_value = "rust,javascript,python"
    )]
    clients: Vec<Language>,
    /// How often the server is killed and restarted in a round
    #[arg(long, default_value_t = 10, conflicts_with = "cluster")]
    kills: u64,
    /// On a cluster: servers of NATS and nodes are killed, stopped, ended and cut off. Cutting takes root
    #[arg(long)]
    cluster: bool,
    /// For how many seconds new rounds begin; 0 is one round
    #[arg(long, default_value_t = 0)]
    seconds: u64,
    /// The seed of the first round; random if not given
    #[arg(long)]
    seed: Option<u64>,
}

/// A language that there is a client for.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
enum Language {
    Rust,
    JavaScript,
    Python,
}

/// Builds the program as it is released and lets loose publishers, hopping readers and a killer.
pub(crate) fn run(options: &Options) -> Result<()> {
    let packages = ["--package", "sockeye-cli", "--package", "sockeye-tests"];
    shell::run(shell::cargo(["build", "--release"]).args(packages))?;
    let of_language = |language: &Language| match language {
        Language::Rust => None,
        Language::JavaScript => Some(Need::Node),
        Language::Python => Some(Need::Python),
    };
    let mut needs: Vec<_> = options.clients.iter().filter_map(of_language).collect();
    needs.extend(options.cluster.then_some(Need::Python));
    prepare::prepare(&needs)?;
    let words: Vec<_> = options.clients.iter().filter_map(Language::to_possible_value).collect();
    let words: Vec<_> = words.iter().map(PossibleValue::get_name).collect();
    let Options { messages, readers, audience, kills, seconds, seed, .. } = *options;
    let numbers = [Some(messages), Some(readers), Some(audience), Some(kills), Some(seconds), seed];
    let arguments = numbers.iter().flatten().map(u64::to_string);
    let chaos = ["run", "--quiet", "--release", "--package", "sockeye-tests", "--bin", "chaos"];
    let ground = if options.cluster { "cluster" } else { "disk" };
    shell::run(shell::cargo(chaos).args([ground, &words.join(",")]).args(arguments))
}
