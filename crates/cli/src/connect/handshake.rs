//! Opening the WebSocket of `sockeye connect`, and showing how it was opened.

use std::sync::{Mutex, PoisonError};

use anyhow::anyhow;
use http::Response;
use sockeye::{
    Address, Client, Config, ConnectError, DeflateConfig, Direction, Opened, ResponseError, http2,
};
use sockeye_client::internals::refusal;

use super::{Connect, frames::Frames, screen::Screen};
use crate::errors::explain;

impl Connect {
    /// Opens the WebSocket; the outer error is one of the options.
    pub(super) async fn open(
        &self,
        screen: &Screen,
    ) -> anyhow::Result<Result<Opened, ConnectError>> {
        let client = self.client(screen)?;
        let opened = match self.http2 {
            true => match http2::Connection::connect(&client).await {
                Ok(connection) => connection.open(client).await,
                Err(error) => Err(error),
            },
            false => client.open().await,
        };
        if self.verbose > 0 {
            match &opened {
                Ok(opened) => {
                    show(screen, "> ", &String::from_utf8_lossy(&opened.request));
                    show_response(screen, &opened.response);
                }
                Err(ConnectError::Response(ResponseError::Status(response))) => {
                    show_response(screen, response);
                }
                Err(_) => {}
            }
        }
        Ok(opened)
    }

    /// Why the connection was not opened, and what to do.
    pub(super) fn not_opened(&self, error: ConnectError) -> anyhow::Error {
        match error {
            ConnectError::Response(ResponseError::Status(response)) => {
                let why = refusal(&response);
                let (url, why) = (&self.url, why.trim_end_matches('.'));
                anyhow!("{url} did not open a WebSocket: {why}{}", self.channel_hint())
            }
            error @ ConnectError::Io(_) if self.http2 => {
                let error = explain::connect_error(error, &self.route);
                error.context("the server does not seem to speak HTTP/2: leave --http2 out")
            }
            error => explain::connect_error(error, &self.route),
        }
    }

    /// Where a channel is, for a URL that may have been meant for one.
    fn channel_hint(&self) -> String {
        match self.url.parse::<Address>() {
            Ok(address) if !address.url().path().starts_with("/c/") => {
                format!("; a channel of Sockeye's is at {}", with_path(&address, "/c/NAME"))
            }
            _ => String::new(),
        }
    }

    /// The URL without a name and a password.
    pub(super) fn name(&self) -> String {
        let Ok(address) = self.url.parse::<Address>() else { return self.url.clone() };
        without_user(address.url().clone())
    }

    fn client(&self, screen: &Screen) -> anyhow::Result<Client> {
        let config = Config::default()
            .max_message_size(self.max_message.in_memory())
            .max_fragments(self.max_fragments);
        let mut client = Client::new(&self.url)?
            .timeout(self.connect_timeout.0)
            .config(config)
            .deflate(self.compressed.then(DeflateConfig::default));
        client = self.route.apply(client)?.follow_redirects(if self.location { 10 } else { 0 });
        for (name, value) in self.request.headers(&self.url.parse()?)? {
            client = client.header(name, value);
        }
        if self.verbose > 1 {
            let screen = screen.clone();
            let frames = Mutex::new([Direction::Sent, Direction::Received].map(Frames::new));
            client = client.inspect(move |direction, bytes| {
                let mut frames = frames.lock().unwrap_or_else(PoisonError::into_inner);
                let [sent, received] = &mut *frames;
                let frames = if direction == Direction::Sent { sent } else { received };
                frames.read(bytes, |line| screen.note(&line));
            });
        }
        let subprotocols = self.request.subprotocols().iter();
        Ok(subprotocols.fold(client, |client, name| client.subprotocol(name)))
    }
}

fn show_response<B>(screen: &Screen, response: &Response<B>) {
    let mut text = format!("{:?} {}\n", response.version(), response.status());
    for (name, value) in response.headers() {
        text += &format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()));
    }
    show(screen, "< ", &text);
}

fn show(screen: &Screen, prefix: &str, text: &str) {
    for line in text.trim_end().lines() {
        screen.note(&format!("{prefix}{line}"));
    }
}

/// The URL of another path on the same server.
fn with_path(address: &Address, path: &str) -> String {
    let mut url = address.url().clone();
    url.set_path(path);
    url.set_query(None);
    without_user(url)
}

fn without_user(mut url: url::Url) -> String {
    // A URL that has a host has room for a user name, and for none.
    let _ = (url.set_username(""), url.set_password(None));
    url.into()
}
