//! The check of JSON that is published: it agrees with another parser on what is JSON, and what it
//! takes can be read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use serde_json::value::RawValue;
use sockeye_hub::Json;

fuzz_target!(|text: &str| {
    let is_json = serde_json::from_str::<&RawValue>(text).is_ok();
    match Json::parse(text) {
        Ok(json) => {
            assert!(is_json, "only JSON is taken");
            // A number may be one that no double holds.
            let read = serde_json::from_str::<Value>(json.as_str());
            let is_read = read.map_or_else(|wrong| wrong.to_string().contains("range"), |_| true);
            assert!(is_read, "what is taken can be read");
        }
        Err(wrong) => {
            let wrong = wrong.to_string();
            let is_limit = wrong.starts_with("nested") || wrong.starts_with("an unpaired");
            assert!(is_limit || !is_json, "JSON is refused for its limits alone: {wrong}");
        }
    }
});
