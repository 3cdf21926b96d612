//! Real peers: clients and servers of other languages and libraries, and proxies.

mod clients;
mod compression;
mod json;
mod keys;
mod own_clients;
mod peers;
mod proxies;
mod refusals;
mod servers;
mod tokens;
mod tungstenite;

/// Runs the Rust part of a test, which has to end in time.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        tokio::time::timeout(sockeye_testing::PATIENCE, future).await.expect("it ends in time")
    })
}
