//! Why a node does not start: each in one line that says what to do.

pub(crate) mod jetstream;

use self::jetstream::ApiError;

/// Why a cluster cannot be joined.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// NATS does not let this user in.
    #[error(
        "{server} refuses the user: check --cluster-creds, or the user and password in --cluster ({source})"
    )]
    Login {
        /// The servers.
        server: String,
        /// What it said.
        source: async_nats::ConnectError,
    },
    /// A file that is needed to connect cannot be used.
    #[error("{flag} {}: {source}", file.display())]
    File {
        /// The option that names it.
        flag: &'static str,
        /// The file.
        file: std::path::PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// No server can be connected to.
    #[error(
        "NATS cannot be reached at {server}: {said}: check --cluster, and that nats-server runs there"
    )]
    Unreachable {
        /// The servers.
        server: String,
        /// What the last of them came to.
        said: String,
    },
    /// JetStream does not answer just now.
    #[error(
        "JetStream does not answer at {server}: start a majority of the servers of NATS, and wait for their election ({said})"
    )]
    NoAnswer {
        /// The servers.
        server: String,
        /// What came of it.
        said: String,
    },
    /// There is no such cluster.
    #[error(
        "there is no cluster {name} at {server}: `sockeye serve --cluster` makes it when its first node starts; see --cluster-name"
    )]
    NoCluster {
        /// The name.
        name: String,
        /// The servers.
        server: String,
    },
    /// The server does not know what a cluster needs.
    #[error("{server} is nats-server {version}: take 2.12 or newer, better 2.15")]
    Version {
        /// The server.
        server: String,
        /// Its version.
        version: String,
    },
    /// JetStream is off.
    #[error(
        "{server} has no JetStream for this account: write `jetstream {{}}` into its configuration, and into the account's"
    )]
    NoJetStream {
        /// The server.
        server: String,
    },
    /// The server takes only smaller messages.
    #[error(
        "{server} takes at most {max_payload} bytes in a message: set its max_payload to {needed} or more, or lower --max-message"
    )]
    MaxPayload {
        /// The server.
        server: String,
        /// What it takes.
        max_payload: usize,
        /// What a cluster needs.
        needed: usize,
    },
    /// The server takes only smaller messages than nodes send each other.
    #[error(
        "{server} takes at most {max_payload} bytes in a message, and nodes tell each other of presence in up to {needed}: set its max_payload to {needed} or more"
    )]
    MaxPayloadOfNodes {
        /// The server.
        server: String,
        /// What it takes.
        max_payload: usize,
        /// What nodes need.
        needed: usize,
    },
    /// The user may not do what a node does.
    #[error(
        "{server} forbids the user what a node of this cluster does: give it the permissions of docs/operate/cluster.md, or the --cluster-name that it has them for ({said})"
    )]
    Forbidden {
        /// The servers.
        server: String,
        /// What the server says.
        said: String,
    },
    /// There are not enough servers for that many replicas.
    #[error(
        "NATS cannot keep {replicas} replicas: start more of its servers in one cluster, or make the cluster with a smaller --cluster-replicas ({said})"
    )]
    Replicas {
        /// How many were asked for.
        replicas: u8,
        /// What JetStream says.
        said: String,
    },
    /// The servers have no room for what is to be reserved.
    #[error(
        "NATS has no room for {stream}: raise the limits of its jetstream or lower --cluster-bytes ({said})"
    )]
    NoRoom {
        /// The stream.
        stream: String,
        /// What JetStream says.
        said: String,
    },
    /// Another stream has the subjects.
    #[error(
        "another stream in this NATS account has the subjects of {stream}: give the cluster another --cluster-name, or an account of its own"
    )]
    Overlap {
        /// The stream that could not be made.
        stream: String,
    },
    /// The stream is not one of ours, or of another version.
    #[error(
        "{stream} is there and was not made by this version of Sockeye: give the cluster another --cluster-name, or use the version that made it"
    )]
    Format {
        /// The stream.
        stream: String,
    },
    /// The cluster was made with something else that is for ever.
    #[error("the cluster was made with {flag} {there}: say the same, or leave it out{other}")]
    Fixed {
        /// The option.
        flag: &'static str,
        /// What it was made with.
        there: String,
        /// How it is changed, if it can be.
        other: &'static str,
    },
    /// The cluster keeps another history than this node would show.
    #[error(
        "the cluster keeps {there}, and this node is told {here}: start every node with the same --history-count, --history-bytes and --history-age, or change the cluster's by `sockeye cluster apply`"
    )]
    History {
        /// What the streams have.
        there: String,
        /// What this node was told.
        here: String,
    },
    /// Something of a stream was changed that the nodes rely on.
    #[error(
        "{stream} has {key} = {there}, and Sockeye needs {needed}: `sockeye cluster apply` puts it back"
    )]
    Configuration {
        /// The stream.
        stream: String,
        /// What was changed.
        key: &'static str,
        /// What it is.
        there: String,
        /// What it should be.
        needed: String,
    },
    /// JetStream refused for another reason.
    #[error("{what}: {source}")]
    Api {
        /// What was to be done.
        what: String,
        /// What it says.
        source: Refused,
    },
}

/// What NATS said.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Refused(#[from] ApiError);
