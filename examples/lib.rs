//! Small complete programs, one idea each. Run one with `cargo run -p sockeye-examples --example NAME`.
//!
//! The code in the README and in the guides of `docs/` is compiled here, as documentation tests.

/// What is read is also compiled.
macro_rules! compile {
    ($($name:ident: $path:literal,)*) => {
        $(
            #[cfg(doctest)]
            #[doc = include_str!($path)]
            mod $name {}
        )*
    };
}

compile! {
    readme: "../README.md",
    readme_zh_cn: "../README.zh-CN.md",
    browser_api: "../docs/browser-api.md",
    client: "../docs/client.md",
    compression: "../docs/compression.md",
    from_axum_ws: "../docs/from-axum-ws.md",
    from_tokio_tungstenite: "../docs/from-tokio-tungstenite.md",
    keepalive_and_close: "../docs/keepalive-and-close.md",
    limits_and_security: "../docs/limits-and-security.md",
    proto_without_tokio: "../docs/proto-without-tokio.md",
    protocol_v1: "../docs/protocol-v1.md",
    sending_to_many: "../docs/sending-to-many.md",
    server: "../docs/server.md",
    streaming: "../docs/streaming.md",
    testing: "../docs/testing.md",
    transports: "../docs/transports.md",
    tokens: "../docs/tokens.md",
}
