//! FIPS and dual-stack endpoints of STS and the Lambda API.
//!
//! The keys `use_fips_endpoint` and `use_dualstack_endpoint` of a route take precedence over AWS's variables
//! (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-endpoints.html>). Hosts in the settings are used
//! as written; [`EndpointVariant::warnings`] reports them.

use crate::settings::{RouteSettings, source::check::Checker};

const FIPS: &str = "AWS_USE_FIPS_ENDPOINT";
const DUAL_STACK: &str = "AWS_USE_DUALSTACK_ENDPOINT";

/// The variant of AWS's endpoints that a route calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EndpointVariant {
    /// FIPS 140 endpoints.
    pub fips: bool,
    /// Dual-stack endpoints, with IPv6 addresses too.
    pub dual_stack: bool,
}

impl EndpointVariant {
    /// The route's keys, or the environment's variables.
    pub(in crate::settings) fn of(
        fips: Option<bool>,
        dual_stack: Option<bool>,
        checker: &Checker<'_>,
    ) -> Self {
        let switch =
            |own: Option<bool>, variable| own.or_else(|| set_to(variable, checker)?.ok()).unwrap_or(false);
        Self { fips: switch(fips, FIPS), dual_stack: switch(dual_stack, DUAL_STACK) }
    }

    /// Reports variables with an invalid value, which the SDKs would ignore.
    pub(in crate::settings) fn check_variables(checker: &mut Checker<'_>) {
        for variable in [FIPS, DUAL_STACK] {
            if set_to(variable, checker).is_some_and(|set| set.is_err()) {
                let problem = format!("the environment's {variable} is neither true nor false");
                checker.report(problem, format!("{variable}=true, or nothing"));
            }
        }
    }

    /// Warnings about hosts in the settings that the variant does not change, one sentence each.
    pub fn warnings(route: &RouteSettings) -> Vec<String> {
        let Some(source) = route.backend.source() else { return Vec::new() };
        let variant = source.variant;
        let Some(name) = variant.name() else { return Vec::new() };
        let written = |key: &str, host: &str| {
            format!("route {}: {name} is on, but {key} is used as written: {host}", route.id)
        };
        let mut warnings = Vec::new();
        if let (Some(url), true) = (&source.sts_endpoint, source.calls_sts()) {
            warnings.push(written("sts_endpoint_url", url));
        }
        if let Some((key, host)) = route.backend.section().written_host(variant) {
            warnings.push(written(key, host));
        }
        warnings
    }

    fn name(self) -> Option<&'static str> {
        match (self.fips, self.dual_stack) {
            (true, true) => Some("FIPS with dual-stack"),
            (true, false) => Some("FIPS"),
            (false, true) => Some("dual-stack"),
            (false, false) => None,
        }
    }
}

/// The value of a variable, if it is set; `Err` if it is invalid.
fn set_to(variable: &str, checker: &Checker<'_>) -> Option<Result<bool, ()>> {
    let value = checker.variable(variable)?.to_ascii_lowercase();
    Some(value.parse().map_err(drop))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Document, Settings};

    #[test]
    fn s5_hosts_that_are_written_out_are_warned_of() {
        let warnings = |backend: &str| {
            let route = format!("uri: /f\n{backend}");
            let documents = [Document::process(String::new()), Document::route("f", route)];
            let environment = [(FIPS.to_owned(), "true".to_owned())].into();
            let settings = Settings::from_documents(&documents, &environment).unwrap();
            EndpointVariant::warnings(&settings.routes[0]).join("; ")
        };
        let lambda = "lambda:\n  function_name: f\n  aws_region: us-east-1\n";
        assert_eq!(warnings(lambda), "");
        assert_eq!(
            warnings(&format!("{lambda}  host: vpce.example\n  aws_sts_endpoint_url: https://sts.example\n")),
            "route f: FIPS is on, but sts_endpoint_url is used as written: https://sts.example; route f: \
             FIPS is on, but host is used as written: vpce.example"
        );
        let gateway = |host: &str| {
            format!("api_gateway:\n  function_uri: https://{host}/\n  authorization: {{ iam: {{}} }}\n")
        };
        let told = warnings(&gateway("a.execute-api.us-east-1.amazonaws.com"));
        assert!(told.contains("function_uri is used as written"), "{told}");
        assert_eq!(warnings(&gateway("a.execute-api-fips.us-east-1.amazonaws.com")), "");
    }
}
