//! The service of a route's signature: services that cannot be signed and payloads that a service does not
//! accept, which are refused, and hosts that belong to another service, which are warned about.

use crate::{
    settings::source::check::Checker,
    text::{
        aws_endpoints::{AwsEndpoint, endpoint},
        aws_hosts::region_in,
        signing_rules::{self, PayloadRule},
    },
};

/// The expected value, for mistakes.
const EXPECTED: &str = "execute-api for an API, lambda for a Function URL, or the name of another service in \
    signatures, such as s3 or es";

/// Reports a service that cannot be signed.
pub(in crate::settings) fn check(service: &str, checker: &mut Checker<'_>) {
    if let Some(reason) = signing_rules::why_unsupported(service) {
        checker.at("service").report(format!("`{service}` cannot be signed: {reason}"), EXPECTED);
    }
}

words! {
    /// The payload that signatures cover.
    pub enum PayloadSigning {
        /// The hash of the body.
        Signed = "signed",
        /// None, so that a body can be sent while it arrives.
        Unsigned = "unsigned",
    }
}

impl PayloadSigning {
    /// Checks the payload that is written for a service. `is_exposed` is true if others could read and change
    /// the requests on their way.
    pub(in crate::settings) fn check(
        written: Option<Self>,
        service: &str,
        is_exposed: bool,
        checker: &mut Checker<'_>,
    ) -> Self {
        let rule = signing_rules::of(service).payload;
        let mut report = |problem: String, expected: &str| checker.at("payload").report(problem, expected);
        match (written, rule) {
            (Some(Self::Signed), PayloadRule::Unsigned) => {
                report(format!("`{service}` accepts no signed payload"), "unsigned, or no `payload`");
            }
            (Some(Self::Unsigned), PayloadRule::Signed) => {
                report(format!("`{service}` accepts only signed payloads"), "signed, or no `payload`");
            }
            (Some(Self::Unsigned), PayloadRule::Either) if is_exposed => {
                let problem = "without TLS anyone on the way could change the body of a request";
                report(problem.to_owned(), "signed, or https in function_uri");
            }
            _ => {}
        }
        match rule {
            PayloadRule::Unsigned => Self::Unsigned,
            PayloadRule::Signed => Self::Signed,
            PayloadRule::Either => written.unwrap_or(Self::Signed),
        }
    }
}

/// The reasons to doubt a scope: the host belongs to another service or region, and AWS would answer 403. A
/// sentence each; none for a host whose name does not show where it belongs.
pub fn doubts(host: &str, region: &str, service: &str) -> Vec<String> {
    let endpoint = endpoint(host);
    let region_of_host = match endpoint {
        Some(AwsEndpoint { region, .. }) => region,
        None => region_in(host),
    };
    let other_region = region_of_host
        .filter(|known| !known.eq_ignore_ascii_case(region))
        .map(|known| format!("signs for the region {region}, but {host} is in {known}: set aws_region"));
    let other_service = endpoint.filter(|known| known.service != service).map(|known| {
        let AwsEndpoint { service: known, kind, .. } = known;
        format!(
            "{host} is {kind} and accepts only signatures for {known}, but the route signs for {service}: \
             set authorization.iam.service to {known}"
        )
    });
    other_region.into_iter().chain(other_service).collect()
}

#[cfg(test)]
mod tests {
    use crate::settings::{BackendSettings, Document, Settings};

    use super::*;

    fn read(host: &str, iam: &str) -> Result<Settings, String> {
        let route = format!(
            "uri: /\napi_gateway:\n  function_uri: https://{host}/\n  authorization:\n    iam: {{ {iam} }}\n"
        );
        let documents = [Document::process(String::new()), Document::route("f", route)];
        Settings::from_documents(&documents, &[].into()).map_err(|mistakes| mistakes.to_string())
    }

    #[test]
    fn k3_a_service_that_the_host_does_not_belong_to_is_warned_of_with_the_cure() {
        let warned = |host: &str, iam: &str| {
            let settings = read(host, iam).unwrap();
            let warnings = settings.routes[0].backend.section().warnings("f");
            warnings.into_iter().find(|warning| warning.contains("accepts only signatures"))
        };
        let url = "abc.lambda-url.eu-west-1.on.aws";
        assert_eq!(
            warned(url, "aws_region: eu-west-1").as_deref(),
            Some(
                "route f: abc.lambda-url.eu-west-1.on.aws is a Function URL and accepts only signatures \
                 for lambda, but the route signs for execute-api: set authorization.iam.service to lambda"
            )
        );
        assert_eq!(warned(url, "service: lambda"), None);
        for host in [
            "a.execute-api.us-east-1.amazonaws.com",
            "a.execute-api-fips.us-east-1.amazonaws.com",
            "a.execute-api.cn-north-1.amazonaws.com.cn",
        ] {
            assert!(warned(host, "service: lambda").unwrap().ends_with("service to execute-api"), "{host}");
            assert_eq!(warned(host, ""), None, "{host}");
        }
        for host in ["api.example", "a.lambda-url.example", "on.aws", "a.execute-api.example"] {
            assert_eq!(warned(host, "service: lambda"), None, "{host}");
            assert_eq!(warned(host, ""), None, "{host}");
        }
    }

