//! TLS: the handshake as clients make it, and which versions the server has.

use std::{io, sync::Arc};

use sockeye::{
    ConnectError,
    internals::AcceptAnything,
    tls::rustls::{self, ClientConfig, ProtocolVersion, SupportedProtocolVersion, version},
};
use tokio::time::{Instant, timeout};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{crypto::aws_lc_rs, pki_types::ServerName},
};

use super::certificate;
use crate::{
    exam::Exam,
    finding::{Check, Finding},
    span::{millis, span},
};

/// The handshake, the certificate and the versions. `false` if there is no TLS.
pub(crate) async fn tls(exam: &Exam<'_>) -> bool {
    exam.begin(Check::Tls);
    let config = match exam.target.tls.to_config().await {
        Ok(config) => config,
        Err(error) => {
            exam.found(Finding::fail(Check::Tls, error.to_string()));
            return false;
        }
    };
    let begun = Instant::now();
    let stream = match shake(exam, ClientConfig::clone(&config), true).await {
        Ok(stream) => stream,
        Err(error) => {
            let is_of_certificate = is_of_certificate(&error);
            exam.found(Finding::fail(Check::Tls, (exam.target.explain)(error)));
            if is_of_certificate && !exam.options.quick {
                show_certificate(exam).await;
            }
            return false;
        }
    };
    let took = begun.elapsed();
    let session = stream.get_ref().1;
    let version = session.protocol_version().map_or("TLS", name);
    let cipher = session.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()));
    let protocol = match session.alpn_protocol() {
        Some(b"h2") => "HTTP/2",
        Some(b"http/1.1") => "HTTP/1.1",
        _ => "no protocol: HTTP/1.1",
    };
    let figure = format!("{version} in {}, and it negotiates {protocol}", span(took));
    let finding = Finding::ok(Check::Tls, figure)
        .value("ms", millis(took))
        .value("version", version)
        .value("cipher", cipher);
    exam.found(finding);
    if !exam.options.quick {
        certificate::certificate(exam, session.peer_certificates().unwrap_or_default());
        versions(exam).await;
    }
    true
}

/// Whether the handshake failed because of the server's certificate.
fn is_of_certificate(error: &ConnectError) -> bool {
    let ConnectError::Tls { error, .. } = error else { return false };
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
}

/// Tells about a certificate that is not accepted. Nothing is sent on that connection.
async fn show_certificate(exam: &Exam<'_>) {
    let Ok(config) = config_of(rustls::ALL_VERSIONS) else { return };
    if let Ok(stream) = shake(exam, config, false).await {
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
        certificate::certificate(exam, certificates);
    }
}

fn name(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::TLSv1_2 => "TLS 1.2",
        ProtocolVersion::TLSv1_3 => "TLS 1.3",
        _ => "TLS",
    }
}

/// A handshake on a connection of its own, which ends with it.
async fn shake(
    exam: &Exam<'_>,
    mut config: ClientConfig,
    with_protocols: bool,
) -> Result<TlsStream<impl Sized + use<>>, ConnectError> {
    let host = exam.target.address.host();
    let limit = exam.options.timeout;
    let stream = exam.target.client.raw_transport().await?;
    if with_protocols {
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    }
    let wrong = |error| ConnectError::Tls { host: host.clone(), error };
    let name =
        ServerName::try_from(host.clone()).map_err(|error| wrong(io::Error::other(error)))?;
    let shaking = TlsConnector::from(Arc::new(config)).connect(name, stream);
    timeout(limit, shaking).await.map_err(|_| ConnectError::Timeout(limit))?.map_err(wrong)
}

/// Which versions the server has, whatever its certificate is: nothing is sent.
async fn versions(exam: &Exam<'_>) {
    exam.begin(Check::TlsVersions);
    let has = async |version| {
        let config = config_of(&[version])?;
        Ok::<_, rustls::Error>(shake(exam, config, false).await.is_ok())
    };
    let (old, new) = (has(&version::TLS12).await, has(&version::TLS13).await);
    let finding = match (old.unwrap_or(false), new.unwrap_or(false)) {
        (true, true) => Finding::ok(Check::TlsVersions, "TLS 1.2 and 1.3"),
        (false, true) => Finding::ok(Check::TlsVersions, "TLS 1.3 alone"),
        (true, false) => Finding::warn(Check::TlsVersions, "TLS 1.2 alone")
            .advice("let the server speak TLS 1.3, too: connecting takes a round trip less"),
        (false, false) => Finding::skip(Check::TlsVersions, "no further handshake succeeded"),
    };
    exam.found(finding);
}

fn config_of(
    versions: &[&'static SupportedProtocolVersion],
) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AcceptAnything(provider)))
        .with_no_client_auth();
    Ok(config)
}
