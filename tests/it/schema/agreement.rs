//! Each declared key on its own: schema and reader accept the same values.
//!
//! Exceptions: keys that name files, and rules about several keys. Ranges of quantities with a unit are
//! checked by the reader only, because JSON Schema has patterns but no arithmetic.

use std::{collections::BTreeMap, fmt, sync::LazyLock};

use apigw_invoker::settings::{
    Document, Settings,
    schema::{File, of},
};
use jsonschema::Validator;
use proptest::{prelude::*, sample::select, string::string_regex};
use rcgen::generate_simple_self_signed;
use serde_json::{Value, json};

use super::{tables, validator};

/// Keys that name files, which must exist.
const FILES: [&str; 9] = [
    "ca_certificate",
    "client_certificate",
    "client_key",
    "roles_anywhere.certificate",
    "roles_anywhere.key",
    "https.address",
    "https.certificate",
    "https.key",
    "https.client_ca",
];
/// Required keys: null and an empty list mean the same as a missing key.
const NEEDED: [&str; 10] = [
    "function_uri",
    "api_gateway.hosts",
    "function_name",
    "lambda.aws_region",
    "endpoint",
    "connect.address",
    "connect.sni",
    "trust_anchor_arn",
    "profile_arn",
    "role_arn",
];

/// Values for `function_uri`.
const FUNCTION_URIS: [&str; 7] = [
    "https://a.example",
    "HTTP://[::1]:80/p?q",
    "ftp://a/",
    "https://a/#f",
    "/p",
    "https://u:p@a/",
    "https://a/@",
];

/// Texts for items of `trusted_ips`.
const TRUSTED_IPS: [&str; 16] = [
    "10.0.0.0/8",
    "10.0.0.1",
    "10.0.0.0/33",
    "10.0.0.0/08",
    "10.0.0.0/",
    "10.0.0/8",
    "0.0.0.0/0",
    "::/0",
    "fd00::/128",
    "fd00::/129",
    "::ffff:10.0.0.0/104",
    "[::1]",
    "fe80::1%1",
    "unix:",
    "unix",
    "unix:/",
];

/// A declared key that takes a value, with a document in which only this key can be wrong.
#[derive(Clone)]
struct Declared {
    file: File,
    path: Vec<String>,
    schema: Value,
    base: Value,
}

impl fmt::Debug for Declared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.file, self.path.join("."))
    }
}

/// All keys of both files.
static KEYS: LazyLock<Vec<Declared>> = LazyLock::new(|| {
    let mut found = Vec::new();
    for file in [File::Default, File::Route] {
        let mut all = Vec::new();
        tables(&of(file), &[], &mut all);
        for (path, keys) in all {
            for (key, schema) in keys {
                let path = [&path[..], &[key]].concat();
                let name = path.join(".");
                let is_leaf = schema["properties"].is_null();
                if is_leaf && path[0] != "defaults" && !FILES.iter().any(|file| name.ends_with(file)) {
                    found.push(Declared { file, base: base(file, &path), path, schema });
                }
            }
        }
    }
    assert!(found.len() > 110, "{}", found.len());
    found
});

static VALIDATORS: LazyLock<[Validator; 2]> =
    LazyLock::new(|| [validator(&of(File::Default)), validator(&of(File::Route))]);

const ROLE: &str = "arn:aws:iam::123456789012:role/r";

/// A whole `roles_anywhere`, with PEM instead of files.
fn roles_anywhere() -> Value {
    let own = generate_simple_self_signed(["pod".to_owned()]).unwrap();
    json!({
        "trust_anchor_arn": "arn:aws:rolesanywhere:us-east-1:123456789012:trust-anchor/t",
        "profile_arn": "arn:aws:rolesanywhere:us-east-1:123456789012:profile/p",
        "role_arn": ROLE,
        "certificate": own.cert.pem(),
        "key": own.signing_key.serialize_pem(),
    })
}

