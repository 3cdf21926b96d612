//! The servers of NATS, as a user writes them.

use std::fmt;
use std::str::FromStr;

use async_nats::ServerAddr;

/// Servers of NATS: `nats://a:4222,tls://b`, all with the same user and password, if with any.
///
/// Written out, it has no password in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Servers {
    /// Without user and password, so that nothing that writes an address tells them.
    addresses: Vec<ServerAddr>,
    login: Option<Login>,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password: String,
}

/// Why a text does not name [`Servers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadServers {
    /// One of them is not an address.
    #[error("servers of NATS are written as in nats://10.0.0.1:4222,nats://10.0.0.2:4222")]
    Address,
    /// It has something that means nothing here.
    #[error("an address of NATS has no path, query or fragment")]
    Path,
    /// It is another protocol.
    #[error("an address of NATS begins with nats:// or tls://")]
    Scheme,
    /// They differ in the user or the password.
    #[error(
        "all servers of NATS take the same user and password: write them in each, or in the first"
    )]
    Login,
}

impl Servers {
    pub(crate) fn addresses(&self) -> &[ServerAddr] {
        &self.addresses
    }

    pub(crate) fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    /// Whether the connection is encrypted to at least one of them.
    pub(crate) fn any_tls(&self) -> bool {
        self.addresses.iter().any(ServerAddr::tls_required)
    }
}

impl FromStr for Servers {
    type Err = BadServers;

    fn from_str(text: &str) -> Result<Self, BadServers> {
        let (mut addresses, mut login) = (Vec::new(), None);
        for text in text.split(',') {
            let (address, found) = address(text.trim())?;
            if found.is_some() && login.is_some() && found != login {
                return Err(BadServers::Login);
            }
            login = login.or(found);
            addresses.push(address);
        }
        Ok(Self { addresses, login })
    }
}

/// One address, and the login that was written in it.
fn address(text: &str) -> Result<(ServerAddr, Option<Login>), BadServers> {
    if text.is_empty() || text.split_once("://").is_some_and(|(scheme, _)| scheme.is_empty()) {
        return Err(BadServers::Address);
    }
    if text.split_once("://").is_some_and(|(scheme, _)| !matches!(scheme, "nats" | "tls")) {
        return Err(BadServers::Scheme);
    }
    let address: ServerAddr = text.parse().map_err(|_| BadServers::Address)?;
    let mut url = address.into_inner();
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err(BadServers::Path);
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(BadServers::Address);
    }
    let decoded = |text: &str| percent_decoded(text).ok_or(BadServers::Address);
    let login = match (url.username(), url.password()) {
        ("", None) => None,
        (user, password) => {
            Some(Login { user: decoded(user)?, password: decoded(password.unwrap_or_default())? })
        }
    };
    // They fail only where there is no host.
    let _ = url.set_username("").and_then(|()| url.set_password(None));
    let address = ServerAddr::from_url(url).map_err(|_| BadServers::Scheme)?;
    Ok((address, login))
}

/// The text with its `%40` and the like put back.
fn percent_decoded(text: &str) -> Option<String> {
    let (mut decoded, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let digits = str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
        decoded.push(u8::from_str_radix(digits, 16).ok()?);
        rest = after;
    }
    String::from_utf8(decoded).ok()
}

impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, address) in self.addresses.iter().enumerate() {
            let separator = if index > 0 { "," } else { "" };
            write!(f, "{separator}{}", shown(address))?;
        }
        Ok(())
    }
}

/// An address without a login.
pub(crate) fn shown(address: &ServerAddr) -> String {
    let host = address.host();
    let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
    let (scheme, port) = (address.scheme(), address.port());
    format!("{scheme}://{open}{host}{close}:{port}")
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Servers({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn servers(text: &str) -> Servers {
        text.parse().unwrap()
    }

    #[test]
    fn servers_are_read_with_their_defaults() {
        assert_eq!(servers("nats://a").to_string(), "nats://a:4222");
        let three = "nats://10.0.0.1:4223, tls://b.example, [::1]:7";
        assert_eq!(
            servers(three).to_string(),
            "nats://10.0.0.1:4223,tls://b.example:4222,nats://[::1]:7"
        );
        assert!(servers(three).any_tls());
    }

    #[test]
    fn a_password_is_used_and_never_shown() {
        let servers = servers("nats://zoe:p%40ss%2f@a,nats://b");
        let login = servers.login().unwrap();
        assert_eq!((&*login.user, &*login.password), ("zoe", "p@ss/"));
        let shown = format!("{servers} {servers:?} {:?}", servers.addresses());
        assert!(
            !shown.contains("zoe") && !shown.contains("p@ss") && !shown.contains("p%40"),
            "{shown}"
        );
    }

    #[test]
    fn what_is_not_a_server_is_told_apart() {
        for (text, error) in [
            ("", BadServers::Address),
            ("nats://", BadServers::Address),
            ("://a", BadServers::Address),
            ("nats://a,", BadServers::Address),
            ("nats://a:port", BadServers::Address),
            ("nats://ann:%zz@a", BadServers::Address),
            ("http://a", BadServers::Scheme),
            ("ws://a", BadServers::Scheme),
            ("nats://a/b", BadServers::Path),
            ("nats://a?b", BadServers::Path),
            ("nats://ann:x@a,nats://bob:y@b", BadServers::Login),
        ] {
            assert_eq!(text.parse::<Servers>(), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_names_servers_or_is_an_error(text in "\\PC{0,40}|(nats|tls)://[a-z0-9.:@%,/-]{0,30}") {
            if let Ok(read) = text.parse::<Servers>() {
                let again = servers(&read.to_string());
                prop_assert_eq!(again.addresses().len(), read.addresses().len());
            }
        }
    }
}
