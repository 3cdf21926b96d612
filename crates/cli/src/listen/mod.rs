//! `sockeye listen`: a WebSocket server for people, pipes and programs.
//!
//! - [`http`]: connections until a request is complete. [`server`] answers it. [`unread`]: answers that are not read.
//! - [`access`]: which requests are let in. [`files`]: `--static`.
//! - [`clients`]: those that are connected. [`typing`]: what is sent to them. [`screen`]: what they send.
//! - [`process`], [`cgi`], [`pump`]: `--exec`: what is started, what it is told, what goes in and out.

mod access;
mod cgi;
mod clients;
mod files;
mod http;
mod process;
mod pump;
mod screen;
mod server;
mod typing;
mod unread;

use std::{
    io::{self, IsTerminal},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use clap::Args;
use sockeye::{
    CloseCode, Config, Connections, Keepalive, Listener,
    internals::{self, ConnectionLimiter},
    tls::ServerTls,
};
use tokio::{net::TcpListener, runtime::Builder};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    access::Access,
    files::Files,
    http::Http,
    process::Exec,
    pump::PumpOptions,
    screen::{Failed, Screen, Style},
    server::Server,
    typing::{LastCame, Lines, Typing, piped},
};
use crate::{
    flags::certificate::Certificate,
    flags::compression::Compression,
    flags::listening,
    flags::units::{
        Size, Switch, Time, deadline, listen_address, number, some_size, time, time_or_off,
    },
    system::signals::ServerSignals,
    terminal::output::{OutputError, OutputReader},
    terminal::prompt::Prompt,
};

/// How long clients may take to answer the Close when the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// How long what is left of the program may take to end.
const LAST_TASKS: Duration = Duration::from_secs(1);

/// Open a WebSocket server: see what clients send, type or pipe what they get; or run a program for each
///
/// Clients are called @1, @2, … in the order in which they come. What one sends is printed as a line that
/// begins with its name. A line that is typed or piped in goes to all; @2 TEXT goes to the second alone, and
/// @* TEXT to all, whatever TEXT begins with. Piped lines wait for the first client; after the last one it goes on
/// to print. On a terminal Ctrl-D ends it. With --exec each client has a process of its own instead.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sockeye listen
  sockeye listen --json | jq
  echo hello | sockeye listen --once
  sockeye listen --exec 'grep --line-buffered -i error'
  sockeye listen --exec 'date; echo $REMOTE_ADDR' --shell
  sockeye listen --exec ./game.py --static ./public --allow-origin https://game.example
  sockeye listen --listen :9001 --token s3cret --tls-cert chain.pem --tls-key key.pem")]
pub(crate) struct Listen {
    /// Where to listen: an address, of a name all that it has, or :PORT for every address of this
    /// machine; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9001", value_parser = listen_address)]
    listen: String,

    /// Send each line as a binary message; with --exec, pass on bytes both ways with no regard to lines
    #[arg(long)]
    binary: bool,

    /// Print what comes as JSON lines, clients that come and leave among them
    #[arg(long, conflicts_with = "exec")]
    json: bool,

    /// Do not tell on stderr which clients come, leave and are refused
    #[arg(short, long)]
    quiet: bool,

    /// End with the first client; after the last line of a pipe, close when nothing has come for --wait
    #[arg(long)]
    once: bool,

    /// With --once, how long to wait after the last line of a pipe
    #[arg(long, value_name = "TIME", requires = "once", default_value = "500ms", value_parser = time)]
    wait: Duration,

    /// Agree to this subprotocol where it is offered; may be given several times
    #[arg(short, long, value_name = "NAME")]
    subprotocol: Vec<String>,

    /// Serve the files of this folder to requests that are not for a WebSocket; none outside of it, by links or
    /// otherwise, and none that is hidden
    #[arg(long = "static", value_name = "DIR")]
    folder: Option<PathBuf>,

    #[command(flatten)]
    exec: Exec,

    #[command(flatten)]
    access: Access,

