//! Random requests: signatures must equal those of AWS's signer, and the stand-in must verify them.

use std::time::{Duration, SystemTime};

use actix_http::header::{HeaderMap, HeaderName};
use apigw_invoker::{
    message::outbound::SignedPayload,
    signing::{Scope, hash},
    stand_in::{StandIn, StandInKeys, StandInOptions},
    text::uri_syntax::{check_remainder, path::make_strict},
};
use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{
        self, PayloadChecksumKind, PercentEncodingMode, SessionTokenMode, SignableBody, SignableRequest,
        SigningSettings, UriPathNormalizationMode,
    },
    sign::v4,
};
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{
    super::support::{App, call},
    ACCESS_KEY_ID, SECRET_ACCESS_KEY, header_map, outbound, sign, strict_target,
};

const HOST: &str = "abc123def4.execute-api.us-east-1.amazonaws.com";

/// Characters that the parsers on both sides accept in a path, except `%`.
const PATH_TEXT: &str = r#"[!"$&-.0-;=@-_a-~]{1,6}"#;
/// Characters that they accept in a query.
const QUERY_TEXT: &str = "[!$&-;?-~]{1,6}";
/// A header value: runs of spaces and tabs, and non-ASCII text.
const VALUE: &str = "[ \ta-c;=,é\"]{0,16}";

/// Headers that are not signed, or that signing sets: their values must not change the signature.
const UNSIGNED: [(&str, &str); 12] = [
    ("accept", "*/*"),
    ("authorization", "AWS4-HMAC-SHA256 Credential=theirs"),
    ("cookie", "a=1"),
    ("user-agent", "theirs"),
    ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
    ("x-amz-content-sha256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    ("x-amz-content-sha256", "theirs"),
    ("x-amz-date", "20200101T000000Z"),
    ("x-amz-security-token", "theirs"),
    ("x-amzn-trace-id", "Root=1"),
    ("x-api-key", "theirs"),
    ("x-amzfoo", "no dash"),
];

/// Services that encode the path once and do not normalise it.
const S3_KIN: [&str; 3] = ["s3", "s3-outposts", "s3-object-lambda"];
/// Services that require `x-amz-content-sha256`.
const SENDS_HASH: [&str; 3] = ["aoss", "glacier", "vpc-lattice-svcs"];

type Lines = Vec<(String, String)>;

/// A request and everything else that its signature depends on.
#[derive(Debug, Clone)]
struct Case {
    method: String,
    target: String,
    headers: Lines,
    unsigned: Vec<(&'static str, &'static str)>,
    body: Vec<u8>,
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
    region: String,
    service: String,
    payload: SignedPayload,
    seconds: u64,
}

fn case() -> impl Strategy<Value = Case> {
    let request = (method(), target(), vec((signed_name(), VALUE), 0..6), body());
    let keys = ("[A-Z0-9]{1,20}", "[ -~]{1,40}", option::of("[!-~]{1,40}"));
    let scope = ("[a-z0-9-]{1,12}", service(), 0..253_402_300_800_u64);
    let unsigned = vec(select(&UNSIGNED[..]), 0..4);
    (request, keys, scope, unsigned).prop_map(|(request, keys, scope, unsigned)| {
        let (method, target, headers, body) = request;
        let (access_key_id, secret_access_key, session_token) = keys;
        let (region, (service, payload), seconds) = scope;
        Case {
            method,
            target,
            headers,
            unsigned,
            body,
            access_key_id,
            secret_access_key,
            session_token,
            region,
            service,
            payload,
            seconds,
        }
    })
}

/// A service, and a payload that it accepts.
fn service() -> impl Strategy<Value = (String, SignedPayload)> {
    use SignedPayload::{Hash, Unsigned, UnsignedTrailer};
    let of_s3 = select(vec![Hash, Unsigned, UnsignedTrailer]);
    prop_oneof![
        2 => ("[a-z0-9-]{1,12}", select(vec![Hash, Unsigned])),
        2 => (select(vec!["execute-api", "lambda", "aoss", "glacier"]).prop_map(str::to_owned), Just(Hash)),
        3 => (select(&S3_KIN[..]).prop_map(str::to_owned), of_s3),
        1 => (Just("vpc-lattice-svcs".to_owned()), Just(Unsigned)),
    ]
}

fn method() -> impl Strategy<Value = String> {
    // characters of methods that the `http` crate accepts
    prop_oneof![
        select(vec!["GET", "POST", "PUT", "HEAD"]).prop_map(str::to_owned),
        "[A-Za-z0-9!*+._`|~-]{1,10}"
    ]
}

/// Name of a signed header.
fn signed_name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("content-type".to_owned()),
        Just("x-amz-a".to_owned()),
        Just("x-amz-meta-b".to_owned()),
        "x-amz-[a-z0-9!#&'*+.^_`|~-]{1,6}"
    ]
    .prop_filter("signing sets these", |name| name != "x-amz-date" && name != "x-amz-security-token")
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![Just(Vec::new()), vec(any::<u8>(), 1..300)]
}

