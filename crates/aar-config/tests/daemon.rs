//! Promises of the daemon's configuration: what it means, and that every mistake is told so that it can be mended.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::{Duration, Instant};

use aar_config::{Config, LogFormat, LogLevel, Secret, Storage, to_yaml};
use proptest::prelude::*;
use tempfile::TempDir;

const ADDRESS: &str = "an address with a port, such as `10.0.0.5:3000`, `\"[::1]:3000\"` (in quotes) or \
                       `registry.example:3000`";

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("aar.yaml")).map_err(|error| error.to_string())
}

fn address(text: &str) -> Result<String, String> {
    parse(&format!("http:\n  addr: {text}\n")).map(|config| config.http.addr.to_string())
}

#[test]
fn a_whole_file_means_what_it_says() {
    let config = parse(
        "http:\n  addr: 10.0.0.5:3000            # a comment\nstorage:\n  fs:\n    root-directory: /var/lib/aar/data\n\
         ua-token: C1234\nmetrics: {addr: 127.0.0.1:9100}\nlog: {level: debug, format: json}\n",
    )
    .unwrap();
    assert_eq!((config.http.addr.host(), config.http.addr.port()), ("10.0.0.5", 3000));
    assert_eq!(config.storage, Storage::Fs { root_directory: Some("/var/lib/aar/data".into()) });
    assert_eq!(config.ua_token.unwrap().expose(), "C1234");
    assert_eq!(config.metrics.unwrap().addr.to_string(), "127.0.0.1:9100");
    assert_eq!((config.log.level, config.log.format), (LogLevel::Debug, LogFormat::Json));
}

#[test]
fn what_is_left_out_or_empty_has_defaults() {
    let files = [
        "",
        "\n# nothing\n",
        "---\n",
        "null\n",
        "{}",
        "http:\nstorage:\nua-token:\nmetrics:\nlog:\n",
        "http: ~\nstorage: {fs: null, s3: ~}\n",
        "http: {}\nstorage: {}\nlog: {}\n",
        "http: {addr: }\nstorage:\n  fs:\n    root-directory:\nlog: {level: , format: }\n",
    ];
    for file in files {
        assert_eq!(parse(file).as_ref(), Ok(&Config::default()), "{file}");
    }
    let config = Config::default();
    assert_eq!(config.http.addr.to_string(), "0.0.0.0:3000");
    assert_eq!(config.storage, Storage::Fs { root_directory: None });
    assert_eq!((config.log.level, config.log.format), (LogLevel::Info, LogFormat::Text));
    assert!(config.ua_token.is_none() && config.metrics.is_none());
}

#[test]
fn addresses_are_ip_addresses_and_host_names_with_a_port() {
    for good in [
        "10.0.0.5:3000",
        "0.0.0.0:0",
        "\"[::1]:3000\"",
        "'[2001:db8::5]:65535'",
        "localhost:3000",
        "registry-1.example:443",
    ] {
        assert_eq!(address(good).unwrap(), good.trim_matches(['"', '\'']), "{good}");
    }
    for bad in [
        "10.0.0.5",
        "3000",
        "\":3000\"",
        "\"10.0.0.5:\"",
        "10.0.0.5:65536",
        "10.0.0.5:-1",
        "10.0.0.5:+1",
        "10.0.0.300:3000",
        "10.0.0:3000",
        "::1:3000",
        "http://x:3000",
        "a b:3000",
        "a..b:3000",
        "ä.example:3000",
    ] {
        let found = bad.trim_matches('"');
        assert_eq!(
            address(bad).unwrap_err(),
            format!("aar.yaml:2:9: http.addr: expected {ADDRESS}, found `{found}`"),
        );
    }
}

