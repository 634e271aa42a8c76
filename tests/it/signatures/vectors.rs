//! AWS's test vectors, from the source of the crate `aws-sigv4`.
//!
//! A vector is a directory with a request, its signing context, and the expected result of each stage.
//! Vectors that end in `-unnormalized` have the path rules of S3, which encodes paths once and does not
//! normalise them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
    time::SystemTime,
};

use actix_http::header::HeaderMap;
use apigw_invoker::{
    signing::{
        Scope,
        canonical::{CanonicalRequest, CanonicalText, SignedHeader, SignedValue},
        hash, string_to_sign,
    },
    text::{signing_rules::CanonicalPath, uri_syntax::path::make_strict},
};
use aws_credential_types::Credentials;
use aws_sigv4::sign::v4;
use serde_json::Value;

use super::{
    ACCESS_KEY_ID, SECRET_ACCESS_KEY, authorization, header_map, outbound, sign, strict_target, time,
};

const S3_ONLY: &str = "-unnormalized";
/// Number of vectors when this test was written; fewer mean that some are no longer found.
const LEAST_VECTORS: usize = 40;
/// Number of vectors in which all signed headers are signed by us too.
const LEAST_OF_OUR_KIND: usize = 25;

static VECTORS: LazyLock<Vec<Vector>> = LazyLock::new(vectors);

#[derive(Debug)]
struct Vector {
    name: String,
    method: String,
    target: String,
    /// Headers without the date, which signing adds.
    headers: Vec<(String, String)>,
    body: String,
    context: Context,
    expected: Expected,
}

#[derive(Debug)]
struct Context {
    credentials: Credentials,
    region: String,
    service: String,
    time: String,
    /// True if the body's hash is sent as a header.
    sign_body: bool,
    path_form: CanonicalPath,
}

#[derive(Debug)]
struct Expected {
    canonical: String,
    string_to_sign: Option<String>,
    signature: String,
    authorization: String,
}

#[test]
fn every_stage_of_every_vector_matches() {
    assert!(VECTORS.len() >= LEAST_VECTORS, "only {} vectors are there", VECTORS.len());
    for vector in VECTORS.iter() {
        vector.check_stages();
    }
}

#[test]
fn every_vector_with_our_signed_headers_gets_the_expected_signature() {
    let ours: Vec<&Vector> = VECTORS.iter().filter(|vector| vector.is_of_our_kind()).collect();
    assert!(ours.len() >= LEAST_OF_OUR_KIND, "only {} vectors are of our kind", ours.len());
    for vector in ours {
        let Context { credentials, region, service, time, .. } = &vector.context;
        let mut request =
            outbound(&vector.method, &vector.target, vector.header_map(), vector.body.as_bytes());
        let scope = Scope { region: region.clone(), service: service.clone() };
        sign(&mut request, scope, credentials, super::time(time));
        assert_eq!(authorization(&request), vector.expected.authorization, "{}: the signer", vector.name);
    }
}