/// Path and query whose escapes decode to text: AWS's signer accepts no other bytes in a query.
fn target() -> impl Strategy<Value = String> {
    let escape = || prop_oneof!["%[2-7][0-9a-fA-F]", "%0[0-9a-f]", Just("%C3%A9".to_owned())];
    target_of(prop_oneof![PATH_TEXT, "[é€]{1,2}", "%[0-9a-fA-F]{0,2}", escape()], escape().boxed())
}

/// Path and query below `/iam/echo`, with valid escapes of any bytes.
fn sound_target() -> impl Strategy<Value = String> {
    let escape = || "%[0-9a-fA-F]{2}";
    target_of(prop_oneof![PATH_TEXT, escape()], escape().boxed())
        .prop_filter("what would leave the route is not sent at all", |target| {
            check_remainder(&format!("echo{}", target.split('?').next().unwrap_or_default())).is_ok()
        })
}

/// Segments, including empty ones and dots, and pairs, including empty ones.
fn target_of(
    path: impl Strategy<Value = String> + 'static,
    query: BoxedStrategy<String>,
) -> impl Strategy<Value = String> {
    let dots = select(vec!["", ".", "..", "%2e%2E", "a/..", "...", "a%2Fb"]).prop_map(str::to_owned);
    let segment = prop_oneof![2 => vec(path, 1..4).prop_map(|parts| parts.concat()), 1 => dots];
    let special = select(vec!["=", "&", "+", "flag", "&a=1&a&a=0&", "X-Amz-Signature=theirs&", "/?"]);
    let pairs = vec(prop_oneof![QUERY_TEXT, query, special.prop_map(str::to_owned)], 0..8);
    (vec(segment, 0..6), option::of(pairs)).prop_map(|(segments, pairs)| {
        let query = pairs.map_or_else(String::new, |pairs| format!("?{}", pairs.concat()));
        format!("/{}{query}", segments.join("/"))
    })
}

