//! `sockeye doctor`: does a live connection work from here?

mod progress;

use std::{cell::RefCell, process::ExitCode, sync::Arc};

use anyhow::anyhow;
use clap::Args;
use http::HeaderMap;
use sockeye::{Address, Client};
use sockeye_doctor::{ExamEvent, Options, Report, Target, examine};
use tokio::sync::Notify;

use self::progress::Bar;
use crate::{
    channel::address,
    errors::explain,
    flags::request::Request,
    flags::route::Route,
    flags::units::{Time, at_most_a_day, deadline},
    system::stop::Stop,
    terminal::output::{OutputError, print_line},
};

/// See whether live connections work from here, through the proxies and firewalls in between
///
/// It resolves the name, connects to each address, looks at TLS and its certificate, opens WebSockets over
/// HTTP/1.1 and HTTP/2, reads Server-Sent Events, and leaves connections alone to see how long they live.
/// Each line has a verdict (ok, warn, fail, skip), what was seen, and what to do. Of a channel of Sockeye's
/// it tries every transport. It publishes nothing. It exits with 1 if something does not work.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sockeye doctor http://127.0.0.1:8080/c/chat
  sockeye doctor wss://echo.example/socket
  sockeye doctor --idle 2m --origin https://app.example https://live.example/c/chat
  sockeye doctor --idle 0s http://127.0.0.1:8080/c/chat
  sockeye doctor --json ws://127.0.0.1:8080/c/chat | jq '.findings[] | select(.verdict == \"fail\")'
  sockeye doctor --quiet http://127.0.0.1:8081/healthz")]
pub(crate) struct Doctor {
    /// A WebSocket, an event stream or a channel: ws://HOST[:PORT]/PATH, or wss, http, https
    #[arg(value_parser = examined_url)]
    url: ExaminedUrl,

    /// Leave connections alone for this long, to see whether silence ends them; 0s leaves that out
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = at_most_a_day)]
    idle: Time,

    /// How long each step may take: a connection, an answer
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = deadline)]
    timeout: Time,

    /// Print everything as JSON
    #[arg(long, conflicts_with = "quiet")]
    json: bool,

    /// Print nothing, and make only a request and, where one has to be there, a WebSocket: a health check
    #[arg(short, long)]
    quiet: bool,

    #[command(flatten)]
    request: Request,

    #[command(flatten)]
    route: Route,
}

/// Where to look, and whether the URL has the scheme of HTTP.
#[derive(Debug, Clone)]
struct ExaminedUrl {
    address: Address,
    is_http: bool,
}

fn examined_url(text: &str) -> Result<ExaminedUrl, String> {
    let is_http =
        text.trim_start().get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http"));
    Ok(ExaminedUrl { address: address(text)?, is_http })
}

impl Doctor {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let result = runtime.block_on(self.examine());
        runtime.shutdown_background();
        match result {
            // A health check has no words, whatever it is that does not work.
            Err(_) if self.quiet => Ok(ExitCode::FAILURE),
            result => result,
        }
    }

    async fn examine(&self) -> anyhow::Result<ExitCode> {
        let mut stop = Stop::new()?;
        let target = self.target()?;
        let options =
            Options::default().timeout(self.timeout.0).idle(self.idle.0).quick(self.quiet);
        let bar = Bar::new(self.quiet);
        let (failed, fails) = (RefCell::new(None::<OutputError>), Notify::new());
        let tell = |told: &ExamEvent| {
            bar.show(told);
            if let (ExamEvent::Found(finding), false) = (told, self.json || self.quiet) {
                let printed = bar.suspend(|| print_line(&Report::line(finding)));
                if let Err(error) = printed {
                    failed.borrow_mut().get_or_insert(error);
                    fails.notify_one();
                }
            }
        };
        let report = tokio::select! {
            report = examine(&target, options, &tell) => Some(report),
            // The reader of the output has gone: no more findings are read.
            () = fails.notified() => None,
            () = stop.requested() => return Err(anyhow!("interrupted")),
        };
        drop(bar);
        if let Some(error) = failed.take() {
            return Err(error.into());
        }
        let Some(report) = report else { return Ok(ExitCode::FAILURE) };
        if self.json {
            print_line(&serde_json::to_string_pretty(&report.to_json())?)?;
        } else if !self.quiet {
            print_line(&format!("\n{}", report.summary()))?;
        }
        Ok(if report.is_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn target(&self) -> anyhow::Result<Target> {
        let ExaminedUrl { address, is_http } = self.url.clone();
        let headers: HeaderMap = self.request.headers(&address)?.into_iter().collect();
        let client = Client::new(address.clone())?
            .timeout(self.timeout.0)
            .subprotocols(self.request.subprotocols().iter().cloned());
        let client = self.route.apply(client)?;
        let client = headers
            .iter()
            .fold(client, |client, (name, value)| client.header(name.clone(), value.clone()));
        let route = self.route.clone();
        Ok(Target {
            is_http,
            client,
            tls: self.route.tls()?,
            headers,
            via: self.route.via(&address)?,
            explain: Arc::new(move |error| explain::connect_error(error, &route).to_string()),
            address,
        })
    }
}