impl Vector {
    fn check_stages(&self) {
        let Self { name, context, expected, .. } = self;
        let canonical = self.canonical();
        assert_eq!(
            String::from_utf8_lossy(&canonical.text),
            expected.canonical,
            "{name}: the canonical request"
        );
        let text = string_to_sign(&context.date_time(), &context.scope(), &canonical.text);
        if let Some(expected) = &expected.string_to_sign {
            assert_eq!(&text, expected, "{name}: the string to sign");
        }
        let secret = context.credentials.secret_access_key();
        let key = v4::generate_signing_key(secret, context.now(), &context.region, &context.service);
        let signature = v4::calculate_signature(key, text.as_bytes());
        assert_eq!(signature, expected.signature, "{name}: the signature");
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={}, Signature={signature}",
            context.credentials.access_key_id(),
            context.scope(),
            canonical.signed_headers
        );
        assert_eq!(authorization, expected.authorization, "{name}: the Authorization header");
    }

    /// The canonical request of the vector, including signed headers that our signer would skip.
    fn canonical(&self) -> CanonicalText {
        let target = strict_target(&self.target);
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let headers = self.header_map();
        let date = self.context.date_time();
        let payload_hash = hash(self.body.as_bytes());
        let mut signed: Vec<SignedHeader<'_>> = headers
            .keys()
            .map(|name| SignedHeader {
                name: name.as_str(),
                value: SignedValue::Lines(headers.get_all(name).as_slice()),
            })
            .collect();
        let mut add = |name, value| signed.push(SignedHeader { name, value: SignedValue::Added(value) });
        add("x-amz-date", &date);
        if let Some(token) = self.context.credentials.session_token() {
            add("x-amz-security-token", token);
        }
        if self.context.sign_body {
            add("x-amz-content-sha256", &payload_hash);
        }
        signed.sort_unstable_by_key(|header| header.name);
        let mut path = path.to_owned();
        if self.context.path_form == CanonicalPath::EncodedOnce {
            make_strict(&mut path);
        }
        let request = CanonicalRequest {
            method: &self.method,
            path: &path,
            path_form: self.context.path_form,
            query,
            headers: &signed,
            payload_hash: &payload_hash,
        };
        request.write()
    }

    fn is_of_our_kind(&self) -> bool {
        let ours = |name: &str| {
            ["host", "content-type"].iter().any(|own| own.eq_ignore_ascii_case(name))
                || name.to_ascii_lowercase().starts_with("x-amz-")
        };
        // the signer takes the rules of the vectors' service, which are the general ones
        let has_our_path = self.context.path_form == CanonicalPath::EncodedTwice;
        has_our_path && !self.context.sign_body && self.headers.iter().all(|(name, _)| ours(name))
    }

    fn header_map(&self) -> HeaderMap {
        header_map(self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }

    fn read(folder: &Path) -> Self {
        let name = folder.file_name().expect("a folder's name").to_string_lossy().into_owned();
        let mut expected = Expected::read(folder);
        let (method, mut target, headers, body) = parse(&text(folder, "request.txt"));
        let context = match (folder.join("context.json").exists(), name.as_str()) {
            (true, name) => Context::read(&text(folder, "context.json"), name),
            // keys and time of these vectors are in the tests of the crate
            (false, "double-url-encode") => {
                Context::new(keys(), "us-east-2", "lambda", "2021-05-11T15:40:45Z")
            }
            (false, "double-encode-path") => {
                // its canonical request has another date than its signature
                expected.canonical = expected.canonical.replace("20210511T154045Z", "20150830T123600Z");
                let keys =
                    Credentials::new("ANOTREAL", "notrealrnrELgWzOk3IfjzDKtFBhDby", None, None, "test");
                Context::new(keys, "us-east-1", "service", "2015-08-30T12:36:00Z")
            }
            (false, _) => panic!("{name} has no context and none is known here"),
        };
        if name == "get-space-normalized" {
            // this vector escapes the path only once, as S3 does; ours is escaped again, so the space is
            // passed unescaped
            target = target.replace("%20", " ");
        }
        Self { name, method, target, headers, body, context, expected }
    }
}

impl Context {
    fn new(credentials: Credentials, region: &str, service: &str, time: &str) -> Self {
        let (region, service, time) = (region.into(), service.into(), time.into());
        let path_form = CanonicalPath::EncodedTwice;
        Self { credentials, region, service, time, sign_body: false, path_form }
    }

    fn read(json: &str, name: &str) -> Self {
        let context: Value = serde_json::from_str(json).expect("a context in JSON");
        let is_normalized = !name.ends_with(S3_ONLY);
        assert_eq!(
            context["normalize"], is_normalized,
            "vectors that do not normalise are told by their names"
        );
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let keys = &context["credentials"];
        // a token that is added after signing is not part of the signature
        let token = keys["token"].as_str().filter(|_| context["omit_session_token"] != true);
        Self {
            credentials: Credentials::new(
                text(&keys["access_key_id"]),
                text(&keys["secret_access_key"]),
                token.map(str::to_owned),
                None,
                "test",
            ),
            region: text(&context["region"]),
            service: text(&context["service"]),
            time: text(&context["timestamp"]),
            sign_body: context["sign_body"] == true,
            path_form: if is_normalized { CanonicalPath::EncodedTwice } else { CanonicalPath::EncodedOnce },
        }
    }

