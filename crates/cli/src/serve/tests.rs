//! The options of the server and the flags of `sockeye serve` are the same.

use std::collections::BTreeMap;

use clap::{ArgAction, CommandFactory as _, FromArgMatches as _};
use sockeye_server::ServerOptions;
use sockeye_testing::assert_documented;

use super::Serve;
use crate::Cli;

/// Fields that have no flag of their own, and why.
const NO_FLAGS: [(&str, &str); 7] = [
    ("authorizer", "made of --authorize-url"),
    ("events", "made of --events-url"),
    ("backplane", "made of --cluster"),
    ("tracer", "made of --otlp"),
    ("tls", "made of --tls-cert and --tls-key"),
    ("log_lines_lost", "counted, not told"),
    ("option_names", "the flags themselves"),
];

/// Flags whose default is not that of the library, and why.
const OTHER_DEFAULTS: [(&str, &str); 3] = [
    ("admin", "an embedded server has no such address"),
    ("max_connections", "made of the limit of open files"),
    ("option_names", "the flags themselves"),
];

/// Values of every kind that a flag takes; none is a default.
const VALUES: [&str; 11] = [
    "11",
    "11s",
    "11k",
    "127.0.0.1:11",
    "https://page.example",
    "192.0.2.0/24",
    "news:*=latest",
    "news:* publish=false",
    "somewhere",
    "off",
    "epoll",
];

/// What the program makes of these flags.
fn options(flags: &[&str]) -> Result<ServerOptions, String> {
    let arguments = [&["sockeye", "serve"], flags].concat();
    let matches = Cli::command().try_get_matches_from(arguments).map_err(|why| why.to_string())?;
    let (_, matches) = matches.subcommand().ok_or("no command")?;
    let serve = Serve::from_arg_matches(matches).map_err(|why| why.to_string())?;
    serve.options().map_err(|why| why.to_string())
}

/// Each field with its value, as `Debug` shows them.
fn fields(options: &ServerOptions) -> BTreeMap<String, String> {
    let (mut fields, mut current) = (BTreeMap::<String, String>::new(), String::new());
    let debug = format!("{options:#?}");
    // Those of the channels stand among the others.
    let (before, rest) = debug.split_once("    channels: ChannelOptions {\n").unwrap();
    let (inner, after) = rest.split_once("\n    },\n").unwrap();
    let inner: Vec<_> = inner.lines().map(|line| &line[4..]).collect();
    for line in before.lines().chain(inner).chain(after.lines()) {
        let field =
            line.strip_prefix("    ").filter(|rest| !rest.starts_with([' ', '}', ']', ')']));
        if let Some((name, value)) = field.and_then(|field| field.split_once(": ")) {
            current = name.to_owned();
            fields.insert(current.clone(), value.to_owned());
        } else if let Some(value) = fields.get_mut(&current) {
            value.push_str(line.trim());
        }
    }
    fields
}

#[test]
fn every_option_of_the_server_is_a_flag_that_is_in_force() {
    let command = Cli::command();
    let serve = command.find_subcommand("serve").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, [b'k'; 32]).unwrap();
    let values = VALUES.into_iter().chain(key.to_str());
    let defaults = fields(&options(&[]).unwrap());
    assert!(defaults.len() > 20, "{defaults:?}");
    for (field, default) in &defaults {
        if NO_FLAGS.iter().any(|(name, _)| name == field) {
            continue;
        }
        let flag = serve.get_arguments().find(|argument| argument.get_id() == field);
        let flag = flag.unwrap_or_else(|| panic!("`{field}` of ServerOptions has no flag"));
        let long = format!("--{}", flag.get_long().unwrap());
        assert_eq!(flag.get_env().unwrap(), &*format!("SOCKEYE_{}", field.to_ascii_uppercase()));
        let is_switch = matches!(flag.get_action(), ArgAction::SetTrue);
        let changes = |value: &str| {
            let mut flags = if is_switch { vec![&*long] } else { vec![&*long, value] };
            // Without tokens there are no subjects, which is an error.
            if long.ends_with("-per-subject") {
                flags.extend(["--auth-key", key.to_str().unwrap()]);
            }
            options(&flags).is_ok_and(|options| fields(&options)[field] != *default)
        };
        assert!(values.clone().any(changes), "{long} changes nothing");
    }
}

#[test]
fn the_defaults_of_the_flags_are_those_of_the_library() {
    let (of_flags, mut of_library) =
        (fields(&options(&[]).unwrap()), fields(&ServerOptions::default()));
    for (field, value) in of_flags {
        let of_library = of_library.remove(&field).unwrap();
        if !OTHER_DEFAULTS.iter().any(|(name, _)| *name == field) {
            assert_eq!(value, of_library, "{field}");
        }
    }
}

