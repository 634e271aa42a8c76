//! AWS's host names: the Lambda API's in a region, and the region in a name.

/// AWS's partitions (the Lambda API's endpoint rule set): the prefix of their regions' names, and the domains
/// of their endpoints, usual and dual-stack.
const PARTITIONS: [(&str, &str, &str); 7] = [
    ("cn-", "amazonaws.com.cn", "api.amazonwebservices.com.cn"),
    ("eusc-", "amazonaws.eu", "api.amazonwebservices.eu"),
    ("us-iso-", "c2s.ic.gov", "api.aws.ic.gov"),
    ("us-isob-", "sc2s.sgov.gov", "api.aws.scloud"),
    ("eu-isoe-", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"),
    ("us-isof-", "csp.hci.ic.gov", "api.aws.hci.ic.gov"),
    COMMERCIAL,
];
/// All other regions, those of US government among them.
const COMMERCIAL: (&str, &str, &str) = ("", "amazonaws.com", "api.aws");

/// The domain of Function URLs and of services of VPC Lattice, also in China.
const LATER_DOMAINS: [&str; 2] = ["on.aws", "on.amazonwebservices.com.cn"];

/// The host of the Lambda API. Kong supports `amazonaws.com` alone (case K50).
pub fn lambda_host(region: &str, fips: bool, dual_stack: bool) -> String {
    regional_host("lambda", region, fips, dual_stack)
}

/// The host of STS.
pub fn sts_host(region: &str, fips: bool, dual_stack: bool) -> String {
    regional_host("sts", region, fips, dual_stack)
}

/// The host of Amazon S3. Its dual-stack endpoints are below the usual domain (Amazon S3 user guide, "Using
/// dual-stack endpoints").
pub fn s3_host(region: &str, fips: bool, dual_stack: bool) -> String {
    let service = if fips { "s3-fips" } else { "s3" };
    let service = if dual_stack { format!("{service}.dualstack") } else { service.to_owned() };
    regional_host(&service, region, false, false)
}

/// The host of IAM Roles Anywhere.
pub fn roles_anywhere_host(region: &str, fips: bool, dual_stack: bool) -> String {
    regional_host("rolesanywhere", region, fips, dual_stack)
}

/// The host of Secrets Manager.
pub fn secrets_manager_host(region: &str, fips: bool, dual_stack: bool) -> String {
    regional_host("secretsmanager", region, fips, dual_stack)
}

/// The host of Parameter Store, a part of Systems Manager.
pub fn parameter_store_host(region: &str, fips: bool, dual_stack: bool) -> String {
    regional_host("ssm", region, fips, dual_stack)
}

fn regional_host(service: &str, region: &str, fips: bool, dual_stack: bool) -> String {
    let partition = PARTITIONS.iter().find(|(prefix, ..)| region.starts_with(prefix));
    let (_, usual, dual_stack_domain) = partition.unwrap_or(&COMMERCIAL);
    let fips = if fips { "-fips" } else { "" };
    let domain = if dual_stack { dual_stack_domain } else { usual };
    format!("{service}{fips}.{region}.{domain}")
}

/// The region in the name of a host of the Lambda API.
pub fn region_of_lambda_host(host: &str) -> Option<&str> {
    let rest = host.strip_prefix("lambda.").or_else(|| host.strip_prefix("lambda-fips."))?;
    let (region, domain) = rest.split_once('.')?;
    domains().any(|aws| domain == aws).then_some(region)
}

/// The region in the name of any endpoint of AWS, with or without a port.
pub fn region_in(host: &str) -> Option<&str> {
    let name = host.split_once(':').map_or(host, |(name, _)| name).trim_end_matches('.');
    without_domain(name)?.split('.').find(|label| is_region(label))
}

/// True for a label that has the form of a region.
pub fn is_region(label: &str) -> bool {
    let parts: Vec<&str> = label.split('-').collect();
    parts.len() >= 3
        && parts.iter().all(|part| !part.is_empty())
        && (parts[0].len() == 2 || parts[0].eq_ignore_ascii_case("eusc"))
        && parts.last().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()))
        && parts[..parts.len() - 1].iter().all(|part| part.bytes().all(|byte| byte.is_ascii_alphabetic()))
}

