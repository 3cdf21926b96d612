//! Reads an event stream as a browser does: WHATWG HTML §9.2.6, written from the standard.

/// What a page is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) data: String,
    pub(crate) last_id: String,
}

/// A browser's `EventSource` and what it made of a stream.
#[derive(Debug, Default)]
pub(crate) struct EventSource {
    pub(crate) events: Vec<Event>,
    pub(crate) last_id: String,
    pub(crate) retries: Vec<u64>,
    pub(crate) comments: usize,
    id_buffer: String,
    name: String,
    data: String,
}

impl EventSource {
    /// Reads all whole lines of the stream.
    pub(crate) fn read(stream: &str) -> Self {
        let mut source = Self::default();
        let stream = stream.strip_prefix('\u{feff}').unwrap_or(stream);
        let stream = stream.replace("\r\n", "\n").replace('\r', "\n");
        let mut lines: Vec<&str> = stream.split('\n').collect();
        // A line without its end is not a line yet.
        lines.pop();
        lines.into_iter().for_each(|line| source.line(line));
        source
    }

    fn line(&mut self, line: &str) {
        match line.split_once(':') {
            None if line.is_empty() => self.dispatch(),
            None => self.field(line, ""),
            Some(("", _)) => self.comments += 1,
            Some((name, value)) => self.field(name, value.strip_prefix(' ').unwrap_or(value)),
        }
    }

    fn field(&mut self, name: &str, value: &str) {
        match name {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => value.clone_into(&mut self.id_buffer),
            "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.retries.push(value.parse().unwrap());
            }
            _ => panic!("a field that the server should not send: {name}"),
        }
    }

    fn dispatch(&mut self) {
        self.last_id = self.id_buffer.clone();
        let (name, mut data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
        // An event without data is not dispatched; one with empty data has the line break of its one
        // line.
        if data.pop().is_none() {
            return;
        }
        let name = if name.is_empty() { "message".to_owned() } else { name };
        self.events.push(Event { name, data, last_id: self.last_id.clone() });
    }
}
