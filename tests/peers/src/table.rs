//! The table itself.

use crate::Check::*;
use crate::Package::{Debian, Npm, Pip, Program};
use crate::{Ecosystem, Peer};

const PEER: Peer = Peer {
    ecosystem: Ecosystem::Python,
    name: "",
    package: Program(""),
    needs: &[],
    file: "",
    libraries: &[],
    does: &[],
    note: "",
};
const NODE: Peer = Peer { ecosystem: Ecosystem::Node, ..PEER };
const JAVA: Peer = Peer { ecosystem: Ecosystem::Java, ..PEER };
const RUBY: Peer = Peer { ecosystem: Ecosystem::Ruby, ..PEER };
const PHP: Peer = Peer { ecosystem: Ecosystem::Php, ..PEER };
const PERL: Peer = Peer { ecosystem: Ecosystem::Perl, ..PEER };
const C: Peer = Peer { ecosystem: Ecosystem::C, needs: &["pkg-config"], ..PEER };
const CPP: Peer = Peer { ecosystem: Ecosystem::Cpp, needs: &["pkg-config"], ..PEER };
const GO: Peer = Peer { ecosystem: Ecosystem::Go, ..PEER };

const NETTY: &[&str] = &[
    "netty-buffer.jar",
    "netty-codec-http.jar",
    "netty-codec.jar",
    "netty-common.jar",
    "netty-handler.jar",
    "netty-resolver.jar",
    "netty-transport.jar",
];
const TOMCAT: &[&str] =
    &["jakarta-annotation-api.jar", "tomcat10-embed-core.jar", "tomcat10-embed-websocket.jar"];

