//! The settings of a sidecar that calls the stand-in: with the stand-in's keys in the routes, or without, for
//! the credential chain.

use std::net::SocketAddr;

use crate::{settings::Document, stand_in::StandInKeys};

/// The sockets of a sidecar.
#[derive(Debug, Clone, Copy)]
pub struct DevSockets {
    /// For clients.
    pub listen: SocketAddr,
    /// The admin port.
    pub admin: SocketAddr,
}

/// Routes to an API Gateway with an API key, signed, both and neither, and to functions by the Lambda API.
pub fn documents(sockets: DevSockets, stand_in: SocketAddr, keys: &StandInKeys) -> Vec<Document> {
    let apikey = format!("apikey: \"{}\"", keys.api_key);
    let iam = format!(
        "iam: {{ accesskey: {}, secretkey: \"{}\", aws_region: {} }}",
        keys.access_key_id, keys.secret_access_key, keys.region
    );
    let lambda_keys =
        format!("  aws_key: {}\n  aws_secret: \"{}\"\n", keys.access_key_id, keys.secret_access_key);
    let mut documents = vec![
        process(sockets),
        gateway(stand_in, "hello", "/aws", "/key/hello", &apikey),
        gateway(stand_in, "key", "/key*", "/key", &apikey),
        gateway(stand_in, "iam", "/iam*", "/iam", &iam),
        gateway(stand_in, "both", "/both*", "/both", &format!("{apikey}, {iam}")),
        gateway(stand_in, "open", "/open*", "/open", ""),
    ];
    documents.extend(functions(stand_in, &keys.region, &lambda_keys));
    documents
}

/// The signed routes of these, without keys.
pub fn of_the_chain(sockets: DevSockets, stand_in: SocketAddr, region: &str) -> Vec<Document> {
    let iam = format!("iam: {{ aws_region: {region} }}");
    let mut documents = vec![process(sockets), gateway(stand_in, "iam", "/iam*", "/iam", &iam)];
    documents.extend(functions(stand_in, region, ""));
    documents
}

fn process(DevSockets { listen, admin }: DevSockets) -> Document {
    Document::process(format!(
        "listen: {{ http: \"{listen}\", h2c: true }}\nadmin: {{ address: \"{admin}\" }}\n"
    ))
}

fn gateway(stand_in: SocketAddr, name: &str, uris: &str, path: &str, authorization: &str) -> Document {
    let authorization = match authorization {
        "" => String::new(),
        some => format!("  authorization: {{ {some} }}\n"),
    };
    Document::route(
        name,
        format!("uris: [{uris}]\napi_gateway:\n  function_uri: http://{stand_in}{path}\n{authorization}"),
    )
}

/// The routes to the stand-in's functions: one as the APIs above, one with Kong's default of merging query
/// and body, and one with a streamed response.
fn functions(stand_in: SocketAddr, region: &str, keys: &str) -> Vec<Document> {
    let route = |name: &str, uri: &str, function: &str, mode: &str| {
        Document::route(
            name,
            format!(
                "uri: {uri}\nlambda:\n  function_name: {function}\n{keys}  aws_region: {region}\n  \
                 host: \"{}\"\n  port: {}\n  disable_https: true\n{mode}",
                stand_in.ip(),
                stand_in.port()
            ),
        )
    };
    let gateway = "  is_proxy_integration: true\n  awsgateway_compatible: true\n  \
                   awsgateway_compatible_payload_version: \"1.0\"\n";
    vec![
        route("lambda", "/lambda*", "gateway", gateway),
        route("invoke-hello", "/invoke/hello", "hello", ""),
        route("words", "/words", "words", &format!("{gateway}  invoke_mode: response_stream\n")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_of_the_chain_has_no_keys() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let keys = StandInKeys::example();
        let documents = of_the_chain(DevSockets { listen: any, admin: any }, any, &keys.region);
        assert_eq!(documents.iter().filter(|document| document.is_route()).count(), 4);
        for document in documents {
            for secret in [&keys.access_key_id, &keys.secret_access_key, &keys.api_key] {
                assert!(!document.text.contains(secret.as_str()), "{}", document.text);
            }
            assert!(!document.text.contains("aws_key"), "{}", document.text);
        }
    }
}
