//! The server's certificates: for which names, until when, and which authority has signed them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::{
    exam::Exam,
    finding::{Check, Finding},
    span::span,
};

/// A certificate that ends sooner should have been renewed already: authorities that renew by themselves do
/// so a month before.
const SOON: Duration = Duration::from_hours(14 * 24);
/// The most names that are shown.
const MOST_NAMES: usize = 4;

/// What a chain of certificates says.
#[derive(Debug, PartialEq, Eq)]
struct Chain {
    names: Vec<String>,
    issuer: String,
    length: usize,
    /// The end of the certificate that ends first, as seconds since 1970.
    ends: i64,
    /// Whether that is the server's own.
    own_ends_first: bool,
}

/// Tells about the certificates of a handshake.
pub(crate) fn certificate(exam: &Exam<'_>, chain: &[CertificateDer<'_>]) {
    let Some(chain) = read(chain) else {
        let unread = "the certificate cannot be read, though TLS takes it";
        exam.found(Finding::warn(Check::Certificate, unread));
        return;
    };
    exam.found(judge(&chain, SystemTime::now()));
}

fn judge(chain: &Chain, now: SystemTime) -> Finding {
    let Chain { names, issuer, length, ends, own_ends_first } = chain;
    let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed());
    let left = Duration::from_secs(u64::try_from(ends - now).unwrap_or(0));
    let gone = Duration::from_secs(u64::try_from(now - ends).unwrap_or(0));
    let more = names.len().saturating_sub(MOST_NAMES);
    let mut named = names.iter().take(MOST_NAMES).cloned().collect::<Vec<_>>().join(", ");
    if more > 0 {
        named += &format!(" and {more} more");
    }
    let certificates = if *length == 1 { "alone" } else { "with those between" };
    let whose = if *own_ends_first { "" } else { "one between " };
    let until = match gone.is_zero() {
        true => format!("{whose}valid for {}", span(left)),
        false => format!("{whose}expired {} ago", span(gone)),
    };
    let figure = format!("for {named}, signed by {issuer}, sent {certificates}, {until}");
    let finding = match left < SOON {
        _ if !gone.is_zero() => Finding::fail(Check::Certificate, figure)
            .advice("the server needs a new one, unless the clock of this machine is wrong"),
        true => Finding::warn(Check::Certificate, figure)
            .advice("renew it, and look why that has not happened by itself"),
        false => Finding::ok(Check::Certificate, figure),
    };
    finding.value("seconds_left", left.as_secs()).value("sent", *length)
}

fn read(chain: &[CertificateDer<'_>]) -> Option<Chain> {
    let parsed: Vec<_> = chain
        .iter()
        .filter_map(|certificate| Some(X509Certificate::from_der(certificate).ok()?.1))
        .collect();
    let own = parsed.first()?;
    let end = |certificate: &X509Certificate<'_>| certificate.validity().not_after.timestamp();
    let ends = parsed.iter().map(end).min()?;
    Some(Chain {
        names: names(own),
        issuer: issuer(own),
        length: chain.len(),
        ends,
        own_ends_first: end(own) == ends,
    })
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let names = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => {
                <[u8; 4]>::try_from(*bytes).ok().map(|ip| std::net::Ipv4Addr::from(ip).to_string())
            }
            _ => {
                <[u8; 16]>::try_from(*bytes).ok().map(|ip| std::net::Ipv6Addr::from(ip).to_string())
            }
        },
        _ => None,
    });
    names.collect()
}

/// The authority's name, its organisation before it if it has one.
fn issuer(certificate: &X509Certificate<'_>) -> String {
    if certificate.issuer() == certificate.subject() {
        return "itself".to_owned();
    }
    let issuer = certificate.issuer();
    let text = |mut of: Box<
        dyn Iterator<Item = &x509_parser::x509::AttributeTypeAndValue<'_>> + '_,
    >| { of.next().and_then(|value| value.as_str().ok()).map(str::to_owned) };
    let organisation = text(Box::new(issuer.iter_organization()));
    let name = text(Box::new(issuer.iter_common_name()));
    match (organisation, name) {
        (Some(organisation), Some(name)) => format!("{organisation} ({name})"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => "an authority without a name".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, Issuer, KeyPair, date_time_ymd};

    use super::*;
    use crate::finding::Verdict;

    fn at(days: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_hours(days * 24)
    }

    #[test]
    fn names_issuer_and_end_are_read_and_one_that_ends_soon_is_warned_of() {
        let mut authority = CertificateParams::default();
        authority.distinguished_name.push(DnType::OrganizationName, "Tests");
        authority.distinguished_name.push(DnType::CommonName, "Authority 1");
        authority.not_after = date_time_ymd(1970, 3, 2);
        let key = KeyPair::generate().unwrap();
        let root = authority.self_signed(&key).unwrap();
        let issuer = Issuer::new(authority, key);
        let mut params =
            CertificateParams::new(["live.example".to_owned(), "192.0.2.1".to_owned()]).unwrap();
        params.not_before = date_time_ymd(1970, 1, 1);
        params.not_after = date_time_ymd(1970, 2, 20);
        let own = params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        let chain = read(&[own.der().clone(), root.der().clone()]).unwrap();
        assert_eq!(chain.names, ["live.example", "192.0.2.1"]);
        assert_eq!((chain.length, chain.own_ends_first), (2, true));
        let early = judge(&chain, at(1));
        assert_eq!(early.verdict, Verdict::Ok);
        let expected = "for live.example, 192.0.2.1, signed by Tests (Authority 1), sent with those \
                        between, valid for 49 days";
        assert_eq!(early.figure, expected);
        let late = judge(&chain, at(40));
        assert_eq!((late.verdict, late.advice.is_some()), (Verdict::Warn, true), "{late:?}");
        let gone = judge(&chain, at(60));
        assert_eq!(gone.verdict, Verdict::Fail);
        assert!(gone.figure.ends_with("expired 10 days ago"), "{}", gone.figure);
        assert!(read(&[CertificateDer::from(vec![1, 2, 3])]).is_none());
    }
}
