//! Bundles in Amazon S3: the endpoint of a bucket, and requests signed with the process's credentials.
//!
//! The region is that of `AWS_REGION` or `AWS_DEFAULT_REGION`. `AWS_ENDPOINT_URL_S3`, otherwise
//! `AWS_ENDPOINT_URL`, replaces the endpoint; the bucket is then the first part of the path.

use std::{sync::Arc, time::SystemTime};

use actix_http::{
    Method, StatusCode, Uri,
    header::{self, HeaderMap, HeaderValue},
};
use aws_credential_types::Credentials;

use super::{
    address::{HttpAddress, S3Address},
    fetch::FetchError,
};
use crate::{
    client::aws_error::log_word,
    credentials::{CredentialSource, RefresherPool},
    message::{
        inbound::RequestBody,
        outbound::{OutboundRequest, Signature, SignedPayload},
    },
    settings::{
        CredentialProvider, CredentialSettings, EndpointVariant, Environment, MetadataProtocol, ProxyRule,
        Scheme,
    },
    signing::{Scope, Signer, clock_skew::ClockSkew},
    text::{
        aws_hosts::s3_host,
        uri_syntax::{push_encoded, without_brackets},
    },
};

const REGION_VARIABLES: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];
const ENDPOINT_VARIABLES: [&str; 2] = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"];
/// Servers with S3's interface ignore the region.
const REGION_OF_OTHERS: &str = "us-east-1";
/// The region of a bucket, in the redirect of another region.
pub(super) const BUCKET_REGION: &str = "x-amz-bucket-region";
/// The error code of a signature whose time is more than 15 minutes off ("Error responses" in the API
/// reference of S3).
const SKEWED: &str = "RequestTimeTooSkewed";
/// Error codes of keys that a refresh may replace.
const STALE_KEYS: [&str; 3] = ["ExpiredToken", "InvalidToken", "InvalidAccessKeyId"];

/// Signs requests to one bucket.
#[derive(Debug)]
pub(super) struct S3Signing {
    signer: Signer,
    region: String,
    credentials: CredentialSource,
    clock: ClockSkew,
    /// The keys of the last request, and the time that was signed.
    used: Option<(Arc<Credentials>, SystemTime)>,
    _refreshers: RefresherPool,
}

/// The URL of an object, and the region.
pub(super) fn locate(
    address: &S3Address,
    environment: &Environment,
) -> Result<(HttpAddress, String), FetchError> {
    let variable = |name: &&str| environment.get(*name).filter(|value| !value.is_empty()).cloned();
    let region = REGION_VARIABLES.iter().find_map(variable);
    let endpoint = ENDPOINT_VARIABLES.iter().find_map(|name| Some((*name, variable(name)?)));
    let is_on = |name: &str| environment.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let key = encoded(&address.key);
    let with_bucket = format!("/{}/{key}", address.bucket);
    if let Some((name, url)) = endpoint {
        let wrong = || FetchError(format!("{name} is not an http or https URL"));
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let scheme = match uri.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            _ => return Err(wrong()),
        };
        let host = without_brackets(uri.host().ok_or_else(wrong)?).to_owned();
        let port = uri.port_u16().unwrap_or_else(|| scheme.default_port());
        let path = format!("{}{with_bucket}", uri.path().trim_end_matches('/'));
        let address = HttpAddress { scheme, host, port, path, query: None, authorization: None };
        return Ok((address, region.unwrap_or_else(|| REGION_OF_OTHERS.to_owned())));
    }
    let region = region
        .ok_or_else(|| FetchError("the region of the bucket is not known: set AWS_REGION".to_owned()))?;
    let host = s3_host(&region, is_on("AWS_USE_FIPS_ENDPOINT"), is_on("AWS_USE_DUALSTACK_ENDPOINT"));
    // the certificate of S3 has one level of names before its endpoint
    let (host, path) = if address.bucket.contains(['.', '_']) {
        (host, with_bucket)
    } else {
        (format!("{}.{host}", address.bucket), format!("/{key}"))
    };
    let port = Scheme::Https.default_port();
    Ok((HttpAddress { scheme: Scheme::Https, host, port, path, query: None, authorization: None }, region))
}

/// The key of an object in a path.
fn encoded(key: &str) -> String {
    let mut path = Vec::with_capacity(key.len());
    push_encoded(key.as_bytes(), b"/", &mut path);
    String::from_utf8_lossy(&path).into_owned()
}

