//! Keys in environment variables.

use std::borrow::Cow;

use aws_credential_types::Credentials;
use futures_core::future::BoxFuture;

use super::{ChainSource, Choice, Row, Surroundings};
use crate::credentials::fetch::{Aws, FetchError, Fetched};

/// The keys of `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`.
#[derive(Debug)]
pub struct Environment(pub Credentials);

pub(super) const ROW: Row = Row { name: "environment", find };

fn find(surroundings: &Surroundings<'_>) -> Result<Option<Choice>, FetchError> {
    let keys = surroundings.pair("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")?;
    let Some((id, secret)) = keys else { return Ok(None) };
    let token = surroundings.variable("AWS_SESSION_TOKEN");
    Ok(Some(Box::new(Environment(Credentials::new(id, secret, token, None, "environment")))))
}

impl ChainSource for Environment {
    fn name(&self) -> Cow<'_, str> {
        "environment".into()
    }

    fn fetch<'a>(&'a self, _: &'a Aws) -> BoxFuture<'a, Result<Fetched, FetchError>> {
        Box::pin(std::future::ready(Ok(self.0.clone().into())))
    }

    fn static_keys(&self) -> Option<&Credentials> {
        Some(&self.0)
    }
}
