//! Uploads that are refused: HTTP clients of other languages learn why, though they are still sending.

use sockeye_tests::program::Sockeye;
use sockeye_tests::script::{Language, Script};
use sockeye_tests::tls::Certificates;

fn learns_that_an_upload_is_too_large(language: Language, clients: usize) {
    let mut server = Sockeye::serve(&[]);
    let certificates = Certificates::new();
    let url = server.http("/c/chat");
    let mut script = Script::start(language, "upload", &[&url], &certificates);
    for _ in 0..clients {
        let report = script.report().expect("a client");
        let statuses = report["statuses"].as_array().expect("a list");
        assert_eq!((statuses.len(), statuses.iter().all(|it| it == 413)), (10, true), "{report}");
    }
    script.finish();
    server.assert_sound();
}

#[test]
fn node_learns_that_an_upload_is_too_large() {
    learns_that_an_upload_is_too_large(Language::Node, 3);
}

#[test]
fn python_learns_that_an_upload_is_too_large() {
    learns_that_an_upload_is_too_large(Language::Python, 2);
}
