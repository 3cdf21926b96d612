//! What a server without a feature of the crate answers, and one with it.

use crate::client::TestServer;

#[tokio::test]
async fn the_page_and_the_browser_client_are_there_with_the_console() {
    let server = TestServer::start().await;
    for path in ["/", "/index.html", "/sockeye.js"] {
        let answer = server.get(path).await;
        match cfg!(feature = "console") {
            true => assert_eq!(answer.status, 200, "{path}"),
            false => answer.assert_problem(404, "not_found"),
        }
    }
    let says_where = server.get("/nowhere").await.text().contains("the console at /");
    assert_eq!(says_where, cfg!(feature = "console"));
}

#[tokio::test]
async fn operators_are_told_of_the_feature_that_has_the_metrics() {
    let server = TestServer::start().await;
    let answer = server.operate("/metrics").await;
    match cfg!(feature = "prometheus") {
        true => assert!(answer.text().contains("\nsockeye_draining 0\n")),
        false => {
            answer.assert_problem(404, "not_found");
            assert!(answer.text().contains("the feature `prometheus`"), "{}", answer.text());
        }
    }
    assert_eq!(server.operate("/readyz").await.status, 200);
    server.publish("/c/chat", "hello").await;
    assert!(server.get("/c/chat?after=earliest").await.text().contains("hello"));
}
