//! The service of a route's signature: services that cannot be signed, which are refused, and hosts that
//! belong to another service, which are warned about.

use crate::settings::ApiGatewaySettings;

/// Services with other rules for Signature Version 4. Amazon S3 and its relatives encode the path
/// once, do not normalise it, and require `x-amz-content-sha256`; `OpenSearch` Serverless and Glacier's
/// uploads require that header too; VPC Lattice accepts only unsigned payloads; `SimpleDB` speaks Signature
/// Version 2 (<https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>,
/// <https://docs.aws.amazon.com/opensearch-service/latest/developerguide/serverless-clients.html>,
/// <https://docs.aws.amazon.com/vpc-lattice/latest/ug/sigv4-authenticated-requests.html>).
pub(in crate::settings) const UNSUPPORTED: &[&str] =
    &["s3", "s3express", "s3-object-lambda", "s3-outposts", "aoss", "glacier", "sdb", "vpc-lattice-svcs"];

/// The expected value, for mistakes.
pub(in crate::settings) const EXPECTED: &str = "execute-api for an API, lambda for a Function URL, or \
    another service that has no signing rules of its own";

/// The mistake about a service that cannot be signed; `None` for all others.
pub(in crate::settings) fn unsupported(service: &str) -> Option<String> {
    UNSUPPORTED.contains(&service).then(|| {
        format!(
            "`{service}` cannot be signed yet: its rules for Signature Version 4 differ from those of \
             execute-api and lambda"
        )
    })
}

/// The kind and the service of an AWS host: a Function URL or an API; `None` for any other host.
fn named_by(host: &str) -> Option<(&'static str, &'static str)> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let is_amazon = host.ends_with(".amazonaws.com") || host.contains(".amazonaws.com.");
    if host.contains(".lambda-url.") && host.ends_with(".on.aws") {
        Some(("a Function URL", "lambda"))
    } else if is_amazon && (host.contains(".execute-api.") || host.contains(".execute-api-fips.")) {
        Some(("an endpoint of API Gateway", "execute-api"))
    } else {
        None
    }
}

/// The warning about a signature for another service than the host's, to which AWS answers 403.
pub fn warning(id: &str, settings: &ApiGatewaySettings) -> Option<String> {
    let iam = settings.authorization.iam.as_ref()?;
    let host = &settings.function_uri.host;
    let (kind, service) = named_by(host)?;
    (service != iam.service).then(|| {
        format!(
            "route {id}: {host} is {kind} and accepts only signatures for {service}, but the route signs \
             for {}: set authorization.iam.service to {service}",
            iam.service
        )
    })
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
            let BackendSettings::ApiGateway(gateway) = &settings.routes[0].backend else { unreachable!() };
            warning("f", gateway)
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
    fn k3_a_service_that_cannot_be_signed_yet_is_a_mistake_that_names_what_can() {
        for service in UNSUPPORTED {
            let mistakes = read("a.example", &format!("service: {service}")).unwrap_err();
            let start = format!(
                "routes/f.yaml:5: api_gateway.authorization.iam.service: `{service}` cannot be signed yet: "
            );
            assert!(mistakes.starts_with(&start), "{mistakes}");
            assert!(
                mistakes.contains("; expected execute-api for an API, lambda for a Function URL"),
                "{mistakes}"
            );
        }
        for service in ["execute-api", "lambda", "es", "appsync", "s3-like"] {
            assert!(read("a.example", &format!("service: {service}")).is_ok(), "{service}");
        }
    }
}
