//! Differences between Envoy's filters `aws_request_signing` and `aws_lambda` and the sidecar.

use super::Difference;
use crate::import::feature::Feature::{EnvoyLambda, EnvoySigning, Never, Prefix};

#[rustfmt::skip]
pub const ENVOY: &[Difference] = &[
    Difference {
        topic: "no credentials, or a failure to sign",
        before: "the request goes out unsigned",
        here: "503 `credentials_unavailable`",
        when: &[],
        keep: None,
    },
    Difference {
        topic: "a prefix such as `/aws`",
        before: "takes `/awsome` too",
        here: "whole segments: `/aws*` takes `/aws` and all below it",
        when: &[Prefix],
        keep: None,
    },
    Difference {
        topic: "two routes for the same request",
        before: "the first one",
        here: "the more specific one",
        when: &[],
        keep: None,
    },
    Difference {
        topic: "certificate of the endpoint",
        before: "not verified without `validation_context`",
        here: "verified",
        when: &[],
        keep: Some("ssl_verify: false"),
    },
    Difference {
        topic: "size of a body",
        before: "1 MiB by default, if it is signed",
        here: "`max_req_body_size`, 10 MiB by default",
        when: &[EnvoySigning],
        keep: None,
    },
    Difference {
        topic: "signed headers",
        before: "all but those that are excluded",
        here: "`host`, `content-type` and `x-amz-*`",
        when: &[EnvoySigning],
        keep: None,
    },
    Difference {
        topic: "`Host` without `host_rewrite`",
        before: "the client's",
        here: "that of `function_uri`",
        when: &[EnvoySigning],
        keep: None,
    },
    Difference {
        topic: "a rewrite of path or host by the route",
        before: "after the signature, which then does not match, unless the filter is in the cluster",
        here: "before it",
        when: &[EnvoySigning],
        keep: None,
    },
    Difference {
        topic: "an encoded path",
        before: "`%20` is signed as `%2520`, but sent as `%20`",
        here: "what is signed is what is sent",
        when: &[EnvoySigning],
        keep: None,
    },
    Difference {
        topic: "time limits",
        before: "15 s for the whole response, unless the route has a `timeout`",
        here: "`request_timeout`, which `import` writes, and limits of each step by `timeout`",
        when: &[],
        keep: None,
    },
    Difference {
        topic: "retries",
        before: "by the route's `retry_policy`, signed once",
        here: "`retry`, signed each time",
        when: &[],
        keep: Some("retry: { attempts: 1 }"),
    },
    Difference {
        topic: "the event with `payload_passthrough: false`",
        before: "Envoy's own: `raw_path`, `method`, `headers`, `query_string_parameters`, `body`",
        here: "none of this shape; `awsgateway_compatible: true` sends API Gateway's, for which the function \
             must be changed",
        when: &[Never],
        keep: None,
    },
    Difference {
        topic: "the event with `payload_passthrough: true`",
        before: "the body as it is",
        here: "a JSON body as it is; query arguments are merged into it, and a body of another type is 415",
        when: &[EnvoyLambda],
        keep: None,
    },
    Difference {
        topic: "`host_rewrite` of `aws_lambda`",
        before: "the `Host` that is sent and signed",
        here: "`host`",
        when: &[EnvoyLambda],
        keep: None,
    },
    Difference {
        topic: "Signature Version 4A, signatures in the query",
        before: "`signing_algorithm`, `query_string`",
        here: "none",
        when: &[Never],
        keep: None,
    },
];