impl Case {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.seconds)
    }

    fn credentials(&self) -> Credentials {
        let (id, secret) = (self.access_key_id.as_str(), self.secret_access_key.as_str());
        Credentials::new(id, secret, self.session_token.clone(), None, "test")
    }

    fn signed(&self) -> impl Iterator<Item = (&str, &str)> {
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        [("host", HOST)].into_iter().chain(headers)
    }

    /// The headers for AWS's signer. It keeps tabs, but botocore, awscrt and most of AWS's SDKs treat them as
    /// spaces. A content type that signers encode differently is not signed.
    fn seen(&self) -> impl Iterator<Item = (String, String)> {
        let has_one_form = self.signed().filter(|(name, _)| *name == "content-type").all(|(_, value)| {
            let words: Vec<&str> = value.split(' ').collect();
            value.is_empty()
                || words.iter().all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_graphic()))
        });
        self.signed()
            .filter(move |(name, _)| *name != "content-type" || has_one_form)
            .map(|(name, value)| (name.to_owned(), value.replace('\t', " ")))
    }

    fn is_of_s3(&self) -> bool {
        S3_KIN.contains(&&*self.service)
    }

    /// Path and query as they are sent.
    fn sent_target(&self) -> String {
        let target = strict_target(&self.target);
        if !self.is_of_s3() {
            return target;
        }
        let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
        let mut path = path.to_owned();
        make_strict(&mut path);
        path + query
    }

    /// True if the path ends in `/.` or `/..` after a name. Only AWS's crate adds a slash (RFC 3986, 5.2.4);
    /// botocore, awscrt and AWS's SDKs for Java do not (`golden.json`).
    fn ends_in_dots(&self) -> bool {
        let path = self.target.split('?').next().unwrap_or_default();
        let mut names = Vec::new();
        for segment in path.split('/') {
            match segment {
                "" | "." => {}
                ".." => drop(names.pop()),
                name => names.push(name),
            }
        }
        !names.is_empty() && (path.ends_with("/.") || path.ends_with("/.."))
    }

    /// Headers that our signer adds.
    fn ours(&self) -> Lines {
        let headers = header_map(self.signed().chain(self.unsigned.iter().copied()));
        let mut request = outbound(&self.method, &self.target, headers, &self.body);
        request.path_and_query = self.sent_target();
        request.payload = self.payload;
        let scope = Scope { region: self.region.clone(), service: self.service.clone() };
        sign(&mut request, scope, &self.credentials(), self.now());
        added(&request.headers)
    }

    /// Headers that AWS's signer adds to the same request, without the headers that we do not sign.
    fn theirs(&self) -> Lines {
        let mut settings = SigningSettings::default();
        let (encoding, normalization) = if self.is_of_s3() {
            (PercentEncodingMode::Single, UriPathNormalizationMode::Disabled)
        } else {
            (PercentEncodingMode::Double, UriPathNormalizationMode::Enabled)
        };
        settings.percent_encoding_mode = encoding;
        settings.uri_path_normalization_mode = normalization;
        let sends_hash =
            self.is_of_s3() || SENDS_HASH.contains(&&*self.service) || self.payload != SignedPayload::Hash;
        settings.payload_checksum_kind =
            if sends_hash { PayloadChecksumKind::XAmzSha256 } else { PayloadChecksumKind::NoHeader };
        settings.session_token_mode = SessionTokenMode::Include;
        let identity = self.credentials().into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(&self.service)
            .time(self.now())
            .settings(settings)
            .build()
            .expect("all parameters are there");
        let url = format!("https://{HOST}{}", self.sent_target());
        let seen: Lines = self.seen().collect();
        let headers = seen.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let body = match self.payload {
            SignedPayload::Hash => SignableBody::Bytes(&self.body),
            SignedPayload::Unsigned => SignableBody::UnsignedPayload,
            SignedPayload::UnsignedTrailer => SignableBody::StreamingUnsignedPayloadTrailer,
        };
        let request = SignableRequest::new(&self.method, url, headers, body);
        let signed = http_request::sign(request.expect("a request"), &parameters.into());
        let (instructions, _) = signed.expect("it can be signed").into_parts();
        let mut lines: Lines =
            instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        lines.sort();
        lines
    }
}

