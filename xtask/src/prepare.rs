//! What the steps need beyond Rust: looked for first, installed by name only when missing.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::shell;

/// Something a step cannot do without.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Message brokers with WebSockets: nginx with nchan, nats-server, Mosquitto.
    Brokers,
    /// A program that cargo installs, by the name of its crate; with `@` and a version where that
    /// matters.
    CargoTool(&'static str),
    /// Debian's Chromium.
    Chromium,
    /// curl.
    Curl,
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
    /// OpenSSL's program.
    OpenSsl,
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
    /// Proxies that stand in front of the server: Apache, Caddy, HAProxy, lighttpd, nginx, Varnish.
    ReverseProxies,
    /// Valgrind, with callgrind.
    Valgrind,
}

/// The folders with Node packages: what the tests need, and what builds the browser client.
const NODE_PACKAGES: [&str; 2] = ["tests", "clients/js"];

/// The Python packages of the tests, and of the measurements.
const TESTS: &str = "tests/requirements.txt";
const PEERS: &str = "benches/peers/requirements.txt";

/// Where Debian puts nchan, a module of nginx.
pub(crate) const NCHAN: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";

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
            Need::Python => install_python_packages(&[TESTS])?,
            Need::PythonPeers => install_python_packages(&[TESTS, PEERS])?,
            Need::Brokers
            | Need::Chromium
            | Need::Curl
            | Need::MinGw
            | Need::Firefox
            | Need::Mojolicious
            | Need::Netty
            | Need::OpenSsl
            | Need::Peers
            | Need::Promtool
            | Need::Proxies
            | Need::ReverseProxies
            | Need::Valgrind => {}
        }
    }
    Ok(())
}

fn missing_debian_packages(needs: &[Need]) -> Vec<&'static str> {
    let mut missing = Vec::new();
    let mut want = |package, there: bool| {
        if !there {
            missing.push(package);
        }
    };
    for need in needs {
        match need {
            Need::Brokers => {
                want("libnginx-mod-nchan", Path::new(NCHAN).is_file());
                for name in ["mosquitto", "nats-server", "nginx"] {
                    want(name, is_program(name) || Path::new("/usr/sbin").join(name).is_file());
                }
            }
            Need::CargoTool(_) => {}
            Need::Chromium => want("chromium", is_program("chromium")),
            Need::Curl => want("curl", is_program("curl")),
            Need::MinGw => {
                want("gcc-mingw-w64-x86-64-win32", is_program("x86_64-w64-mingw32-gcc"));
            }
            Need::Firefox => want("firefox-esr", is_program("firefox-esr")),
            Need::Mojolicious => {
                let mut perl = shell::command("perl", ["-MMojolicious", "-e", "1"]);
                want("libmojolicious-perl", is_program("perl") && shell::succeeds(&mut perl));
            }
            Need::Netty => {
                want("libnetty-java", Path::new("/usr/share/java/netty-codec-http.jar").exists());
                want("default-jdk-headless", is_program("javac"));
            }
            Need::Node => {
                want("nodejs", is_program("node"));
                want("npm", is_program("npm"));
            }
            Need::OpenSsl => want("openssl", is_program("openssl")),
            Need::Peers => packages_of_peers().for_each(|(name, there)| want(name, there)),
            Need::Promtool => want("prometheus", is_program("promtool")),
            Need::Proxies => {
                want("microsocks", is_program("microsocks"));
                want("tinyproxy", is_program("tinyproxy"));
            }
            Need::ReverseProxies => {
                for name in ["apache2", "caddy", "haproxy", "lighttpd", "nginx"] {
                    want(name, is_program(name) || Path::new("/usr/sbin").join(name).is_file());
                }
                want("varnish", Path::new("/usr/sbin/varnishd").is_file());
            }
            Need::Valgrind => want("valgrind", is_program("valgrind")),
            Need::Python | Need::PythonPeers => {
                want("python3-venv", shell::succeeds(&mut python3(&["-c", "import ensurepip"])));
            }
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

/// Installs a program with the dependencies its own lock file names. One that is there is left as
/// it is, whatever its version.
fn install_cargo_tool(name: &str) -> Result<()> {
    if is_program(name.split('@').next().unwrap_or(name)) {
        return Ok(());
    }
    shell::run(&mut shell::cargo(["install", "--locked", name]))
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
    // Or niquests puts its own urllib3 in the place of everybody's.
    pip.env("URLLIB3_NO_OVERRIDE", "1");
    for list in requirements {
        pip.args(["--requirement", list]);
    }
    shell::run(&mut pip)
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
