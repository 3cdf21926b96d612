//! The servers and clients that are checked, each as its documentation has an echo.

use std::process::Command;

use anyhow::Result;

use super::running::Running;
use crate::bench::brokers::{self, Broker};
use crate::interop;
use crate::shell;

/// A server or client of another project.
pub(super) struct Peer {
    pub(super) name: &'static str,
    kind: Kind,
    /// What it is installed as.
    package: Package,
}

enum Kind {
    /// A program of Node with these arguments.
    Node(&'static [&'static str]),
    /// A program of Python with these arguments.
    Python(&'static [&'static str]),
    /// `sockeye-peers` with this argument.
    Rust(&'static str),
    /// A broker, with its path and the options of the check.
    Broker(Broker, &'static str, &'static [&'static str]),
    /// A client: a program of Node, which is told the URL.
    NodeClient(&'static str),
    /// The same of Python.
    PythonClient(&'static str),
    /// The same of Rust: `sockeye-peers client`.
    RustClient,
}

enum Package {
    Npm(&'static str),
    Pip(&'static str),
    Crate(&'static str),
    Debian(&'static str),
}

const fn server(name: &'static str, kind: Kind, package: Package) -> Peer {
    Peer { name, kind, package }
}

use Kind::{Broker as Brokers, Node, NodeClient, Python, PythonClient, Rust, RustClient};
use Package::{Crate, Debian, Npm, Pip};

pub(super) const PEERS: &[Peer] = &[
    server("ws", Node(&["tests/interop/clients/node/ws.mjs", "server"]), Npm("ws")),
    server(
        "websockets",
        Python(&["tests/interop/clients/python/websockets_.py", "server"]),
        Pip("websockets"),
    ),
    server(
        "aiohttp",
        Python(&["tests/interop/clients/python/aiohttp_.py", "server"]),
        Pip("aiohttp"),
    ),
    server(
        "tornado",
        Python(&["tests/interop/clients/python/tornado_.py", "server", "", "compressed"]),
        Pip("tornado"),
    ),
    server("picows", Python(&["benches/peers/picows_echo.py"]), Pip("picows")),
    server("tokio-tungstenite", Rust("tokio-tungstenite"), Crate("tokio-tungstenite")),
    server("fastwebsockets", Rust("fastwebsockets"), Crate("fastwebsockets")),
    server("axum", Rust("axum"), Crate("axum")),
    server("hypercorn", Python(&["tests/checked/http2.py"]), Pip("hypercorn")),
    server("nchan", Brokers(Broker::Nchan, "/sub", &[]), Debian("libnginx-mod-nchan")),
    server(
        "mosquitto",
        Brokers(Broker::Mosquitto, "/mqtt", &["--subprotocol=mqtt"]),
        Debian("mosquitto"),
    ),
    server("client-ws", NodeClient("tests/checked/client.mjs"), Npm("ws")),
    server("client-websockets", PythonClient("tests/checked/client.py"), Pip("websockets")),
    server("client-tokio-tungstenite", RustClient, Crate("tokio-tungstenite")),
    server("client-chromium", NodeClient("tests/checked/chromium.mjs"), Debian("chromium")),
];

/// A server that runs.
pub(super) enum Served {
    Program(Running),
    Broker(brokers::Running),
}

impl Served {
    pub(super) fn port(&self) -> u16 {
        match self {
            Self::Program(running) => running.port(),
            Self::Broker(running) => running.port(),
        }
    }
}

impl Peer {
    pub(super) fn is_client(&self) -> bool {
        matches!(self.kind, NodeClient(_) | PythonClient(_) | RustClient)
    }

    pub(super) fn is_rust(&self) -> bool {
        matches!(self.kind, Rust(_) | RustClient)
    }

    /// The path of its WebSocket.
    pub(super) fn path(&self) -> &'static str {
        if let Brokers(_, path, _) = self.kind { path } else { "/" }
    }

    /// The options of its check.
    pub(super) fn options(&self) -> &'static [&'static str] {
        if let Brokers(_, _, options) = self.kind { options } else { &[] }
    }

    /// Starts a server, and waits until it listens.
    pub(super) fn serve(&self) -> Result<Served> {
        match self.kind {
            Brokers(broker, ..) => Ok(Served::Broker(broker.start()?)),
            _ => Ok(Served::Program(Running::serve(&mut self.command("")?)?)),
        }
    }

    /// The command that starts it; a client connects to the URL.
    pub(super) fn command(&self, url: &str) -> Result<Command> {
        let python = shell::target()?.join("python/bin/python");
        let python = python.to_string_lossy();
        let rust = shell::target()?.join("debug/sockeye-peers");
        let rust = rust.to_string_lossy();
        Ok(match self.kind {
            Node(arguments) => shell::command("node", arguments.iter().copied()),
            Python(arguments) => shell::command(&python, arguments.iter().copied()),
            Rust(name) => shell::command(&rust, [name]),
            RustClient => shell::command(&rust, ["client", url]),
            PythonClient(file) => shell::command(&python, [file, url]),
            // Its packages are found from where it stands: below `tests`.
            NodeClient(file) => shell::command("node", [file, url]),
            Brokers(..) => anyhow::bail!("{} is started otherwise", self.name),
        })
    }

    /// Which one is installed.
    pub(super) fn version(&self) -> String {
        let version = match self.package {
            Npm(name) => {
                let program = format!("console.log(require('{name}/package.json').version)");
                let mut node = shell::command("node", ["--eval", &program]);
                shell::output(node.current_dir(shell::root().join("tests"))).ok()
            }
            Pip(name) => shell::target().ok().and_then(|target| {
                let program = format!("import importlib.metadata as m; print(m.version('{name}'))");
                let python = target.join("python/bin/python");
                let python = python.to_string_lossy();
                shell::output(&mut shell::command(&python, ["-c", &program])).ok()
            }),
            Crate(name) => locked(name),
            Debian(name) => interop::debian(name),
        };
        version.unwrap_or_else(|| "of an unknown version".to_owned())
    }
}

/// The newest version of a crate in the lock file of `benches/peers`: older ones are those of other crates.
fn locked(name: &str) -> Option<String> {
    let lock = std::fs::read_to_string(shell::root().join("benches/peers/Cargo.lock")).ok()?;
    let (_, after) = lock.rsplit_once(&format!("\nname = \"{name}\"\nversion = \""))?;
    after.split('"').next().map(str::to_owned)
}