#[test]
#[cfg(not(feature = "fjall"))]
fn a_program_without_the_store_names_the_feature_that_has_it() {
    let refused = options(&["--data", "somewhere"]).unwrap_err();
    assert!(refused.contains("built without the feature `fjall`"), "{refused}");
    let mut help = Vec::new();
    let command = Cli::command();
    command.find_subcommand("serve").unwrap().clone().write_long_help(&mut help).unwrap();
    assert!(!String::from_utf8(help).unwrap().contains("--data <"));
}

#[test]
#[cfg(not(feature = "cluster"))]
fn a_program_without_the_cluster_names_the_feature_that_has_it() {
    let refused = options(&["--cluster", "nats://127.0.0.1:4222"]).unwrap_err();
    assert!(refused.contains("built without the feature `cluster`"), "{refused}");
}

#[test]
fn deadlines_are_neither_nothing_nor_for_ever() {
    for flag in ["head", "body", "auth", "write", "pong"].map(|name| format!("--{name}-timeout")) {
        for value in ["0s", "25h", "10", "soon"] {
            assert!(options(&[&flag, value]).is_err(), "{flag} {value}");
        }
    }
    assert_eq!(options(&["--ping-interval", "off"]).unwrap().channels.ping_interval, None);
}

#[test]
fn a_bound_that_leaves_no_room_is_refused() {
    for flag in [
        "history-bytes",
        "history-count",
        "log-buffer",
        "max-bytes",
        "max-channels",
        "max-commands",
        "max-connections",
        "max-handshakes",
        "max-message",
    ] {
        assert!(options(&[&format!("--{flag}"), "0"]).is_err(), "{flag}");
    }
}

#[test]
fn the_table_of_options_has_every_flag_with_its_default() {
    let command = Cli::command();
    let serve = command.find_subcommand("serve").unwrap();
    let own = ["help", "config", "print-config"];
    for flag in serve.get_arguments().filter(|flag| !own.contains(&flag.get_long().unwrap())) {
        let name = format!("`--{}`", flag.get_long().unwrap());
        let defaults: Vec<_> =
            flag.get_default_values().iter().map(|value| value.to_str()).collect();
        let row = match &defaults[..] {
            [Some(default)]
                if flag.get_action().takes_values() && !flag.is_hide_default_value_set() =>
            {
                format!("| {name} | `{default}` |")
            }
            _ => name,
        };
        assert_documented("operate/operations.md", &row);
    }
}

/// A time as sentences have it.
fn said(time: std::time::Duration) -> String {
    match time.as_secs() {
        seconds if seconds.is_multiple_of(60) => format!("{} minutes", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

#[test]
fn the_documentation_says_the_numbers_of_the_code() {
    let options = ServerOptions::default();
    let (write, ping) =
        (said(options.channels.write_timeout), options.channels.ping_interval.unwrap());
    let (pong, heartbeat) = (said(options.channels.pong_timeout), said(options.channels.heartbeat));
    let (head, body) = (said(options.head_timeout), said(options.channels.body_timeout));
    let (auth, drain) = (options.channels.auth_timeout, said(options.drain));
    let (handshakes, bad) =
        (options.max_handshakes, options.channels.max_bad_tokens_per_address.unwrap());
    let message = options.channels.max_message >> 10;
    let in_words = match options.channels.write_timeout.as_secs() {
        120 => "two minutes",
        _ => &write,
    };
    let sentences = [
        ("operate/limits.md", format!("| {head} | `--head-timeout`")),
        ("operate/limits.md", format!("| {body} | `--body-timeout`")),
        ("operate/limits.md", format!("| {write} | `--write-timeout`")),
        ("operate/limits.md", format!("| {} | `--auth-timeout`", said(auth))),
        ("operate/limits.md", format!("| {bad} | `--max-bad-tokens-per-address`")),
        ("operate/limits.md", format!("| {handshakes} | `--max-handshakes`")),
        ("operate/limits.md", format!("| {message} KiB | `--max-message`")),
        ("../packaging/systemd/sockeye.service", format!("Longer than --drain ({drain})")),
        ("operate/operations.md", format!("four fifths of `--drain` ({drain})")),
        ("operate/behind-a-proxy.md", format!("streams say something every {heartbeat}")),
        ("operate/behind-a-proxy.md", format!("WebSockets every {}", said(ping))),
        ("channels/choosing-a-transport.md", format!("comes every {heartbeat} (`--heartbeat`)")),
        ("channels/choosing-a-transport.md", format!("for {in_words} is cut off")),
        ("channels/slow-readers.md", format!("taken nothing for {in_words}")),
        (
            "channels/slow-readers.md",
            format!("may take {} to answer a ping", pong.replace('5', "five")),
        ),
        (
            "channels/protocol-v1.md",
            format!("after {} seconds (`--ping-interval`)", ping.as_secs()),
        ),
        ("channels/protocol-v1.md", format!("comes in {pong} (`--pong-timeout`")),
        ("channels/protocol-v1.md", format!("it may take {} seconds", auth.as_secs())),
    ];
    for (name, sentence) in sentences {
        assert_documented(name, &sentence);
    }
}