    #[command(flatten)]
    certificate: Certificate,

    #[command(flatten)]
    bounds: Bounds,
}

/// What clients may take.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits")]
struct Bounds {
    /// How many clients there are at most; further ones are refused with 503 [default: as many as there may
    /// be open files (RLIMIT_NOFILE), less a quarter or 256]
    #[arg(long, value_name = "N", hide_default_value = true)]
    #[arg(default_value_t = internals::max_connections().unwrap_or(usize::MAX))]
    #[arg(value_parser = number::<usize>)]
    max_connections: usize,

    /// The largest message, such as 64k or 16M, and the longest line; a larger message is answered with close
    /// code 1009
    #[arg(long, value_name = "SIZE", default_value = "1M", value_parser = some_size)]
    max_message: Size,

    /// How long a client may take nothing of what is sent to it before it is cut off
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = deadline)]
    write_timeout: Time,

    /// Ping clients that are silent for this long, such as 25s; or off
    #[arg(long, value_name = "TIME", default_value = "25s", value_parser = time_or_off)]
    keepalive: Switch,

    /// Whether to compress messages where clients offer it (permessage-deflate); with takeover, a
    /// message may refer to earlier ones where clients allow it: smaller, for memory per connection
    #[arg(long, value_name = "on|off|takeover", default_value = "on")]
    deflate: Compression,

    /// How much memory messages of clients that refer to earlier ones may take in all: 32 KiB for each
    /// client that compresses so. Beyond it clients are asked not to
    #[arg(long, value_name = "SIZE", default_value = "64M")]
    max_deflate_memory: Size,
}

impl Bounds {
    fn config(&self) -> Config {
        let keepalive = self.keepalive.0.map(|interval| {
            Keepalive::default().interval(interval).timeout(interval.min(Duration::from_secs(20)))
        });
        Config::default().max_message_size(self.max_message.in_memory()).keepalive(keepalive)
    }
}

impl Listen {
    pub(crate) fn run(self, signals: ServerSignals) -> anyhow::Result<()> {
        let style = Style { json: self.json, quiet: self.quiet };
        let is_prompt =
            !self.exec.is_some() && io::stdin().is_terminal() && io::stdout().is_terminal();
        let runtime = Builder::new_multi_thread().enable_all().build()?;
        // What can be wrong is told before there is a prompt.
        let (bound, server) = {
            let _inside = runtime.enter();
            let bound = runtime.block_on(self.bind())?;
            (bound, self.program_and_files()?)
        };
        let (lines, prompt) = match is_prompt {
            true => Prompt::open().map(|(lines, prompt)| (Some(lines), Some(prompt)))?,
            false if self.exec.is_some() => (None, None),
            false => (Some(piped(self.bounds.max_message.in_memory())?), None),
        };
        let (screen, printers, failed) = Screen::open(style, prompt)?;
        let server = self.server(server, screen);
        let typing = lines.map(|lines| self.typing(&server, lines, is_prompt));
        let result = runtime.block_on(self.serve(bound, server, typing, failed, signals));
        // Processes that are left are killed with their tasks.
        runtime.shutdown_timeout(LAST_TASKS);
        printers.finish();
        result
    }

    async fn bind(&self) -> anyhow::Result<Bound> {
        let tls = self.certificate.read()?;
        let sockets = listening::bind(&self.listen).await?;
        let addresses = sockets.iter().map(std::net::TcpListener::local_addr);
        let addresses = addresses.collect::<io::Result<Vec<_>>>()?;
        self.access.check_reach(&addresses)?;
        let listeners =
            sockets.into_iter().map(|socket| TcpListener::from_std(socket).map(Listener::from));
        Ok(Bound { listeners: listeners.collect::<io::Result<_>>()?, addresses, tls })
    }

    fn program_and_files(&self) -> anyhow::Result<(Option<process::Program>, Option<Files>)> {
        let files = self.folder.as_deref().map(Files::open).transpose()?;
        Ok((self.exec.program()?, files))
    }

