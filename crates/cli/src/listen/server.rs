//! From a request to a client that is printed, a client with its process, or a file.

use std::{ffi::OsString, sync::Arc, time::Duration};

use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{RETRY_AFTER, UPGRADE},
};
use hyper::{body::Incoming, ext::Protocol};
use sockeye::{
    CloseCode, Config, Connections, DeflateConfig, Opening, Refusal, Upgrade,
    internals::{ConnectionLimiter, Permit},
};
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    access::Access,
    cgi::{self, Link, request_uri},
    clients::{Clients, Name},
    files::Files,
    http::{Body, Handler, InUse, full, refusal},
    process::{NoProcess, Process, Program},
    pump::{PumpOptions, pump},
    screen::Screen,
    typing::LastCame,
};

/// What answers requests.
pub(super) struct Server {
    pub(super) access: Access,
    pub(super) files: Option<Files>,
    pub(super) program: Option<Program>,
    pub(super) pump: PumpOptions,
    pub(super) config: Arc<Config>,
    pub(super) deflate: Option<DeflateConfig>,
    pub(super) subprotocols: Vec<String>,
    pub(super) limiter: ConnectionLimiter,
    pub(super) clients: Arc<Clients>,
    pub(super) screen: Screen,
    pub(super) last_came: LastCame,
    pub(super) connections: Connections,
    /// The tasks of the clients.
    pub(super) tasks: TaskTracker,
    /// Cancelled when those that are left are to end.
    pub(super) cut: CancellationToken,
    /// Cancelled when the one client has left, if there is to be one only.
    pub(super) over: CancellationToken,
    pub(super) once: bool,
}

/// A client that is let in.
struct Admitted {
    name: Name,
    link: Link,
    uri: String,
    process: Option<Process>,
    _permit: Permit,
    _in_use: InUse,
}

impl Handler for Server {
    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        link: Link,
        in_use: InUse,
    ) -> Response<Body> {
        if let Err(refused) = self.access.check_host(&request) {
            return self.refused(link, refused);
        }
        match &self.files {
            Some(files) if !is_websocket(&request) => {
                in_use.until_sent(files.answer(request).await)
            }
            _ => match self.upgrade(request, link, in_use) {
                Ok(response) => response,
                Err(refused) => self.refused(link, refused),
            },
        }
    }
}

impl Server {
    /// Opens a WebSocket, with its process if there is to be one: where none can be started, the client is told so.
    fn upgrade(
        self: &Arc<Self>,
        mut request: Request<Incoming>,
        link: Link,
        in_use: InUse,
    ) -> Result<Response<Body>, Refusal> {
        let upgrade = Upgrade::new(&mut request)?
            .origins(self.access.origins())
            .config(Arc::clone(&self.config))
            .deflate(self.deflate.clone())
            .subprotocol_of(self.subprotocols.iter().map(String::as_str))
            .join(&self.connections, ());
        self.access.check_token(&request)?;
        let (response, opening) = upgrade.accept()?;
        let network = Some(link.peer.ip().into());
        let permit = self.limiter.acquire(network, || false);
        let permit = permit.map_err(|_| later("there are as many connections as there may be"))?;
        let process = match &self.program {
            Some(program) => Some(self.start(program, &request, link)?),
            None => None,
        };
        let (name, uri) = (self.clients.name(), request_uri(request.uri()));
        let admitted = Admitted { name, link, uri, process, _permit: permit, _in_use: in_use };
        let (server, cut) = (Arc::clone(self), self.cut.clone());
        self.tasks.spawn(async move {
            cut.run_until_cancelled(server.serve(opening, admitted)).await;
        });
        Ok(response.map(|()| full(Default::default())))
    }

    fn start(
        &self,
        program: &Program,
        request: &Request<Incoming>,
        link: Link,
    ) -> Result<Process, Refusal> {
        let variables: Option<Vec<(String, OsString)>> = cgi::variables(request, link);
        let variables = variables
            .ok_or_else(|| Refusal::new(StatusCode::BAD_REQUEST, "the path has a NUL in it"))?;
        program.start(variables).map_err(|why| match why {
            NoProcess::TooMany => later("there are as many processes as there may be"),
            NoProcess::Failed(error) => {
                self.screen.warn(format_args!("cannot start a process: {error}"));
                later("no process can be started")
            }
        })
    }

    async fn serve(self: Arc<Self>, opening: Opening, client: Admitted) {
        let Admitted { name, link, uri, process, .. } = client;
        let Ok(socket) = opening.open().await else { return };
        let closed = match process {
            Some(process) => {
                self.screen.opened(name, link, &uri).await;
                pump(socket, process, name, &self.screen, self.pump).await
            }
            None => {
                let (mut reader, writer) = socket.split();
                // Before it is told: what is typed then goes to it, too.
                let present = self.clients.enter(name, writer);
                self.screen.opened(name, link, &uri).await;
                while let Some(Ok(message)) = reader.recv().await {
                    self.last_came.note();
                    if !self.screen.message(name, message).await {
                        break;
                    }
                }
                drop(present);
                reader.ended().await
            }
        };
        self.screen.closed(name, &closed).await;
        if self.once {
            self.over.cancel();
        }
    }

    /// Tells of a request that was refused, and answers it.
    fn refused(&self, link: Link, refused: Refusal) -> Response<Body> {
        let (status, text) = (refused.status(), refused.text().trim_end());
        self.screen.tell(format_args!("{} was refused with {status}: {text}", link.peer));
        refusal(refused)
    }

    /// Closes all connections, and ends what is left of them and their processes after that time.
    pub(super) async fn stop(&self, code: CloseCode, within: Duration) {
        self.tasks.close();
        let ended = async {
            self.connections.shutdown(code, within).await;
            self.tasks.wait().await;
        };
        if timeout(within, ended).await.is_err() {
            self.cut.cancel();
            self.tasks.wait().await;
        }
    }
}

/// Whether a WebSocket is asked for, rightly or not.
fn is_websocket<B>(request: &Request<B>) -> bool {
    request.extensions().get::<Protocol>().is_some() || request.headers().contains_key(UPGRADE)
}

fn later(text: &str) -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text)
        .header(RETRY_AFTER, HeaderValue::from_static("5"))
}