#[test]
fn every_mistake_is_named_with_its_place_and_what_would_be_right() {
    let token = "found character that cannot start any token";
    let quotes = "a value with special characters belongs in quotes";
    let known = "known here: http, storage, ua-token, metrics, log";
    let cases = [
        ("hello", "1:1: expected keys such as `http:`, one a line".to_owned()),
        ("# x\n- a\n", "2:1: expected keys such as `http:`, one a line, found a list".to_owned()),
        ("http: 3000\n", "1:7: http: expected the key `addr`, indented".to_owned()),
        ("log: debug\n", "1:6: log: expected the keys `level` and `format`, indented".to_owned()),
        ("storage: fs\n", "1:10: storage: expected the key `fs` or `s3`, indented".to_owned()),
        ("storage: [fs]\n", "1:10: storage: expected the key `fs` or `s3`, indented, found a list".to_owned()),
        ("\nhtpp:\n", format!("2:1: htpp: unknown key `htpp`, {known}; did you mean `http`?")),
        ("HTTP: x\n", format!("1:1: HTTP: unknown key `HTTP`, {known}; did you mean `http`?")),
        ("`http`: x\n", format!("1:1: this is not valid YAML: {token}; {quotes}")),
        ("'`x`, expected `y`': x\n", format!("1:1: unknown key, {known}")),
        ("some thing: x\n", format!("1:1: unknown key, {known}")),
        ("http:\n  Some.Thing: x\n", "2:3: http: unknown key, known here: addr".to_owned()),
        ("bind: x\n", format!("1:1: bind: unknown key `bind`, {known}")),
        ("ua_token: x\n", format!("1:1: ua_token: unknown key `ua_token`, {known}; did you mean `ua-token`?")),
        (
            "http:\n  adr: x\n",
            "2:3: http.adr: unknown key `adr`, known here: addr; did you mean `addr`?".to_owned(),
        ),
        (
            "storage:\n  fs:\n    rootdirectory: /x\n",
            "3:5: storage.fs.rootdirectory: unknown key `rootdirectory`, known here: root-directory; did you mean \
             `root-directory`?"
                .to_owned(),
        ),
        ("http:\n  addr: [::1]:3000\n", format!("2:9: http.addr: expected {ADDRESS}, found a list")),
        (
            "storage:\n  fs:\n    root-directory: data\n",
            "3:21: storage.fs.root-directory: expected an absolute path, such as `/var/lib/aar/data`, found `data`"
                .to_owned(),
        ),
        ("log:\n  level: loud\n", "2:10: log.level: expected one of error, warn, info, debug, trace, found `loud`".to_owned()),
        ("log: {format: [json]}\n", "1:15: log.format: expected one of text, json, found a list".to_owned()),
        ("metrics: {}\n", "1:10: metrics: the key `addr` is missing".to_owned()),
        ("metrics:\n  addr:\n", format!("2:8: metrics.addr: expected {ADDRESS}")),
        ("log:\n\nhttp:\nlog:\n", "4:1: the key `log` is given twice".to_owned()),
        (
            "storage:\n  fs: {root-directory: /a}\n  fs: {root-directory: /b}\n",
            "3:3: storage: the key `fs` is given twice".to_owned(),
        ),
        ("ua-token: ''\n", "1:11: ua-token: expected a text that is not empty".to_owned()),
        (
            "log:\n\tlevel: info\n",
            "2:1: log: this is not valid YAML: found character that cannot start any token; indent with spaces, not \
             with tabs"
                .to_owned(),
        ),
        (
            "http:\n  addr: @x\n",
            "2:9: http.addr: this is not valid YAML: found character that cannot start any token; a value with \
             special characters belongs in quotes"
                .to_owned(),
        ),
        (
            "ua-token: C1: x\n",
            "1:13: this is not valid YAML: mapping values are not allowed in this context; a value with special \
             characters belongs in quotes"
                .to_owned(),
        ),
        ("? [a]\n: b\n", "1:3: expected a key, found a list".to_owned()),
        ("http:\n---\nlog:\n", " there is more than one YAML document here: remove the lines `---`".to_owned()),
        (
            "%YAML 1.2\n---\nhttp:\n",
            "1:1: YAML directives, which begin with `%`, have no use here: remove the line".to_owned(),
        ),
    ];
    for (file, expected) in cases {
        assert_eq!(parse(file).unwrap_err(), format!("aar.yaml:{expected}"), "{file}");
    }
}

#[test]
fn a_placeholder_left_in_place_is_named() {
    for (file, key) in [
        ("ua-token: <your token>\n", "1:11: ua-token: the placeholder `<your token>`"),
        ("http:\n  addr: <address>\n", "2:9: http.addr: the placeholder `<address>`"),
        (
            "storage:\n  fs:\n    root-directory: \"<the_directory>\"\n",
            "3:21: storage.fs.root-directory: the placeholder `<the_directory>`",
        ),
    ] {
        let expected = format!("aar.yaml:{key} is still there: put the real value in its place");
        assert_eq!(parse(file).unwrap_err(), expected);
    }
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("aar.yaml");
    let load = || Config::load(&path).unwrap_err().to_string();
    let name = path.display();

    assert_eq!(load(), format!("cannot read `{name}`"));
    std::fs::write(&path, b"http:\n  \xc3\xa4\xff").unwrap();
    assert_eq!(load(), format!("{name}:2:4: this is not UTF-8"));
    std::fs::write(&path, "ä".repeat(1 << 20)).unwrap();
    assert_eq!(load(), format!("{name}: this is longer than 1 MiB, too long for a configuration"));
    std::fs::write(&path, format!("#{}\nlog: {{level: warn}}", " ".repeat((1 << 20) - 100))).unwrap();
    assert_eq!(Config::load(&path).unwrap().log.level, LogLevel::Warn);
}

