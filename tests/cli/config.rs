//! The options of `sockeye serve` from flags, environment and a file, and what they come to.

use std::path::PathBuf;

use sockeye_tests::program::{assert_fails, run, run_with_env};
use tempfile::TempDir;

/// A file with this content in a folder of its own.
fn file(content: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sockeye.toml");
    std::fs::write(&path, content).expect("the file can be written");
    (folder, path)
}

/// What the program comes to with this file, these variables and these flags.
fn print_config(content: &str, env: &[(&str, &str)], flags: &[&str]) -> String {
    let (_folder, path) = file(content);
    let path = path.to_str().expect("a path in UTF-8");
    let args = [&["serve", "--print-config", "--config", path], flags].concat();
    let output = run_with_env(&args, env);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("a text")
}

/// The line that says why the program refuses this file.
#[track_caller]
fn refused(content: &str) -> String {
    let (_folder, path) = file(content);
    let output = run(&["serve", "--config", path.to_str().expect("a path in UTF-8")], "");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8(output.stderr).expect("a text");
    said.lines().next().expect("a line").to_owned()
}

#[test]
fn flags_win_then_the_environment_then_the_file() {
    let content = "drain = \"1s\"\nhistory_age = \"1h\"\nmax_message = \"1k\"\n";
    let env = [("SOCKEYE_HISTORY_AGE", "2h"), ("SOCKEYE_MAX_MESSAGE", "2k")];
    let config = print_config(content, &env, &["--max-message", "3k"]);
    for line in ["drain = \"1s\"", "history_age = \"2h\"", "max_message = \"3k\""] {
        assert!(config.lines().any(|found| found == line), "{line} is not in\n{config}");
    }
    assert!(config.contains("\nhistory_count = 1000\n"), "what is not set is the default");
}

#[test]
fn a_file_may_set_every_kind_of_option() {
    let content = "open = true\nhistory_count = 7\nlisten = [\"127.0.0.1:1\", \"unix:/tmp/x\"]\n\
                   policy = \"telemetry:*=latest\"\nadmin = \"off\"\n";
    let config = print_config(content, &[], &[]);
    for line in [
        "open = true",
        "history_count = 7",
        "listen = [\"127.0.0.1:1\", \"unix:/tmp/x\"]",
        "policy = [\"telemetry:*=latest\"]",
        "admin = \"off\"",
    ] {
        assert!(config.lines().any(|found| found == line), "{line} is not in\n{config}");
    }
    // A list that is given elsewhere is that list, and not both.
    let config = print_config(content, &[("SOCKEYE_LISTEN", "127.0.0.1:2")], &[]);
    assert!(config.contains("\nlisten = [\"127.0.0.1:2\"]\n"), "{config}");
}

#[test]
fn what_is_printed_can_be_fed_back() {
    let flags = ["--policy", "a=latest", "--policy", "b*=close", "--open", "--drain", "500ms"];
    let config = print_config("", &[], &flags);
    assert_eq!(print_config(&config, &[], &[]), config);
}

const CHANNELS: &str = "policy = [\"device:*=latest\", \"*=close\"]\nhistory_count = 7\n\
    [[channel]]\nmatch = \"device:boss\"\n\n\
    [[channel]]\nmatch = \"device:*\"\nmax_message = \"1k\"\npresence = false\nhistory_count = 3\nhistory_age = \"5m\"\n\n\
    [[channel]]\nmatch = \"log:*\"\npublish = false\npolicy = \"catchup\"\n";

#[test]
fn rules_of_channels_are_tables_in_a_file_and_lines_elsewhere() {
    let config = print_config(CHANNELS, &[], &[]);
    let line = "channel = [\"device:boss\", \"device:* max_message=1k presence=false history_count=3 history_age=5m\", \
                \"log:* policy=catchup publish=false\"]";
    let words = |text: &str| {
        let mut words: Vec<_> = text.split([' ', '"', ',', '[', ']']).map(str::to_owned).collect();
        words.sort();
        words
    };
    let found = config.lines().find(|found| found.starts_with("channel = ")).expect("rules");
    assert_eq!(words(found), words(line), "{config}");
    assert_eq!(print_config(&config, &[], &[]), config, "it can be fed back");
    let env = [("SOCKEYE_CHANNEL", "a publish=false, b*")];
    let config = print_config(CHANNELS, &env, &[]);
    assert!(config.contains("\nchannel = [\"a publish=false\", \"b*\"]\n"), "{config}");
}

