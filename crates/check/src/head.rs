//! The heads of the opening handshake: the right one, with a case's changes.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sockeye_wire::handshake::accept_for;

use crate::{
    case::{Edit, Opening},
    target::Target,
};

/// A fresh `Sec-WebSocket-Key`.
pub(crate) fn key() -> String {
    let mut nonce = [0; 16];
    // A system without random numbers has worse troubles than keys that are all alike.
    let _ = getrandom::fill(&mut nonce);
    STANDARD.encode(nonce)
}

struct Head {
    line: String,
    /// A name and a value, or a line as it stands.
    fields: Vec<(String, Option<String>)>,
}

impl Head {
    fn field(&mut self, name: &str, value: impl Into<String>) {
        self.fields.push((name.to_owned(), Some(value.into())));
    }

    fn apply(&mut self, edit: Edit, authority: &str, path: &str) {
        let fill = |text: &str| text.replace("{authority}", authority).replace("{target}", path);
        match edit {
            Edit::Line(line) => self.line = fill(line),
            Edit::Set(wanted, value) => {
                for (name, old) in &mut self.fields {
                    if name.eq_ignore_ascii_case(wanted) {
                        *old = old.as_ref().map(|old| fill(value).replace("{key}", old));
                    }
                }
            }
            Edit::Spell(wanted, spelling) => {
                for (name, _) in &mut self.fields {
                    if name.eq_ignore_ascii_case(wanted) {
                        spelling.clone_into(name);
                    }
                }
            }
            Edit::Remove(wanted) => {
                self.fields.retain(|(name, _)| !name.eq_ignore_ascii_case(wanted))
            }
            Edit::Add(line) => self.fields.push((fill(line), None)),
            Edit::Pad(count) => self.field("X-Padding", "x".repeat(count)),
        }
    }

    fn text(&self) -> String {
        let mut text = format!("{}\r\n", self.line);
        for (name, value) in &self.fields {
            text += name;
            if let Some(value) = value {
                text += &format!(": {value}");
            }
            text += "\r\n";
        }
        text + "\r\n"
    }
}

/// The request of a case.
pub(crate) fn request(target: &Target, opening: &Opening, key: &str) -> String {
    let mut head = Head { line: format!("GET {} HTTP/1.1", target.path), fields: Vec::new() };
    head.field("Host", &target.authority);
    head.field("Upgrade", "websocket");
    head.field("Connection", "Upgrade");
    head.field("Sec-WebSocket-Key", key);
    head.field("Sec-WebSocket-Version", "13");
    if !target.subprotocols.is_empty() {
        head.field("Sec-WebSocket-Protocol", target.subprotocols.join(", "));
    }
    if let Some(extensions) = opening.extensions {
        head.field("Sec-WebSocket-Extensions", extensions);
    }
    for (name, value) in &target.headers {
        head.field(name, value);
    }
    for edit in &opening.edits {
        head.apply(*edit, &target.authority, &target.path);
    }
    head.text()
}

/// The response of a case to a client's request.
pub(crate) fn response(opening: &Opening, key: &str, subprotocol: Option<&str>) -> String {
    let mut head = Head { line: "HTTP/1.1 101 Switching Protocols".to_owned(), fields: Vec::new() };
    head.field("Upgrade", "websocket");
    head.field("Connection", "Upgrade");
    head.field("Sec-WebSocket-Accept", accept_for(key));
    if let Some(subprotocol) = subprotocol {
        head.field("Sec-WebSocket-Protocol", subprotocol);
    }
    if let Some(extensions) = opening.extensions {
        head.field("Sec-WebSocket-Extensions", extensions);
    }
    for edit in &opening.edits {
        head.apply(*edit, "", "");
    }
    head.text()
}
