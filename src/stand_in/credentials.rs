//! The sources of keys at the stand-in: for each source of AWS's chain the environment variables and files of
//! a sidecar, and the check of the tokens in these files.

use std::{
    collections::HashSet,
    ffi::OsString,
    fs, io,
    net::SocketAddr,
    path::Path,
    time::{Duration, SystemTime},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use clap::ValueEnum;
use serde_json::{Value, json};

use super::{
    container,
    issued::{ACCOUNT, random_base64},
};
use crate::stand_in::{StandInKeys, StandInOptions};

const WEB_IDENTITY_TOKEN: &str = "web-identity-token";
const POD_IDENTITY_TOKEN: &str = "pod-identity-token";
const PROFILE: &str = "stand-in";
/// Life of the tokens in the kubelet's projected volumes in EKS.
const TOKEN_LIFE: Duration = Duration::from_hours(24);

/// A source of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CredentialKind {
    /// EC2's instance metadata service.
    Imds,
    /// The agent of ECS.
    Ecs,
    /// The agent of EKS Pod Identity.
    PodIdentity,
    /// IAM roles for service accounts: a web identity token, exchanged at STS.
    Irsa,
    /// A profile with a role that is assumed with the keys of another one.
    AssumeRole,
    /// Long-term keys in the environment.
    Environment,
}

impl CredentialKind {
    /// The source, for people.
    pub fn description(self) -> &'static str {
        match self {
            Self::Imds => "from EC2's instance metadata service",
            Self::Ecs => "from the agent of ECS",
            Self::PodIdentity => "from the agent of EKS Pod Identity",
            Self::Irsa => "from STS, for the token of a Kubernetes service account",
            Self::AssumeRole => "from STS, for a role of its profile",
            Self::Environment => "in its environment",
        }
    }
}

/// The claims of a web identity token.
#[derive(Debug)]
pub struct Claims {
    /// `sub`: the service account.
    pub subject: String,
    /// `aud`.
    pub audience: String,
    /// `iss`.
    pub issuer: String,
    expires: u64,
}

impl Claims {
    pub fn has_expired(&self, now: SystemTime) -> bool {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.expires) <= now
    }
}

