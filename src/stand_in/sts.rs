//! The stand-in's STS: `AssumeRole`, `AssumeRoleWithWebIdentity` and `GetCallerIdentity` by the STS API
//! reference, with the query protocol: the request is a form, the response is XML.

mod answers;
mod parameters;

use std::time::Duration;

use actix_web::HttpResponse;

use self::{
    answers::{StsError, parent, text},
    parameters::{Parameters, StsRole},
};
use super::{
    account::Account,
    answers::request_id,
    credentials,
    functions::ReceivedRequest,
    issued::{ACCOUNT, IssuedKeys, Principal},
};
use crate::stand_in::{Service, Switch};

/// "900 seconds (15 minutes)", the minimum of `DurationSeconds`.
const MIN_LIFE: Duration = Duration::from_mins(15);
/// "43200 seconds (12 hours)", the maximum.
const MAX_LIFE: Duration = Duration::from_hours(12);
/// "Role chaining limits your … role session to a maximum of one hour."
const MAX_CHAINED_LIFE: Duration = Duration::from_hours(1);

/// Runs an operation and returns the XML of its result.
type Operation = fn(&ReceivedRequest, &Parameters, &Account) -> Result<String, StsError>;

/// The operations with their counters.
const OPERATIONS: [(&str, Service, Operation); 3] = [
    ("AssumeRole", Service::AssumeRole, assume_role),
    ("AssumeRoleWithWebIdentity", Service::WebIdentity, assume_role_with_web_identity),
    ("GetCallerIdentity", Service::CallerIdentity, caller_identity),
];

/// The response to a form; `None` to close the connection without one.
pub async fn answer(call: &ReceivedRequest, account: &Account) -> Option<HttpResponse> {
    let controls = &account.controls;
    let parameters = Parameters::of(&call.body);
    let is_current = parameters.get("Version") == Some("2011-06-15");
    let mut operations = OPERATIONS.into_iter().filter(|_| is_current);
    let operation = operations.find(|(name, ..)| parameters.get("Action") == Some(name));
    if let Some((_, counter, _)) = operation {
        controls.count(counter);
    }
    tokio::time::sleep(controls.sts_pause()).await;
    if controls.has(Switch::StsDown) {
        return None;
    }
    let request_id = request_id();
    let result = match operation {
        _ if controls.has(Switch::StsThrottled) => Err(StsError::Throttling),
        None => Err(StsError::InvalidAction),
        Some((name, _, run)) => run(call, &parameters, account).map(|result| (name, result)),
    };
    Some(match result {
        Ok((name, result)) => answers::success(name, &result, &request_id),
        Err(error) => error.answer(&request_id),
    })
}

fn caller(call: &ReceivedRequest, account: &Account) -> Result<Principal, StsError> {
    account.caller(call, "sts").map_err(StsError::Signature)
}

fn assume_role(
    call: &ReceivedRequest,
    parameters: &Parameters,
    account: &Account,
) -> Result<String, StsError> {
    let caller = caller(call, account)?;
    let role = parameters.role()?;
    let external_id = parameters.external_id()?;
    let asked = parameters.duration(MIN_LIFE, MAX_LIFE)?;
    if matches!(caller, Principal::Session { .. }) && asked.is_some_and(|asked| asked > MAX_CHAINED_LIFE) {
        let message = "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by \
                       role chaining";
        return Err(StsError::Validation(message.into()));
    }
    let required = account.options.external_id.as_deref();
    // roles of other accounts trust no identity of this one
    if role.account != ACCOUNT || required.is_some_and(|required| external_id != Some(required)) {
        return Err(StsError::AccessDenied(format!(
            "User: {} is not authorized to perform: sts:AssumeRole on resource: {}",
            caller.arn(),
            role.arn
        )));
    }
    Ok(session(&issue(account, &role, asked)))
}

/// Runs the one operation without a signature: its caller has no keys yet.
fn assume_role_with_web_identity(
    _: &ReceivedRequest,
    parameters: &Parameters,
    account: &Account,
) -> Result<String, StsError> {
    let role = parameters.role()?;
    let token = parameters.web_identity_token()?;
    let asked = parameters.duration(MIN_LIFE, MAX_LIFE)?;
    let claims = credentials::web_identity(&account.options, token).ok_or(StsError::InvalidIdentityToken)?;
    if claims.has_expired(account.now()) {
        return Err(StsError::ExpiredIdentityToken);
    }
    if role.account != ACCOUNT {
        let message = "Not authorized to perform sts:AssumeRoleWithWebIdentity";
        return Err(StsError::AccessDenied(message.into()));
    }
    let session = session(&issue(account, &role, asked));
    let subject = text("SubjectFromWebIdentityToken", &claims.subject);
    let audience = text("Audience", &claims.audience);
    Ok(session + &subject + &audience + &text("Provider", &claims.issuer))
}

fn issue(account: &Account, role: &StsRole<'_>, asked: Option<Duration>) -> IssuedKeys {
    let usual = account.options.life;
    let life = asked.filter(|_| usual >= MIN_LIFE).unwrap_or(usual);
    account.issue_for(Principal::session(role.name, role.session), life)
}

/// The result of both ways to assume a role.
fn session(keys: &IssuedKeys) -> String {
    let credentials = [
        text("AccessKeyId", &keys.access_key_id),
        text("SecretAccessKey", &keys.secret_access_key),
        text("SessionToken", &keys.session_token),
        text("Expiration", &keys.expiration()),
    ];
    let user = [text("AssumedRoleId", &keys.identity.id()), text("Arn", &keys.identity.arn())];
    parent("Credentials", &credentials.concat()) + &parent("AssumedRoleUser", &user.concat())
}

fn caller_identity(call: &ReceivedRequest, _: &Parameters, account: &Account) -> Result<String, StsError> {
    let caller = caller(call, account)?;
    Ok([text("Arn", &caller.arn()), text("UserId", &caller.id()), text("Account", ACCOUNT)].concat())
}
