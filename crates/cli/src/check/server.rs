//! A server, reached as `sockeye connect` reaches it.

use std::{io, sync::Arc};

use http::{HeaderName, HeaderValue, header::AUTHORIZATION};
use sockeye::{Address, Client};
use sockeye_check::{Dial, Dialing, Report, Stream, Target, check_server};
use url::Position;

use super::{Check, progress::Bar};
use crate::system::stop::Stop;

/// Connections through proxies and TLS, with nothing sent yet.
struct Connector(Client);

impl Dial for Connector {
    fn dial(&self) -> Dialing<'_> {
        Box::pin(async {
            let stream: Stream = Box::pin(self.0.transport().await.map_err(io::Error::other)?);
            Ok(stream)
        })
    }

    fn dial_http2(&self) -> Dialing<'_> {
        Box::pin(async {
            let stream = self.0.http2_transport().await.map_err(io::Error::other)?;
            let stream: Stream = Box::pin(stream);
            Ok(stream)
        })
    }
}

pub(super) async fn check(check: &Check) -> anyhow::Result<(String, Report)> {
    let mut stop = Stop::new()?;
    let target = target(check)?;
    let url = check.url.clone().unwrap_or_default();
    let options = check.options();
    let bar = Bar::new();
    let show = |progress| bar.show(progress);
    let report = check_server(&target, &options, &show, stop.requested()).await;
    drop(bar);
    Ok((url, report?))
}

fn target(check: &Check) -> anyhow::Result<Target> {
    let url = check.url.as_deref().unwrap_or_default();
    let address: Address = url.parse()?;
    let client = check.route.apply(Client::new(url)?.timeout(check.timeout.0))?;
    let mut headers = check.request.headers(&address)?;
    if headers.iter().all(|(name, _)| name != AUTHORIZATION) {
        headers.extend(address.authorization().map(|value| (AUTHORIZATION, value)));
    }
    let text = |(name, value): (HeaderName, HeaderValue)| {
        anyhow::Ok((name.to_string(), value.to_str()?.to_owned()))
    };
    let url = address.url();
    Ok(Target {
        is_secure: address.is_secure(),
        authority: url[Position::BeforeHost..Position::AfterPort].to_owned(),
        path: url[Position::BeforePath..Position::AfterQuery].to_owned(),
        headers: headers.into_iter().map(text).collect::<Result<_, _>>()?,
        subprotocols: check.request.subprotocols().to_vec(),
        dial: Arc::new(Connector(client)),
    })
}
