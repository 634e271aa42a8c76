//! IAM roles for service accounts (IRSA): STS exchanges a token of the cluster for the keys of a role.

use std::{borrow::Cow, path::PathBuf};

use futures_core::future::BoxFuture;

use super::{ChainSource, Choice, Row, Surroundings};
use crate::{
    credentials::fetch::{Aws, FetchError, Fetched},
    settings::DEFAULT_SESSION_NAME,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebIdentity {
    /// The file of the token, which the cluster renews.
    pub token_file: PathBuf,
    pub role_arn: String,
    pub session_name: String,
}

pub(super) const ROW: Row = Row { name: "web identity", find };

fn find(surroundings: &Surroundings<'_>) -> Result<Option<Choice>, FetchError> {
    Ok(WebIdentity::of(surroundings)?.map(|identity| Box::new(identity) as Choice))
}

impl WebIdentity {
    fn of(surroundings: &Surroundings<'_>) -> Result<Option<Self>, FetchError> {
        let pair = surroundings.pair("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN")?;
        let Some((token_file, role_arn)) = pair else { return Ok(None) };
        let session_name = surroundings.variable("AWS_ROLE_SESSION_NAME");
        let session_name = session_name.unwrap_or_else(|| DEFAULT_SESSION_NAME.to_owned());
        Ok(Some(Self { token_file: token_file.into(), role_arn, session_name }))
    }
}

impl ChainSource for WebIdentity {
    fn name(&self) -> Cow<'_, str> {
        "IRSA".into()
    }

    fn fetch<'a>(&'a self, aws: &'a Aws) -> BoxFuture<'a, Result<Fetched, FetchError>> {
        Box::pin(async move {
            aws.refuse_empty_endpoint()?;
            aws.sts.assume_role_with_web_identity(self).await
        })
    }

    fn uses_sts<'a>(&'a self, _: &'a Aws) -> BoxFuture<'a, bool> {
        Box::pin(std::future::ready(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::MetadataProtocol;

    #[test]
    fn a_web_identity_session_has_a_name() {
        let name = |named: Option<&str>| {
            let environment = |variable: &str| match variable {
                "AWS_WEB_IDENTITY_TOKEN_FILE" => Some("/token".to_owned()),
                "AWS_ROLE_ARN" => Some("arn:aws:iam::1:role/r".to_owned()),
                "AWS_ROLE_SESSION_NAME" => named.map(str::to_owned),
                _ => None,
            };
            let metadata = MetadataProtocol::V2;
            let surroundings =
                Surroundings { environment: &environment, has_default_profile: Ok(false), metadata };
            WebIdentity::of(&surroundings).unwrap().unwrap().session_name
        };
        assert_eq!(name(None), "apigw-invoker");
        assert_eq!(name(Some("shop/orders")), "shop/orders");
    }
}
