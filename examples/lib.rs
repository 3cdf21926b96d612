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
    browser_api: "../docs/library/browser-api.md",
    channels_client: "../docs/library/channels-client.md",
    client: "../docs/library/client.md",
    compression: "../docs/library/compression.md",
    embedding: "../docs/library/embedding.md",
    from_axum_ws: "../docs/library/from-axum-ws.md",
    from_tokio_tungstenite: "../docs/library/from-tokio-tungstenite.md",
    keepalive_and_close: "../docs/library/keepalive-and-close.md",
    limits_and_security: "../docs/library/limits-and-security.md",
    proto_without_tokio: "../docs/library/proto-without-tokio.md",
    protocol_v1: "../docs/channels/protocol-v1.md",
    sending_to_many: "../docs/library/sending-to-many.md",
    server: "../docs/library/server.md",
    streaming: "../docs/library/streaming.md",
    testing: "../docs/library/testing.md",
    transports: "../docs/library/transports.md",
    tokens: "../docs/channels/tokens.md",
}
