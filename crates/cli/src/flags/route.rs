//! How a client gets to the server: which certificates it trusts, and what it goes through. The flags are curl's.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use sockeye::{Address, Client, ConnectError, Proxy, tls::ClientTls};
use sockeye_doctor::Via;

#[derive(Debug, Clone, Args)]
pub(crate) struct Route {
    /// Trust the certificate authorities in this file (PEM) alone, and the certificates in it
    /// themselves, not the authorities of the system
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,

    /// Present this certificate (PEM) to the server
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,

    /// The private key (PEM) of --cert, if it is not in the same file
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,

    /// Danger: accept any certificate of the server
    #[arg(short = 'k', long)]
    insecure: bool,

    /// Go through this proxy: http://, https://, socks5:// or socks5h://[NAME:PASSWORD@]HOST[:PORT];
    /// nothing means none [default: as the environment says: wss_proxy, https_proxy, all_proxy, ...]
    #[arg(short = 'x', long, value_name = "URL", value_parser = proxy)]
    proxy: Option<ProxyChoice>,

    /// Connect to this Unix socket instead of the URL's host and port
    #[arg(long, value_name = "PATH", conflicts_with = "proxy")]
    unix_socket: Option<PathBuf>,
}

/// `None` for going straight.
#[derive(Debug, Clone)]
struct ProxyChoice(Option<Box<Proxy>>);

impl Route {
    pub(crate) fn apply(&self, client: Client) -> anyhow::Result<Client> {
        self.connector().map(|connect| connect(client))
    }

    /// What has any client take this way. Files of certificates are read once.
    pub(crate) fn connector(
        &self,
    ) -> anyhow::Result<impl Fn(Client) -> Client + Send + Sync + use<>> {
        let (tls, proxy, path) = (self.tls()?, self.proxy.clone(), self.unix_socket.clone());
        Ok(move |client: Client| {
            let mut client = client.tls(tls.clone());
            if let Some(ProxyChoice(choice)) = &proxy {
                client = match choice {
                    Some(proxy) => client.proxy(Proxy::clone(proxy)),
                    None => client.no_proxy(),
                };
            }
            match &path {
                Some(path) => client.unix_socket(path),
                None => client,
            }
        })
    }

    /// Whether authorities were named.
    pub(crate) fn has_cacert(&self) -> bool {
        self.cacert.is_some()
    }

    /// Whether there is a certificate to present.
    pub(crate) fn has_certificate(&self) -> bool {
        self.cert.is_some()
    }

    /// What connections to the address go through.
    ///
    /// # Errors
    ///
    /// When what the environment names is not a proxy.
    pub(crate) fn via(&self, address: &Address) -> Result<Via, ConnectError> {
        if let Some(path) = &self.unix_socket {
            return Ok(Via::UnixSocket(path.clone()));
        }
        let (proxy, is_of_environment) = match &self.proxy {
            Some(ProxyChoice(proxy)) => (proxy.as_deref().cloned(), false),
            None => (Proxy::from_environment(address)?, true),
        };
        let through = |proxy: Proxy| Via::Proxy { proxy: proxy.to_string(), is_of_environment };
        Ok(proxy.map_or(Via::Nothing, through))
    }

    pub(crate) fn tls(&self) -> anyhow::Result<ClientTls> {
        let mut tls = ClientTls::new();
        if let Some(file) = &self.cacert {
            tls = tls.without_system_roots().root_file(file).context("--cacert")?;
        }
        if let Some(certificate) = &self.cert {
            let key = self.key.as_ref().unwrap_or(certificate);
            tls = tls.identity_files(certificate, key).context("--cert and --key")?;
        }
        Ok(if self.insecure { tls.danger_accept_invalid_certificates() } else { tls })
    }
}

fn proxy(text: &str) -> Result<ProxyChoice, String> {
    if text.is_empty() {
        return Ok(ProxyChoice(None));
    }
    let proxy = text.parse().map_err(|error: sockeye::ProxyError| error.to_string())?;
    Ok(ProxyChoice(Some(Box::new(proxy))))
}