/// The smallest valid `iam` around a key that needs others.
fn iam(key: &str) -> Option<Value> {
    Some(match key {
        "accesskey" | "secretkey" | "session_token" => json!({ "accesskey": "a", "secretkey": "s" }),
        "secret_key" => json!({ "accesskey": "a" }),
        "external_id" | "role_duration" | "role_session_name" => json!({ "assume_role_arn": ROLE }),
        "payload" => json!({ "service": "s3" }),
        "client_credentials_required" => json!({ "client_credentials": "basic" }),
        _ => return None,
    })
}

/// The smallest valid document with a section.
fn smallest(file: File, section: &str) -> Value {
    match (file, section) {
        (File::Default, _) => json!({}),
        (_, "lambda" | "strip_path") => {
            json!({ "uri": "/a", "lambda": { "function_name": "f", "aws_region": "us-east-1" } })
        }
        (_, "uris") => json!({ "api_gateway": { "function_uri": "https://a.example/" } }),
        _ => json!({ "uri": "/a", "api_gateway": { "function_uri": "https://a.example/" } }),
    }
}

/// The smallest valid document around a key.
fn base(file: File, path: &[String]) -> Value {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let mut base = smallest(file, path[0]);
    match path[..] {
        ["listen", "proxy_protocol"] => base["listen"] = json!({ "trusted_ips": ["10.0.0.0/8"] }),
        ["tracing", "otlp", _] => base["tracing"] = json!({ "otlp": { "endpoint": "http://c:4318" } }),
        ["lambda", "aws_external_id" | "aws_role_duration" | "aws_role_session_name"] => {
            base["lambda"]["aws_assume_role_arn"] = ROLE.into();
        }
        ["lambda", "aws_key" | "aws_secret" | "aws_session_token"] => {
            base["lambda"]["aws_key"] = "a".into();
            base["lambda"]["aws_secret"] = "s".into();
        }
        ["lambda", "aws_access_key" | "aws_secret_key"] => {
            base["lambda"]["aws_access_key"] = "a".into();
            base["lambda"]["aws_secret_key"] = "s".into();
        }
        ["lambda", "aws_roles_anywhere", _] => base["lambda"]["aws_roles_anywhere"] = roles_anywhere(),
        ["api_gateway", "authorization", "iam", "roles_anywhere", _] => {
            base["api_gateway"]["authorization"] = json!({ "iam": { "roles_anywhere": roles_anywhere() } });
        }
        ["api_gateway", "authorization", "iam", key] => {
            if let Some(iam) = iam(key) {
                base["api_gateway"]["authorization"] = json!({ "iam": iam });
            }
        }
        ["api_gateway", "hosts"] => {
            base["api_gateway"] = json!({
                "function_uri": "https://{host}",
                "authorization": { "iam": { "aws_region": "us-east-1", "service": "es" } },
            });
        }
        ["api_gateway", "max_req_body_size"] => {
            base["api_gateway"]["authorization"] =
                json!({ "iam": { "service": "s3", "payload": "unsigned" } });
        }
        ["lambda", "client_credentials_required"] => base["lambda"]["client_credentials"] = "basic".into(),
        ["lambda", "sign"] => {
            base["lambda"]["host"] = "127.0.0.1".into();
            base["lambda"]["disable_https"] = true.into();
        }
        ["lambda", "account_id" | "api_id" | "stage" | "stage_variables"] => {
            base["lambda"]["awsgateway_compatible"] = true.into();
        }
        [section, "retry", "max_backoff"] => base[section]["retry"] = json!({ "backoff": 1 }),
        _ => {}
    }
    base
}

/// The document with a value at the key.
fn with(key: &Declared, value: &Value) -> Value {
    let mut document = key.base.clone();
    let (last, path) = key.path.split_last().unwrap();
    let section = path.iter().fold(&mut document, |section, name| {
        if section[name].is_null() {
            section[name] = json!({});
        }
        &mut section[name]
    });
    section[last] = value.clone();
    document
}