/// All, in the order of the page.
pub const PEERS: &[Peer] = &[
    Peer {
        name: "ws",
        package: Npm("ws"),
        file: "node/ws.mjs",
        does: &[Echo, EchoCompressed, Channel, Server, ServerCompressed],
        ..NODE
    },
    Peer {
        name: "undici",
        package: Npm("undici"),
        file: "node/undici.mjs",
        does: &[Echo, EchoCompressed, Channel, EventSource, JsonLines, LongPoll, Publish],
        note: "while its `EventSource` waits to reconnect it does not keep Node alive.",
        ..NODE
    },
    Peer {
        name: "websocket",
        package: Npm("websocket"),
        file: "node/websocket.mjs",
        does: &[Echo, Channel, Server],
        ..NODE
    },
    Peer {
        name: "faye-websocket",
        package: Npm("faye-websocket"),
        file: "node/faye.mjs",
        does: &[Echo, Channel, Server],
        ..NODE
    },
    Peer {
        name: "fetch",
        package: Program("node"),
        file: "node/fetch.mjs",
        does: &[JsonLines, LongPoll, Publish],
        ..NODE
    },
    Peer {
        name: "axios",
        package: Npm("axios"),
        file: "node/axios.mjs",
        does: &[JsonLines, LongPoll, Publish],
        ..NODE
    },
    Peer {
        name: "eventsource",
        package: Npm("eventsource"),
        file: "node/eventsource.mjs",
        does: &[EventSource],
        ..NODE
    },
    Peer {
        name: "fetch-event-source",
        package: Npm("@microsoft/fetch-event-source"),
        file: "node/fetch-event-source.mjs",
        does: &[EventSource],
        ..NODE
    },
    Peer {
        name: "eventsource-parser",
        package: Npm("eventsource-parser"),
        file: "node/eventsource-parser.mjs",
        does: &[EventStream],
        ..NODE
    },
    Peer {
        name: "websockets",
        package: Pip("websockets"),
        file: "python/websockets_.py",
        does: &[Echo, EchoCompressed, Channel, Server, ServerCompressed],
        ..PEER
    },
    Peer {
        name: "aiohttp",
        package: Pip("aiohttp"),
        file: "python/aiohttp_.py",
        does: &[
            Echo,
            EchoCompressed,
            Channel,
            JsonLines,
            LongPoll,
            Publish,
            Server,
            ServerCompressed,
        ],
        ..PEER
    },
    Peer {
        name: "Tornado",
        package: Pip("tornado"),
        file: "python/tornado_.py",
        does: &[Echo, EchoCompressed, Channel, Publish, Server, ServerCompressed],
        ..PEER
    },
    Peer {
        name: "websocket-client",
        package: Pip("websocket-client"),
        file: "python/websocket_client.py",
        does: &[Echo, Channel],
        ..PEER
    },
    Peer {
        name: "trio-websocket",
        package: Pip("trio-websocket"),
        file: "python/trio_websocket_.py",
        does: &[Echo, Channel, Server],
        ..PEER
    },
    Peer {
        name: "Starlette on uvicorn",
        package: Pip("uvicorn"),
        file: "python/uvicorn_.py",
        does: &[Server, ServerCompressed],
        ..PEER
    },
    Peer {
        name: "httpx",
        package: Pip("httpx"),
        file: "python/httpx_.py",
        does: &[JsonLines, LongPoll, Publish],
        ..PEER
    },
    Peer {
        name: "httpx-sse",
        package: Pip("httpx-sse"),
        file: "python/httpx_sse_.py",
        does: &[EventStream],
        ..PEER
    },
    Peer {
        name: "requests",
        package: Pip("requests"),
        file: "python/requests_.py",
        does: &[JsonLines, LongPoll, Publish],
        ..PEER
    },
    Peer {
        name: "sseclient-py",
        package: Pip("sseclient-py"),
        file: "python/sseclient_py.py",
        does: &[EventStream],
        ..PEER
    },
    Peer {
        name: "requests-sse",
        package: Pip("requests-sse"),
        file: "python/requests_sse_.py",
        does: &[EventSource],
        ..PEER
    },
    Peer {
        name: "niquests",
        package: Pip("niquests"),
        file: "python/niquests_.py",
        does: &[Echo, Channel, EventStream, Publish],
        note: "a session's own `Accept: */*` stands before that of `psse://`: send \
               `Accept: text/event-stream`.",
        ..PEER
    },
    Peer {
        name: "urllib",
        package: Program("python3"),
        file: "python/urllib_.py",
        does: &[JsonLines, LongPoll, Publish],
        ..PEER
    },
    Peer {
        name: "java.net.http",
        package: Program("java"),
        file: "java/Jdk.java",
        does: &[Echo, Channel, EventStream, JsonLines, LongPoll, Publish],
        note: "it has no compression.",
        ..JAVA
    },
    Peer {
        name: "OkHttp",
        package: Debian("libokhttp-java"),
        file: "java/OkHttp.java",
        libraries: &["okhttp.jar", "okio.jar"],
        does: &[Echo, Channel, JsonLines, LongPoll, Publish],
        ..JAVA
    },
    Peer {
        name: "Netty",
        package: Debian("libnetty-java"),
        file: "java/Netty.java",
        libraries: NETTY,
        does: &[Echo, EchoCompressed, Channel, Server, ServerCompressed],
        ..JAVA
    },
    Peer {
        name: "Tomcat",
        package: Debian("libtomcat10-embed-java"),
        needs: &["libjakarta-annotation-api-java"],
        file: "java/Tomcat.java",
        libraries: TOMCAT,
        does: &[Echo, EchoCompressed, Channel, Server, ServerCompressed],
        ..JAVA
    },
    Peer {
        name: "gorilla/websocket",
        package: Debian("golang-github-gorilla-websocket-dev"),
        file: "go/gorilla.go",
        does: &[Echo, EchoCompressed, Channel, Server, ServerCompressed],
        ..GO
    },
    Peer {
        name: "nhooyr.io/websocket",
        package: Debian("golang-nhooyr-websocket-dev"),
        file: "go/nhooyr.go",
        does: &[Echo, EchoCompressed, Channel, Server, ServerCompressed],
        ..GO
    },
    Peer {
        name: "golang.org/x/net/websocket",
        package: Debian("golang-golang-x-net-dev"),
        file: "go/xnet.go",
        does: &[Echo, Channel, Server],
        note: "it has to be given an origin: give it the server's own. Its server answers a Close \
               only by `WriteClose`.",
        ..GO
    },
    Peer {
        name: "net/http",
        package: Debian("golang-go"),
        file: "go/nethttp.go",
        does: &[JsonLines, LongPoll, Publish],
        ..GO
    },
    Peer {
        name: "donovanhide/eventsource",
        package: Debian("golang-github-donovanhide-eventsource-dev"),
        file: "go/eventsource.go",
        does: &[EventSource],
        ..GO
    },
    Peer {
        name: "faye-websocket",
        package: Debian("ruby-faye-websocket"),
        needs: &["puma"],
        file: "ruby/faye.rb",
        does: &[Echo, Channel, Server],
        ..RUBY
    },
    Peer {
        name: "em-websocket",
        package: Debian("ruby-em-websocket"),
        file: "ruby/em_websocket.rb",
        does: &[Server],
        ..RUBY
    },
    Peer {
        name: "em-http-request",
        package: Debian("ruby-em-http-request"),
        file: "ruby/em_http.rb",
        does: &[EventStream, LongPoll, Publish],
        ..RUBY
    },
    Peer {
        name: "net/http",
        package: Debian("ruby"),
        file: "ruby/net_http.rb",
        does: &[JsonLines, LongPoll, Publish],
        ..RUBY
    },
    Peer {
        name: "curl",
        package: Debian("php-curl"),
        file: "php/curl.php",
        does: &[EventStream, LongPoll, Publish],
        ..PHP
    },
    Peer {
        name: "Guzzle",
        package: Debian("php-guzzlehttp-guzzle"),
        file: "php/guzzle.php",
        does: &[JsonLines, LongPoll, Publish],
        ..PHP
    },
    Peer {
        name: "Symfony HttpClient",
        package: Debian("php-symfony-http-client"),
        file: "php/symfony.php",
        does: &[EventSource, LongPoll, Publish],
        ..PHP
    },
    Peer {
        name: "streams",
        package: Debian("php-cli"),
        file: "php/streams.php",
        does: &[LongPoll, Publish],
        ..PHP
    },
    Peer {
        name: "Mojolicious",
        package: Debian("libmojolicious-perl"),
        file: "perl/mojolicious.pl",
        does: &[
            Echo,
            EchoCompressed,
            Channel,
            EventStream,
            JsonLines,
            LongPoll,
            Publish,
            Server,
            ServerCompressed,
        ],
        ..PERL
    },
    Peer {
        name: "AnyEvent::WebSocket::Client",
        package: Debian("libanyevent-websocket-client-perl"),
        file: "perl/anyevent.pl",
        does: &[Echo, Channel],
        ..PERL
    },
    Peer {
        name: "LWP",
        package: Debian("libwww-perl"),
        file: "perl/lwp.pl",
        does: &[JsonLines, LongPoll, Publish],
        ..PERL
    },
    Peer {
        name: "libwebsockets",
        package: Debian("libwebsockets-dev"),
        file: "c/lws.c",
        libraries: &["libwebsockets"],
        does: &[Echo, Channel, Server],
        note: "tried without compression.",
        ..C
    },
    Peer {
        name: "libsoup",
        package: Debian("libsoup-3.0-dev"),
        file: "c/soup.c",
        libraries: &["libsoup-3.0"],
        does: &[Echo, EchoCompressed, Channel, EventStream, Publish, Server],
        note: "as a server it takes each offer of compression that it is made, where RFC 7692 wants one taken, so our client, which makes \
               two, refuses it: connect without compression.",
        ..C
    },
    Peer {
        name: "libcurl",
        package: Debian("libcurl4-openssl-dev"),
        file: "c/curl.c",
        libraries: &["libcurl"],
        does: &[EventStream, Publish],
        ..C
    },
    Peer {
        name: "Boost.Beast",
        package: Debian("libboost-dev"),
        file: "cpp/beast.cpp",
        does: &[Echo, EchoCompressed, Channel, Publish, Server, ServerCompressed],
        ..CPP
    },
    Peer {
        name: "WebSocket++",
        package: Debian("libwebsocketpp-dev"),
        file: "cpp/websocketpp.cpp",
        does: &[Echo, Channel, Server],
        ..CPP
    },
    Peer {
        name: "Qt WebSockets",
        package: Debian("libqt5websockets5-dev"),
        file: "cpp/qt.cpp",
        libraries: &["Qt5WebSockets"],
        does: &[Echo, Channel, Server],
        ..CPP
    },
];