#[test]
fn hostile_files_are_refused_quickly() {
    let laughs = ('b'..='z').zip('a'..).map(|(this, last)| {
        let many = format!("*{last},").repeat(9);
        format!("{this}: &{this} [{many}]\n")
    });
    let laughs = laughs.fold("http: &a [x,x,x,x,x,x,x,x,x]\n".to_owned(), |all, line| all + &line);
    let repeated = |count: u32, line: fn(u32) -> String| (0..count).map(line).collect::<String>();
    let size = 1 << 20;
    let files = [
        laughs.replace("http", "ua-token"),
        laughs,
        "[".repeat(size),
        "{a: ".repeat(size / 4),
        format!("http: {}", "[a, ".repeat(size / 4 - 10)),
        "- ".repeat(size / 2),
        "? ".repeat(size / 2),
        repeated(1400, |depth| " ".repeat(depth as usize) + "http:\n"),
        repeated(60_000, |n| format!("%TAG !{n}! x\n")),
        repeated(50_000, |n| format!("\u{85}%TAG !{n}! x")),
        "http:\n".repeat(size / 6),
        format!("\"{}", "x".repeat(size - 1)),
    ];
    let begun = Instant::now();
    for file in files {
        let error = parse(&file).unwrap_err();
        assert!(error.len() < 500, "{error}");
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn a_secret_shows_itself_only_when_asked() {
    let secret = Secret::from("C1234".to_owned());
    assert_eq!(secret.expose(), "C1234");
    assert_eq!(format!("{secret} {secret:?}"), "<hidden> <hidden>");
    assert_eq!(to_yaml(&secret).unwrap(), "<hidden>\n");
    assert_eq!(serde_json::to_string(&secret).unwrap(), "\"<hidden>\"");
    let config = parse("ua-token: C1234").unwrap();
    assert!(!format!("{config:?}").contains("C1234"));
}

/// Ways to get a token wrong, `@` standing for the token.
const BROKEN: [&str; 25] = [
    "ua-token: [@]",
    "ua-token: {a: @}",
    "ua-token: {@: a}",
    "ua-token: {@",
    "ua-token: [@",
    "ua-token: - @",
    "ua-token:\n- @",
    "ua-token:\n  - @",
    "ua-token: '@",
    "ua-token: \"@",
    "ua-token: \"@\\q\"",
    "ua-token: *@",
    "ua-token: @: x",
    "ua-token: '@' x",
    "ua-token: |@\n  x",
    "ua-token: !<@ x",
    "ua-token: !a!@ x",
    "ua-token: %@",
    "ua-token @",
    "ua-token=@",
    "@",
    "- @",
    "ua-token: @\nua-token: @",
    "ua-token: @\nua-token:\n  x: @",
    "ua-token: @\nhttp: 3",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_error_shows_a_token(token in "C[A-Za-z0-9]{12,30}", also in "[ a-z:\n]{0,20}") {
        for broken in BROKEN {
            for file in [broken.replace('@', &token), format!("{}{also}", broken.replace('@', &token))] {
                if let Err(error) = Config::parse(&file, Path::new("aar.yaml")) {
                    prop_assert!(!format!("{error} {error:?}").contains(&token), "{file:?}: {error}");
                }
            }
        }
    }

    #[test]
    fn arbitrary_text_never_panics(text in any::<String>(), yaml in "[a-z:{}\\[\\]&*!|>'\"%#@\n\t ,?-]{0,80}") {
        let _ = parse(&text);
        let _ = parse(&yaml);
        let _ = parse(&format!("http:\n  {yaml}\nlog: {text}"));
    }
}

#[test]
fn every_way_to_get_a_token_wrong_is_an_error() {
    for broken in BROKEN {
        parse(&broken.replace('@', "C123456789")).unwrap_err();
    }
}
