//! AWS's own SDK against the stand-in: it must read the keys in a response, and classify a refusal as it
//! would AWS's.

use apigw_invoker::stand_in::{StandIn, credentials::CredentialKind};
use aws_config::{
    BehaviorVersion, Region,
    imds::{Client as MetadataClient, credentials::ImdsCredentialsProvider},
    provider_config::ProviderConfig,
};
use aws_credential_types::{Credentials, provider::ProvideCredentials as _};
use aws_sdk_sts::{error::ProvideErrorMetadata as _, operation::RequestId as _};
use aws_smithy_types::retry::RetryConfig;

use super::{Handed, Tokens, stand_in};

const ROLE: &str = "arn:aws:iam::123456789012:role/reader";

fn handed(credentials: &Credentials) -> Handed {
    assert!(credentials.expiry().is_some());
    Handed {
        id: credentials.access_key_id().into(),
        secret: credentials.secret_access_key().into(),
        token: credentials.session_token().expect("temporary keys").into(),
    }
}

fn sts(stand_in: &StandIn) -> aws_sdk_sts::Client {
    let credentials =
        Credentials::new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", None, None, "test");
    let config = aws_sdk_sts::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(format!("http://{}", stand_in.address()))
        .region(Region::new("us-east-1"))
        .credentials_provider(credentials)
        .retry_config(RetryConfig::disabled())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    aws_sdk_sts::Client::from_conf(config)
}

#[actix_rt::test]
async fn sts_is_understood() {
    let tokens = Tokens::new();
    let sts = sts(&tokens.stand_in);
    let answer = sts.assume_role().role_arn(ROLE).role_session_name("pod-1").send().await.expect("keys");
    assert_eq!(
        answer.assumed_role_user().map(aws_sdk_sts::types::AssumedRoleUser::arn),
        Some("arn:aws:sts::123456789012:assumed-role/reader/pod-1")
    );
    assert!(answer.credentials().is_some_and(|keys| keys.access_key_id().starts_with("ASIA")));
    let caller = sts.get_caller_identity().send().await.expect("an identity");
    assert_eq!(caller.account(), Some("123456789012"));

    tokens.variable(CredentialKind::Irsa, "AWS_WEB_IDENTITY_TOKEN_FILE");
    let exchange = |token: String| {
        let call = sts.assume_role_with_web_identity().role_arn(ROLE).role_session_name("pod-1");
        call.web_identity_token(token).send()
    };
    let answer = exchange(tokens.token("web-identity-token")).await.expect("keys");
    assert_eq!(answer.audience(), Some("sts.amazonaws.com"));
    let refused = exchange("a wrong one".into()).await.expect_err("a refusal").into_service_error();
    assert!(refused.is_invalid_identity_token_exception(), "{refused:?}");
}

#[actix_rt::test]
async fn refusals_of_sts_are_understood() {
    let stand_in = stand_in(|_| ());
    let call = sts(&stand_in).assume_role().role_arn(ROLE).role_session_name("pod/1");
    let refused = call.send().await.expect_err("a refusal").into_service_error();
    assert_eq!(refused.code(), Some("ValidationError"));
    assert!(refused.message().is_some_and(|message| message.contains("roleSessionName")), "{refused:?}");
    assert!(refused.meta().request_id().is_some(), "{refused:?}");
}

#[actix_rt::test]
async fn the_metadata_service_is_understood() {
    let stand_in = stand_in(|_| ());
    let http = aws_smithy_http_client::Builder::new().build_http();
    let config = ProviderConfig::without_region().with_http_client(http);
    let endpoint = format!("http://{}", stand_in.address());
    let client = MetadataClient::builder().configure(&config).endpoint(endpoint).expect("an address").build();
    let provider = ImdsCredentialsProvider::builder().configure(&config).imds_client(client).build();
    let credentials = provider.provide_credentials().await.expect("keys");
    let caller = handed(&credentials).caller(&stand_in);
    assert!(caller.contains("assumed-role/node/"), "{caller}");
}
