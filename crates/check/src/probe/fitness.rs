//! Whether there is a WebSocket server at a URL at all, before several hundred cases say that there is none.

use std::time::Duration;

use sockeye_wire::handshake::Head;

use crate::{
    judge::{Timeouts, ask},
    target::Target,
};

/// Why a server cannot be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    Unreachable(String),
    NoWebSocket(String),
    Floods(String),
}

/// How long a server gets before it is asked once more.
const PAUSE: Duration = Duration::from_millis(500);

/// Asks for a WebSocket, and once more if there is none. A server that agrees and answers wrongly is one
/// for the cases to judge.
pub(super) async fn look(target: &Target, timeouts: Timeouts) -> Result<(), Unfit> {
    if once(target, timeouts).await.is_ok() {
        return Ok(());
    }
    tokio::time::sleep(PAUSE).await;
    once(target, timeouts).await
}

async fn once(target: &Target, timeouts: Timeouts) -> Result<(), Unfit> {
    let stream = target.dial.dial().await;
    let stream = stream.map_err(|error| Unfit::Unreachable(error.to_string()))?;
    let head = ask(target, stream, timeouts.answer).await;
    let why = match head {
        Ok(head) => match status(&head) {
            Some(101) => return Ok(()),
            Some(status) => refusal(status, &head),
            None => format!("it answers what is not HTTP: {:?}", head.first_line),
        },
        Err(why) => format!("it answers {why}"),
    };
    Err(Unfit::NoWebSocket(format!("no WebSocket at {}{}: {why}", target.authority, target.path)))
}

fn status(head: &Head) -> Option<u16> {
    let mut words = head.first_line.split(' ');
    words.next().filter(|word| word.starts_with("HTTP/"))?;
    words.next()?.parse().ok()
}

/// What the answer is, and what to do about it.
fn refusal(status: u16, head: &Head) -> String {
    let answer = head.first_line.split_once(' ').map_or("", |(_, answer)| answer).trim();
    let location = head.values("location").next();
    let hint = match (status, location) {
        (300..=399, Some(location)) => {
            return format!("it redirects to {location} ({answer}); check that URL");
        }
        (401, _) => "; it wants --token, --user or -H",
        (403, _) => "; it may want another --origin, --token, --user or -H",
        (400, _) => "; it may want a --subprotocol",
        (404 | 410, _) => "; is the path right?",
        (200..=299 | 405, _) => ", as for an HTTP resource; is the path right?",
        (426, _) => "; it wants another protocol, or a proxy before it takes Upgrade away",
        (407, _) => "; the proxy wants a name and a password",
        (500..=599, _) => "; the server, or one behind it, has failed",
        _ => "",
    };
    format!("it answers {answer} to a right request{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        let head = Head::try_parse(text).expect("a head");
        refusal(status(&head).expect("a status"), &head)
    }

    #[test]
    fn an_answer_is_told_with_what_to_do() {
        assert_eq!(
            told("HTTP/1.1 404 Not Found\r\n\r\n"),
            "it answers 404 Not Found to a right request; is the path right?"
        );
        assert_eq!(
            told("HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n"),
            "it redirects to /login (302 Found); check that URL"
        );
        assert_eq!(told("HTTP/1.1 418\r\n\r\n"), "it answers 418 to a right request");
    }
}