/// Reads a document; returns the mistakes.
fn read(file: File, document: &Value) -> Result<(), String> {
    let text = document.to_string();
    let right = json!({ "uri": "/", "api_gateway": { "function_uri": "https://a.example/" } });
    let documents = match file {
        File::Default => [Document::process(text), Document::route("r", right.to_string())],
        File::Route => {
            [Document::process("limits: { max_request_body: none }\n"), Document::route("r", text)]
        }
    };
    let read = Settings::from_documents(&documents, &BTreeMap::new());
    read.map(drop).map_err(|mistakes| mistakes.to_string())
}

/// Texts for keys with a format that random texts do not have.
fn texts(key: &Declared) -> Vec<String> {
    let mut texts: Vec<&str> = match key.path.last().unwrap().as_str() {
        "function_uri" => FUNCTION_URIS.to_vec(),
        "sts_endpoint_url" | "aws_sts_endpoint_url" => {
            vec!["https://sts.example", "http://a/", "http://[::1]:8080", "http://h:x", "https://a/b", "sts"]
        }
        "upstream_url" => vec!["aws-lambda://us-east-1/f", "http://a"],
        "endpoint" => vec!["http://c:4318", "HTTPS://c/p", "c:4318", "http://c?q=1", "http://u:p@c"],
        name if name.ends_with("_arn") => arns(name),
        "http" | "address" if key.file == File::Default => {
            vec![
                "127.0.0.1:1",
                "[::1]:09080",
                "127.0.0.1:65536",
                "127.0.0.01:1",
                "localhost:1",
                "[1:2::3::]:1",
                "[::1.2.3.4]:1",
                "127.0.0.1",
            ]
        }
        "trusted_ips" => TRUSTED_IPS.to_vec(),
        "host" => vec!["a.example", "[::1]", "::1", "a b", "https://a", "a..b", "::g"],
        "proxy_url" => vec!["http://p:3128", "none"],
        "function_name" => vec![
            "f:live",
            "123456789012:function:f",
            "arn:aws:lambda:us-east-1:123456789012:function:f:7",
            "f:$LATEST",
            "f:",
            "a/b",
            "arn:aws:s3:us-east-1:123456789012:function:f",
            "us-east-1:f",
            "function:f",
        ],
        "qualifier" => vec!["$LATEST", "$LATEST.PUBLISHED", "a.b"],
        "uri" | "uris" => {
            vec!["/a*", "/a/*", "/a/../b", "/%2e%2E", "/{x}", "/%zz", "/a?b", "a", "/...", "/a b"]
        }
        "hosts" => vec!["a.example", "*.example", "*", "a..b", "[::1]"],
        "methods" => vec!["GET", "get", "TRACE", "PRI", "A B"],
        "client_context" | "body" => vec!["{}", "{\"a\": 1}"],
        "id" => vec!["-", "a-b", "a b"],
        "remove" => vec!["X-A", "host", "VIA", "x-amzn-vpc-x", "a b", "a\"b", ""],
        "sample" => vec!["1e-3", "0.", "-0", ".5E+0", "1.000", "1.5", "-0.1", "half", "e1"],
        _ => vec!["1.0", "0.5", "1.5", "100 bytes", "1 byte", "10k bytes"],
    };
    texts.extend(words(key));
    texts.into_iter().map(str::to_owned).collect()
}

fn arns(name: &str) -> Vec<&'static str> {
    match name {
        "trust_anchor_arn" => vec![
            "arn:aws:rolesanywhere:us-east-1:123456789012:trust-anchor/1-a",
            "arn:aws-cn:rolesanywhere:us-east-1:123456789012:trust-anchor/1",
            "arn:awsx:rolesanywhere:us-east-1:123456789012:trust-anchor/1",
            "arn:aws-:rolesanywhere:us-east-1:123456789012:trust-anchor/1",
            "arn:aws:rolesanywhere:us-east-1:12345678901:trust-anchor/1",
            "arn:aws:rolesanywhere:us-east-1:123456789012:trust-anchor/",
            "arn:aws:rolesanywhere:us-east-1:123456789012:profile/1",
        ],
        "profile_arn" => vec![
            "arn:aws:rolesanywhere:us-east-1:123456789012:profile/1-a",
            "arn:aws:rolesanywhere::123456789012:profile/1-a",
            "arn:aws:rolesanywhere:us-east-1:123456789012:profile/a/b",
        ],
        _ => vec![
            "arn:aws:iam::123456789012:role/r",
            "arn:aws-cn:iam::123456789012:role/a/b",
            "arn:aws:iam::1:role/r",
            "r",
        ],
    }
}

