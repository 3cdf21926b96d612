//! What is shown of a session, and written to its transcript.

use std::{
    borrow::Cow,
    io::{self, IsTerminal},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sockeye::{Closed, Message};

use super::{hex, json, transcript::Transcript};
use crate::{
    system::clock,
    terminal::output::{complain, print_as_it_is, print_ended},
    terminal::prompt::Prompt,
    terminal::visible,
};

/// How messages are shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    /// JSON on several lines.
    pub(super) json: bool,
    /// With the time before each.
    pub(super) timestamps: bool,
    /// In hexadecimal.
    pub(super) hex: bool,
    /// What is behind each for a program, if anything.
    pub(super) end: Option<u8>,
}

/// Where a session is shown. Clones show on the same.
#[derive(Clone)]
pub(super) struct Screen(Arc<Mutex<ScreenState>>);

struct ScreenState {
    form: Form,
    prompt: Option<Prompt>,
    transcript: Option<Transcript>,
}

impl Screen {
    pub(super) fn new(form: Form, transcript: Option<Transcript>) -> Self {
        Self(Arc::new(Mutex::new(ScreenState { form, prompt: None, transcript })))
    }

    /// Shows all that follows above a prompt.
    pub(super) fn set_prompt(&self, prompt: Prompt) {
        self.lock().prompt = Some(prompt);
    }

    /// Gives the terminal back.
    pub(super) fn close_prompt(&self) {
        let prompt = self.lock().prompt.take();
        drop(prompt);
    }

    /// Shows a message that was received.
    pub(super) fn message(&self, message: &Message) -> anyhow::Result<()> {
        let mut state = self.lock();
        if let Some(transcript) = &mut state.transcript {
            transcript.received(message)?;
        }
        let ScreenState { form, prompt, .. } = &mut *state;
        match prompt {
            Some(prompt) => {
                let text = form.apply(message, true);
                let text = visible::lines(&String::from_utf8_lossy(&text)).into_owned();
                prompt.print(text)
            }
            None => {
                let is_for_people = io::stdout().is_terminal();
                let text = form.apply(message, is_for_people);
                match form.end.or(is_for_people.then_some(b'\n')) {
                    Some(end) => print_ended(end, |out| out.write_all(&text))?,
                    None => print_as_it_is(&text)?,
                }
                Ok(())
            }
        }
    }

    /// Says something beside the messages.
    pub(super) fn note(&self, line: &str) {
        match &mut self.lock().prompt {
            // Where the terminal is gone, the next message or the input says so.
            Some(prompt) => drop(prompt.print(visible::lines(line).into_owned())),
            None => line.lines().for_each(complain),
        }
    }

    /// Notes what is about to be sent.
    pub(super) fn sent(&self, message: &Message) -> anyhow::Result<()> {
        self.log(|transcript| transcript.sent(message))
    }

    /// Notes that there is a connection.
    pub(super) fn opened(&self, url: String) -> anyhow::Result<()> {
        self.log(|transcript| transcript.opened(url))
    }

    /// Notes how the connection has ended.
    pub(super) fn closed(&self, closed: &Closed) -> anyhow::Result<()> {
        self.log(|transcript| transcript.closed(closed))
    }

    fn log(&self, log: impl FnOnce(&mut Transcript) -> anyhow::Result<()>) -> anyhow::Result<()> {
        self.lock().transcript.as_mut().map_or(Ok(()), log)
    }

    fn lock(&self) -> MutexGuard<'_, ScreenState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Form {
    /// The message as it is shown, to people or to a program.
    fn apply<'m>(&self, message: &'m Message, is_for_people: bool) -> Cow<'m, [u8]> {
        let shown: Cow<'m, [u8]> = match message {
            message if self.hex => hex::format(message.as_bytes()).into_bytes().into(),
            Message::Text(text) => match json::indented(text).filter(|_| self.json) {
                Some(json) => json.into_bytes().into(),
                None => text.as_bytes().into(),
            },
            Message::Binary(bytes) if is_for_people => beginning(bytes).into_bytes().into(),
            Message::Binary(bytes) => Cow::Borrowed(bytes),
        };
        if !self.timestamps {
            return shown;
        }
        let mut text = clock::now().into_bytes();
        text.push(b' ');
        text.extend_from_slice(&shown);
        text.into()
    }
}

/// A piece of binary data for the eye.
fn beginning(bytes: &[u8]) -> String {
    const SHOWN: usize = 64;
    let (count, rest) = (bytes.len(), if bytes.len() > SHOWN { "…" } else { "" });
    format!("{count} bytes: {}{rest}", hex::format(&bytes[..count.min(SHOWN)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Form = Form { json: false, timestamps: false, hex: false, end: Some(b'\n') };

    fn shown(form: Form, message: impl Into<Message>, is_for_people: bool) -> String {
        String::from_utf8_lossy(&form.apply(&message.into(), is_for_people)).into_owned()
    }

    #[test]
    fn bytes_are_shown_to_people_in_hexadecimal_and_given_to_programs_as_they_are() {
        assert_eq!(shown(PLAIN, vec![0u8, 255], true), "2 bytes: 00ff");
        assert_eq!(PLAIN.apply(&Message::from(vec![0u8, 255]), false).as_ref(), [0, 255]);
        let long = shown(PLAIN, vec![7u8; 65], true);
        assert!(long.starts_with("65 bytes: 0707") && long.ends_with("07…"), "{long}");
        let hex = Form { hex: true, ..PLAIN };
        assert_eq!(shown(hex, vec![7u8; 65], false), "07".repeat(65));
        assert_eq!(shown(hex, "é", true), "c3a9");
    }

    #[test]
    fn json_is_shown_on_several_lines_and_other_text_as_it_is() {
        let json = Form { json: true, ..PLAIN };
        assert_eq!(shown(json, "{\"a\":1.50}", true), "{\n  \"a\": 1.50\n}");
        assert_eq!(shown(json, "{a", true), "{a");
        assert_eq!(shown(PLAIN, "{\"a\":1}", true), "{\"a\":1}");
    }

    #[test]
    fn a_timestamp_is_utc_in_rfc_3339() {
        let stamped = shown(Form { timestamps: true, ..PLAIN }, "hi", true);
        let (time, text) = stamped.split_once(' ').unwrap();
        assert_eq!(text, "hi");
        let digits: String =
            time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(digits, "0000-00-00T00:00:00.000000Z");
    }
}
