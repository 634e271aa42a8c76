//! `apigw-invoker dev`: the sidecar together with a stand-in for AWS, both on loopback, for a first try
//! without an AWS account. The tests use the same stand-in.

mod account;
mod answers;
mod container;
mod controls;
pub mod credentials;
mod functions;
mod ids;
mod issued;
mod lambda;
mod metadata;
mod options;
mod stand_in;
mod sts;
mod verify;

use std::{io, net::SocketAddr, process::ExitCode};

use clap::Args;

pub use self::{
    controls::{Controls, Service, Switch},
    options::StandInOptions,
    stand_in::StandIn,
    verify::Keys,
};
use crate::{
    run::{serve, tell, wrong},
    settings::{self, Document, Settings},
};

/// What `dev` may be told.
#[derive(Debug, Args)]
pub struct Options {
    /// Where the sidecar listens.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9080")]
    listen: SocketAddr,
    /// Where the stand-in for AWS listens.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9081")]
    stand_in: SocketAddr,
}

/// Runs both until a signal ends them.
pub fn run(options: &Options) -> ExitCode {
    let keys = Keys::example();
    let stand_in = match StandIn::start(options.stand_in, StandInOptions::new(keys.clone())) {
        Ok(stand_in) => stand_in,
        Err(error) => return failed(options.stand_in, &error),
    };
    let documents = documents(options.listen, stand_in.address(), &keys);
    let settings = match Settings::from_documents(&documents, &settings::environment()) {
        Ok(settings) => settings,
        Err(mistakes) => return wrong(&mistakes),
    };
    serve(settings, |application| {
        tell(&mut io::stdout(), &welcome(application.address(), stand_in.address()));
    })
}

fn failed(address: SocketAddr, error: &io::Error) -> ExitCode {
    tell(&mut io::stderr(), &format!("apigw-invoker: the stand-in cannot listen on {address}: {error}"));
    ExitCode::FAILURE
}

/// The settings of a sidecar that calls the stand-in: an API Gateway with an API key, signed, both, and neither,
/// and functions by the Lambda API.
pub fn documents(listen: SocketAddr, stand_in: SocketAddr, keys: &Keys) -> Vec<Document> {
    let route = |name: &str, uris: &str, path: &str, authorization: &str| {
        let authorization = match authorization {
            "" => String::new(),
            some => format!("  authorization: {{ {some} }}\n"),
        };
        Document::route(
            name,
            format!("uris: [{uris}]\napi_gateway:\n  function_uri: http://{stand_in}{path}\n{authorization}"),
        )
    };
    let apikey = format!("apikey: \"{}\"", keys.api_key);
    let iam = format!(
        "iam: {{ accesskey: {}, secretkey: \"{}\", aws_region: {} }}",
        keys.access_key_id, keys.secret_access_key, keys.region
    );
    let mut documents = vec![
        Document::process(format!("listen: {{ http: \"{listen}\" }}\n")),
        route("hello", "/aws", "/key/hello", &apikey),
        route("key", "/key*", "/key", &apikey),
        route("iam", "/iam*", "/iam", &iam),
        route("both", "/both*", "/both", &format!("{apikey}, {iam}")),
        route("open", "/open*", "/open", ""),
    ];
    documents.extend(lambda_documents(stand_in, keys));
    documents
}

/// The routes to the functions of the stand-in's Lambda API: the one that answers as the APIs above do, one by
/// Kong's default way of merging query and body, and one whose answer is passed on as it is written.
fn lambda_documents(stand_in: SocketAddr, keys: &Keys) -> Vec<Document> {
    let route = |name: &str, uri: &str, function: &str, mode: &str| {
        Document::route(
            name,
            format!(
                "uri: {uri}\nlambda:\n  function_name: {function}\n  aws_key: {}\n  aws_secret: \"{}\"\n  \
                 aws_region: {}\n  host: \"{}\"\n  port: {}\n  disable_https: true\n{mode}",
                keys.access_key_id,
                keys.secret_access_key,
                keys.region,
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

fn welcome(sidecar: SocketAddr, stand_in: SocketAddr) -> String {
    format!(
        "
The sidecar listens on http://{sidecar}, a stand-in for API Gateway and Lambda on http://{stand_in}. Try:

  curl -i 'http://{sidecar}/aws?name=APISIX'               # goes out with x-api-key
  curl -i 'http://{sidecar}/iam/echo/a%2Fb?c=x%2Fy&d=b+c'  # goes out signed; shows what arrived
  curl -i 'http://{sidecar}/lambda/hello?name=Kong'        # the same function by the Lambda API
  curl -N 'http://{sidecar}/words'                         # its words arrive as it writes them
  curl -i 'http://{stand_in}/iam/echo'                      # without the sidecar: 403

Ctrl-C ends both.
"
    )
}