    #[test]
    fn a_service_that_cannot_be_signed_is_a_mistake_that_says_why() {
        for (service, reason) in [
            ("s3express", "S3 Express One Zone needs a session for each bucket (CreateSession)"),
            ("sdb", "SimpleDB uses Signature Version 2"),
        ] {
            let mistakes = read("a.example", &format!("service: {service}")).unwrap_err();
            let start = format!(
                "routes/f.yaml:5: api_gateway.authorization.iam.service: `{service}` cannot be signed: \
                 {reason}; expected execute-api for an API, lambda for a Function URL"
            );
            assert!(mistakes.starts_with(&start), "{mistakes}");
        }
        for service in ["execute-api", "lambda", "es", "appsync", "s3", "aoss", "vpc-lattice-svcs", "s3-like"]
        {
            assert!(read("a.example", &format!("service: {service}")).is_ok(), "{service}");
        }
    }

    fn payload(url: &str, iam: &str) -> Result<PayloadSigning, String> {
        let route =
            format!("uri: /\napi_gateway:\n  function_uri: {url}\n  authorization:\n    iam: {{ {iam} }}\n");
        let documents = [Document::process(String::new()), Document::route("f", route)];
        let settings = Settings::from_documents(&documents, &[].into()).map_err(|error| error.to_string())?;
        let BackendSettings::ApiGateway(gateway) = &settings.routes[0].backend else { unreachable!() };
        Ok(gateway.authorization.iam.as_ref().unwrap().payload)
    }

    #[test]
    fn the_payload_is_signed_unless_the_service_or_the_route_requires_otherwise() {
        use PayloadSigning::{Signed, Unsigned};
        for (iam, expected) in [
            ("service: s3", Signed),
            ("service: s3, payload: signed", Signed),
            ("service: s3, payload: unsigned", Unsigned),
            ("service: es, payload: unsigned", Unsigned),
            ("service: vpc-lattice-svcs", Unsigned),
            ("service: vpc-lattice-svcs, payload: unsigned", Unsigned),
            ("payload: signed", Signed),
        ] {
            assert_eq!(payload("https://a.example", iam), Ok(expected), "{iam}");
        }
    }

    #[test]
    fn a_payload_that_the_service_does_not_accept_is_a_mistake() {
        for (iam, problem) in [
            ("service: vpc-lattice-svcs, payload: signed", "`vpc-lattice-svcs` accepts no signed payload"),
            ("payload: unsigned", "`execute-api` accepts only signed payloads; expected signed"),
            ("service: lambda, payload: unsigned", "`lambda` accepts only signed payloads"),
            ("service: aoss, payload: unsigned", "`aoss` accepts only signed payloads"),
            ("payload: half", "unknown value `half`; expected one of signed, unsigned"),
        ] {
            let mistakes = payload("https://a.example", iam).unwrap_err();
            let start = format!("routes/f.yaml:5: api_gateway.authorization.iam.payload: {problem}");
            assert!(mistakes.starts_with(&start), "{mistakes}");
        }
    }

    #[test]
    fn an_unsigned_payload_over_plain_http_beyond_loopback_is_a_mistake() {
        let iam = "service: s3, payload: unsigned";
        for url in ["http://127.0.0.1:9000", "http://localhost", "http://[::1]/"] {
            assert_eq!(payload(url, iam), Ok(PayloadSigning::Unsigned), "{url}");
        }
        for url in ["http://a.example", "http://10.0.0.1:9000"] {
            let mistakes = payload(url, iam).unwrap_err();
            assert!(
                mistakes.contains("iam.payload: without TLS anyone on the way could change the body")
                    && mistakes.contains("expected signed, or https in function_uri"),
                "{mistakes}"
            );
        }
        let through = "http://a.example\n  connect: { address: 127.0.0.1 }";
        assert_eq!(payload(through, iam), Ok(PayloadSigning::Unsigned));
        let beyond = "http://localhost\n  connect: { address: a.example }";
        assert!(payload(beyond, iam).is_err());
    }

    #[test]
    fn a_body_without_a_limit_needs_an_unsigned_payload() {
        let read = |process: &str, keys: &str| {
            let route = format!("uri: /\napi_gateway:\n  function_uri: https://a.example/\n{keys}");
            let documents = [Document::process(process), Document::route("f", route)];
            let settings = Settings::from_documents(&documents, &[].into()).map_err(|all| all.to_string())?;
            let BackendSettings::ApiGateway(gateway) = &settings.routes[0].backend else { unreachable!() };
            Ok::<_, String>(gateway.max_req_body_size.0)
        };
        let unsigned = "  authorization: { iam: { service: s3, payload: unsigned } }\n";
        let none = "  max_req_body_size: none\n";
        let no_limit = "limits: { max_request_body: none }\n";
        assert_eq!(read(no_limit, &format!("{unsigned}{none}")), Ok(None));
        assert_eq!(read(no_limit, ""), Ok(Some(10 << 20)));
        assert_eq!(read(no_limit, "  max_req_body_size: 1GiB\n"), Ok(Some(1 << 30)));
        for (process, keys, problem) in [
            (no_limit, none.to_owned(), "`none` needs bodies that are sent while they arrive"),
            (
                no_limit,
                format!("{none}  authorization: {{ iam: {{ service: s3 }} }}\n"),
                "`none` needs bodies",
            ),
            ("", format!("{unsigned}{none}"), "exceeds `limits.max_request_body`; expected at most 64MiB"),
        ] {
            let mistakes = read(process, &keys).unwrap_err();
            let start = format!("api_gateway.max_req_body_size: {problem}");
            assert!(mistakes.contains(&start), "{mistakes}");
        }
    }
}
