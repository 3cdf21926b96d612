//! Why there is no connection, in sentences that say what to do.

use std::io;

use anyhow::anyhow;
use sockeye::{
    ConnectError, ProxyError, ResponseError,
    tls::rustls::{self, AlertDescription as Alert, CertificateError, InvalidMessage},
};
use sockeye_proto::handshake::MalformedHead;

use crate::{flags::route::Route, flags::units::roughly};

/// The error with what to do, where that is known.
pub(crate) fn connect_error(error: ConnectError, route: &Route) -> anyhow::Error {
    match advice(&error, route) {
        Some(sentence) => anyhow!(sentence),
        None => error.into(),
    }
}

fn advice(error: &ConnectError, route: &Route) -> Option<String> {
    match error {
        ConnectError::Connect { error: cause, .. }
            if cause.kind() == io::ErrorKind::ConnectionRefused =>
        {
            Some(format!("{error}: is the server running there?"))
        }
        ConnectError::Tls { host, error } => tls(host, error, route),
        ConnectError::Proxy { proxy, error: ProxyError::Tls(error) } => tls(proxy, error, route),
        // In TLS 1.3 a server looks at the client's certificate when the client is done.
        ConnectError::Io(error) => tls("the server", error, route),
        ConnectError::Response(ResponseError::Head(MalformedHead::Tls)) => {
            Some("the server speaks TLS on this port: write wss:// or https://".to_owned())
        }
        _ => None,
    }
}

fn tls(host: &str, error: &io::Error, route: &Route) -> Option<String> {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>())?;
    match inner {
        rustls::Error::InvalidCertificate(wrong) => certificate(host, wrong, route),
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => Some(format!(
            "{host} does not speak TLS on this port: write ws:// or http:// if that is meant"
        )),
        rustls::Error::PeerIncompatible(_)
        | rustls::Error::AlertReceived(Alert::ProtocolVersion | Alert::HandshakeFailure) => {
            Some(format!(
                "{host} and this program have no version or cipher of TLS in common: the server \
                 needs TLS 1.2 or 1.3"
            ))
        }
        rustls::Error::AlertReceived(Alert::CertificateRequired) => {
            Some(format!("{host} asks for a certificate: give --cert FILE and --key FILE"))
        }
        rustls::Error::AlertReceived(
            Alert::BadCertificate
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA,
        ) if route.has_certificate() => {
            Some(format!("{host} does not accept the certificate of --cert ({inner})"))
        }
        rustls::Error::AlertReceived(Alert::UnrecognisedName) => {
            Some(format!("{host} is a name that the server has no certificate for"))
        }
        _ => None,
    }
}

/// What is wrong with the server's certificate.
fn certificate(host: &str, wrong: &CertificateError, route: &Route) -> Option<String> {
    Some(match wrong {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            match route.has_cacert() {
                true => format!(
                    "the certificate of {host} is not signed by an authority of --cacert: give a file \
                 with the one that has signed it, or with that certificate itself"
                ),
                false => format!(
                    "the certificate of {host} is signed by no authority that this system trusts: give \
                 --cacert FILE with the one that has signed it, or with that certificate itself"
                ),
            }
        }
        CertificateError::Other(other) if other.to_string() == "CaUsedAsEndEntity" => format!(
            "the certificate of {host} signs itself: give --cacert FILE with that very certificate"
        ),
        CertificateError::ExpiredContext { time, not_after } => format!(
            "the certificate of {host} expired {} ago: the server needs a new one, unless the clock \
             of this machine is wrong",
            roughly(time.as_secs().saturating_sub(not_after.as_secs()))
        ),
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "the certificate of {host} is not valid yet, but in {}: is the clock of this machine \
             right?",
            roughly(not_before.as_secs().saturating_sub(time.as_secs()))
        ),
        // Also where it ends before it begins.
        CertificateError::Expired => format!(
            "the certificate of {host} has expired, or was never valid: the server needs a new one, \
             unless the clock of this machine is wrong"
        ),
        CertificateError::NotValidYet => format!(
            "the certificate of {host} is not valid yet: is the clock of this machine right?"
        ),
        CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => {
            format!("the certificate of {host} names no host: the server needs one for {host}")
        }
        CertificateError::NotValidForNameContext { presented, .. } => format!(
            "the certificate is for {}, and not for {host}: use a name that it is for",
            presented.iter().map(|name| name_of(name)).collect::<Vec<_>>().join(", ")
        ),
        CertificateError::NotValidForName => {
            format!("the certificate is not for {host}: use a name that it is for")
        }
        _ => return None,
    })
}

/// A name as a URL has it: rustls gives `DnsName("localhost")`.
fn name_of(presented: &str) -> &str {
    let inner = presented.split_once('(').map_or(presented, |(_, rest)| rest.trim_end_matches(')'));
    inner.trim_matches('"')
}