#[test]
fn the_settings_of_one_channel_are_shown() {
    let (_folder, path) = file(CHANNELS);
    let path = path.to_str().expect("a path in UTF-8");
    let settings = |channel: &str| {
        let print = format!("--print-config={channel}");
        let output = run(&["serve", &print, "--config", path], "");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("a text")
    };
    let all = |max: &str, policy: &str, publish: bool, presence: bool| {
        let (count, age) = if presence { (7, "24h") } else { (3, "5m") };
        format!(
            "max_message = \"{max}\"\npolicy = \"{policy}\"\npublish = {publish}\n\
             presence = {presence}\nevents = true\nanonymous_read = false\nhistory_count = {count}\n\
             history_bytes = \"16M\"\nhistory_age = \"{age}\"\n"
        )
    };
    for (channel, rule, expected) in [
        (
            "device:boss",
            "the first rule that matches is of device:boss",
            all("64k", "latest", true, true),
        ),
        (
            "device:7",
            "the first rule that matches is of device:*",
            all("1k", "latest", true, false),
        ),
        ("log:a", "the first rule that matches is of log:*", all("64k", "catchup", false, true)),
        ("chat", "no rule matches", all("64k", "close", true, true)),
    ] {
        assert_eq!(settings(channel), format!("# {channel}: {rule}\n{expected}"));
    }
    let output = run(&["serve", "--print-config=no name"], "");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn a_mistake_is_named_with_its_line() {
    let cases = [
        ("# options\n\nlisen = \"127.0.0.1:1\"\n", "sockeye.toml:3: unknown key `lisen`"),
        ("config = \"other.toml\"\n", "sockeye.toml:1: unknown key `config`"),
        ("drain = \"1s\"\nhistory_count = \"many\"\n", "sockeye.toml:2: invalid value 'many'"),
        ("policy = [\"x=latest\", \"x\"]\n", "sockeye.toml:1: invalid value 'x'"),
        ("open = \"yes\"\n", "sockeye.toml:1: write open = true or open = false"),
        ("\nmax_message = 1.5\n", "sockeye.toml:2: write max_message ="),
        ("\n\ndrain = \n", "sockeye.toml:3: "),
        ("drain = \"1s\"\ndrain = \"2s\"\n", "sockeye.toml:2: "),
        ("[[channel]]\nmatch = \"a*b\"\n", "sockeye.toml:2: invalid value 'a*b'"),
        ("open = true\n[[channel]]\npublish = false\n", "sockeye.toml:2: write match = "),
        (
            "[[channel]]\nmatch = \"a\"\npublish = true\n[[channel]]\nmatch = \"b\"\npublish = 1\n",
            "sockeye.toml:6: invalid value 'b publish=1' for '--channel <PATTERN KEY=VALUE>': write publish=true",
        ),
        ("[[channel]]\nmatch = \"a\"\nhistory = 7\n", "there is no setting history of channels"),
        ("[[channel]]\nmatch = \"a\"\npolicy = \"latest,b\"\n", "sockeye.toml:3: write policy ="),
        ("[channel]\nmatch = \"a\"\n", "sockeye.toml:1: write [[channel]], in two brackets"),
        ("channel = [\"a\", \"b publish=no\"]\n", "sockeye.toml:1: invalid value 'b publish=no'"),
    ];
    for (content, told) in cases {
        let line = refused(content);
        assert!(line.contains(told), "{line:?} for {content:?}");
    }
}

#[test]
fn a_file_that_is_named_must_be_there() {
    let output = run(&["serve", "--config", "/nowhere/sockeye.toml"], "");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("cannot read /nowhere/sockeye.toml"), "{said}");
}

