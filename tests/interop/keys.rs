//! WebSockets over HTTP/2 whose request has a key, as proxies pass it on.

use sockeye_tests::program::Sockeye;
use sockeye_tests::script::{Language, Script};
use sockeye_tests::tls::Certificates;

#[test]
fn a_key_over_http_2_is_answered() {
    let server = Sockeye::serve(&[]);
    let certificates = Certificates::new();
    let url = server.http("/c/chat");
    let mut script = Script::start(Language::Node, "accept", &[&url], &certificates);
    let report = script.report().expect("an answer");
    // The example of RFC 6455 §1.3.
    assert_eq!(report["accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "{report}");
    assert_eq!(report["status"], 200);
    script.finish();
}