/// The headers of a signature, sorted.
fn added(headers: &HeaderMap) -> Lines {
    let names = ["authorization", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"];
    let line = |name: &str, value: &[u8]| (name.to_owned(), String::from_utf8_lossy(value).into_owned());
    let lines = names.into_iter().flat_map(|name| {
        headers.get_all(HeaderName::from_static(name)).map(move |value| line(name, value.as_bytes()))
    });
    lines.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// The signature covers the hash of the canonical request, so equal signatures mean equal canonical
    /// requests.
    #[test]
    fn our_signatures_are_those_of_awss_own_signer(case in case()) {
        if case.ends_in_dots() && !case.is_of_s3() {
            prop_assert_ne!(case.ours(), case.theirs());
        } else {
            prop_assert_eq!(case.ours(), case.theirs());
        }
    }
}

/// A client's request.
#[derive(Debug, Clone)]
struct Sent {
    /// True if the route has `client_authorization: pass`.
    passes: bool,
    method: &'static str,
    target: String,
    headers: Lines,
    body: Vec<u8>,
}

fn sent() -> impl Strategy<Value = Sent> {
    let method = select(vec!["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "REPORT"]);
    let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let unsigned = prop_oneof![
        select(&UNSIGNED[..]).prop_map(own),
        // `Connection` nominates a signed header, which is then removed
        Just(("connection".to_owned(), "X-Amz-A, content-type".to_owned())),
        ("[A-Z][a-z]{1,8}-[A-Za-z]{1,3}", VALUE),
    ];
    let signed = (prop_oneof![signed_name(), Just("X-Amz-Mixed-CASE".to_owned())], VALUE);
    let headers = vec(prop_oneof![2 => signed, 1 => unsigned], 0..8);
    let request = (any::<bool>(), method, sound_target(), headers, body());
    request.prop_map(|(passes, method, target, mut headers, body)| {
        // the client's `Authorization` would replace the signature
        headers.retain(|(name, _)| !passes || name != "authorization");
        Sent { passes, method, target, headers, body }
    })
}

impl Sent {
    /// Expected values of a header: without leading and trailing whitespace, which is not part of a value
    /// (RFC 9110, 5.5).
    fn values(&self, name: &str) -> Vec<&str> {
        let own = self.headers.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        own.map(|(_, value)| value.trim_matches([' ', '\t'])).collect()
    }

    /// Names of headers whose values arrive byte for byte.
    fn kept(&self) -> impl Iterator<Item = String> {
        let nominates = !self.values("connection").is_empty();
        let names = self.headers.iter().map(|(name, _)| name.to_ascii_lowercase());
        names.filter(move |name| {
            let is_signed = name == "content-type" || name.starts_with("x-amz-");
            let is_nominated = nominates && ["x-amz-a", "content-type"].contains(&&**name);
            let is_replaced =
                ["x-amz-date", "x-amz-security-token", "x-amz-content-sha256"].contains(&&**name);
            is_signed && !is_nominated && !is_replaced
        })
    }
}

/// A route to the same stand-in with `client_authorization: pass`.
fn passing(app: &App) -> App {
    let keys = format!("iam: {{ accesskey: {ACCESS_KEY_ID}, secretkey: {SECRET_ACCESS_KEY} }}");
    let rest = format!("authorization: {{ {keys} }}\nclient_authorization: pass");
    App::with("").gateway("r", "/iam/*", &format!("http://{}/iam", app.stand_in()), &rest).start()
}

#[test]
fn any_request_of_a_client_is_sent_with_a_valid_signature() {
    let app = App::dev();
    let passing = passing(&app);
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(sent in sent())| {
        let headers: Vec<(&str, &str)> =
            sent.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let target = format!("/iam/echo{}", sent.target);
        let address = if sent.passes { passing.address } else { app.address };
        let response = call(address, sent.method, &target, &headers, &sent.body);
        prop_assert_eq!(response.status, 200, "{}", response.text());
        if sent.method != "HEAD" {
            let arrived = response.json();
            prop_assert_eq!(&arrived["method"], sent.method);
            prop_assert_eq!(&arrived["path"], target.split('?').next().unwrap_or_default());
            prop_assert_eq!(&arrived["body"]["sha256"], &hash(&sent.body));
            for name in sent.kept() {
                let values = serde_json::json!(sent.values(&name));
                prop_assert_eq!(&arrived["headers"][&name], &values, "{}", name);
            }
        }
    });
}

/// A sidecar in front of a stand-in whose stage `/iam` has the rules of a service.
fn before_service(service: &str, payload: &str) -> (App, StandIn) {
    let keys = StandInKeys { service: service.into(), ..StandInKeys::example() };
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let stand_in = StandIn::start(any, StandInOptions::new(keys)).expect("the stand-in starts");
    let iam = format!(
        "authorization: {{ iam: {{ accesskey: {ACCESS_KEY_ID}, secretkey: {SECRET_ACCESS_KEY}, \
         service: {service}{payload} }} }}"
    );
    let app = App::with("log: { access: false }\n")
        .gateway("r", "/iam/*", &format!("http://{}/iam", stand_in.address()), &iam)
        .start();
    (app, stand_in)
}

#[test]
fn any_request_to_any_service_is_sent_with_a_signature_that_the_service_accepts() {
    for (service, payload) in [
        ("s3", ""),
        ("s3", ", payload: unsigned"),
        ("s3-outposts", ""),
        ("s3-object-lambda", ", payload: unsigned"),
        ("aoss", ""),
        ("glacier", ""),
        ("vpc-lattice-svcs", ""),
        ("es", ""),
        ("es", ", payload: unsigned"),
    ] {
        let (app, _stand_in) = before_service(service, payload);
        let config = ProptestConfig { failure_persistence: None, cases: 40, ..ProptestConfig::default() };
        proptest!(config, |(sent in sent())| {
            let mut headers: Vec<(&str, &str)> =
                sent.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            headers.retain(|(name, _)| *name != "x-amz-decoded-content-length");
            let target = format!("/iam/echo{}", sent.target);
            let response = call(app.address, sent.method, &target, &headers, &sent.body);
            prop_assert_eq!(response.status, 200, "{} {}", service, response.text());
        });
    }
}
