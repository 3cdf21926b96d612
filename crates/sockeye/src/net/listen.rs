//! Listening sockets for an address as people write it.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::net::{TcpListener, lookup_host};

/// How often a free port is looked for that all addresses of a name have.
const ATTEMPTS: usize = 16;

/// What `HOST:PORT` means: all addresses that a name has. Without a host it is every address of this
/// machine, the first that it has of those given. IPv6 addresses stand in brackets and may have a zone,
/// as in `[fe80::1%eth0]:8080`.
///
/// # Errors
///
/// When it has not this form, or the name is not found.
pub async fn lookup(address: &str) -> io::Result<Vec<SocketAddr>> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "it is not of the form HOST:PORT");
    let (host, port) = address.rsplit_once(':').ok_or_else(invalid)?;
    let port: u16 = port.parse().map_err(|_| invalid())?;
    if host.is_empty() {
        return Ok(vec![
            (Ipv6Addr::UNSPECIFIED, port).into(),
            (Ipv4Addr::UNSPECIFIED, port).into(),
        ]);
    }
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let mut found: Vec<SocketAddr> = Vec::new();
    for address in lookup_host((host, port)).await? {
        if !found.contains(&address) {
            found.push(address);
        }
    }
    Ok(found)
}

/// Listens on all addresses that [`lookup`] has found, with the same port, but for those that this
/// machine has not.
///
/// # Errors
///
/// When one of them is taken, or it has none of them.
pub async fn listen(found: &[SocketAddr]) -> io::Result<Vec<TcpListener>> {
    let mut last = Ok(Vec::new());
    for _ in 0..ATTEMPTS {
        last = listen_once(found).await;
        // A port that was free on the first address may be taken on the next.
        let is_chosen = found.iter().all(|address| address.port() != 0) || found.len() < 2;
        match &last {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && !is_chosen => {}
            _ => break,
        }
    }
    last
}

async fn listen_once(found: &[SocketAddr]) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::with_capacity(found.len());
    let mut missing = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let mut port = None;
    for address in found {
        let mut address = *address;
        address.set_port(port.unwrap_or(address.port()));
        match TcpListener::bind(address).await {
            Ok(listener) => {
                port = Some(listener.local_addr()?.port());
                listeners.push(listener);
                // `[::]` takes connections of IPv4, too.
                if address.ip() == Ipv6Addr::UNSPECIFIED {
                    break;
                }
            }
            Err(error) if is_not_here(&error) => missing = error,
            Err(error) => return Err(error),
        }
    }
    if listeners.is_empty() { Err(missing) } else { Ok(listeners) }
}

/// Whether the machine has no such address, or nothing of its family.
fn is_not_here(error: &io::Error) -> bool {
    #[cfg(unix)]
    if rustix::io::Errno::from_io_error(error) == Some(rustix::io::Errno::AFNOSUPPORT) {
        return true;
    }
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_is_all_its_addresses_and_no_name_is_every_address() {
        let found = lookup("localhost:0").await.unwrap();
        let listeners = listen(&found).await.unwrap();
        let ports: Vec<u16> =
            listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        assert!(ports.iter().all(|port| *port == ports[0] && *port != 0), "{ports:?}");
        assert!(found.iter().any(|address| address.ip() == Ipv4Addr::LOCALHOST), "{found:?}");

        let any = listen(&lookup(":0").await.unwrap()).await.unwrap();
        assert_eq!(any.len(), 1);
        assert!(any[0].local_addr().unwrap().ip().is_unspecified());

        let zone = lookup("[fe80::1%1]:80").await.unwrap();
        assert!(
            matches!(zone[..], [SocketAddr::V6(address)] if address.scope_id() == 1),
            "{zone:?}"
        );
        for wrong in ["localhost", "8080", "localhost:", "localhost:99999"] {
            assert_eq!(lookup(wrong).await.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[tokio::test]
    async fn an_address_that_is_taken_is_an_error_and_one_that_is_not_here_is_left_out() {
        let holder = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let taken = holder.local_addr().unwrap();
        assert_eq!(listen(&[taken]).await.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let elsewhere: SocketAddr = "192.0.2.1:0".parse().unwrap();
        assert!(listen(&[elsewhere]).await.is_err());
        let here = listen(&[elsewhere, "127.0.0.1:0".parse().unwrap()]).await.unwrap();
        assert_eq!(here.len(), 1);
    }
}
