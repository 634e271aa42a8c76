//! Replacements of the flags of aws-sigv4-proxy, and the other differences between it and the sidecar.

use super::{Difference, Replacement};

/// By flag; `--host` also stands for its absence.
#[rustfmt::skip]
pub const FLAGS: &[Replacement] = &[
    Replacement {
        names: &["--host"],
        before: "`--host HOST`",
        here: "`function_uri: https://HOST`",
    },
    Replacement {
        names: &["no --host"],
        before: "no `--host`",
        here: "`function_uri: https://{host}` with the `hosts` that clients may name, see [Hosts that \
             clients name](README.md#hosts-that-clients-name); the proxy calls any host",
    },
    Replacement {
        names: &["--upstream-url-scheme"],
        before: "`--upstream-url-scheme http`",
        here: "`function_uri: http://HOST`; `https://{host}` alone",
    },
    Replacement {
        names: &["--sign-host"],
        before: "`--sign-host NAME` beside `--host HOST`",
        here: "`function_uri: https://NAME` with `connect: { address: HOST, sni: HOST }`, see [Private \
             APIs](README.md#private-apis); without `sni` the certificate must be for `NAME`",
    },
    Replacement {
        names: &["--name", "--region"],
        before: "`--name` and `--region`",
        here: "`service` and `aws_region`, each on its own; the proxy ignores one without the other, and \
             takes both from the client's `Host`",
    },
    Replacement {
        names: &["--role-arn"],
        before: "`--role-arn`",
        here: "`assume_role_arn`",
    },
    Replacement {
        names: &["AWS_ROLE_SESSION_NAME"],
        before: "`AWS_ROLE_SESSION_NAME`, by default `aws-sigv4-proxy-` and the name of the machine",
        here: "`role_session_name`, by default `apigw-invoker`",
    },
    Replacement {
        names: &["--unsigned-payload"],
        before: "`--unsigned-payload`",
        here: "`payload: unsigned`, see [Services](README.md#services)",
    },
    Replacement {
        names: &["--port"],
        before: "`--port`, by default 8080 on all addresses",
        here: "`listen.http`, by default 9080 on loopback alone",
    },
    Replacement {
        names: &["--no-verify-ssl"],
        before: "`--no-verify-ssl`",
        here: "`ssl_verify: false`",
    },
    Replacement {
        names: &["--transport.idle-conn-timeout"],
        before: "`--transport.idle-conn-timeout`, 40 s by default",
        here: "`keepalive_timeout`, one minute by default",
    },
    Replacement {
        names: &["--strip"],
        before: "`--strip NAME`",
        here: "`headers.request.remove`, see [Headers](README.md#headers)",
    },
    Replacement {
        names: &["--custom-headers"],
        before: "`--custom-headers NAME=VALUE`",
        here: "`headers.request.set`, which replaces a header of the client, and `headers.request.add`, \
             which adds a line; the proxy leaves out its own value if the client sends the header",
    },
    Replacement {
        names: &["--duplicate-headers"],
        before: "`--duplicate-headers NAME`",
        here: "none: `Authorization` and SigV4 headers of the client are removed, other headers are \
             forwarded unsigned",
    },
    Replacement {
        names: &["--verbose"],
        before: "`--verbose`",
        here: "`log.level: debug`",
    },
    Replacement {
        names: &["--log-failed-requests"],
        before: "`--log-failed-requests`",
        here: "the access log has each status, and the log the cause of a refusal; bodies are in the \
             [inspector](../k8s/monitoring/README.md#inspector)",
    },
    Replacement {
        names: &["--log-signing-process"],
        before: "`--log-signing-process`",
        here: "`apigw-invoker explain`, and the inspector",
    },
];

#[rustfmt::skip]
pub const SIGV4_PROXY: &[Difference] = &[
    Difference {
        topic: "`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`",
        before: "used",
        here: "used, see [Proxies](README.md#proxies); `HTTP_PROXY` also by `CONNECT`",
        when: &[],
        keep: None,
    },
    Difference {
        topic: "keys",
        before: "the SDK's default sources",
        here: "`iam: {}`, see [Credentials](../k8s/monitoring/README.md#credentials)",
        when: &[],
        keep: None,
    },
    Difference {
        topic: "responses",
        before: "held in memory until complete",
        here: "streamed",
        when: &[],
        keep: None,
    },
    Difference {
        topic: "bodies of requests",
        before: "held in memory until complete",
        here: "the same, but streamed with `payload: unsigned`",
        when: &[],
        keep: None,
    },
    Difference {
        topic: "network failure",
        before: "502",
        here: "502 and 504, with a code",
        when: &[],
        keep: None,
    },
    Difference {
        topic: "time limits",
        before: "none",
        here: "`timeout`, 3 s by default; `import` writes one minute",
        when: &[],
        keep: None,
    },
    Difference {
        topic: "size of a body",
        before: "no limit",
        here: "`max_req_body_size`, 10 MiB by default; `import` writes 64 MiB, the default of \
             `limits.max_request_body`",
        when: &[],
        keep: None,
    },
];
