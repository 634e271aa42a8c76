//! The stand-in's STS: `AssumeRole`, `AssumeRoleWithWebIdentity` and `GetCallerIdentity`, as the STS API
//! reference describes them, by the query protocol: a form goes in, XML comes out.
//!
//! `stand_in.rs` comes here with a POST to `/`; `sts/parameters.rs` checks the form, `sts/answers.rs` writes
//! the XML.

mod answers;
mod parameters;

use std::time::Duration;

use actix_web::HttpResponse;

use self::{
    answers::{Element, Refusal},
    parameters::{Parameters, StsRole},
};
use super::{
    account::Account,
    credentials,
    functions::ReceivedRequest,
    ids,
    issued::{ACCOUNT, Identity, IssuedKeys},
};
use crate::stand_in::{Service, Switch};

/// "900 seconds (15 minutes)", the least that `DurationSeconds` may be.
const MIN_LIFE: Duration = Duration::from_mins(15);
/// "43200 seconds (12 hours)", the most.
const MAX_LIFE: Duration = Duration::from_hours(12);
/// "Role chaining limits your … role session to a maximum of one hour."
const MAX_CHAINED_LIFE: Duration = Duration::from_hours(1);

/// An operation that the stand-in has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    AssumeRole,
    AssumeRoleWithWebIdentity,
    GetCallerIdentity,
}

impl Action {
    /// The operation that a form asks for.
    fn of(parameters: &Parameters) -> Option<Self> {
        let all = [Self::AssumeRole, Self::AssumeRoleWithWebIdentity, Self::GetCallerIdentity];
        let current = parameters.get("Version") == Some("2011-06-15");
        all.into_iter().find(|action| current && parameters.get("Action") == Some(action.name()))
    }

    fn name(self) -> &'static str {
        match self {
            Self::AssumeRole => "AssumeRole",
            Self::AssumeRoleWithWebIdentity => "AssumeRoleWithWebIdentity",
            Self::GetCallerIdentity => "GetCallerIdentity",
        }
    }

    fn counted(self) -> Service {
        match self {
            Self::AssumeRole => Service::AssumeRole,
            Self::AssumeRoleWithWebIdentity => Service::WebIdentity,
            Self::GetCallerIdentity => Service::CallerIdentity,
        }
    }
}

/// The answer to a form; `None` if the connection is to be closed without one.
pub async fn answer(call: &ReceivedRequest, account: &Account) -> Option<HttpResponse> {
    let controls = &account.controls;
    let parameters = Parameters::of(&call.body);
    let action = Action::of(&parameters);
    if let Some(action) = action {
        controls.count(action.counted());
    }
    tokio::time::sleep(controls.sts_pause()).await;
    if controls.has(Switch::StsDown) {
        return None;
    }
    let request_id = ids::request_id();
    let result = match action {
        _ if controls.has(Switch::StsThrottled) => Err(Refusal::Throttling),
        None => Err(Refusal::InvalidAction),
        Some(action) => run(action, call, &parameters, account).map(|result| (action, result)),
    };
    Some(match result {
        Ok((action, result)) => answers::success(action.name(), result, &request_id),
        Err(refusal) => refusal.answer(&request_id),
    })
}

fn run(
    action: Action,
    call: &ReceivedRequest,
    parameters: &Parameters,
    account: &Account,
) -> Result<Vec<Element>, Refusal> {
    match action {
        Action::AssumeRole => assume_role(call, parameters, account),
        // the one operation that nobody signs: its caller has no keys yet
        Action::AssumeRoleWithWebIdentity => assume_role_with_web_identity(parameters, account),
        Action::GetCallerIdentity => Ok(caller_identity(&caller(call, account)?)),
    }
}

fn caller(call: &ReceivedRequest, account: &Account) -> Result<Identity, Refusal> {
    account.caller(call, "sts").map_err(Refusal::Signature)
}

fn assume_role(
    call: &ReceivedRequest,
    parameters: &Parameters,
    account: &Account,
) -> Result<Vec<Element>, Refusal> {
    let caller = caller(call, account)?;
    let role = parameters.role()?;
    let external_id = parameters.external_id()?;
    let asked = parameters.duration(MIN_LIFE, MAX_LIFE)?;
    if matches!(caller, Identity::Session { .. }) && asked.is_some_and(|asked| asked > MAX_CHAINED_LIFE) {
        return Err(Refusal::Validation(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"
                .into(),
        ));
    }
    let demanded = account.options.external_id.as_deref();
    // a role of another account trusts nobody here
    if role.account != ACCOUNT || demanded.is_some_and(|demanded| external_id != Some(demanded)) {
        return Err(Refusal::AccessDenied(format!(
            "User: {} is not authorized to perform: sts:AssumeRole on resource: {}",
            caller.arn(),
            role.arn
        )));
    }
    Ok(session(&issue(account, &role, asked)))
}

fn assume_role_with_web_identity(
    parameters: &Parameters,
    account: &Account,
) -> Result<Vec<Element>, Refusal> {
    let role = parameters.role()?;
    let token = parameters.web_identity_token()?;
    let asked = parameters.duration(MIN_LIFE, MAX_LIFE)?;
    let claims = credentials::web_identity(&account.options, token).ok_or(Refusal::InvalidIdentityToken)?;
    if claims.has_expired(account.now()) {
        return Err(Refusal::ExpiredIdentityToken);
    }
    if role.account != ACCOUNT {
        let message = "Not authorized to perform sts:AssumeRoleWithWebIdentity";
        return Err(Refusal::AccessDenied(message.into()));
    }
    let mut result = session(&issue(account, &role, asked));
    result.extend([
        Element::text("SubjectFromWebIdentityToken", claims.subject),
        Element::text("Audience", claims.audience),
        Element::text("Provider", claims.issuer),
    ]);
    Ok(result)
}

fn issue(account: &Account, role: &StsRole<'_>, asked: Option<Duration>) -> IssuedKeys {
    let usual = account.options.life;
    let life = asked.filter(|_| usual >= MIN_LIFE).unwrap_or(usual);
    account.issue_for(Identity::session(role.name, role.session), life)
}

/// What both ways to assume a role answer.
fn session(keys: &IssuedKeys) -> Vec<Element> {
    vec![
        Element::parent(
            "Credentials",
            vec![
                Element::text("AccessKeyId", &keys.access_key_id),
                Element::text("SecretAccessKey", &keys.secret_access_key),
                Element::text("SessionToken", &keys.session_token),
                Element::text("Expiration", keys.expiration()),
            ],
        ),
        Element::parent(
            "AssumedRoleUser",
            vec![
                Element::text("AssumedRoleId", keys.identity.id()),
                Element::text("Arn", keys.identity.arn()),
            ],
        ),
    ]
}

fn caller_identity(caller: &Identity) -> Vec<Element> {
    vec![
        Element::text("Arn", caller.arn()),
        Element::text("UserId", caller.id()),
        Element::text("Account", ACCOUNT),
    ]
}
