//! What `Sec-WebSocket-Extensions` says of permessage-deflate (RFC 7692 §7.1).

/// What was agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Agreement {
    pub(crate) server_no_context_takeover: bool,
    pub(crate) client_no_context_takeover: bool,
    pub(crate) server_max_window_bits: u8,
    pub(crate) client_max_window_bits: u8,
}

/// A parameter, with its value if it has one.
type Parameter = (String, Option<String>);

/// The extensions of a header: each name with its parameters.
fn extensions(values: &str) -> Vec<(String, Vec<Parameter>)> {
    let names = values.split(',').map(|extension| {
        let mut parts = extension.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let parameter = |part: &str| match part.split_once('=') {
            Some((name, value)) => (name.trim().to_owned(), Some(unquoted(value.trim()))),
            None => (part.to_owned(), None),
        };
        (name, parts.map(parameter).collect())
    });
    names.filter(|(name, _)| !name.is_empty()).collect()
}

fn unquoted(value: &str) -> String {
    value.trim_matches('"').to_owned()
}

impl Agreement {
    /// What a response agrees on, `None` for nothing.
    pub(crate) fn of(response: &str) -> Option<Self> {
        let extensions = extensions(response);
        let (_, parameters) = extensions.iter().find(|(name, _)| name == "permessage-deflate")?;
        let has = |wanted: &str| parameters.iter().any(|(name, _)| name == wanted);
        let bits = |wanted: &str| {
            let value = parameters.iter().find(|(name, _)| name == wanted);
            value.and_then(|(_, value)| value.as_ref()?.parse().ok()).unwrap_or(15)
        };
        Some(Self {
            server_no_context_takeover: has("server_no_context_takeover"),
            client_no_context_takeover: has("client_no_context_takeover"),
            server_max_window_bits: bits("server_max_window_bits"),
            client_max_window_bits: bits("client_max_window_bits"),
        })
    }
}

/// What is wrong with a response to these offers (RFC 7692 §5.1, §7.1), if anything.
pub(crate) fn mistake(offers: &str, response: &str) -> Option<String> {
    let (offers, answers) = (extensions(offers), extensions(response));
    let mut deflate = answers.iter().filter(|(name, _)| name == "permessage-deflate");
    let (_, parameters) = deflate.next()?;
    if deflate.next().is_some() {
        return Some("permessage-deflate is accepted twice".to_owned());
    }
    let offered = |wanted: &str| {
        let all = offers.iter().filter(|(name, _)| name == "permessage-deflate");
        all.flat_map(|(_, parameters)| parameters).filter(|(name, _)| name == wanted).collect()
    };
    for (at, (name, value)) in parameters.iter().enumerate() {
        if parameters[..at].iter().any(|(earlier, _)| earlier == name) {
            return Some(format!("{name} stands twice"));
        }
        let known: Vec<&Parameter> = offered(name);
        match (name.as_str(), value) {
            ("server_no_context_takeover" | "client_no_context_takeover", None) => {}
            ("server_max_window_bits" | "client_max_window_bits", Some(value)) => {
                let is_plain = !value.starts_with('0') && value.parse::<u8>().is_ok();
                let Some(bits @ 8..=15) = value.parse().ok().filter(|_| is_plain) else {
                    return Some(format!("{name}={value} is not 8 to 15"));
                };
                if name == "client_max_window_bits" && known.is_empty() {
                    return Some(format!("{name} was not offered"));
                }
                let bound =
                    known.iter().filter_map(|(_, value)| value.as_ref()?.parse::<u8>().ok());
                if name == "server_max_window_bits" && bound.max().is_some_and(|most| bits > most) {
                    return Some(format!("{name}={bits} is above what was asked for"));
                }
            }
            _ => return Some(format!("{name} is not a parameter, or has a wrong form")),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_answers_have_no_mistake_and_wrong_ones_do() {
        let offer = "permessage-deflate; client_max_window_bits; server_max_window_bits=10";
        let right = [
            "permessage-deflate",
            "permessage-deflate; server_max_window_bits=9; client_max_window_bits=12",
            "permessage-deflate; server_no_context_takeover;client_no_context_takeover",
            "other",
        ];
        for answer in right {
            assert_eq!(mistake(offer, answer), None, "{answer}");
        }
        let wrong = [
            "permessage-deflate; server_max_window_bits=11",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=09",
            "permessage-deflate; server_max_window_bits=7",
            "permessage-deflate; x",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; client_max_window_bits=9; client_max_window_bits=9",
            "permessage-deflate, permessage-deflate",
        ];
        for answer in wrong {
            assert!(mistake(offer, answer).is_some(), "{answer}");
        }
        assert!(
            mistake("permessage-deflate", "permessage-deflate; client_max_window_bits=9").is_some()
        );
    }
}
