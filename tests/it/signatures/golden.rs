//! Signatures of botocore and awscrt, AWS's signers for Python and for C, from `golden.json`.
//!
//! `.ci/signatures/run` compares the file with both signers; with `--write` it generates the file.

use apigw_invoker::signing::{Scope, Signer};
use aws_credential_types::Credentials;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;

use super::{SECRET_ACCESS_KEY, authorization, header_map, outbound, sign, time};

const ROWS: &str = include_str!("golden.json");
/// Number of rows in the first version of the file; fewer mean that some were lost.
const LEAST_ROWS: usize = 89;
const NOW: &str = "2026-11-20T12:00:00Z";

/// A client's request and the signatures of both signers.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    service: String,
    host: String,
    access_key_id: String,
    session_token: Option<String>,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: String,
    /// The target as a signed route sends it.
    sent_target: String,
    /// The signer whose signature is expected: both, unless they differ.
    follows: String,
    /// Reason to follow one of them.
    why: Option<String>,
    canonical_request: Option<String>,
    authorization: String,
}

impl Row {
    /// Differences between this row and the sidecar's signature.
    fn differences(&self) -> Vec<String> {
        let credentials = Credentials::new(
            &self.access_key_id,
            SECRET_ACCESS_KEY,
            self.session_token.clone(),
            None,
            "test",
        );
        let lines = [("host", &*self.host)].into_iter();
        let lines = lines.chain(self.headers.iter().map(|(name, value)| (&**name, &**value)));
        let body = BASE64_STANDARD.decode(&self.body).expect("base64");
        let mut request = outbound(&self.method, &self.target, header_map(lines), &body);
        let scope = || Scope { region: "us-east-1".into(), service: self.service.clone() };
        let input = Signer::new(scope()).signing_input(&request, credentials.session_token(), time(NOW));
        let canonical = String::from_utf8_lossy(&input.canonical.text).into_owned();
        sign(&mut request, scope(), &credentials, time(NOW));
        let mut pairs = vec![
            (&*request.path_and_query, &*self.sent_target),
            (authorization(&request), &*self.authorization),
        ];
        pairs.extend(self.canonical_request.iter().map(|expected| (&*canonical, &**expected)));
        let differing = pairs.into_iter().filter(|(ours, theirs)| ours != theirs);
        differing.map(|(ours, theirs)| format!("{}:\n{ours:?}\n{theirs:?}", self.name)).collect()
    }
}

fn rows() -> Vec<Row> {
    serde_json::from_str(ROWS).expect("golden.json is as `.ci/signatures/run` writes it")
}

#[test]
fn golden_signatures_and_canonical_requests_are_those_of_botocore_and_awscrt() {
    let rows = rows();
    assert!(rows.len() >= LEAST_ROWS, "{} rows", rows.len());
    let differences: Vec<String> = rows.iter().flat_map(Row::differences).collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn golden_where_the_two_differ_a_row_says_which_is_followed_and_why() {
    for row in rows() {
        let agree = row.follows == "both";
        assert!(agree || ["botocore", "awscrt"].contains(&&*row.follows), "{}", row.name);
        assert_eq!(row.why.is_none(), agree, "{}", row.name);
        // awscrt does not expose the canonical request
        assert_eq!(row.canonical_request.is_some(), agree, "{}", row.name);
    }
}

/// Signatures computed by hand with both signers, before the file existed.
#[test]
fn golden_rows_that_were_computed_before_the_script_have_kept_their_values() {
    let rows = rows();
    let signature = |name: &str| {
        let row = rows.iter().find(|row| row.name == name).unwrap_or_else(|| panic!("no row {name:?}"));
        row.authorization.rsplit_once("Signature=").expect("a signature").1.to_owned()
    };
    for (name, expected) in [
        ("an escaped slash", "f8a3b5499d4aa1eab89b2a3ccf060fb83c310a6c53f4a79e2bbd0aa2a82fed1f"),
        ("empty and dot segments", "f708410069aa6caab358752b61509975bb1788806a29be83b7bb826033c632c1"),
        ("UTF-8 and a blank, escaped", "eac4abf8bae38da1773a994c0fedbe225e7d7b6b207923c488c7a38d7b8364a8"),
        ("reserved characters", "d7a165c91dda4725af84ce1f19c473d024d9d3ddc5ef5c1f3df387a7acde96b5"),
        (
            "query: in another order, and a name alone",
            "c9669257fcdd90117be2db38f682c7238b3ecfebefdfb112b5e0b113b238b4a6",
        ),
        ("content type: plain", "5bb991c64a330e1d70e7cdac78ad9fcefc1939e17e9b0807bd2a3c9ac9194ad0"),
        ("keys: temporary", "8deb86aad5dcd1f3eeea8dafe72f41209ca5d84cc89fb88c610b43d27a0881f6"),
        ("lambda: by ARN", "fcaeacbbc88a27d9f5d338fc1e26a9a2af5bddf53b92598f5c598541d4e89349"),
    ] {
        assert_eq!(signature(name), expected, "{name}");
    }
}
