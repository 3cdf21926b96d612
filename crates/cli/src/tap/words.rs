//! A line of a tap in words.

use serde_json::Value;

/// The line in words, in one line; as it is where its kind is not known.
pub(super) fn of(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let Ok(Value::Object(object)) = serde_json::from_str(&text) else { return text.into_owned() };
    let Some((kind, what)) = object.into_iter().next() else { return text.into_owned() };
    let words = match &*kind {
        "tap" => return tapped(&what),
        "message" => vec![text_of(&what["at"]), event(&what), by(&what), payload(&what)],
        "refused" => vec![text_of(&what["code"]), size(&what), by(&what)],
        "subscribed" => {
            vec![text_of(&what["channel"]), who(&what), "after".into(), text_of(&what["at"])]
        }
        "unsubscribed" => vec![text_of(&what["channel"]), who(&what), text_of(&what["why"])],
        "gap" => {
            let after = format!("after {}", text_of(&what["after"]));
            vec![text_of(&what["channel"]), who(&what), text_of(&what["why"]), after]
        }
        "in" | "out" => {
            let [kind, channel, at] = [&what["kind"], &what["channel"], &what["at"]].map(text_of);
            vec![kind, channel, at, event(&what), payload(&what)]
        }
        "close" => {
            let from = format!("from the {}:", text_of(&what["from"]));
            vec![from, text_of(&what["code"]), text_of(&what["reason"])]
        }
        "dropped" => vec![text_of(&what), "events".into()],
        "end" => vec![text_of(&what["why"]), text_of(&what["at"])],
        _ => return text.into_owned(),
    };
    let mark = match &*kind {
        "in" => "<",
        "out" => ">",
        kind => kind,
    };
    let words = std::iter::once(mark.to_owned()).chain(words);
    let words: Vec<_> = words.filter(|word| !word.trim().is_empty()).collect();
    in_one_line(&words.join(" "))
}

/// The text with its line breaks written out: a client chooses its id and the reason of its Close, and must not make
/// up lines.
fn in_one_line(text: &str) -> String {
    text.replace('\n', "\\n").replace('\r', "\\r")
}

/// What is tapped.
fn tapped(what: &Value) -> String {
    if let Some(channel) = what["channel"].as_str() {
        let readers = what["readers"].as_object().into_iter().flatten();
        let readers: Vec<_> =
            readers.map(|(transport, count)| format!("{count} {transport}")).collect();
        let readers = if readers.is_empty() { "none".to_owned() } else { readers.join(", ") };
        return format!("channel {channel} at {}, readers: {readers}", text_of(&what["at"]));
    }
    let channels = what["channels"].as_array().into_iter().flatten();
    let channels: Vec<_> = channels.map(|read| text_of(&read["channel"])).collect();
    let words = ["connection".to_owned(), text_of(&what["id"]), who(what), channels.join(" ")];
    in_one_line(&words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" "))
}

/// A client, as far as it is known.
fn who(what: &Value) -> String {
    let connection = what["connection"].as_u64().map(|id| format!("#{id}")).unwrap_or_default();
    let words = [
        text_of(&what["transport"]),
        connection,
        text_of(&what["subject"]),
        text_of(&what["address"]),
    ];
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

fn by(what: &Value) -> String {
    match who(&what["by"]) {
        who if who.is_empty() => who,
        who => format!("by {who}"),
    }
}

fn event(what: &Value) -> String {
    what["event"].as_str().map(|event| format!("event {event}")).unwrap_or_default()
}

fn size(what: &Value) -> String {
    format!("{} B", what["size"])
}

/// What is shown of a payload, in one line.
fn payload(what: &Value) -> String {
    let size = size(what);
    match (&what["data"], &what["start"], &what["b64"], &what["b64_start"]) {
        (Value::Null, Value::String(start), ..) => format!("{size}: {start}…"),
        (Value::Null, _, Value::String(bytes), _) => format!("{size}, base64: {bytes}"),
        (Value::Null, _, _, Value::String(start)) => format!("{size}, base64: {start}…"),
        (Value::Null, ..) if what["hidden"] == true => format!("{size}, not shown"),
        (Value::String(text), ..) => format!("{size}: {text}"),
        (json, ..) => format!("{size}: {json}"),
    }
}

/// A string without its quotes, a number, or nothing.
fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_line_has_its_words() {
        let lines = [
            (
                r#"{"tap":{"channel":"chat","at":"k.1","readers":{"ws":2}}}"#,
                "channel chat at k.1, readers: 2 ws",
            ),
            (
                r#"{"tap":{"id":17,"transport":"ws","address":"::1","subject":"ann","channels":[{"channel":"chat"}]}}"#,
                "connection 17 ws ann ::1 chat",
            ),
            (
                r#"{"message":{"at":"k.2","ts":1,"event":"x","size":3,"data":"a\nb","by":{"transport":"http"}}}"#,
                "message k.2 event x by http 3 B: a\\nb",
            ),
            (r#"{"message":{"at":"k.2","ts":1,"size":9,"start":"a"}}"#, "message k.2 9 B: a…"),
            (
                r#"{"refused":{"code":"forbidden","size":1,"by":{"transport":"http"}}}"#,
                "refused forbidden 1 B by http",
            ),
            (
                r#"{"subscribed":{"connection":3,"transport":"ws","at":"k.1"}}"#,
                "subscribed ws #3 after k.1",
            ),
            (r#"{"unsubscribed":{"channel":"chat","why":"left"}}"#, "unsubscribed chat left"),
            (r#"{"gap":{"after":"k.1","next":"k.2","why":"reset"}}"#, "gap reset after k.1"),
            (r#"{"in":{"kind":"command","size":9,"hidden":true}}"#, "< command 9 B, not shown"),
            (
                r#"{"out":{"kind":"message","channel":"chat","at":"k.2","size":1,"b64":"AA=="}}"#,
                "> message chat k.2 1 B, base64: AA==",
            ),
            (
                r#"{"close":{"from":"client","code":1000,"reason":"bye"}}"#,
                "close from the client: 1000 bye",
            ),
            (
                r#"{"close":{"from":"client","code":1000,"reason":"a\r\nmessage b"}}"#,
                "close from the client: 1000 a\\r\\nmessage b",
            ),
            (
                r#"{"subscribed":{"connection":3,"transport":"ws","subject":"a\nb","at":"k.1"}}"#,
                "subscribed ws #3 a\\nb after k.1",
            ),
            (
                r#"{"tap":{"id":17,"transport":"ws","subject":"a\nb","channels":[]}}"#,
                "connection 17 ws a\\nb",
            ),
            (r#"{"dropped":7}"#, "dropped 7 events"),
            (r#"{"end":{"why":"left"}}"#, "end left"),
            (r#"{"new":1}"#, r#"{"new":1}"#),
            ("nonsense", "nonsense"),
        ];
        for (line, words) in lines {
            assert_eq!(of(line.as_bytes()), words);
        }
    }
}
