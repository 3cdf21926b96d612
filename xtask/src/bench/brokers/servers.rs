//! The brokers: each in its good configuration, on loopback, with files that go when it does.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use crate::bench::on_processor;
use crate::bench::running::{Running, free_port};
use crate::prepare::NCHAN;
use crate::shell;

/// A broker by its name in the tables.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broker {
    Sockeye,
    Nchan,
    Nats,
    Mosquitto,
}

pub(super) const BROKERS: [Broker; 4] =
    [Broker::Sockeye, Broker::Nchan, Broker::Nats, Broker::Mosquitto];

impl Broker {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sockeye => "sockeye serve",
            Self::Nchan => "nchan",
            Self::Nats => "nats-server",
            Self::Mosquitto => "Mosquitto",
        }
    }

    /// Starts it on the first processor, and waits until it listens.
    pub(crate) fn start(self) -> Result<Running> {
        self.start_on("0")
    }

    /// Starts it on these processors, and waits until it listens.
    pub(super) fn start_on(self, processors: &str) -> Result<Running> {
        let (port, other) = (free_port()?, free_port()?);
        let folder = shell::target()?.join(format!("brokers-{port}"));
        fs::create_dir_all(&folder)?;
        let configuration = folder.join("configuration");
        fs::write(&configuration, self.configuration(&folder, port, other))?;
        let mut command = self.command(processors, &configuration, port)?;
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let name = self.name();
        let child = command.spawn().with_context(|| format!("{name} did not start"))?;
        let running = Running::listening(name, child, folder, port)?;
        if self == Self::Nchan { running.of_nginx() } else { Ok(running) }
    }

    fn command(self, processors: &str, configuration: &Path, port: u16) -> Result<Command> {
        let file = configuration.to_string_lossy();
        let (program, arguments) = match self {
            Self::Sockeye => {
                let program = shell::target()?.join("release/sockeye");
                let listen = format!("--listen=127.0.0.1:{port}");
                (
                    program.to_string_lossy().into_owned(),
                    vec!["serve".to_owned(), listen, "--admin=off".to_owned()],
                )
            }
            Self::Nchan => {
                let folder = configuration.parent().unwrap_or(configuration).to_string_lossy();
                let arguments = ["-c", &file, "-p", &folder, "-e", "stderr"];
                ("/usr/sbin/nginx".to_owned(), arguments.map(str::to_owned).to_vec())
            }
            Self::Nats => ("nats-server".to_owned(), vec!["-c".to_owned(), file.into_owned()]),
            Self::Mosquitto => {
                ("/usr/sbin/mosquitto".to_owned(), vec!["-c".to_owned(), file.into_owned()])
            }
        };
        let mut command = on_processor(processors, &program);
        command.args(arguments);
        Ok(command)
    }

    /// What is in its configuration file.
    fn configuration(self, folder: &Path, port: u16, other: u16) -> String {
        match self {
            Self::Sockeye => String::new(),
            Self::Nchan => nchan(folder, port),
            Self::Nats => format!(
                "listen: 127.0.0.1:{other}\n\
                 websocket {{ listen: \"127.0.0.1:{port}\", no_tls: true, compression: false }}\n\
                 logfile: \"{}/log\"\n",
                folder.display()
            ),
            // It starts with no listener but one for WebSockets only from version 2.1 on.
            Self::Mosquitto => format!(
                "listener {other} 127.0.0.1\nlistener {port} 127.0.0.1\nprotocol websockets\n\
                 allow_anonymous true\npersistence false\nset_tcp_nodelay true\nlog_dest none\n"
            ),
        }
    }

    /// How its channel is listened to and published to: the URL and options of `bench fanout`.
    pub(super) fn load(self, running: &Running) -> Vec<String> {
        let address = running.address();
        match self {
            Self::Sockeye => vec![
                format!("ws://{address}/c/bench"),
                format!("--publish-to=http://{address}/c/bench"),
            ],
            Self::Nchan => {
                vec![format!("ws://{address}/sub"), format!("--publish-to=http://{address}/pub")]
            }
            Self::Nats => vec![format!("ws://{address}/"), "--transport=nats".to_owned()],
            Self::Mosquitto => vec![format!("ws://{address}/"), "--transport=mqtt".to_owned()],
        }
    }
}

/// One worker, no log, no limit on how long a publisher's connection lasts, and as much history as
/// `sockeye serve` keeps.
fn nchan(folder: &Path, port: u16) -> String {
    let folder = folder.display();
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
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    nchan_shared_memory_size 256M;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location = /sub {{
            nchan_subscriber websocket eventsource;
            nchan_channel_id bench;
            nchan_subscriber_first_message newest;
        }}
        location = /pub {{
            nchan_publisher http;
            nchan_channel_id bench;
            nchan_message_buffer_length 1000;
        }}
    }}
}}
"
    )
}