/// The labels of an AWS host before the domain of its partition; `None` for another host.
pub fn without_domain(name: &str) -> Option<&str> {
    domains().chain(LATER_DOMAINS).find_map(|domain| {
        let (labels, end) = name.split_at_checked(name.len().checked_sub(domain.len() + 1)?)?;
        end.strip_prefix('.')?.eq_ignore_ascii_case(domain).then_some(labels)
    })
}

fn domains() -> impl Iterator<Item = &'static str> {
    PARTITIONS.iter().flat_map(|(_, usual, dual_stack)| [*usual, *dual_stack])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k50_every_partition_has_its_own_domain() {
        for (region, host, dual_stack) in [
            ("us-east-1", "lambda.us-east-1.amazonaws.com", "lambda.us-east-1.api.aws"),
            (
                "cn-north-1",
                "lambda.cn-north-1.amazonaws.com.cn",
                "lambda.cn-north-1.api.amazonwebservices.com.cn",
            ),
            ("us-gov-west-1", "lambda.us-gov-west-1.amazonaws.com", "lambda.us-gov-west-1.api.aws"),
            (
                "eusc-de-east-1",
                "lambda.eusc-de-east-1.amazonaws.eu",
                "lambda.eusc-de-east-1.api.amazonwebservices.eu",
            ),
            ("us-iso-east-1", "lambda.us-iso-east-1.c2s.ic.gov", "lambda.us-iso-east-1.api.aws.ic.gov"),
            (
                "eu-isoe-west-1",
                "lambda.eu-isoe-west-1.cloud.adc-e.uk",
                "lambda.eu-isoe-west-1.api.cloud-aws.adc-e.uk",
            ),
            (
                "us-isof-south-1",
                "lambda.us-isof-south-1.csp.hci.ic.gov",
                "lambda.us-isof-south-1.api.aws.hci.ic.gov",
            ),
            ("us-isob-east-1", "lambda.us-isob-east-1.sc2s.sgov.gov", "lambda.us-isob-east-1.api.aws.scloud"),
        ] {
            assert_eq!(lambda_host(region, false, false), host);
            assert_eq!(lambda_host(region, false, true), dual_stack);
            assert_eq!(region_of_lambda_host(host), Some(region));
        }
        assert_eq!(lambda_host("us-east-1", true, false), "lambda-fips.us-east-1.amazonaws.com");
    }

    #[test]
    fn a_host_that_is_not_awss_has_no_region() {
        for host in ["localhost", "lambda.internal", "vpce-1.lambda.us-east-1.vpce.amazonaws.com"] {
            assert_eq!(region_of_lambda_host(host), None, "{host}");
        }
    }

    #[test]
    fn a_region_is_found_in_the_names_of_awss_endpoints() {
        for (host, region) in [
            ("x9.execute-api.eu-west-1.amazonaws.com", "eu-west-1"),
            ("vpce-1.execute-api.us-east-1.vpce.amazonaws.com", "us-east-1"),
            ("abc.lambda-url.us-gov-west-1.on.aws", "us-gov-west-1"),
            ("lambda.eu-west-1.api.aws:443", "eu-west-1"),
            ("lambda.eu-west-1.amazonaws.com.", "eu-west-1"),
            ("lambda.cn-north-1.amazonaws.com.cn", "cn-north-1"),
            ("x9.execute-api.us-iso-east-1.c2s.ic.gov", "us-iso-east-1"),
        ] {
            assert_eq!(region_in(host), Some(region), "{host}");
        }
        for host in
            ["a.example", "my-api-1.example.com", "vpce-0-1.amazonaws.com", "eu-west-1.notamazonaws.com", ""]
        {
            assert_eq!(region_in(host), None, "{host}");
        }
    }
}