/// Words of an enumeration.
fn words(key: &Declared) -> impl Iterator<Item = &str> {
    let forms = key.schema["anyOf"].as_array().into_iter().flatten();
    forms.flat_map(|form| form["enum"].as_array().into_iter().flatten()).filter_map(Value::as_str)
}

/// Numbers at and beyond the bounds of a key.
fn numbers(key: &Declared) -> Vec<i64> {
    let mut numbers = vec![-1, 0, 1, 2, 63, 64, 100, 1000, 1 << 40];
    for form in key.schema["anyOf"].as_array().into_iter().flatten() {
        for bound in ["minimum", "maximum"].iter().filter_map(|bound| form[*bound].as_i64()) {
            numbers.extend([bound.saturating_sub(1), bound, bound.saturating_add(1)]);
        }
    }
    numbers
}

fn scalar(key: &Declared) -> BoxedStrategy<Value> {
    let text = |regex: &str| string_regex(regex).unwrap().prop_map(Value::from);
    let is_free = !["proxy_url", "client_context", "body", "endpoint", "function_uri", "upstream_url"]
        .contains(&key.path.last().unwrap().as_str());
    let free = if is_free { "[a-z0-9A-Z_.:-]{0,9}" } else { "" };
    prop_oneof![
        4 => select(texts(key)).prop_map(Value::from),
        3 => select(numbers(key)).prop_map(Value::from),
        2 => text("[0-9]{1,4}(\\.[0-9]{1,2})? ?\
            (ms|s|m|h|d|sec|mins|fortnights|us|kib|MiB|b|GB|k|parsecs)? ?([0-9]{1,2}s)?"),
        1 => text("\\+?[0-9]{1,7}"),
        2 => text(free),
        1 => any::<bool>().prop_map(Value::from),
        1 => select(vec![0.5, 1.0, 60_000.0, -0.5, 1.5]).prop_map(Value::from),
        1 => Just(Value::Null),
    ]
    .boxed()
}

fn value(key: &Declared) -> BoxedStrategy<Value> {
    let scalars = scalar(key);
    let list = prop::collection::vec(scalars.clone(), 0..2).prop_map(Value::from);
    let table = scalars.clone().prop_map(|value| json!({ "a": value }));
    prop_oneof![8 => scalars, 1 => list, 1 => table].boxed()
}

fn case() -> impl Strategy<Value = (Declared, Value)> {
    (0..KEYS.len()).prop_flat_map(|at| {
        let key = KEYS[at].clone();
        value(&key).prop_map(move |value| (key.clone(), value))
    })
}

/// True if a text has the correct format, but the reader rejects its quantity.
fn is_weighed_by_the_reader(value: &Value, mistakes: &str) -> bool {
    let is_quantity = value.as_str().is_some_and(|text| {
        text.trim_start_matches([' ', '+', '.']).starts_with(|first: char| first.is_ascii_digit())
    });
    is_quantity && (mistakes.contains("out of range") || mistakes.contains("too short"))
}

/// The disagreement between schema and reader, if any.
fn difference(key: &Declared, value: &Value) -> Option<String> {
    let name = key.path.join(".");
    let is_needed = NEEDED.iter().any(|needed| name == *needed || name.ends_with(&format!(".{needed}")));
    if is_needed && (value.is_null() || *value == json!([])) {
        return None;
    }
    let document = with(key, value);
    let is_right = VALIDATORS[usize::from(key.file == File::Route)].is_valid(&document);
    match read(key.file, &document) {
        Ok(()) => (!is_right).then(|| format!("the reader takes {name}: {value}")),
        Err(mistakes) => (is_right && !is_weighed_by_the_reader(value, &mistakes))
            .then(|| format!("the schema takes {name}: {value}, and the reader says {mistakes}")),
    }
}

