//! The servers that are measured, and how each is started.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result};

use super::on_processor;
use crate::shell;

/// A server by its name in the tables.
#[derive(Clone, Copy)]
pub(super) struct Server {
    pub(super) name: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    /// The program `sockeye` with these arguments, and the path of its URL.
    Sockeye(&'static [&'static str], &'static str),
    /// `sockeye-peers` with this name.
    Peer(&'static str),
    /// `sockeye-peers-zlib` with this name.
    ZlibPeer(&'static str),
    /// `benches/peers/node.mjs` with this argument.
    Node(&'static str),
    /// A program in `benches/peers` with these arguments.
    Python(&'static [&'static str]),
}

const ECHO: &[&str] = &["echo", "--listen", "127.0.0.1:0", "--workers", "1", "--deflate", "off"];
const DEFLATE: &[&str] = &["echo", "--listen", "127.0.0.1:0", "--workers", "1"];
const TAKEOVER: &[&str] =
    &["echo", "--listen", "127.0.0.1:0", "--workers", "1", "--deflate", "takeover"];
const SERVE: &[&str] = &["serve", "--listen", "127.0.0.1:0", "--admin", "off"];

const SERVE_URING: &[&str] =
    &["serve", "--listen", "127.0.0.1:0", "--admin", "off", "--io", "uring"];

const LIMIT: Server = peer("limit-echo");
const SOCKEYE: Server = Server { name: "sockeye", kind: Kind::Sockeye(ECHO, "/") };
const SOCKEYE_DEFLATE: Server = Server { name: "sockeye", kind: Kind::Sockeye(DEFLATE, "/") };
const FASTWEBSOCKETS: Server = peer("fastwebsockets");
const TOKIO_WEBSOCKETS: Server = peer("tokio-websockets");
const WTX: Server = peer("wtx");
const WTX_DEFLATE: Server = Server { name: "wtx", kind: Kind::Peer("wtx-deflate") };
const SOCKUDO: Server = peer("sockudo-ws");
const SOCKUDO_DEFLATE: Server =
    Server { name: "sockudo-ws", kind: Kind::Peer("sockudo-ws-deflate") };
const YAWC_DEFLATE: Server = Server { name: "yawc", kind: Kind::Peer("yawc-deflate") };
const TUNGSTENITE: Server = peer("tokio-tungstenite");
const AXUM: Server = peer("axum");
const WEB_SOCKET: Server = peer("web-socket");
const RATCHET: Server = Server { name: "ratchet", kind: Kind::ZlibPeer("ratchet") };
const RATCHET_DEFLATE: Server = Server { name: "ratchet", kind: Kind::ZlibPeer("ratchet-deflate") };
const SOKETTO: Server = Server { name: "soketto", kind: Kind::ZlibPeer("soketto") };
const SOKETTO_DEFLATE: Server = Server { name: "soketto", kind: Kind::ZlibPeer("soketto-deflate") };
const PICOWS: Server = Server { name: "picows", kind: Kind::Python(&["picows_echo.py"]) };
const NODE: Server = Server { name: "Node ws", kind: Kind::Node("echo") };
const NODE_DEFLATE: Server = Server { name: "Node ws", kind: Kind::Node("deflate") };
const PYTHON: Server = Server { name: "Python websockets", kind: Kind::Python(&["echo.py"]) };
const PYTHON_DEFLATE: Server =
    Server { name: "Python websockets", kind: Kind::Python(&["echo.py", "deflate"]) };

/// Those that send every message back.
pub(super) const ECHO_SERVERS: &[Server] = &[
    LIMIT,
    Server { name: "bare tokio", kind: Kind::Peer("tokio-bare") },
    SOCKEYE,
    FASTWEBSOCKETS,
    TOKIO_WEBSOCKETS,
    WTX,
    SOCKUDO,
    peer("yawc"),
    TUNGSTENITE,
    Server { name: "tokio-tungstenite (batched)", kind: Kind::Peer("tokio-tungstenite-batched") },
    AXUM,
    WEB_SOCKET,
    RATCHET,
    SOKETTO,
    PICOWS,
    NODE,
    PYTHON,
];

/// Those that compress, each message by itself.
pub(super) const DEFLATE_SERVERS: &[Server] = &deflating(SOCKUDO_DEFLATE);

/// Those that compress with earlier messages in mind; wtx and soketto know only the other way.
pub(super) const TAKEOVER_SERVERS: &[Server] = &[
    Server { name: "sockeye", kind: Kind::Sockeye(TAKEOVER, "/") },
    SOCKUDO_DEFLATE,
    YAWC_DEFLATE,
    RATCHET_DEFLATE,
    NODE_DEFLATE,
    PYTHON_DEFLATE,
];

/// Those that hold many connections: where speed and memory pull different ways, tuned for memory.
pub(super) const MEMORY_SERVERS: &[Server] = &[
    LIMIT,
    SOCKEYE,
    FASTWEBSOCKETS,
    TOKIO_WEBSOCKETS,
    WTX,
    SOCKUDO,
    Server { name: "yawc (small buffers)", kind: Kind::Peer("yawc-small") },
    TUNGSTENITE,
    AXUM,
    WEB_SOCKET,
    RATCHET,
    SOKETTO,
    PICOWS,
    NODE,
    PYTHON,
];

/// Those that hold many connections which compress; likewise.
pub(super) const MEMORY_DEFLATE_SERVERS: &[Server] = &deflating(Server {
    name: "sockudo-ws (low memory)",
    kind: Kind::Peer("sockudo-ws-deflate-small"),
});

/// Those that send every message to all.
pub(super) const FAN_OUT_SERVERS: &[Server] = &[
    peer("limit-fanout"),
    peer("limit-fanout-uring"),
    Server { name: "sockeye serve", kind: Kind::Sockeye(SERVE, "/c/bench") },
    Server { name: "sockeye serve --io uring", kind: Kind::Sockeye(SERVE_URING, "/c/bench") },
    Server { name: "tokio-websockets (batched)", kind: Kind::Peer("tokio-websockets-fanout") },
    Server { name: "fastwebsockets", kind: Kind::Peer("fastwebsockets-fanout") },
    Server { name: "Node ws", kind: Kind::Node("fanout") },
];

/// All that compress each message by itself, sockudo-ws in one of its forms.
const fn deflating(sockudo: Server) -> [Server; 8] {
    [
        SOCKEYE_DEFLATE,
        sockudo,
        WTX_DEFLATE,
        YAWC_DEFLATE,
        RATCHET_DEFLATE,
        SOKETTO_DEFLATE,
        NODE_DEFLATE,
        PYTHON_DEFLATE,
    ]
}

/// A server of `sockeye-peers` that has the same name there.
const fn peer(name: &'static str) -> Server {
    Server { name, kind: Kind::Peer(name) }
}

/// A server that runs. Killed when dropped.
pub(super) struct Running {
    child: Child,
    /// Where it is reached.
    pub(super) url: String,
    /// Held open: it may have more to say.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Server {
    /// Starts it on the first processor, and waits until it listens.
    pub(super) fn start(&self) -> Result<Running> {
        let mut command = self.command()?;
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} did not start", self.name))?;
        let output = child.stdout.take().context("the output is piped")?;
        let mut output = BufReader::new(output).lines();
        let address = output.find_map(|line| address(&line.ok()?));
        let address = address.with_context(|| format!("{} does not listen", self.name))?;
        Ok(Running { child, url: format!("ws://{address}{}", self.path()), _output: output })
    }

    fn command(&self) -> Result<Command> {
        let release = |name: &str| -> Result<Command> {
            let program = shell::target()?.join("release").join(name);
            Ok(on_processor("0", &program.to_string_lossy()))
        };
        Ok(match self.kind {
            Kind::Sockeye(arguments, _) => {
                let mut command = release("sockeye")?;
                command.args(arguments);
                command
            }
            Kind::Peer(name) => {
                let mut command = release("sockeye-peers")?;
                command.arg(name);
                command
            }
            Kind::ZlibPeer(name) => {
                let mut command = release("sockeye-peers-zlib")?;
                command.arg(name);
                command
            }
            Kind::Node(argument) => {
                let mut command = on_processor("0", "node");
                // Its packages are found from where its input comes from.
                let program = std::fs::read(shell::root().join("benches/peers/node.mjs"))?;
                let program = String::from_utf8_lossy(&program).into_owned();
                command.args(["--input-type=module", "--eval", &program, "--", argument]);
                command.current_dir(shell::root().join("tests"));
                command
            }
            Kind::Python(arguments) => {
                let python = shell::target()?.join("python/bin/python");
                let mut command = on_processor("0", &python.to_string_lossy());
                command.args(arguments).current_dir(shell::root().join("benches/peers"));
                command
            }
        })
    }

    fn path(&self) -> &'static str {
        match self.kind {
            Kind::Sockeye(_, path) => path,
            _ => "/",
        }
    }
}

impl Running {
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first `127.0.0.1:PORT` in a line.
fn address(line: &str) -> Option<String> {
    let (_, after) = line.split_once("127.0.0.1:")?;
    let port = after.split(|c: char| !c.is_ascii_digit()).next()?;
    Some(format!("127.0.0.1:{port}"))
}