impl S3Signing {
    /// # Errors
    /// The thread for credentials cannot be started, or TLS cannot be used.
    pub(super) fn start(address: &HttpAddress, region: String, proxy: ProxyRule) -> Result<Self, FetchError> {
        let settings = CredentialSettings {
            origin: CredentialProvider::Chain,
            role: None,
            region: region.clone(),
            sts_endpoint: None,
            variant: EndpointVariant::default(),
            metadata: MetadataProtocol::V2,
            proxy,
        };
        let refreshers = RefresherPool::start().map_err(|error| FetchError(error.to_string()))?;
        let credentials = refreshers.source(&settings).map_err(|error| FetchError(error.to_string()))?;
        let signer = Signer::new(Scope { region: region.clone(), service: "s3".to_owned() });
        let clock = ClockSkew::new(address.authority(), address.scheme == Scheme::Https);
        Ok(Self { signer, region, credentials, clock, used: None, _refreshers: refreshers })
    }

    /// Adds the signature of a GET to its headers, among them `Host`.
    ///
    /// # Errors
    /// There are no credentials.
    pub(super) async fn sign(&mut self, path: &str, headers: HeaderMap) -> Result<HeaderMap, FetchError> {
        let now = SystemTime::now();
        let keys = self.credentials.current(now).await;
        let keys = keys.map_err(|error| FetchError(error.to_string()))?;
        let mut request = OutboundRequest {
            method: Method::GET,
            path_and_query: path.to_owned(),
            headers,
            body: RequestBody::Empty,
            signature: Signature::Ours,
            payload: SignedPayload::Hash,
        };
        let dated = self.clock.corrected(now);
        let signed = self.signer.sign(&request, &keys, dated);
        let signed =
            signed.map_err(|_| FetchError("the credentials cannot be sent in a header".to_owned()))?;
        for (name, value) in signed.lines() {
            let mut value = HeaderValue::from_bytes(value)
                .map_err(|_| FetchError("the credentials cannot be sent in a header".to_owned()))?;
            value.set_sensitive(name == header::AUTHORIZATION);
            request.headers.insert(name, value);
        }
        self.used = Some((keys, dated));
        Ok(request.headers)
    }

    /// Replaces keys that S3 refuses with this error code, and corrects the clock. Returns true if a
    /// signature with the corrected time may be accepted.
    pub(super) fn refused(&self, code: &str, headers: &HeaderMap) -> bool {
        let Some((keys, dated)) = &self.used else { return false };
        if STALE_KEYS.contains(&code) {
            self.credentials.refresh_soon(keys);
        }
        code == SKEWED && self.clock.refused(headers, *dated)
    }