/// Writes the files of a source into a directory and returns the variables of a sidecar.
/// `StandInOptions::tokens` of the stand-in must be the same directory.
///
/// # Errors
/// The directory is not writable.
pub fn environment(
    kind: CredentialKind,
    stand_in: SocketAddr,
    directory: &Path,
) -> io::Result<Vec<(String, String)>> {
    let keys = StandInKeys::example();
    let url = |path: &str| format!("http://{stand_in}{path}");
    let file = |name: &str| directory.join(name).to_string_lossy().into_owned();
    let role = |name: &str| format!("arn:aws:iam::{ACCOUNT}:role/{name}");
    let mut variables = vec![
        ("AWS_REGION", keys.region.clone()),
        // hides the developer's `.aws`
        ("HOME", directory.to_string_lossy().into_owned()),
        // sends GetCallerIdentity to the stand-in
        ("AWS_ENDPOINT_URL_STS", url("")),
    ];
    variables.extend(match kind {
        CredentialKind::Imds => vec![("AWS_EC2_METADATA_SERVICE_ENDPOINT", url(""))],
        CredentialKind::Ecs => vec![("AWS_CONTAINER_CREDENTIALS_FULL_URI", url(&container::ecs_path()))],
        CredentialKind::PodIdentity => vec![
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url(container::POD_IDENTITY_PATH)),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file(POD_IDENTITY_TOKEN)),
        ],
        CredentialKind::Irsa => vec![
            ("AWS_WEB_IDENTITY_TOKEN_FILE", file(WEB_IDENTITY_TOKEN)),
            ("AWS_ROLE_ARN", role("service-account")),
        ],
        CredentialKind::AssumeRole => vec![
            ("AWS_CONFIG_FILE", file("config")),
            ("AWS_SHARED_CREDENTIALS_FILE", file("credentials")),
            ("AWS_PROFILE", PROFILE.into()),
        ],
        CredentialKind::Environment => vec![
            ("AWS_ACCESS_KEY_ID", keys.access_key_id.clone()),
            ("AWS_SECRET_ACCESS_KEY", keys.secret_access_key.clone()),
        ],
    });
    match kind {
        CredentialKind::PodIdentity | CredentialKind::Irsa => rotate_token(kind, directory)?,
        CredentialKind::AssumeRole => write_profiles(directory, &keys, &role("profile"))?,
        CredentialKind::Imds | CredentialKind::Ecs | CredentialKind::Environment => {}
    }
    Ok(variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// The variables of this process that must not reach the sidecar: those of the developer's own keys, and
/// proxies, which cannot reach the stand-in.
pub fn foreign_variables() -> HashSet<OsString> {
    let names = std::env::vars_os().map(|(name, _)| name);
    names
        .filter(|name| {
            let name = name.to_string_lossy().to_ascii_uppercase();
            name.starts_with("AWS_") || matches!(&*name, "HTTP_PROXY" | "HTTPS_PROXY" | "ALL_PROXY")
        })
        .collect()
}

/// Replaces the token in a source's file atomically, as the kubelet does, and invalidates the old token.
///
/// # Errors
/// The directory is not writable.
pub fn rotate_token(kind: CredentialKind, directory: &Path) -> io::Result<()> {
    let (name, subject, audience) = match kind {
        CredentialKind::Irsa => {
            (WEB_IDENTITY_TOKEN, "system:serviceaccount:default:orders", "sts.amazonaws.com")
        }
        CredentialKind::PodIdentity => {
            (POD_IDENTITY_TOKEN, "system:serviceaccount:default:orders", "pods.eks.amazonaws.com")
        }
        CredentialKind::Imds
        | CredentialKind::Ecs
        | CredentialKind::AssumeRole
        | CredentialKind::Environment => return Ok(()),
    };
    let unfinished = directory.join(format!("{name}.new"));
    fs::write(&unfinished, token(subject, audience))?;
    fs::rename(unfinished, directory.join(name))
}

/// A JSON Web Token (RFC 7519) with the claims of a service account. Its signature is random: the stand-in
/// compares tokens with the file.
fn token(subject: &str, audience: &str) -> String {
    let encode = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let claims = json!({
        "aud": [audience],
        "exp": (now + TOKEN_LIFE).as_secs(),
        "iat": now.as_secs(),
        "iss": "https://oidc.eks.us-east-1.amazonaws.com/id/STANDIN",
        "jti": super::answers::request_id(),
        "sub": subject,
    });
    let signature = BASE64_URL_SAFE_NO_PAD.encode(random_base64(64));
    format!("{}.{}.{signature}", encode(&json!({ "alg": "RS256", "typ": "JWT" })), encode(&claims))
}

/// Writes a profile with a role and one with its keys ("Assume role credential provider", SDKs and Tools
/// reference guide).
fn write_profiles(directory: &Path, keys: &StandInKeys, role: &str) -> io::Result<()> {
    fs::write(
        directory.join("config"),
        format!(
            "[profile {PROFILE}]\nrole_arn = {role}\nrole_session_name = {PROFILE}\nsource_profile = keys\n\
             region = {}\n",
            keys.region
        ),
    )?;
    fs::write(
        directory.join("credentials"),
        format!(
            "[keys]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
            keys.access_key_id, keys.secret_access_key
        ),
    )
}

/// True for the valid token of Pod Identity.
pub fn is_pod_token(options: &StandInOptions, token: &str) -> bool {
    is_in_file(options, POD_IDENTITY_TOKEN, token)
}

/// The claims of the valid web identity token; `None` for other tokens.
pub fn web_identity(options: &StandInOptions, token: &str) -> Option<Claims> {
    let claims = token.split('.').nth(1).filter(|_| is_in_file(options, WEB_IDENTITY_TOKEN, token))?;
    let claims: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Some(Claims {
        subject: text(&claims["sub"])?,
        audience: text(&claims["aud"][0])?,
        issuer: text(&claims["iss"])?,
        expires: claims["exp"].as_u64()?,
    })
}

fn is_in_file(options: &StandInOptions, name: &str, token: &str) -> bool {
    let path = options.tokens.as_ref().map(|directory| directory.join(name));
    path.and_then(|path| fs::read_to_string(path).ok()).is_some_and(|good| good == token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(tokens: &Path) -> StandInOptions {
        StandInOptions { tokens: Some(tokens.to_owned()), ..StandInOptions::new(StandInKeys::example()) }
    }

    fn variables(kind: CredentialKind, directory: &Path) -> Vec<(String, String)> {
        environment(kind, SocketAddr::from(([127, 0, 0, 1], 9081)), directory).unwrap()
    }

    #[test]
    fn every_source_has_region_and_home_and_no_variable_twice() {
        let directory = tempfile::tempdir().unwrap();
        for kind in CredentialKind::value_variants() {
            let variables = variables(*kind, directory.path());
            let names: HashSet<&str> = variables.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names.len(), variables.len());
            assert!(names.contains("AWS_REGION") && names.contains("HOME") && names.len() > 2, "{kind:?}");
        }
    }

    #[test]
    fn variables_name_existing_files() {
        let directory = tempfile::tempdir().unwrap();
        for kind in CredentialKind::value_variants() {
            for (name, value) in variables(*kind, directory.path()) {
                assert!(!name.ends_with("_FILE") || Path::new(&value).is_file(), "{name}={value}");
            }
        }
    }

    #[test]
    fn only_the_token_in_the_file_is_valid() {
        let directory = tempfile::tempdir().unwrap();
        let options = options(directory.path());
        for (kind, name) in
            [(CredentialKind::Irsa, WEB_IDENTITY_TOKEN), (CredentialKind::PodIdentity, POD_IDENTITY_TOKEN)]
        {
            variables(kind, directory.path());
            let read = || fs::read_to_string(directory.path().join(name)).unwrap();
            let is_valid = |token: &str| match kind {
                CredentialKind::Irsa => web_identity(&options, token).is_some(),
                _ => is_pod_token(&options, token),
            };
            let old = read();
            assert!(is_valid(&old));
            rotate_token(kind, directory.path()).unwrap();
            assert!(is_valid(&read()) && !is_valid(&old) && !is_valid(""), "{kind:?}");
            assert!((4..20_000).contains(&old.len()));
        }
        let without = StandInOptions::new(StandInKeys::example());
        assert!(!is_pod_token(&without, "") && web_identity(&without, "").is_none());
    }

    #[test]
    fn a_web_identity_token_has_a_subject_and_an_expiry() {
        let directory = tempfile::tempdir().unwrap();
        rotate_token(CredentialKind::Irsa, directory.path()).unwrap();
        let token = fs::read_to_string(directory.path().join(WEB_IDENTITY_TOKEN)).unwrap();
        let claims = web_identity(&options(directory.path()), &token).unwrap();
        assert_eq!(claims.subject, "system:serviceaccount:default:orders");
        assert_eq!(claims.audience, "sts.amazonaws.com");
        assert!(!claims.has_expired(SystemTime::now()));
        assert!(claims.has_expired(SystemTime::now() + TOKEN_LIFE));
    }
}
