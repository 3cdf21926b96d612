//! Commands of `sockeye.v1`: any text is a command or a mistake that can be answered.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use sockeye_server::internals::Command;

/// Codes that a frame can earn by itself.
const CODES: [&str; 5] = ["bad_channel", "bad_event", "bad_json", "bad_position", "bad_request"];

fuzz_target!(|text: &str| {
    let value = serde_json::from_str::<Value>(text);
    let Err(mistake) = Command::parse(text) else {
        let is_object = text.trim_start().starts_with('{');
        assert!(is_object, "a command is an object");
        return;
    };
    let told: Value = serde_json::from_str(&mistake.frame()).expect("what is told is JSON");
    let code = told["err"]["code"].as_str().expect("it has a code");
    assert!(CODES.contains(&code), "{code}");
    assert!(told["err"]["retry"] == false, "the same frame is wrong again");
    if let Ok(Value::Object(members)) = value {
        // What is an object is at worst nested too deeply.
        let is_deep = text.bytes().filter(|byte| matches!(byte, b'{' | b'[')).count() > 101;
        assert!(code != "bad_json" || is_deep, "it is JSON");
        if let Some(id) = told.get("id") {
            assert_eq!(Some(id), members.get("id"), "the answer has the id of its command");
        }
    }
});
