//! Keys of other gateways and of the other section: the mistake about such an unknown key names ours.

use super::tree::ROUTES;

/// The key of ours for an unknown key at a path of the settings' tree.
pub fn cure(path: &[String]) -> Option<&'static str> {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match &path[..] {
        [ROUTES, _, key] => of_a_route(key),
        [ROUTES, _, "lambda", key] | ["defaults", "lambda", key] => of_lambda(key),
        [ROUTES, _, "api_gateway", key] | ["defaults", "api_gateway", key] => of_api_gateway(key),
        [ROUTES, _, "api_gateway", "authorization", key]
        | ["defaults", "api_gateway", "authorization", key] => of_authorization(key),
        [key] => of_the_process(key),
        _ => None,
    }
}

fn of_a_route(key: &str) -> Option<&'static str> {
    Some(match key {
        "plugins" | "plugin" | "config" | "upstream" | "upstream_id" | "plugin_config_id" => {
            "the plugin's own keys in a section `api_gateway` (APISIX's aws-lambda) or `lambda` (Kong's)"
        }
        "aws-lambda" | "aws_lambda" => "`api_gateway` with APISIX's keys, or `lambda` with Kong's",
        "path" | "prefix" => "`uri`",
        "paths" => "`uris`",
        "host" => "`hosts`, a list",
        "method" | "http_methods" => "`methods`, a list",
        "name" => "`id`, or nothing: the file's name is the route's",
        "status" => "`enabled: false` for a route that is off",
        "function_uri" | "authorization" => "it below `api_gateway`",
        "function_name" | "aws_key" | "aws_secret" | "aws_region" => "it below `lambda`",
        "routes" | "services" | "_format_version" => {
            "one route in a file, its keys at the beginning of the line"
        }
        "listen" | "admin" | "workers" | "limits" | "log" | "shutdown" | "reload" | "defaults" => {
            "it in default.yaml, which is about the process"
        }
        _ => return None,
    })
}

fn of_lambda(key: &str) -> Option<&'static str> {
    Some(match key {
        "authorization" | "iam" => "`aws_key` and `aws_secret`, or neither for the credential chain",
        "apikey" => "`api_gateway`, whose `authorization` has it: Lambda's Invoke API knows no API keys",
        "accesskey" | "aws_access_key_id" => "`aws_key`",
        "secretkey" | "secret_key" | "aws_secret_access_key" => "`aws_secret`",
        "session_token" => "`aws_session_token`",
        "profile" => "`aws_profile`",
        "region" => "`aws_region`",
        "assume_role_arn" => "`aws_assume_role_arn`",
        "function_uri" | "uri" | "url" => {
            "`function_name`, or `api_gateway` for an API Gateway endpoint or Function URL"
        }
        "max_req_body_size" => "`limits.max_request_body` in default.yaml",
        "keepalive_timeout" => "`keepalive`, a duration",
        _ => return None,
    })
}

fn of_api_gateway(key: &str) -> Option<&'static str> {
    Some(match key {
        "apikey" => "`authorization.apikey`",
        "iam" => "`authorization.iam`",
        "accesskey" | "aws_key" | "aws_access_key_id" => "`authorization.iam.accesskey`",
        "secretkey" | "secret_key" | "aws_secret" | "aws_secret_access_key" => {
            "`authorization.iam.secretkey`"
        }
        "session_token" | "aws_session_token" => "`authorization.iam.session_token`",
        "aws_region" | "region" => "`authorization.iam.aws_region`",
        "service" => "`authorization.iam.service`",
        "function_name" => "`lambda`, which calls functions by name",
        "url" | "uri" | "endpoint" => "`function_uri`",
        _ => return None,
    })
}

fn of_authorization(key: &str) -> Option<&'static str> {
    Some(match key {
        "api_key" | "x-api-key" => "`apikey`",
        "accesskey" | "secretkey" | "secret_key" | "aws_region" | "service" | "session_token" => {
            "it below `iam`"
        }
        _ => return None,
    })
}

fn of_the_process(key: &str) -> Option<&'static str> {
    Some(match key {
        "uri" | "uris" | "api_gateway" | "lambda" | "plugins" | "services" => {
            "a route in a file routes/NAME.yaml"
        }
        "worker_processes" => "`workers`",
        "port" => "`listen.http`, an IP address with a port",
        "logging" => "`log`",
        "timeout" | "timeouts" => "the time limits of `limits`, or of a route's section",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k7_a_word_of_another_gateway_leads_to_ours() {
        let cure = |path: &str| cure(&path.split('.').map(str::to_owned).collect::<Vec<_>>());
        assert!(cure("routes.r.plugins").unwrap().contains("`lambda` (Kong's)"));
        assert!(cure("routes.r.lambda.authorization").unwrap().contains("`aws_key` and `aws_secret`"));
        assert_eq!(cure("defaults.api_gateway.apikey"), Some("`authorization.apikey`"));
        assert_eq!(cure("uri"), Some("a route in a file routes/NAME.yaml"));
        assert_eq!(cure("routes.r.lambda.function"), None);
    }
}