#[test]
fn an_option_that_needs_another_is_named_wherever_it_comes_from() {
    assert!(refused("tls_cert = \"chain.pem\"\n").contains("required"));
    for log in ["chatty=loud=very", "wran", "warn,sockeye_server"] {
        assert_fails(&run(&["serve", "--log", log, "--listen", "127.0.0.1:0"], ""), 1);
    }
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let empty = ["LISTEN", "ADMIN", "DATA", "OPEN", "MAX_MESSAGE", "HISTORY_AGE", "CONFIG", "LOG"];
    let names: Vec<String> = empty.iter().map(|name| format!("SOCKEYE_{name}")).collect();
    let env: Vec<(&str, &str)> = names.iter().map(|name| (&**name, "")).collect();
    let args = ["serve", "--print-config"];
    let output = run_with_env(&args, &env);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, run_with_env(&args, &[]).stdout);
    // What the file says is not overridden by nothing.
    let config = print_config("max_message = \"1k\"\n", &env, &[]);
    assert!(config.contains("\nmax_message = \"1k\"\n"), "{config}");
}

#[test]
fn a_misspelt_variable_is_an_error_and_those_of_a_platform_are_none() {
    let platform = [("SOCKEYE_SERVICE_HOST", "10.0.0.1"), ("SOCKEYE_PORT", "tcp://10.0.0.1:80")];
    let output = run_with_env(&["serve", "--print-config"], &platform);
    assert!(output.status.success(), "{output:?}");
    let output = run_with_env(&["serve", "--print-config"], &[("SOCKEYE_AUTHKEY", "secret")]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8(output.stderr).expect("a text");
    let expected =
        "error: there is no variable SOCKEYE_AUTHKEY: write SOCKEYE_AUTH_KEY, or unset it";
    assert!(said.starts_with(expected), "{said}");
}

#[test]
fn an_empty_variable_that_would_switch_protection_off_is_an_error_that_names_it() {
    for variable in [
        "SOCKEYE_AUTH_KEY",
        "SOCKEYE_AUTH_AUDIENCE",
        "SOCKEYE_CHANNEL",
        "SOCKEYE_TLS_CERT",
        "SOCKEYE_TLS_KEY",
        "SOCKEYE_MAX_CONNECTIONS_PER_ADDRESS",
        "SOCKEYE_MAX_REQUESTS_PER_ADDRESS",
    ] {
        let output = run_with_env(&["serve", "--listen", "127.0.0.1:0"], &[(variable, "")]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let said = String::from_utf8(output.stderr).expect("a text");
        assert!(said.starts_with(&format!("error: {variable} is empty: ")), "{said}");
    }
    // Another source has switched it on.
    let config = print_config("", &[("SOCKEYE_AUTH_KEY", "")], &["--auth-key", "secret"]);
    assert!(config.contains("\nauth_key = \"secret\"\n"), "{config}");
    let config = print_config("auth_key = \"secret\"\n", &[("SOCKEYE_AUTH_KEY", "")], &[]);
    assert!(config.contains("\nauth_key = \"secret\"\n"), "{config}");
    // For other commands it means nothing.
    assert!(run_with_env(&["echo", "--help"], &[("SOCKEYE_AUTH_KEY", "")]).status.success());
}

#[test]
fn switches_and_lists_in_the_environment_are_as_people_write_them() {
    for (value, expected) in
        [("1", true), ("true", true), ("yes", true), ("0", false), ("false", false), ("no", false)]
    {
        let config = print_config("", &[("SOCKEYE_OPEN", value)], &[]);
        assert!(config.contains(&format!("\nopen = {expected}\n")), "{value}: {config}");
    }
    let output = run_with_env(&["serve", "--print-config"], &[("SOCKEYE_OPEN", "perhaps")]);
    assert_eq!(output.status.code(), Some(2));
    let env = [
        ("SOCKEYE_LISTEN", "127.0.0.1:0, [::1]:0"),
        ("SOCKEYE_ALLOW_ORIGIN", "https://a.example, https://b.example"),
        ("SOCKEYE_POLICY", "a=latest, b*=close"),
        ("SOCKEYE_TRUST_PROXY", "192.0.2.0/24, unix"),
        ("SOCKEYE_LOG", "warn, sockeye_server=debug"),
        ("SOCKEYE_ADMIN", "off"),
    ];
    let output = run_with_env(&["serve", "--print-config"], &env);
    assert!(output.status.success(), "{output:?}");
    let config = String::from_utf8(output.stdout).expect("a text");
    assert!(config.contains(r#"["https://a.example", "https://b.example"]"#), "{config}");
}

#[test]
fn a_wrong_value_of_the_environment_is_named_with_its_variable() {
    for (variable, value, how) in [
        ("SOCKEYE_MAX_MESSAGE", "1X", "write a size as 512, 64k, 16M or 1G"),
        ("SOCKEYE_OPEN", "maybe", "write 1, true, yes, 0, false or no"),
        ("SOCKEYE_ALLOW_ORIGIN", "https://a.example,b", "\"b\" is not an origin"),
    ] {
        let output = run_with_env(&["serve", "--print-config"], &[(variable, value)]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let said = String::from_utf8(output.stderr).expect("a text");
        assert!(said.contains(&format!(" in {variable}: ")) && said.contains(how), "{said}");
    }
    // What a flag says is the flag's fault.
    let args = ["serve", "--print-config", "--max-message=1X"];
    let output = run_with_env(&args, &[("SOCKEYE_MAX_MESSAGE", "1X")]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("'--max-message <SIZE>'"));
}

#[test]
fn combinations_that_make_no_sense_are_refused_with_what_to_do() {
    let cases: [(&[&str], i32, &str); 17] = [
        (&["--max-message", "17M"], 1, "--history-bytes 16M"),
        (&["--max-message", "2M", "--history-bytes", "1M"], 1, "--history-bytes 1M"),
        (&["--max-message", "2M", "--max-bytes", "1M"], 1, "--max-bytes 1M"),
        (&["--drain", "48h"], 2, "24h at most"),
        (&["--history-age", "0s"], 2, "keeps nothing"),
        (&["--max-channels", "abc"], 2, "write a whole number above zero"),
        (&["--max-connections-per-address", "0"], 2, "write a whole number above zero"),
        (&["--max-http2-buffer", "0"], 2, "leaves no room"),
        (&["--channel", "a max_message=65k"], 1, "more than --max-message 64k"),
        (&["--channel", "a anonymous_read=true"], 1, "changes nothing without --auth-key"),
        (&["--channel", "a publisher=api"], 1, "cannot be known without --auth-key"),
        (&["--max-connections-per-subject", "4"], 1, "change nothing without --auth-key"),
        (&["--max-publications-per-subject", "4"], 1, "change nothing without --auth-key"),
        (&["--channel", "a publish=false publisher=api"], 1, "which contradict each other"),
        (&["--channel", "a history_bytes=1k"], 1, "history_bytes 1k of the channels a has no room"),
        (
            &["--channel", "a history_count=1", "--cluster", "nats://127.0.0.1:1"],
            1,
            "with --cluster all channels keep the same history",
        ),
        (&["--channel", "a publish=no"], 2, "write publish=true or publish=false"),
    ];
    for (flags, code, expected) in cases {
        let output = run(&[&["serve", "--listen", "127.0.0.1:0"], flags].concat(), "");
        assert_eq!(output.status.code(), Some(code), "{flags:?}: {output:?}");
        let said = String::from_utf8(output.stderr).expect("a text");
        assert!(said.contains(expected), "{flags:?}: {said}");
    }
    let config = print_config("", &[], &["--drain", "0s"]);
    assert!(config.contains("\ndrain = \"0s\"\n"), "0s is the end at once: {config}");
}
