//! Runs the command of its arguments while three servers of NATS run: what the tests of the command start is a
//! cluster of three nodes on these.

use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(program) = arguments.next() else { panic!("usage: with-nats COMMAND [ARGUMENT …]") };
    let status = sockeye_tests::nats::with_servers(Command::new(program).args(arguments));
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
