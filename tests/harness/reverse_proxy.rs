//! A real proxy in front of a server, with the configuration that the guide
//! `docs/operate/behind-a-proxy.md` gives for it.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use tempfile::TempDir;

use sockeye_testing::eventually;

/// How many ports a proxy is started on before it is given up.
const PORTS_TRIED: usize = 10;

/// The proxies there are guides for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Apache's httpd.
    Apache,
    /// Caddy.
    Caddy,
    /// HAProxy.
    Haproxy,
    /// lighttpd.
    Lighttpd,
    /// nginx.
    Nginx,
    /// Varnish.
    Varnish,
}

/// A running proxy on a free port of loopback. It ends when dropped.
#[derive(Debug)]
pub struct ReverseProxy {
    address: SocketAddr,
    child: Child,
    _folder: TempDir,
}

impl ReverseProxy {
    /// Starts the proxy in front of `upstream`, as the guide has it.
    #[must_use]
    pub fn start(kind: Kind, upstream: SocketAddr) -> Self {
        Self::start_with(kind, upstream, |configuration| configuration)
    }

    /// Starts it with the guide's configuration changed.
    ///
    /// # Panics
    ///
    /// When the proxy does not come up.
    #[must_use]
    pub fn start_with(
        kind: Kind,
        upstream: SocketAddr,
        change: impl FnOnce(String) -> String,
    ) -> Self {
        let block = change(kind.guide()).replace("127.0.0.1:8080", &upstream.to_string());
        Self::start_block(kind, &block, upstream)
    }

    /// Starts it with this configuration instead of the guide's.
    ///
    /// # Panics
    ///
    /// When the proxy does not come up.
    #[must_use]
    pub fn start_block(kind: Kind, block: &str, upstream: SocketAddr) -> Self {
        // A port that was free may be taken when the proxy comes to it.
        let mut words = String::new();
        for _ in 0..PORTS_TRIED {
            match Self::try_start(kind, block, upstream) {
                Ok(proxy) => return proxy,
                Err(last_words) => words = last_words,
            }
        }
        panic!("the proxy ends at once with:\n{block}\nIts last words:\n{words}")
    }

    /// Starts it on a port that is free now; its last words if it ends.
    fn try_start(kind: Kind, block: &str, upstream: SocketAddr) -> Result<Self, String> {
        let address = free_address();
        let folder = tempfile::tempdir().expect("a folder for the proxy");
        let here = folder.path();
        let file = here.join("configuration");
        std::fs::write(&file, kind.configuration(block, upstream, address, here))
            .expect("the folder can be written to");
        let mut command = kind.command(&file, address, here);
        let errors = here.join("errors");
        let log = File::create(&errors).expect("the folder can be written to");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().expect("`cargo xtask test reverse` installs the proxies");
        let mut proxy = Self { address, child, _folder: folder };
        match proxy.wait_until_it_listens() {
            Ok(()) => Ok(proxy),
            Err(status) => {
                let words = std::fs::read_to_string(errors).unwrap_or_default();
                Err(format!("{words}{status}"))
            }
        }
    }

