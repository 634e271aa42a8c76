//! A source's name, from the settings and from what its chain has chosen.

use super::chain::ChainSource;
use crate::{
    settings::{CredentialProvider, CredentialSettings},
    text::key_source::{KeyOrigin, KeySource},
};

impl<'a> From<&'a CredentialSettings> for KeySource<'a> {
    /// As far as the settings tell.
    fn from(source: &'a CredentialSettings) -> Self {
        let origin = match &source.origin {
            CredentialProvider::Keys(_) => KeyOrigin::Settings,
            CredentialProvider::Mounted(_) => KeyOrigin::Files,
            CredentialProvider::Profile(name) => KeyOrigin::Profile(name),
            CredentialProvider::Chain => KeyOrigin::Chain,
        };
        Self { origin, role: source.role.as_ref().map(|role| &*role.arn) }
    }
}

/// The name with the source of the chain that was chosen, if one is.
pub fn name(source: &CredentialSettings, chosen: Option<&dyn ChainSource>) -> String {
    let mut named = KeySource::from(source);
    let chosen = chosen.map(ChainSource::name);
    if let (KeyOrigin::Chain, Some(chosen)) = (named.origin, &chosen) {
        named.origin = KeyOrigin::OfChain(chosen);
    }
    named.to_string()
}

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials;

    use super::*;
    use crate::{
        credentials::chain::Profile,
        settings::{EndpointVariant, MetadataProtocol, MountedKeys, MountedPart, Role},
    };

    fn source(origin: CredentialProvider) -> CredentialSettings {
        let variant = EndpointVariant { fips: false, dual_stack: false };
        CredentialSettings {
            origin,
            role: None,
            region: "eu-west-1".into(),
            sts_endpoint: None,
            variant,
            metadata: MetadataProtocol::V2,
            proxy: None,
        }
    }

    #[test]
    fn the_settings_name_the_source_and_the_choice_that_of_the_chain_alone() {
        let text = || MountedPart::Text("hush".to_owned().into());
        let mounted = MountedKeys { key: text(), secret: text(), session_token: None };
        let chosen = Profile("work".into());
        for (origin, alone, with_choice) in [
            (
                CredentialProvider::Keys(Credentials::new("A", "hush", None, None, "t")),
                "settings",
                "settings",
            ),
            (CredentialProvider::Mounted(mounted), "files of the settings", "files of the settings"),
            (CredentialProvider::Profile("work".into()), "profile work", "profile work"),
            (CredentialProvider::Chain, "credential chain", "profile work"),
        ] {
            let mut source = source(origin);
            assert_eq!(name(&source, None), alone);
            assert_eq!(name(&source, Some(&chosen)), with_choice);
            source.role = Some(Role {
                arn: "arn:r".into(),
                session_name: "s".into(),
                external_id: None,
                duration: None,
            });
            assert_eq!(name(&source, Some(&chosen)), format!("{with_choice} as role arn:r"));
        }
    }
}
