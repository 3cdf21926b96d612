//! The console in a real browser: runs the tests of `browser/` against the program.

use std::process::Command;

use sockeye_tests::program::Sockeye;
use sockeye_tests::script::folder;

#[test]
fn the_browser_tests_pass() {
    let (mut server, mut echo) = (Sockeye::serve(&[]), Sockeye::echo(&[]));
    let screenshots = std::env::var_os("SOCKEYE_SCREENSHOT_DIR");
    let status = Command::new("node")
        .args(["--test", "--test-reporter=spec"])
        .args(test_files())
        .env("SOCKEYE_URL", server.http(""))
        .env("SOCKEYE_ECHO_URL", echo.ws("/"))
        .env("SOCKEYE_SCREENSHOT_DIR", screenshots.unwrap_or_else(|| std::env::temp_dir().into()))
        .status()
        .expect("`cargo xtask test browser` installs node");
    assert!(status.success(), "the browser tests failed: {status}");
    server.assert_sound();
    echo.assert_sound();
}

fn test_files() -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder().join("browser")).expect("the folder browser/");
    let paths = entries.map(|entry| entry.expect("an entry of browser/").path());
    let is_test = |path: &std::path::PathBuf| path.to_string_lossy().ends_with(".test.mjs");
    let files: Vec<_> = paths.filter(is_test).collect();
    assert!(!files.is_empty(), "browser/ has no *.test.mjs");
    files
}