    /// The HTTP URL of a path that begins with `/`.
    #[must_use]
    pub fn http(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The WebSocket URL of a path that begins with `/`.
    #[must_use]
    pub fn ws(&self, path: &str) -> String {
        format!("ws://{}{path}", self.address)
    }

    fn wait_until_it_listens(&mut self) -> Result<(), ExitStatus> {
        eventually("the proxy listens", || {
            let ended = self.child.try_wait().expect("the proxy can be asked");
            let listens = TcpStream::connect(self.address).is_ok().then_some(Ok(()));
            listens.or_else(|| ended.map(Err))
        })
    }
}

impl Drop for ReverseProxy {
    fn drop(&mut self) {
        // Varnish's second process ends with its first.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Kind {
    /// The guide's code block.
    fn guide(self) -> String {
        let guide = include_str!("../../docs/operate/behind-a-proxy.md");
        let fence = match self {
            Self::Apache => "```apacheconf\n",
            Self::Caddy => "```caddyfile\n",
            Self::Haproxy => "```haproxy\n",
            Self::Lighttpd => "```lighttpd\n",
            Self::Nginx => "```nginx\n",
            Self::Varnish => "```vcl\n",
        };
        let (_, block) = guide.split_once(fence).expect("the guide has the proxy");
        block.split("```").next().unwrap_or_default().to_owned()
    }

    /// The whole configuration: the guide's block on this address, and what a proxy needs to leave
    /// the rest of the machine alone.
    fn configuration(
        self,
        block: &str,
        upstream: SocketAddr,
        address: SocketAddr,
        here: &Path,
    ) -> String {
        let here = here.display();
        match self {
            Self::Apache => {
                let modules = ["mpm_event", "authz_core", "proxy", "proxy_http"].map(|name| {
                    format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n")
                });
                format!(
                    "ServerRoot {here}\nPidFile {here}/pid\nErrorLog {here}/log\n{}Listen {address}\n{}",
                    modules.concat(),
                    block.replace("*:80", &address.to_string())
                )
            }
            Self::Caddy => {
                // By itself it listens on all of the machine's addresses.
                let site = format!("http://{address} {{\n\tbind {}", address.ip());
                let block = block.replace("live.example.org {", &site);
                format!("{{\n\tadmin off\n}}\n{block}")
            }
            Self::Haproxy => block.replace("bind :80", &format!("bind {address}")),
            Self::Lighttpd => format!(
                "server.bind = \"{}\"\nserver.port = {}\nserver.document-root = \"{here}\"\n{}",
                address.ip(),
                address.port(),
                // It has no single string for a server's address.
                block.replace("\"port\" => 8080", &format!("\"port\" => {}", upstream.port()))
            ),
            Self::Varnish => {
                block.replace(".port = \"8080\"", &format!(".port = \"{}\"", upstream.port()))
            }
            Self::Nginx => {
                let block = block.replace("listen 80;", &format!("listen {address};"));
                let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                    .map(|name| format!("{name}_temp_path {here}/{name};\n"));
                format!(
                    "daemon off;\nmaster_process off;\npid {here}/pid;\nerror_log {here}/log;\n\
                     events {{}}\nhttp {{\naccess_log off;\n{}{block}}}\n",
                    folders.concat()
                )
            }
        }
    }

    fn command(self, file: &Path, address: SocketAddr, here: &Path) -> Command {
        let mut command = match self {
            Self::Caddy => Command::new("caddy"),
            Self::Apache => Command::new("/usr/sbin/apache2"),
            Self::Lighttpd => Command::new("/usr/sbin/lighttpd"),
            Self::Varnish => Command::new("/usr/sbin/varnishd"),
            // Debian has these where only root's PATH leads.
            Self::Haproxy => Command::new("/usr/sbin/haproxy"),
            Self::Nginx => Command::new("/usr/sbin/nginx"),
        };
        match self {
            Self::Caddy => command
                .args(["run", "--adapter", "caddyfile", "--config"])
                .arg(file)
                .env("HOME", here)
                .env("XDG_CONFIG_HOME", here)
                .env("XDG_DATA_HOME", here),
            Self::Apache => command.args(["-X", "-f"]).arg(file),
            Self::Haproxy => command.args(["-db", "-f"]).arg(file),
            Self::Lighttpd => command.args(["-D", "-f"]).arg(file),
            Self::Varnish => command
                .args(["-F", "-j", "none", "-T", "none", "-s", "malloc,16m"])
                .args(["-a", &address.to_string()])
                .arg("-n")
                .arg(here.join("work"))
                .arg("-f")
                .arg(file),
            Self::Nginx => command.arg("-p").arg(here).arg("-c").arg(file),
        };
        command
    }
}

/// A free address.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address")
}
