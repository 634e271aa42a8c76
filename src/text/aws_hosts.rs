//! The names of AWS's endpoints.

/// The region that an endpoint of AWS has in its name.
pub fn region_in(host: &str) -> Option<String> {
    let is_region = |label: &str| {
        let parts: Vec<&str> = label.split('-').collect();
        parts.len() >= 3
            && parts.iter().all(|part| !part.is_empty())
            && parts[0].len() == 2
            && parts.last().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()))
            && parts[..parts.len() - 1].iter().all(|part| part.bytes().all(|byte| byte.is_ascii_lowercase()))
    };
    let is_aws = host.contains(".amazonaws.com") || host.contains(".on.aws") || host.contains(".api.aws");
    host.split('.').find(|label| is_aws && is_region(label)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_found_in_the_names_of_awss_endpoints() {
        let region = |host| region_in(host);
        assert_eq!(region("x9.execute-api.eu-west-1.amazonaws.com").as_deref(), Some("eu-west-1"));
        assert_eq!(region("abc.lambda-url.us-gov-west-1.on.aws").as_deref(), Some("us-gov-west-1"));
        assert_eq!(region("lambda.cn-north-1.amazonaws.com.cn").as_deref(), Some("cn-north-1"));
        for host in ["a.example", "my-api-1.example.com", "vpce-0-1.amazonaws.com", ""] {
            assert_eq!(region(host), None, "{host}");
        }
    }
}