    /// The reason of a refusal with this error code, with its cure.
    pub(super) fn reason(&self, status: StatusCode, headers: &HeaderMap, code: &str) -> String {
        // the code is `AuthorizationHeaderMalformed` in some regions, and a redirect in others
        let region = headers.get(BUCKET_REGION).and_then(|region| region.to_str().ok());
        if let Some(region) = region.filter(|region| *region != self.region) {
            return format!("{status}: the bucket is in {}, set AWS_REGION", log_word(region));
        }
        let cure = match code {
            "" => return status.to_string(),
            SKEWED => "; set this machine's clock right",
            "AccessDenied" => "; allow s3:GetObject on it, and kms:Decrypt on its key if it has one",
            _ => "",
        };
        format!("{status}, {}{cure}", log_word(code))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actix_http::header::{HeaderName, HttpDate};

    use super::*;

    fn located(bucket: &str, key: &str, variables: &[(&str, &str)]) -> Result<(String, String), String> {
        let environment =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let address = S3Address { bucket: bucket.to_owned(), key: key.to_owned() };
        let located = locate(&address, &environment).map_err(|error| error.0)?;
        Ok((located.0.to_string(), located.1))
    }

    #[test]
    fn a_bucket_has_its_own_host_in_the_region_unless_its_name_has_dots() {
        let region = [("AWS_REGION", "eu-west-1")];
        assert_eq!(
            located("my-bucket", "a/b c+é.tgz", &region).unwrap(),
            (
                "https://my-bucket.s3.eu-west-1.amazonaws.com/a/b%20c%2B%C3%A9.tgz".to_owned(),
                "eu-west-1".to_owned()
            )
        );
        let dots = located("my.bucket", "b", &region).unwrap().0;
        assert_eq!(dots, "https://s3.eu-west-1.amazonaws.com/my.bucket/b");
        let china = located("my-bucket", "b", &[("AWS_DEFAULT_REGION", "cn-north-1")]).unwrap().0;
        assert_eq!(china, "https://my-bucket.s3.cn-north-1.amazonaws.com.cn/b");
        let fips = [region[0], ("AWS_USE_FIPS_ENDPOINT", "true"), ("AWS_USE_DUALSTACK_ENDPOINT", "true")];
        let fips = located("my-bucket", "b", &fips).unwrap().0;
        assert_eq!(fips, "https://my-bucket.s3-fips.dualstack.eu-west-1.amazonaws.com/b");
        assert!(located("my-bucket", "b", &[]).unwrap_err().contains("set AWS_REGION"));
    }

    #[test]
    fn an_endpoint_of_the_environment_gets_the_bucket_in_its_path() {
        let both = [
            ("AWS_ENDPOINT_URL", "https://other.example"),
            ("AWS_ENDPOINT_URL_S3", "http://[::1]:9000/base/"),
        ];
        let expected = ("http://[::1]:9000/base/my-bucket/k".to_owned(), "us-east-1".to_owned());
        assert_eq!(located("my-bucket", "k", &both).unwrap(), expected);
        let one = [("AWS_ENDPOINT_URL", "https://other.example"), ("AWS_REGION", "eu-west-1")];
        assert_eq!(located("my-bucket", "k", &one).unwrap().0, "https://other.example/my-bucket/k");
        let wrong = located("my-bucket", "k", &[("AWS_ENDPOINT_URL_S3", "hush")]).unwrap_err();
        assert_eq!(wrong, "AWS_ENDPOINT_URL_S3 is not an http or https URL");
    }

    /// A signature was made with the keys.
    fn signing(scheme: Scheme) -> S3Signing {
        let region = "eu-west-1".to_owned();
        let keys = Arc::new(Credentials::new("AKIDEXAMPLE", "hush", None, None, "test"));
        S3Signing {
            signer: Signer::new(Scope { region: region.clone(), service: "s3".to_owned() }),
            region,
            credentials: CredentialSource::fixed(Arc::clone(&keys)),
            clock: ClockSkew::new("s3.test".to_owned(), scheme == Scheme::Https),
            used: Some((keys, SystemTime::now())),
            _refreshers: RefresherPool::start().unwrap(),
        }
    }

    fn dated(ahead: Duration) -> HeaderMap {
        let date = HttpDate::from(SystemTime::now() + ahead);
        let date = HeaderValue::try_from(date.to_string()).unwrap();
        [(header::DATE, date)].into_iter().collect()
    }

    #[test]
    fn a_refused_time_corrects_the_clock_by_the_date_of_a_verified_server() {
        let hour = Duration::from_hours(1);
        let now = SystemTime::now();
        let corrected = |scheme, code| {
            let signing = signing(scheme);
            let is_corrected = signing.refused(code, &dated(hour));
            (is_corrected, signing.clock.corrected(now) > now + hour / 2)
        };
        assert_eq!(corrected(Scheme::Https, SKEWED), (true, true));
        assert_eq!(corrected(Scheme::Http, SKEWED), (false, false));
        assert_eq!(corrected(Scheme::Https, "AccessDenied"), (false, false));
    }

    #[test]
    fn a_refusal_has_its_code_and_the_cure() {
        let reason =
            |headers: &HeaderMap, code| signing(Scheme::Https).reason(StatusCode::FORBIDDEN, headers, code);
        let none = HeaderMap::new();
        assert_eq!(
            reason(&none, SKEWED),
            "403 Forbidden, RequestTimeTooSkewed; set this machine's clock right"
        );
        assert!(reason(&none, "AccessDenied").ends_with(
            ", AccessDenied; allow s3:GetObject on it, and \
            kms:Decrypt on its key if it has one"
        ));
        assert_eq!(reason(&none, "NoSuchKey"), "403 Forbidden, NoSuchKey");
        assert_eq!(reason(&none, ""), "403 Forbidden");
        let elsewhere = HeaderName::from_static(BUCKET_REGION);
        let in_region =
            |region| [(elsewhere.clone(), HeaderValue::from_static(region))].into_iter().collect();
        let told = reason(&in_region("us-west-2"), "AuthorizationHeaderMalformed");
        assert_eq!(told, "403 Forbidden: the bucket is in us-west-2, set AWS_REGION");
        assert_eq!(reason(&in_region("eu-west-1"), "NoSuchKey"), "403 Forbidden, NoSuchKey");
    }
}
