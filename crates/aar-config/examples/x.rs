use std::time::Instant;
fn main() {
    let p = std::path::Path::new("/etc/aar.yaml");
    let cases = [
        "",
        "# x\n",
        "---\n",
        "http:\n",
        "null",
        "hello",
        "- a",
        "http: 3",
        "http:\n  adr: x\n",
        "htp:\n",
        "http:\n  addr: 10.0.0.5\n",
        "http:\n  addr: [::1]:3000\n",
        "http:\n  addr: [::]:3000\n",
        "http: {addr: \"[::1]:3000\"}",
        "storage:\n  s3:\n    region: x\n",
        "storage:\n  fs:\n    root-directory: x\n",
        "storage:\n  fs: {root-directory: /a}\n  fs: {}\n",
        "a: &a [x]\nb: *a",
        "ua-token: <your token>",
        "ua-token: {a: b}",
        "ua-token: [C123]",
        "ua-token:\n",
        "ua-token: ''",
        "ua-token C1234",
        "log:\n\tlevel: info\n",
        "log:\n  level: infoo\n",
        "log:\n  level: [info]\n",
        "a: *x",
        "metrics: {}",
        "metrics:\n  addr:\n",
        "---\na: 1\n---\nb: 2\n",
        "http: &x {addr: *x}",
        "log: {level: {a: b}}",
        "http:\n  addr: \"a\n",
        "ua-token: !!binary xx",
        "ua-token: \"C\\q\"",
        "log: !foo\n  level: x",
        "log:\n level: info\n  format: text",
        "\u{0}",
        "ua-token: 'abc' def",
        "? [a, b]\n: c",
        "1: 2",
        "http:\n  ? addr\n  : \"x\"",
        "<<: {a: b}",
        "ua-token: *C1234",
        "ua-token: &C1234",
        "%YAML 3.0\n---\n",
        "ua-token: @C123",
        "ua-token: `C123",
        "ua-token: 'C123",
        "ua-token: >x\n C123",
        "ua-token: C1: x",
        "ua-token: %C123",
        "ua-token: {C123: x",
        "ua-token: !C123",
        "ua-token: !C123 x",
        "ua-token: !<C123 x",
        "ua-token: !a!C123 x",
    ];
    for c in cases {
        eprintln!("== {c:?}");
        let r = aar_config::Config::parse(c, p);
        match r {
            Ok(c) => eprintln!("OK {c:?}"),
            Err(e) => eprintln!("{e}"),
        }
    }
    let n = 1 << 20;
    let bombs = [
        ("[", "[".repeat(n)),
        ("{", "{".repeat(n)),
        ("- ", "- ".repeat(n / 2)),
        ("? ", "? ".repeat(n / 2)),
        ("a:\\n", (0..1400).map(|i| format!("{}a:\n", " ".repeat(i))).collect()),
        ("lines", "log:\n".repeat(n / 5)),
        ("anchors", (0..n / 14).map(|i| format!("a{i}: &a{i} x\n")).collect()),
        ("{a: ", "{a: ".repeat(n / 4)),
        ("&a ", "&a ".repeat(n / 3)),
        ("quote", format!("\"{}", "x".repeat(n - 1))),
        ("spaces", " ".repeat(n)),
        ("nl", "\n".repeat(n)),
        ("laugh", {
            let mut s = String::from("a: &a [x,x,x,x,x,x,x,x,x]\n");
            for i in 0..20 {
                let (c, d) = (char::from(b'a' + i), char::from(b'b' + i));
                s += &format!("{d}: &{d} [*{c},*{c},*{c},*{c},*{c},*{c},*{c},*{c},*{c}]\n");
            }
            s
        }),
        ("[a,", "[a,".repeat(n / 3)),
        ("\"", "\"a\" ".repeat(n / 4)),
        ("a: [ok", format!("log: {}", "[".repeat(n - 5))),
    ];
    for (n, b) in bombs {
        let t = Instant::now();
        let r = aar_config::Config::parse(&b, p);
        eprintln!(
            "{n}: {:?} {:?}",
            t.elapsed(),
            r.map_err(|e| e.to_string().chars().take(200).collect::<String>())
        );
    }
}