    fn server(
        &self,
        (program, files): (Option<process::Program>, Option<Files>),
        screen: Screen,
    ) -> Arc<Server> {
        let bounds = &self.bounds;
        let pump = PumpOptions {
            binary: self.binary,
            max_message: bounds.max_message.in_memory(),
            write_timeout: bounds.write_timeout.0,
            read_timeout: program.as_ref().and_then(|program| program.read_timeout),
            kill_after: program.as_ref().map_or(Duration::ZERO, |program| program.kill_after),
        };
        let max = if self.once { 1 } else { bounds.max_connections };
        Arc::new(Server {
            access: self.access.clone(),
            files,
            program,
            pump,
            config: Arc::new(bounds.config()),
            deflate: bounds.deflate.server(bounds.max_deflate_memory),
            subprotocols: self.subprotocol.clone(),
            limiter: ConnectionLimiter::new(Some(max), None),
            clients: Arc::default(),
            screen,
            last_came: LastCame::new(),
            connections: Connections::new(),
            tasks: TaskTracker::new(),
            cut: CancellationToken::new(),
            over: CancellationToken::new(),
            once: self.once,
        })
    }

    fn typing(&self, server: &Server, lines: Lines, is_prompt: bool) -> (Typing, Lines) {
        let typing = Typing {
            clients: Arc::clone(&server.clients),
            screen: server.screen.clone(),
            binary: self.binary,
            is_prompt,
            write_timeout: self.bounds.write_timeout.0,
        };
        (typing, lines)
    }

    /// Serves until it is asked to stop, nothing more can be printed, or all is said.
    async fn serve(
        &self,
        bound: Bound,
        server: Arc<Server>,
        typing: Option<(Typing, Lines)>,
        failed: Failed,
        signals: ServerSignals,
    ) -> anyhow::Result<()> {
        let ServerSignals { stop: mut requests, others, .. } = signals;
        tokio::spawn(others.heed(self.certificate.reload(bound.tls.clone())));
        server.screen.tell(bound.greeting());
        let stop = CancellationToken::new();
        // What processes write goes to clients.
        let mut output = (!self.exec.is_some()).then(OutputReader::watch);
        let gone = async {
            match &mut output {
                Some(output) => output.gone().await,
                None => std::future::pending().await,
            }
        };
        let http = Arc::new(Http::new(Arc::clone(&server), bound.tls, self.bounds.write_timeout.0));
        tokio::spawn(http.accept(bound.listeners, stop.clone()));
        let said = async {
            let Some((typing, lines)) = typing else { return std::future::pending().await };
            typing.send(lines).await?;
            match typing.is_prompt {
                true => Ok(CloseCode::GOING_AWAY),
                false if self.once => {
                    server.last_came.quiet(self.wait).await;
                    Ok(CloseCode::NORMAL)
                }
                false => std::future::pending().await,
            }
        };
        let result = tokio::select! {
            () = requests.requested() => Ok(CloseCode::GOING_AWAY),
            () = server.over.cancelled() => Ok(CloseCode::GOING_AWAY),
            Ok(error) = failed => Err(error),
            () = gone => Err(OutputError::closed().into()),
            code = said => code,
        };
        stop.cancel();
        let code = result.as_ref().map_or(CloseCode::GOING_AWAY, |code| *code);
        let within = STOP_TIMEOUT + server.pump.kill_after;
        tokio::select! {
            () = server.stop(code, within) => {}
            () = requests.requested() => {}
        }
        result.map(drop)
    }
}

/// Where it listens.
struct Bound {
    listeners: Vec<Listener>,
    addresses: Vec<SocketAddr>,
    tls: Option<ServerTls>,
}

impl Bound {
    fn greeting(&self) -> String {
        let scheme = if self.tls.is_some() { "wss" } else { "ws" };
        let each = self.addresses.iter().map(|address| format!("{scheme}://{address}"));
        format!("listening on {}", each.collect::<Vec<_>>().join(" and "))
    }
}
