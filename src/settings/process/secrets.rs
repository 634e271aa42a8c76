//! The section `secrets`, and the access to secrets in AWS: keys, endpoints and proxy.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    settings::{
        CredentialProvider, CredentialSettings, EndpointVariant, MetadataProtocol, ProxyRule,
        source::{check::Checker, key_type::DAY, remote_secret::SecretService},
    },
    text::{aws_hosts, units::WrittenDuration},
};

section! {
    /// Secrets in AWS.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Secrets, read as WrittenSecrets, optional "a table about secrets";

    /// Interval at which secrets that references name in AWS Secrets Manager and Parameter Store are fetched
    /// again, see "Secrets in AWS". A failed fetch is repeated sooner.
    interval: WrittenDuration [Duration::from_secs(1)..=DAY] = Duration::from_mins(5);
}

/// Keys, endpoints and proxy of the calls that fetch secrets.
#[derive(Debug, Clone, PartialEq)]
pub struct SecretsAccess {
    /// The credential chain of the process.
    pub credentials: CredentialSettings,
    /// The endpoints that variables of the environment set.
    endpoints: BTreeMap<SecretService, String>,
}

impl SecretService {
    /// The SDKs' variables for another endpoint, in the order of precedence.
    const fn endpoint_variables(self) -> [&'static str; 2] {
        match self {
            Self::SecretsManager => ["AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL"],
            Self::ParameterStore => ["AWS_ENDPOINT_URL_SSM", "AWS_ENDPOINT_URL"],
        }
    }
}

impl SecretsAccess {
    /// Reads the environment. STS has the endpoint of `region`.
    pub(in crate::settings) fn of(region: &str, checker: &mut Checker<'_>) -> Self {
        let services = [SecretService::SecretsManager, SecretService::ParameterStore];
        let endpoint = |service: SecretService| {
            let url = service.endpoint_variables().iter().find_map(|name| checker.variable(name))?;
            Some((service, url.trim_end_matches('/').to_owned()))
        };
        let endpoints = services.into_iter().filter_map(endpoint).collect();
        let credentials = CredentialSettings {
            origin: CredentialProvider::Chain,
            role: None,
            region: region.to_owned(),
            sts_endpoint: None,
            variant: EndpointVariant::of(None, None, checker),
            metadata: MetadataProtocol::V2,
            proxy: ProxyRule::check(None, checker).for_keys(),
        };
        Self { credentials, endpoints }
    }

    /// The URL of a service in a region, without a path.
    pub fn url(&self, service: SecretService, region: &str) -> String {
        if let Some(url) = self.endpoints.get(&service) {
            return url.clone();
        }
        let EndpointVariant { fips, dual_stack } = self.credentials.variant;
        let host = match service {
            SecretService::SecretsManager => aws_hosts::secrets_manager_host(region, fips, dual_stack),
            SecretService::ParameterStore => aws_hosts::parameter_store_host(region, fips, dual_stack),
        };
        format!("https://{host}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::source::{
        mistake::Mistakes,
        tree::{Environment, Node},
    };

    fn access(variables: &[(&str, &str)]) -> SecretsAccess {
        let environment: Environment =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (node, mut mistakes) = (Node::empty(), Mistakes::default());
        SecretsAccess::of("us-east-1", &mut Checker::new(&node, &environment, &mut mistakes))
    }

    #[test]
    fn the_endpoint_is_that_of_the_region_or_of_the_environment() {
        let urls = |variables: &[(&str, &str)]| {
            let access = access(variables);
            [SecretService::SecretsManager, SecretService::ParameterStore]
                .map(|service| access.url(service, "eu-west-1"))
        };
        assert_eq!(
            urls(&[]),
            ["https://secretsmanager.eu-west-1.amazonaws.com", "https://ssm.eu-west-1.amazonaws.com"]
        );
        assert_eq!(
            urls(&[("AWS_USE_FIPS_ENDPOINT", "true"), ("AWS_USE_DUALSTACK_ENDPOINT", "true")]),
            ["https://secretsmanager-fips.eu-west-1.api.aws", "https://ssm-fips.eu-west-1.api.aws"]
        );
        assert_eq!(
            urls(&[("AWS_ENDPOINT_URL", "http://a:1/"), ("AWS_ENDPOINT_URL_SSM", "http://b:2")]),
            ["http://a:1", "http://b:2"]
        );
    }
}
