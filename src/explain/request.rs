//! Builds the request to explain from the command line, as the listener would.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    time::{Duration, SystemTime},
};

use actix_http::{
    HttpMessage as _, Method, Payload, Request, Uri, Version, h1,
    header::{self, HeaderName, HeaderValue},
};
use bytes::Bytes;
use time::{PrimitiveDateTime, format_description::BorrowedFormatItem, macros::format_description};

use super::ExplainArgs;
use crate::{
    listener::request_target, message::header_spelling::HeaderSpelling, settings::Settings,
    system::regular_file,
};

const DATE_TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year][month][day]T[hour][minute][second]Z");

/// Maximum bytes of a body's file, which is read whole.
const MAX_FILE: u64 = 1 << 30;

/// Parses a time in the format of `X-Amz-Date`.
///
/// # Errors
/// Another format, or a time before 1970.
pub fn time(text: &str) -> Result<SystemTime, String> {
    let time = PrimitiveDateTime::parse(text, DATE_TIME).map_err(|error| error.to_string())?;
    let seconds = u64::try_from(time.assume_utc().unix_timestamp()).map_err(|_| "before 1970".to_owned())?;
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// The body. Of a file, at most one byte more than `limits.max_request_body` is read, so that the limit is
/// seen to be exceeded.
///
/// # Errors
/// The file cannot be read.
pub fn body(args: &ExplainArgs, settings: &Settings) -> Result<Bytes, String> {
    let data = args.data.as_deref().unwrap_or_default();
    let Some(file) = data.strip_prefix('@') else { return Ok(Bytes::copy_from_slice(data.as_bytes())) };
    let most = settings.limits.max_request_body.bytes().min(MAX_FILE).saturating_add(1);
    let read = regular_file::read_beginning(Path::new(file), most);
    read.map(Bytes::from).map_err(|error| format!("{file}: {error}"))
}

/// The request: HTTP/1.1, from a client on this machine.
///
/// # Errors
/// The request is not valid HTTP.
pub fn build(args: &ExplainArgs, settings: &Settings, body: Bytes) -> Result<Request, String> {
    let (target, host_of_url) = split(&args.target)?;
    let length = body.len();
    let payload = if body.is_empty() { Payload::None } else { whole(body) };
    let mut request = Request::with_payload(payload);
    let head = request.head_mut();
    head.version = Version::HTTP_11;
    head.peer_addr = Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0));
    head.method = Method::from_bytes(args.method.as_bytes())
        .map_err(|_| format!("`{}` is not a method", args.method))?;
    head.uri =
        Uri::try_from(&*request_target::escaped(target)).map_err(|error| format!("`{target}`: {error}"))?;
    let mut spelling = HeaderSpelling::default();
    for line in &args.headers {
        let wrong = || format!("`{line}` is not a header: expected NAME: VALUE");
        let (name, value) = line.split_once(':').ok_or_else(wrong)?;
        spelling.push(name);
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        let value =
            HeaderValue::from_bytes(value.trim_matches([' ', '\t']).as_bytes()).map_err(|_| wrong())?;
        head.headers.append(name, value);
    }
    let written = head.headers.get(header::HOST).and_then(|host| host.to_str().ok()).map(str::to_owned);
    let host = args.host.clone().or(written).or(host_of_url.map(str::to_owned));
    let host = host.unwrap_or_else(|| settings.listen.http.to_string());
    let host = HeaderValue::from_str(&host).map_err(|_| format!("`{host}` is not a host"))?;
    head.headers.insert(header::HOST, host);
    if length > 0 {
        head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    request.extensions_mut().insert(spelling);
    Ok(request)
}

/// Path and query, and the host of a whole URL.
fn split(target: &str) -> Result<(&str, Option<&str>), String> {
    let rest = target.strip_prefix("http://").or_else(|| target.strip_prefix("https://"));
    match rest {
        Some(rest) => {
            let path = rest.find(['/', '?']).unwrap_or(rest.len());
            let (host, target) = rest.split_at(path);
            // clients send `/` for a URL without a path
            Ok((if target.is_empty() { "/" } else { target }, Some(host)))
        }
        None if target.starts_with('/') => Ok((target, None)),
        None => Err(format!("`{target}` is not a target: expected /PATH?QUERY or a URL")),
    }
}

/// A body in one piece.
fn whole(body: Bytes) -> Payload {
    let (_, mut payload) = h1::Payload::create(true);
    payload.unread_data(body);
    payload.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_path_or_a_url() {
        assert_eq!(split("/a?b"), Ok(("/a?b", None)));
        assert_eq!(split("http://h:1/a"), Ok(("/a", Some("h:1"))));
        assert_eq!(split("https://h"), Ok(("/", Some("h"))));
        assert!(split("a").is_err());
    }

    #[test]
    fn a_time_is_read_as_x_amz_date_says_it() {
        assert_eq!(time("20150830T123600Z"), Ok(SystemTime::UNIX_EPOCH + Duration::from_mins(24_015_636)));
        assert!(time("2015-08-30").is_err());
    }
}
