//! STS: its three operations, its refusals, and its faults.

use std::{
    io::Read as _,
    io::Write as _,
    time::{Duration, Instant, SystemTime},
};

use apigw_invoker::stand_in::{Service, StandIn, Switch, credentials::CredentialKind};

use super::{
    super::support::{Response, Signatory, call as send, open},
    Handed, Tokens, stand_in,
};

const ROLE: &str = "arn:aws:iam::123456789012:role/team/reader";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

fn form(parameters: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new("Version=2011-06-15".to_owned()).extend_pairs(parameters).finish()
}

/// A signed call.
#[track_caller]
pub fn call(signatory: &Signatory, stand_in: &StandIn, parameters: &[(&str, &str)]) -> Response {
    signatory.post(stand_in, "/", &[FORM], form(parameters).as_bytes())
}

/// An unsigned call.
#[track_caller]
fn unsigned(stand_in: &StandIn, parameters: &[(&str, &str)]) -> Response {
    send(stand_in.address(), "POST", "/", &[FORM], form(parameters).as_bytes())
}

/// Text of the first element of this name.
#[track_caller]
pub fn element(response: &Response, name: &str) -> String {
    let text = response.text();
    let rest = text.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("no {name}: {text}")).1;
    rest.split_once(&format!("</{name}>")).unwrap().0.to_owned()
}

/// The parameters of `AssumeRole`, and additional ones.
fn role<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut parameters = vec![("Action", "AssumeRole"), ("RoleArn", ROLE), ("RoleSessionName", "pod-1")];
    for (name, value) in more {
        parameters.retain(|(own, _)| own != name);
        parameters.push((name, value));
    }
    parameters
}

#[track_caller]
fn handed(response: &Response) -> Handed {
    assert_eq!(response.status, 200, "{}", response.text());
    Handed {
        id: element(response, "AccessKeyId"),
        secret: element(response, "SecretAccessKey"),
        token: element(response, "SessionToken"),
    }
}

