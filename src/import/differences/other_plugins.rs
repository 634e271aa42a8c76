//! Plugins of gateways beside `aws-lambda`, and what takes their place.

use super::Replacement;

#[rustfmt::skip]
pub const OTHER_PLUGINS: &[Replacement] = &[
    Replacement {
        names: &[
            "key-auth", "basic-auth", "jwt", "jwt-auth", "hmac-auth", "ldap-auth", "oauth2",
            "openid-connect", "consumer-restriction", "acl", "key-auth-enc", "mtls-auth", "session",
            "wolf-rbac", "authz-keycloak", "forward-auth", "opa", "jwe-decrypt", "multi-auth",
        ],
        before: "authentication of clients (`key-auth`, `basic-auth`, `jwt`, `jwt-auth`, `hmac-auth`, \
             `ldap-auth`, `oauth2`, `openid-connect`, `consumer-restriction`, `acl`)",
        here: "no counterpart: every program that can connect to a listener can use its routes' keys; [Keys \
             of the caller](README.md#keys-of-the-caller) leave access to IAM",
    },
    Replacement {
        names: &["ip-restriction"],
        before: "`ip-restriction`",
        here: "the address of `listen.http`, which is loopback by default; a Unix socket in a directory \
             that only the application can read; in Kubernetes a NetworkPolicy",
    },
    Replacement {
        names: &[],
        before: "mutual TLS with clients",
        here: "`client_ca` of `listen.https`",
    },
    Replacement {
        names: &["trusted_ips", "real_ip_recursive", "proxy_protocol", "real-ip"],
        before: "Kong's `trusted_ips`, `real_ip_recursive` and `proxy_protocol`; APISIX's `real-ip`",
        here: "`listen.trusted_ips`, always recursive, and `listen.proxy_protocol`: [Trusted \
             proxies](README.md#trusted-proxies)",
    },
    Replacement {
        names: &[],
        before: "identity and policy between services",
        here: "a service mesh, where the sidecar runs as a Service of its own",
    },
    Replacement {
        names: &["limit-conn", "api-breaker"],
        before: "`limit-conn`, `api-breaker`, retries, timeouts",
        here: "`max_in_flight`, `circuit_breaker`, `retry`, the time limits of a route",
    },
    Replacement {
        names: &[
            "limit-count", "limit-req", "rate-limiting", "response-ratelimiting",
            "rate-limiting-advanced", "limit-count-advanced",
        ],
        before: "`limit-count`, `limit-req`, `rate-limiting`, `response-ratelimiting`",
        here: "no counterpart: usage plans and throttling of API Gateway, concurrency of a function",
    },
    Replacement {
        names: &[
            "request-id", "correlation-id", "prometheus", "opentelemetry", "zipkin", "datadog", "statsd",
            "skywalking", "http-log", "file-log", "tcp-log", "udp-log", "syslog", "loggly", "http-logger",
            "file-logger", "kafka-logger", "kafka-log", "tcp-logger", "udp-logger", "error-log-logger",
        ],
        before: "`request-id`, `correlation-id`, `prometheus`, `opentelemetry`, `zipkin`, log plugins",
        here: "built in: see [logs, metrics and traces](../k8s/monitoring/README.md)",
    },
    Replacement {
        names: &["proxy-rewrite", "request-transformer", "request-transformer-advanced"],
        before: "`proxy-rewrite`, `request-transformer`",
        here: "`headers.request`; `function_uri` and `rewrite` for the path",
    },
    Replacement {
        names: &["response-rewrite", "response-transformer", "response-transformer-advanced"],
        before: "`response-rewrite`, `response-transformer`",
        here: "`headers.response`; none for status and body",
    },
    Replacement {
        names: &["cors", "proxy-cache", "proxy-cache-advanced"],
        before: "`cors`, `proxy-cache`",
        here: "no counterpart: the API or the function does it",
    },
    Replacement {
        names: &["request-size-limiting", "client-control"],
        before: "`request-size-limiting`",
        here: "`max_req_body_size`, `limits.max_request_body`",
    },
    Replacement {
        names: &["pre-function", "post-function", "serverless-pre-function", "serverless-post-function"],
        before: "scripts (`pre-function`, `post-function`, `serverless-pre-function`, \
             `serverless-post-function`)",
        here: "no counterpart: the application or the function",
    },
];
