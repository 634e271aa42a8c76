//! One fetch of a bundle or of its signature: a local file, a web server, or S3.
//!
//! HTTP goes through awc and our own dialler (`client/control_plane.rs`). Redirects are refused: their
//! targets are not configured, and the user info must not reach them.

use std::{
    borrow::Cow,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use actix_http::{
    StatusCode, Uri,
    header::{self, HeaderMap, HeaderValue},
};
use bytes::Bytes;

use super::{
    address::{BundleAddress, HttpAddress},
    archive::MAX_ARCHIVE,
    s3::{self, S3Signing},
    signature::MAX_SIGNATURE,
};
use crate::{
    client::{AnswerEnd, ControlAnswer, ControlClient, ControlLimits, Endpoint, EndpointTls, KeepAlive},
    message::error::{ErrorKind, ProxyError},
    metrics::Metrics,
    settings::{self, EnvironmentProxies, ProxyRule, Scheme},
    system::{file_stamps::Stamp, regular_file},
    text::{flat_xml, log_safe::log_safe, units::size_text, uri_syntax::is_on_this_machine},
    tls::Configurations,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The time limit of a response's head, and again of its body.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Many intervals of `reload.interval` pass within the idle timeout of common servers.
const KEEPALIVE: KeepAlive = KeepAlive { enabled: true, pool: 1, timeout: Duration::from_secs(30) };
const AGENT: HeaderValue = HeaderValue::from_static(concat!("apigw-invoker/", env!("CARGO_PKG_VERSION")));
/// The ending of a signature's address.
const SIGNATURE_ENDING: &str = ".sig";
/// Bytes of an answer with an error that are read.
const MAX_ERROR: usize = 4 << 10;
/// Characters of foreign text in an error.
const QUOTED: usize = 200;
/// The longest pause that a server may demand.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(10);

/// The reason of a failed fetch, without secrets.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct FetchError(pub(super) String);

/// The answer of the source.
pub(super) enum Fetched {
    /// The bundle with this `ETag` is still the source's.
    NotModified,
    Archive {
        archive: Bytes,
        etag: Option<String>,
    },
}

/// Fetches one bundle again and again.
pub(super) enum Fetcher {
    File(PathBuf),
    Http(Box<HttpFetcher>),
}

pub(super) struct HttpFetcher {
    client: ControlClient,
    address: HttpAddress,
    signing: Option<S3Signing>,
    /// The pause that the last answer demands.
    retry_after: Duration,
}

impl Fetcher {
    /// # Errors
    /// The proxy of the environment or the platform's certificate authorities cannot be used.
    pub(super) fn new(address: &BundleAddress, metrics: &Metrics) -> Result<Self, FetchError> {
        let environment = settings::environment();
        let proxies = EnvironmentProxies::read(|name| environment.get(name).cloned());
        let proxy = ProxyRule::Environment(proxies);
        let (address, signing) = match address {
            BundleAddress::File(path) => return Ok(Self::File(path.clone())),
            BundleAddress::Http(address) => (address.clone(), None),
            BundleAddress::S3(object) => {
                let (address, region) = s3::locate(object, &environment)?;
                let signing = S3Signing::start(&address, region, proxy.clone())?;
                (address, Some(signing))
            }
        };
        let endpoint = Arc::new(endpoint(&address, &proxy)?);
        let client = ControlClient::new(endpoint, metrics);
        Ok(Self::Http(Box::new(HttpFetcher { client, address, signing, retry_after: Duration::ZERO })))
    }

    /// The shortest pause before the next fetch: `Retry-After` of an answer 429 or 503 (RFC 9110, 10.2.3).
    pub(super) fn retry_after(&self) -> Duration {
        match self {
            Self::File(_) => Duration::ZERO,
            Self::Http(http) => http.retry_after,
        }
    }

    /// Fetches the bundle, unless the source still has the one with this `ETag`.
    ///
    /// # Errors
    /// The source cannot be reached, or its answer is no bundle.
    pub(super) async fn archive(&mut self, known: Option<&str>) -> Result<Fetched, FetchError> {
        match self {
            Self::File(path) => read_archive(path, known),
            Self::Http(http) => http.archive(known).await,
        }
    }

    /// Fetches the signature of the bundle.
    ///
    /// # Errors
    /// As for the bundle.
    pub(super) async fn signature(&mut self) -> Result<Bytes, FetchError> {
        let failed = |error: &dyn std::fmt::Display| FetchError(format!("the signature: {error}"));
        match self {
            Self::File(path) => {
                let mut name = path.clone().into_os_string();
                name.push(SIGNATURE_ENDING);
                let read = regular_file::read_beginning(&PathBuf::from(name), MAX_SIGNATURE as u64);
                read.map(Bytes::from).map_err(|error| failed(&error))
            }
            Self::Http(http) => {
                let answer = http.get(SIGNATURE_ENDING, None, MAX_SIGNATURE).await;
                let answer = answer.and_then(|answer| http.complete(answer, MAX_SIGNATURE));
                answer.map(|answer| answer.body).map_err(|error| failed(&error))
            }
        }
    }
}

/// Reads a local archive; its stamp takes the place of the `ETag`.
fn read_archive(path: &Path, known: Option<&str>) -> Result<Fetched, FetchError> {
    let stamp = Stamp::of(path).filter(|stamp| stamp.is_settled(SystemTime::now()));
    let etag = stamp.map(|stamp| format!("{stamp:?}"));
    if etag.is_some() && etag.as_deref() == known {
        return Ok(Fetched::NotModified);
    }
    let archive = regular_file::read_beginning(path, MAX_ARCHIVE as u64);
    let archive = archive.map_err(|error: io::Error| FetchError(error.to_string()))?;
    if archive.len() == MAX_ARCHIVE {
        return Err(too_long(MAX_ARCHIVE));
    }
    Ok(Fetched::Archive { archive: archive.into(), etag })
}

fn too_long(most: usize) -> FetchError {
    FetchError(format!("the answer has {} or more", size_text(most as u64)))
}

/// The endpoint of a source. Addresses of this machine are reached without a proxy.
fn endpoint(address: &HttpAddress, proxy: &ProxyRule) -> Result<Endpoint, FetchError> {
    let HttpAddress { scheme, host, port, .. } = address;
    let failed = |error: &dyn std::fmt::Display| FetchError(error.to_string());
    let tls = match scheme {
        Scheme::Http => None,
        Scheme::Https => {
            let configuration = Configurations::default().get(true, None, None);
            let configuration = configuration.map_err(|error| failed(&error))?;
            Some(EndpointTls::with(host, configuration).map_err(|error| failed(&error))?)
        }
    };
    let proxy = if is_on_this_machine(host) {
        None
    } else {
        let choice = proxy.choose(*scheme, host, *port).map_err(|error| failed(&error))?;
        choice.proxy().cloned()
    };
    Ok(Endpoint {
        host: host.clone(),
        port: *port,
        tls,
        proxy,
        connect_timeout: CONNECT_TIMEOUT,
        keepalive: KEEPALIVE,
        listed: None,
    })
}

impl HttpFetcher {
    async fn archive(&mut self, known: Option<&str>) -> Result<Fetched, FetchError> {
        let answer = self.get("", known, MAX_ARCHIVE).await?;
        if answer.status == StatusCode::NOT_MODIFIED {
            return match known {
                Some(_) => Ok(Fetched::NotModified),
                None => Err(FetchError("304 Not Modified for a request without If-None-Match".to_owned())),
            };
        }
        let ControlAnswer { headers, body, .. } = self.complete(answer, MAX_ARCHIVE)?;
        let etag = headers.get(header::ETAG).and_then(|etag| etag.to_str().ok()).map(str::to_owned);
        Ok(Fetched::Archive { archive: body, etag })
    }

    /// Gets the address with an ending of its path, again if S3 refuses only the time of the signature.
    async fn get(
        &mut self,
        ending: &str,
        known: Option<&str>,
        most: usize,
    ) -> Result<ControlAnswer, FetchError> {
        self.retry_after = Duration::ZERO;
        let answer = self.get_once(ending, known, most).await?;
        let signing = self.signing.as_ref().filter(|_| !is_expected(answer.status));
        if signing.is_some_and(|signing| signing.refused(&error_code(&answer), &answer.headers)) {
            return self.get_once(ending, known, most).await;
        }
        Ok(answer)
    }

    async fn get_once(
        &mut self,
        ending: &str,
        known: Option<&str>,
        most: usize,
    ) -> Result<ControlAnswer, FetchError> {
        let query = self.address.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        let target = format!("{}{ending}{query}", self.address.path);
        let mut headers = HeaderMap::new();
        let host = HeaderValue::try_from(self.address.authority());
        headers.insert(header::HOST, host.map_err(|_| FetchError("the host cannot be sent".to_owned()))?);
        if let Some(signing) = &mut self.signing {
            headers = signing.sign(&target, headers).await?;
        }
        headers.insert(header::USER_AGENT, AGENT);
        if let Some(authorization) = &self.address.authorization {
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        if let Some(known) = known.and_then(|known| HeaderValue::from_str(known).ok()) {
            headers.insert(header::IF_NONE_MATCH, known);
        }
        let limits = ControlLimits { step: ANSWER_TIMEOUT, answer: most.max(MAX_ERROR) };
        let mut answer = self.client.get(&target, headers.clone(), limits).await;
        if answer.as_ref().is_err_and(|error| error.kind == ErrorKind::UpstreamTruncated) {
            // the server has closed the idle connection
            self.client.close();
            answer = self.client.get(&target, headers, limits).await;
        }
        answer.map_err(|error: ProxyError| FetchError(error.to_string()))
    }

    /// The answer, if it is complete and has the status 200.
    fn complete(&mut self, answer: ControlAnswer, most: usize) -> Result<ControlAnswer, FetchError> {
        if answer.status != StatusCode::OK {
            self.retry_after = retry_after(&answer);
            return Err(FetchError(self.refusal(&answer)));
        }
        let has = |name| answer.headers.contains_key(name);
        if answer.body.is_empty() && !has(header::CONTENT_LENGTH) && !has(header::TRANSFER_ENCODING) {
            // awc drops a body that ends with its connection
            return Err(FetchError("the answer has neither Content-Length nor Transfer-Encoding".to_owned()));
        }
        match answer.end {
            AnswerEnd::Complete if answer.body.len() < most => Ok(answer),
            AnswerEnd::Complete | AnswerEnd::Limit => Err(too_long(most)),
            AnswerEnd::Late => {
                Err(FetchError(format!("the answer is not complete after {ANSWER_TIMEOUT:?}")))
            }
            AnswerEnd::Truncated => {
                Err(FetchError(format!("the answer is truncated after {} bytes", answer.body.len())))
            }
        }
    }

    /// The reason of an answer without a bundle.
    fn refusal(&self, answer: &ControlAnswer) -> String {
        let ControlAnswer { status, headers, .. } = answer;
        match &self.signing {
            Some(signing) if !status.is_redirection() || headers.contains_key(s3::BUCKET_REGION) => {
                signing.reason(*status, headers, &error_code(answer))
            }
            _ if status.is_redirection() => {
                format!("{status}: a redirect{} is not followed", redirect_target(headers))
            }
            _ => status.to_string(),
        }
    }
}

fn is_expected(status: StatusCode) -> bool {
    matches!(status, StatusCode::OK | StatusCode::NOT_MODIFIED)
}

/// The error code of S3; empty without one.
fn error_code(answer: &ControlAnswer) -> String {
    let xml = str::from_utf8(&answer.body).ok();
    xml.and_then(|xml| flat_xml::element(xml, "Code")).map(Cow::into_owned).unwrap_or_default()
}

/// The pause that an answer demands in seconds.
fn retry_after(answer: &ControlAnswer) -> Duration {
    let is_overload =
        matches!(answer.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    let value = answer.headers.get(header::RETRY_AFTER).filter(|_| is_overload);
    let seconds = value.and_then(|value| value.to_str().ok()?.trim().parse().ok());
    seconds.map_or(Duration::ZERO, Duration::from_secs).min(MAX_RETRY_AFTER)
}

/// ` to HOST`: the rest of the target may contain a secret.
fn redirect_target(headers: &HeaderMap) -> String {
    let target = headers.get(header::LOCATION).and_then(|target| target.to_str().ok());
    let uri: Option<Uri> = target.and_then(|target| target.parse().ok());
    let host = uri.as_ref().and_then(Uri::host).map(|host| log_safe(host, QUOTED));
    host.map(|host| format!(" to {host}")).unwrap_or_default()
}