/// Status, error code and message of a refusal.
#[track_caller]
fn refusal(response: &Response, status: u16, code: &str) -> String {
    assert_eq!((response.status, element(response, "Code").as_str()), (status, code), "{}", response.text());
    assert!(
        response.text().starts_with("<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">")
    );
    assert_eq!(response.header("content-type"), Some("text/xml"));
    assert_eq!(response.header("x-amzn-requestid"), Some(&*element(response, "RequestId")));
    element(response, "Message")
}

fn known() -> Signatory {
    Signatory::known("sts")
}

#[test]
fn the_keys_of_a_role_are_good_for_every_service() {
    let stand_in = stand_in(|_| ());
    let response = call(&known(), &stand_in, &role(&[]));
    let keys = handed(&response);
    assert!(keys.id.starts_with("ASIA"), "{keys:?}");
    let arn = "arn:aws:sts::123456789012:assumed-role/reader/pod-1";
    assert_eq!(element(&response, "Arn"), arn);
    assert_eq!(keys.caller(&stand_in), arn);
    let gateway = keys.signatory("execute-api").send(&stand_in, "GET", "/iam/hello", &[], b"");
    assert_eq!((gateway.status, gateway.text().as_str()), (200, "\"Hello, world!\""));
    let target = "/2015-03-31/functions/hello/invocations";
    let lambda = keys.signatory("lambda").post(&stand_in, target, &[], b"{}");
    assert_eq!((lambda.status, lambda.text().as_str()), (200, "\"Hello, world!\""));
    let controls = stand_in.controls();
    assert_eq!((controls.calls(Service::AssumeRole), controls.calls(Service::CallerIdentity)), (1, 1));
}

#[test]
fn the_long_term_keys_are_a_users() {
    let stand_in = stand_in(|_| ());
    let response = call(&known(), &stand_in, &[("Action", "GetCallerIdentity")]);
    assert_eq!(response.status, 200);
    assert_eq!(element(&response, "Arn"), "arn:aws:iam::123456789012:user/dev");
    assert_eq!(element(&response, "Account"), "123456789012");
}

#[test]
fn another_keys_session_token_is_refused_and_so_is_none() {
    let stand_in = stand_in(|_| ());
    let [one, other] = [(); 2].map(|()| handed(&call(&known(), &stand_in, &role(&[]))));
    let swapped = Handed { token: other.token, ..one };
    let mut without = swapped.signatory("execute-api");
    without.keys.session_token = None;
    for signatory in [swapped.signatory("execute-api"), without] {
        let response = signatory.send(&stand_in, "GET", "/iam/hello", &[], b"");
        let kind = response.header("x-amzn-errortype");
        assert_eq!((response.status, kind), (403, Some("UnrecognizedClientException")));
    }
    let response = call(&swapped.signatory("sts"), &stand_in, &role(&[]));
    assert_eq!(
        refusal(&response, 403, "InvalidClientTokenId"),
        "The security token included in the request is invalid."
    );
}

#[test]
fn keys_that_have_ended_are_refused_by_every_service() {
    let stand_in = stand_in(|options| options.life = Duration::ZERO);
    let keys = handed(&call(&known(), &stand_in, &role(&[("DurationSeconds", "900")])));
    let message = "The security token included in the request is expired";
    let gateway = keys.signatory("execute-api").send(&stand_in, "GET", "/iam/hello", &[], b"");
    let target = "/2015-03-31/functions/hello/invocations";
    let lambda = keys.signatory("lambda").post(&stand_in, target, &[], b"{}");
    for response in [gateway, lambda] {
        let kind = response.header("x-amzn-errortype");
        assert_eq!((response.status, kind), (403, Some("ExpiredTokenException")));
        assert_eq!(response.json()["message"], message);
    }
    assert_eq!(refusal(&call(&keys.signatory("sts"), &stand_in, &role(&[])), 403, "ExpiredToken"), message);
}

/// Remaining lifetime of keys, in seconds.
#[track_caller]
fn life(response: &Response) -> u64 {
    use time::{OffsetDateTime, format_description::well_known::Rfc3339};
    let expires = OffsetDateTime::parse(&element(response, "Expiration"), &Rfc3339).unwrap();
    SystemTime::from(expires).duration_since(SystemTime::now()).unwrap_or_default().as_secs() + 1
}

#[test]
fn keys_live_as_long_as_asked_for_within_limits() {
    let stand_in = stand_in(|_| ());
    let lives =
        |signatory: &Signatory, asked: &str| call(signatory, &stand_in, &role(&[("DurationSeconds", asked)]));
    for (response, expected) in [
        (call(&known(), &stand_in, &role(&[])), 3600),
        (lives(&known(), "900"), 900),
        (lives(&known(), "43200"), 43_200),
    ] {
        let life = life(&response);
        assert!((expected - 20..=expected).contains(&life), "{life} is not {expected}");
    }
    let message = refusal(&lives(&known(), "899"), 400, "ValidationError");
    assert!(message.contains("greater than or equal to 900"), "{message}");
    refusal(&lives(&known(), "43201"), 400, "ValidationError");
    let chained = handed(&call(&known(), &stand_in, &role(&[]))).signatory("sts");
    assert_eq!(lives(&chained, "3600").status, 200);
    let message = refusal(&lives(&chained, "3601"), 400, "ValidationError");
    assert!(message.contains("role chaining"), "{message}");
}

#[test]
fn a_role_may_demand_an_external_id_and_trusts_its_own_account_alone() {
    let stand_in = stand_in(|options| options.external_id = Some("tenant/7".into()));
    handed(&call(&known(), &stand_in, &role(&[("ExternalId", "tenant/7")])));
    for parameters in [role(&[]), role(&[("ExternalId", "tenant/8")])] {
        assert_eq!(
            refusal(&call(&known(), &stand_in, &parameters), 403, "AccessDenied"),
            format!(
                "User: arn:aws:iam::123456789012:user/dev is not authorized to perform: sts:AssumeRole on \
                 resource: {ROLE}"
            )
        );
    }
    let theirs = ROLE.replace("123456789012", "210987654321");
    let parameters = role(&[("RoleArn", &theirs), ("ExternalId", "tenant/7")]);
    refusal(&call(&known(), &stand_in, &parameters), 403, "AccessDenied");
}

#[test]
fn a_wrong_signature_is_refused() {
    let stand_in = stand_in(|_| ());
    refusal(&unsigned(&stand_in, &role(&[])), 403, "MissingAuthenticationToken");
    let mut early = known();
    early.at += Duration::from_mins(14);
    assert_eq!(call(&early, &stand_in, &role(&[])).status, 200, "STS forgives a clock 15 minutes");
    let mut late = known();
    late.at -= Duration::from_mins(16);
    for (signatory, code, why) in [
        (
            Signatory::with("sts", |keys| keys.secret_access_key = "another".into()),
            "SignatureDoesNotMatch",
            "The r",
        ),
        (Signatory::known("execute-api"), "SignatureDoesNotMatch", "correct service: &apos;sts&apos;"),
        (late, "SignatureDoesNotMatch", "Signature expired"),
        (
            Signatory::with("sts", |keys| keys.access_key_id = "AKIDANOTHER".into()),
            "InvalidClientTokenId",
            "The s",
        ),
    ] {
        let message = refusal(&call(&signatory, &stand_in, &role(&[])), 403, code).replace('\'', "&apos;");
        assert!(message.contains(why), "{message}");
    }
}

#[test]
fn a_form_that_breaks_the_model_is_refused() {
    let stand_in = stand_in(|_| ());
    for parameters in [
        role(&[("RoleSessionName", "default/pod:1")]),
        role(&[("RoleArn", "arn:aws:iam::123456789012:user/reader")]),
        role(&[("ExternalId", "two words")]),
        vec![("Action", "AssumeRole")],
    ] {
        refusal(&call(&known(), &stand_in, &parameters), 400, "ValidationError");
    }
    for parameters in [role(&[("Action", "AssumeNothing")]), role(&[("Version", "2009-01-01")]), vec![]] {
        refusal(&call(&known(), &stand_in, &parameters), 400, "InvalidAction");
    }
    assert_eq!(send(stand_in.address(), "GET", "/", &[], b"").status, 403, "STS is called by POST");
}

fn identity(token: &str) -> Vec<(&str, &str)> {
    role(&[("Action", "AssumeRoleWithWebIdentity"), ("WebIdentityToken", token)])
}

#[test]
fn a_web_identity_token_is_exchanged_without_a_signature() {
    let tokens = Tokens::new();
    tokens.variable(CredentialKind::Irsa, "AWS_WEB_IDENTITY_TOKEN_FILE");
    let token = tokens.token("web-identity-token");
    let response = unsigned(&tokens.stand_in, &identity(&token));
    let arn = "arn:aws:sts::123456789012:assumed-role/reader/pod-1";
    assert_eq!(handed(&response).caller(&tokens.stand_in), arn);
    assert_eq!(element(&response, "SubjectFromWebIdentityToken"), "system:serviceaccount:default:orders");
    assert_eq!(element(&response, "Audience"), "sts.amazonaws.com");
    assert_eq!(tokens.stand_in.controls().calls(Service::WebIdentity), 1);

    apigw_invoker::stand_in::credentials::rotate_token(CredentialKind::Irsa, tokens.directory.path())
        .unwrap();
    for wrong in [&*token, "a.b.c", "none at all"] {
        refusal(&unsigned(&tokens.stand_in, &identity(wrong)), 400, "InvalidIdentityToken");
    }
    refusal(&unsigned(&tokens.stand_in, &identity("abc")), 400, "ValidationError");
    let token = tokens.token("web-identity-token");
    handed(&unsigned(&tokens.stand_in, &identity(&token)));
    let mut theirs = identity(&token);
    theirs.retain(|(name, _)| *name != "RoleArn");
    theirs.push(("RoleArn", "arn:aws:iam::210987654321:role/reader"));
    refusal(&unsigned(&tokens.stand_in, &theirs), 403, "AccessDenied");
}

#[test]
fn a_web_identity_token_that_has_ended_is_refused() {
    let tokens = Tokens::told(|options| options.clock_ahead = 25 * 3600);
    tokens.variable(CredentialKind::Irsa, "AWS_WEB_IDENTITY_TOKEN_FILE");
    let token = tokens.token("web-identity-token");
    refusal(&unsigned(&tokens.stand_in, &identity(&token)), 400, "ExpiredTokenException");
}

#[test]
fn sts_can_be_throttled_slow_and_down_and_comes_back() {
    let stand_in = stand_in(|_| ());
    let controls = stand_in.controls();
    let ask = || call(&known(), &stand_in, &role(&[]));
    controls.set(Switch::StsThrottled, true);
    assert_eq!(refusal(&ask(), 400, "Throttling"), "Rate exceeded");
    controls.set(Switch::StsThrottled, false);

    let pause = Duration::from_millis(100);
    controls.pause_sts(pause);
    let started = Instant::now();
    handed(&ask());
    assert!(started.elapsed() >= pause);
    controls.pause_sts(Duration::ZERO);

    controls.set(Switch::StsDown, true);
    let body = form(&role(&[]));
    let mut stream = open(stand_in.address());
    write!(stream, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        .unwrap();
    let mut heard = Vec::new();
    // end of connection or reset
    let _ = stream.read_to_end(&mut heard);
    assert_eq!(heard, b"");
    let gateway = Signatory::known("execute-api").send(&stand_in, "GET", "/iam/hello", &[], b"");
    assert_eq!(gateway.status, 200, "only STS is down");
    controls.set(Switch::StsDown, false);

    handed(&ask());
    assert_eq!(controls.calls(Service::AssumeRole), 4, "every call counts");
}
