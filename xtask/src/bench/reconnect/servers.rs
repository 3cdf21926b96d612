//! The servers, each with the same certificate, on the first processor.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};

use crate::bench::on_processor;
use crate::bench::running::{Running, free_port};
use crate::prepare::NCHAN;
use crate::shell;

/// A server by its name in the tables.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Server {
    Echo,
    Serve,
    Tungstenite,
    Nchan,
}

/// A certificate for `localhost`, P-256, that is its own authority, and its key.
pub(super) struct Certificate {
    pub(super) file: PathBuf,
    key: PathBuf,
}

impl Certificate {
    pub(super) fn new() -> Result<Self> {
        let folder = shell::target()?.join("reconnect");
        fs::create_dir_all(&folder)?;
        let (file, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
        let mut openssl = shell::command("openssl", ["req", "-x509", "-nodes", "-newkey", "ec"]);
        openssl.args(["-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=localhost"]);
        openssl.args(["-days", "2", "-addext", "subjectAltName=DNS:localhost"]);
        openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
        openssl.arg("-out").arg(&file).arg("-keyout").arg(&key);
        shell::output(&mut openssl)?;
        Ok(Self { file, key })
    }
}

impl Server {
    pub(super) const ALL: [Self; 4] = [Self::Echo, Self::Serve, Self::Tungstenite, Self::Nchan];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Echo => "sockeye",
            Self::Serve => "sockeye serve",
            Self::Tungstenite => "tokio-tungstenite",
            Self::Nchan => "nchan",
        }
    }

    /// The path of a WebSocket.
    pub(super) fn websocket(self) -> &'static str {
        match self {
            Self::Echo | Self::Tungstenite => "/",
            Self::Serve => "/c/bench",
            Self::Nchan => "/sub",
        }
    }

    /// What clients of channels ask for: the transport, its path, and how it is called.
    pub(super) fn storms(self) -> Vec<(&'static str, &'static str, &'static str)> {
        match self {
            Self::Echo | Self::Tungstenite => Vec::new(),
            Self::Serve => vec![
                ("websocket", "/c/bench", "sockeye serve, WebSocket"),
                ("sse", "/c/bench", "sockeye serve, SSE"),
            ],
            Self::Nchan => {
                vec![("websocket", "/sub", "nchan, WebSocket"), ("sse", "/sub", "nchan, SSE")]
            }
        }
    }

    /// Starts it on that port, or on any if it is 0, and waits until it listens.
    pub(super) fn start(self, certificate: &Certificate, port: u16) -> Result<Running> {
        let port = if port == 0 { free_port()? } else { port };
        let folder = shell::target()?.join(format!("reconnect-{port}"));
        fs::create_dir_all(&folder)?;
        let mut command = self.command(certificate, &folder, port)?;
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let name = self.name();
        let mut child = command.spawn().with_context(|| format!("{name} did not start"))?;
        // This one chooses its port itself, and says which.
        let port = match self {
            Self::Tungstenite => told_port(&mut child)?,
            _ => port,
        };
        let running = Running::listening(name, child, folder, port)?;
        if self == Self::Nchan { running.of_nginx() } else { Ok(running) }
    }

    fn command(self, certificate: &Certificate, folder: &Path, port: u16) -> Result<Command> {
        let Certificate { file, key } = certificate;
        let release = shell::target()?.join("release");
        let sockeye = |command: &str, options: &[&str]| {
            let mut sockeye = on_processor("0", &release.join("sockeye").to_string_lossy());
            sockeye.arg(command).arg(format!("--listen=127.0.0.1:{port}")).args(options);
            sockeye.arg("--tls-cert").arg(file).arg("--tls-key").arg(key);
            sockeye
        };
        Ok(match self {
            Self::Echo => sockeye("echo", &["--workers=1", "--deflate=off"]),
            Self::Serve => sockeye("serve", &["--admin=off"]),
            Self::Tungstenite => {
                let peers = release.join("sockeye-peers");
                let mut peers = on_processor("0", &peers.to_string_lossy());
                peers.arg("tokio-tungstenite-tls").arg(file).arg(key);
                peers
            }
            Self::Nchan => {
                let configuration = folder.join("configuration");
                fs::write(&configuration, nchan(certificate, folder, port))?;
                let mut nginx = on_processor("0", "/usr/sbin/nginx");
                nginx.arg("-c").arg(&configuration).arg("-p").arg(folder).args(["-e", "stderr"]);
                nginx
            }
        })
    }
}

/// One worker, no log, with tickets.
fn nchan(certificate: &Certificate, folder: &Path, port: u16) -> String {
    let Certificate { file, key } = certificate;
    let (file, key, folder) = (file.display(), key.display(), folder.display());
    format!(
        "load_module {NCHAN};
daemon off;
user root;
worker_processes 1;
pid {folder}/pid;
events {{ worker_connections 16000; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    tcp_nodelay on;
    nchan_shared_memory_size 256M;
    server {{
        listen 127.0.0.1:{port} ssl backlog=4096;
        ssl_certificate {file};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.3;
        location = /sub {{
            nchan_subscriber websocket eventsource;
            nchan_channel_id bench;
            nchan_subscriber_first_message newest;
        }}
    }}
}}
"
    )
}

/// The port that it says it listens on.
fn told_port(child: &mut Child) -> Result<u16> {
    let output = child.stdout.take().context("the output is piped")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    let port = line.trim().rsplit(':').next().unwrap_or_default();
    port.parse().with_context(|| format!("it does not say where it listens: {line}"))
}
