//! The stand-in's credential services, called directly as AWS's SDKs call them, and a sidecar that gets its
//! keys from them.

mod container;
mod dev;
mod metadata;
mod sdk;
mod sts;

use std::net::SocketAddr;

use apigw_invoker::stand_in::{
    StandIn, StandInKeys, StandInOptions,
    credentials::{self, CredentialKind},
};
use tempfile::TempDir;

use super::support::{Response, Signatory};

/// A stand-in with token files in a temporary directory.
struct Tokens {
    stand_in: StandIn,
    directory: TempDir,
}

impl Tokens {
    fn new() -> Self {
        Self::told(|_| ())
    }

    fn told(tell: impl FnOnce(&mut StandInOptions)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let stand_in = stand_in(|options| {
            options.tokens = Some(directory.path().to_owned());
            tell(options);
        });
        Self { stand_in, directory }
    }

    /// An environment variable of a source.
    #[track_caller]
    fn variable(&self, kind: CredentialKind, name: &str) -> String {
        let variables =
            credentials::environment(kind, self.stand_in.address(), self.directory.path()).unwrap();
        let found = variables.into_iter().find(|(own, _)| own == name);
        found.unwrap_or_else(|| panic!("no {name}")).1
    }

    /// Current content of the file that a variable names.
    #[track_caller]
    fn token(&self, name: &str) -> String {
        std::fs::read_to_string(self.directory.path().join(name)).unwrap()
    }
}

fn stand_in(tell: impl FnOnce(&mut StandInOptions)) -> StandIn {
    let mut options = StandInOptions::new(StandInKeys::example());
    tell(&mut options);
    StandIn::start(SocketAddr::from(([127, 0, 0, 1], 0)), options).expect("the stand-in starts")
}

/// Keys returned by a service.
#[derive(Debug, Clone)]
struct Handed {
    id: String,
    secret: String,
    token: String,
}

impl Handed {
    /// Parses the JSON of the metadata service or of an agent.
    #[track_caller]
    fn json(response: &Response) -> Self {
        let body = response.json();
        let text = |name: &str| body[name].as_str().unwrap_or_else(|| panic!("no {name}: {body}")).to_owned();
        Self { id: text("AccessKeyId"), secret: text("SecretAccessKey"), token: text("Token") }
    }

    /// A signer with these keys.
    fn signatory(&self, service: &str) -> Signatory {
        Signatory::with(service, |keys| {
            keys.access_key_id.clone_from(&self.id);
            keys.secret_access_key.clone_from(&self.secret);
            keys.session_token = Some(self.token.clone());
        })
    }

    /// The ARN that `GetCallerIdentity` returns for these keys.
    #[track_caller]
    fn caller(&self, stand_in: &StandIn) -> String {
        let response = sts::call(&self.signatory("sts"), stand_in, &[("Action", "GetCallerIdentity")]);
        assert_eq!(response.status, 200, "{}", response.text());
        sts::element(&response, "Arn")
    }
}