#[test]
fn every_key_takes_its_default() {
    for key in KEYS.iter() {
        if let Some(default) = key.schema.get("default") {
            assert_eq!(difference(key, default), None);
            assert_eq!(read(key.file, &with(key, default)), Ok(()), "{:?}", key.path);
        }
    }
}

/// Covers every key, however few random inputs are generated.
#[test]
fn the_schema_and_the_reader_agree_at_the_bounds_of_every_key() {
    let others = [json!(null), json!(true), json!(0.5), json!([]), json!([[]]), json!({}), json!({ "a": 1 })];
    let headers = [
        json!({ "X-A": "a b" }),
        json!({ "X-A": "" }),
        json!({ "X-A": " a" }),
        json!({ "X-A": "é" }),
        json!({ "X-A": "a$env://B" }),
        json!({ "X-A": null }),
        json!({ "X A": "a" }),
        json!({ "": "a" }),
        json!({ "Date": "a" }),
        json!({ "HOST": "a" }),
        json!({ "keep-alive": "a" }),
        json!({ "X-Amzn-Vpce-Id": "a" }),
    ];
    let values = |key: &Declared| {
        let numbers = numbers(key).into_iter().map(Value::from);
        let texts = texts(key).into_iter().map(Value::from);
        let headers = headers.iter().filter(|_| key.path[0] == "headers").cloned();
        numbers.chain(texts).chain(others.clone()).chain(headers).collect::<Vec<_>>()
    };
    let differences = |key| values(key).iter().filter_map(|value| difference(key, value)).collect::<Vec<_>>();
    let found: Vec<String> = KEYS.iter().flat_map(differences).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The key for the hosts that clients may name.
static TARGET_HOSTS: LazyLock<&Declared> =
    LazyLock::new(|| KEYS.iter().find(|key| key.path == ["api_gateway", "hosts"]).unwrap());

#[test]
fn the_schema_and_the_reader_agree_about_hosts_that_clients_may_name() {
    let takes = |text: &str| read(File::Route, &with(&TARGET_HOSTS, &json!([text]))).is_ok();
    for (text, is_right) in [
        ("a.example", true),
        ("*.a.example", true),
        ("A.Example:8443", true),
        ("*.a_b.example:1", true),
        ("xn--bcher-kva.example", true),
        ("*", false),
        ("*.", false),
        ("a.*.example", false),
        ("*a.example", false),
        ("a..example", false),
        ("a-.example", false),
        ("127.0.0.1", false),
        ("10.1", false),
        ("a.1:443", false),
        ("[::1]", false),
        ("::1", false),
        ("a.example:", false),
        ("a.example:0", false),
        ("a.example:x", false),
        ("a.example:443:443", false),
        ("https://a.example", false),
        ("a.example/", false),
        ("u@a.example", false),
        ("b\u{fc}cher.example", false),
        ("", false),
    ] {
        assert_eq!(takes(text), is_right, "{text}");
        assert_eq!(difference(&TARGET_HOSTS, &json!([text])), None);
    }
}

proptest! {
    #[test]
    fn the_schema_and_the_reader_agree_about_every_host(
        text in r"(\*|\*\.|\.)?[a-cA-C0-9_-]{0,3}(\.[a-cA-C0-9_-]{0,3}){0,3}\.?(:0{0,2}[0-9x]{0,3})?",
    ) {
        prop_assert_eq!(difference(&TARGET_HOSTS, &json!([text])), None);
    }

    #[test]
    fn the_schema_and_the_reader_agree_about_every_value_of_every_key((key, value) in case()) {
        prop_assert_eq!(difference(&key, &value), None);
    }
}
