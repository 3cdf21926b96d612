//! Hosts on one machine: network namespaces on a bridge, which can be cut off from each other without knowing it.
//!
//! That takes root, `ip` of iproute2, and a kernel with namespaces, bridges and pairs of virtual interfaces.

use std::process::Command;

/// Some hosts, removed when dropped. Programs of this machine reach all of them; what is cut is only between the
/// hosts.
#[derive(Debug)]
pub struct Network {
    hosts: usize,
    /// Tells the networks of processes apart.
    id: u32,
}

impl Network {
    /// Makes the hosts; `Err` says in one line why this machine cannot.
    ///
    /// # Errors
    ///
    /// When a namespace or an interface cannot be made.
    pub fn new(hosts: usize) -> Result<Self, String> {
        let network = Self { hosts, id: std::process::id() };
        let (bridge, own) = (network.bridge(), format!("{}/24", network.address(253)));
        ip(&format!("link add {bridge} type bridge"))?;
        ip(&format!("addr add {own} dev {bridge}"))?;
        ip(&format!("link set {bridge} up"))?;
        for host in 0..hosts {
            let (namespace, address) = (network.namespace(host), network.address(host));
            let interface = format!("v{:x}-{host}", network.id);
            ip(&format!("netns add {namespace}"))?;
            ip(&format!("link add {interface} type veth peer name eth0 netns {namespace}"))?;
            ip(&format!("link set {interface} master {bridge}"))?;
            ip(&format!("link set {interface} up"))?;
            ip(&format!("-n {namespace} addr add {address}/24 dev eth0"))?;
            ip(&format!("-n {namespace} link set eth0 up"))?;
            ip(&format!("-n {namespace} link set lo up"))?;
        }
        Ok(network)
    }

    /// The address of a host, counted from 0.
    #[must_use]
    pub fn address(&self, host: usize) -> String {
        let id = self.id;
        format!("10.{}.{}.{}", 64 + ((id >> 8) & 63), id & 255, host + 1)
    }

    /// The words before a command that run it on a host, in the process that is started.
    #[must_use]
    pub fn on(&self, host: usize) -> [String; 4] {
        ["ip", "netns", "exec", &self.namespace(host)].map(str::to_owned)
    }

    /// Nothing goes any more between this host and those.
    pub fn cut(&self, host: usize, others: &[usize]) {
        self.route("add", host, others);
    }

    /// All goes again between this host and those.
    pub fn heal(&self, host: usize, others: &[usize]) {
        self.route("del", host, others);
    }

    fn route(&self, what: &str, host: usize, others: &[usize]) {
        for (one, other) in others.iter().flat_map(|other| [(host, *other), (*other, host)]) {
            let (namespace, address) = (self.namespace(one), self.address(other));
            let done = ip(&format!("-n {namespace} route {what} blackhole {address}/32"));
            done.unwrap_or_else(|why| panic!("{why}"));
        }
    }

    fn namespace(&self, host: usize) -> String {
        format!("sockeye{:x}-{host}", self.id)
    }

    fn bridge(&self) -> String {
        format!("b{:x}", self.id)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for host in 0..self.hosts {
            let _ = ip(&format!("netns del {}", self.namespace(host)));
        }
        let _ = ip(&format!("link del {}", self.bridge()));
    }
}

fn ip(arguments: &str) -> Result<(), String> {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    let output = output.map_err(|why| format!("`ip` of iproute2 cannot be run: {why}"))?;
    let why = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("ip {arguments}: {}", why.trim())) }
}
