//! Properties of an imported route, which decide the differences that concern it.

/// A property of an imported route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feature {
    /// No imported route has it: the row is for readers of the page alone.
    Never,
    /// An API key or a signature.
    Authorization,
    /// An API key and a signature.
    KeyAndIam,
    /// A signature.
    Signed,
    /// No signature.
    Unsigned,
    /// A port in the URL of the endpoint.
    Port,
    /// A query in the URL of the endpoint.
    Query,
    /// A prefix that does not end at a segment.
    Prefix,
    /// A rest of the path that is appended to the endpoint's.
    Rest,
    /// The peer's default limit of a body.
    BodyLimit,
    /// A status for failed functions.
    UnhandledStatus,
    /// No region in the configuration.
    NoRegion,
    /// The region decides the host.
    RegionalHost,
    /// Plain HTTP to the Lambda API.
    DisableHttps,
    /// The same, without a port in the configuration.
    DisableHttpsAlone,
    /// TLS whose verification the configuration does not mention.
    DefaultTls,
    /// Keys by the credential chain, without a version of the metadata service.
    DefaultMetadata,
    /// Query and body are merged into the event.
    Merge,
    ForwardUri,
    ForwardHeaders,
    ForwardBody,
    /// Bodies that are not base64.
    PlainBody,
    /// An event of API Gateway.
    Gateway,
    /// The same of payload 1.0.
    Gateway1,
    /// The same of payload 2.0.
    Gateway2,
    /// The literal prefix of the path is removed.
    Strip,
    /// A regular expression as path.
    Regex,
    /// A regular expression with captures.
    Captures,
    /// The function's log is requested.
    LogTail,
    ProxyIntegration,
    /// The peer's default treatment of empty arrays.
    EmptyArrays,
    /// A function failure is answered as Kong's prototype of 2016 did, or its keys are used.
    Prototype,
    /// Envoy's filter `aws_lambda`.
    EnvoyLambda,
    /// Envoy's filter `aws_request_signing`.
    EnvoySigning,
}