    fn now(&self) -> SystemTime {
        time(&self.time)
    }

    fn date_time(&self) -> String {
        self.time.replace(['-', ':'], "")
    }

    fn scope(&self) -> String {
        format!("{}/{}/{}/aws4_request", &self.date_time()[..8], self.region, self.service)
    }
}

impl Expected {
    fn read(folder: &Path) -> Self {
        let optional = |file: &str| folder.join(file).exists().then(|| text(folder, file));
        let (.., headers, _) = parse(&text(folder, "header-signed-request.txt"));
        let authorization = headers.into_iter().find(|(name, _)| name == "Authorization");
        let (_, authorization) = authorization.expect("a signed request has one");
        let signature = optional("header-signature.txt")
            .unwrap_or_else(|| authorization.rsplit_once("Signature=").expect("a signature").1.to_owned());
        let canonical = text(folder, "header-canonical-request.txt");
        let string_to_sign = optional("header-string-to-sign.txt");
        Self { canonical, string_to_sign, signature, authorization }
    }
}

/// Keys of most vectors.
fn keys() -> Credentials {
    Credentials::new(ACCESS_KEY_ID, SECRET_ACCESS_KEY, None, None, "test")
}

fn vectors() -> Vec<Vector> {
    let suite = suite();
    let folders = fs::read_dir(&suite).unwrap_or_else(|error| panic!("{}: {error}", suite.display()));
    let mut folders: Vec<PathBuf> = folders.map(|folder| folder.expect("a folder").path()).collect();
    folders.sort();
    folders.iter().map(|folder| Vector::read(folder)).collect()
}

/// The directory of the vectors in the source of the `aws-sigv4` in use.
fn suite() -> PathBuf {
    let version = cargo(&["-vV"]);
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("cargo's platform");
    // dependencies for other platforms may not be downloaded
    let metadata =
        cargo(&["metadata", "--offline", "--locked", "--format-version", "1", "--filter-platform", host]);
    let metadata: Value = serde_json::from_str(&metadata).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let package = packages.iter().find(|package| package["name"] == "aws-sigv4").expect("we depend on it");
    let manifest = package["manifest_path"].as_str().expect("a path");
    Path::new(manifest).with_file_name("aws-signing-test-suite").join("v4")
}

fn cargo(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO"));
    let output =
        command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo writes UTF-8")
}

fn text(folder: &Path, file: &str) -> String {
    let path = folder.join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.replace("\r\n", "\n").trim().to_owned()
}

type Parsed = (String, String, Vec<(String, String)>, String);

/// Method, target, headers without the date, and body. The target may contain bytes that no HTTP parser
/// accepts.
fn parse(request: &str) -> Parsed {
    let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
    let mut lines = head.lines();
    let (method, rest) = lines.next().and_then(|line| line.split_once(' ')).expect("a request line");
    let target = rest.strip_suffix(" HTTP/1.1").unwrap_or(rest);
    let mut headers: Vec<(String, String)> = Vec::new();
    for line in lines {
        match (line.starts_with(' '), headers.last_mut()) {
            // a folded line continues the value (RFC 9112, 5.2)
            (true, Some((_, value))) => value.push_str(line),
            _ => {
                let (name, value) = line.split_once(':').expect("a header");
                headers.push((name.to_owned(), value.trim().to_owned()));
            }
        }
    }
    headers.retain(|(name, _)| !name.eq_ignore_ascii_case("x-amz-date"));
    (method.to_owned(), target.to_owned(), headers, body.to_owned())
}
