//! Sends a recorded request again, as its client sent it, secrets included.
//!
//! A request may have effects and uses the client's own keys, so this is for `dev` alone, and only for a POST
//! of the page itself: another site's page cannot set `Origin`, and a browser sends it with every POST.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web,
};

use super::{Inspect, not_kept, refusal};
use crate::{
    client::send_once,
    state::inspector::{HeadLine, InspectedRequest},
};

/// Headers that belong to the first request's connection and framing, and its id.
const LEFT_OUT: [&str; 8] = [
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "te",
    "transfer-encoding",
    "upgrade",
    "x-request-id",
];

pub(super) async fn again(
    request: HttpRequest,
    inspect: web::Data<Inspect>,
    id: web::Path<String>,
) -> HttpResponse {
    let Some(listener) = inspect.inspector.sends_again_to() else {
        return refusal(StatusCode::NOT_FOUND, "Only `dev` sends requests again");
    };
    if !is_of_this_page(&request) {
        return refusal(StatusCode::FORBIDDEN, "A request is sent again only from the inspector's own page");
    }
    let Some(found) = inspect.inspector.find(&id) else { return not_kept() };
    let bytes = match encoded(&found.read()) {
        Ok(bytes) => bytes,
        Err(why) => return refusal(StatusCode::CONFLICT, why),
    };
    match send_once(listener, &bytes).await {
        Ok(()) => refusal(StatusCode::ACCEPTED, "The request was sent again"),
        Err(error) => refusal(StatusCode::BAD_GATEWAY, &format!("The request cannot be sent: {error}")),
    }
}

/// True if `Origin` is the address by which this request came.
fn is_of_this_page(request: &HttpRequest) -> bool {
    let text = |name| request.headers().get(name).and_then(|value: &header::HeaderValue| value.to_str().ok());
    let (origin, host) = (text(header::ORIGIN), text(header::HOST));
    let is_own = origin.zip(host).is_some_and(|(origin, host)| {
        origin.strip_prefix("http://").is_some_and(|of| of.eq_ignore_ascii_case(host))
    });
    let site = request.headers().get("sec-fetch-site").map(header::HeaderValue::as_bytes);
    is_own && site.is_none_or(|site| site == b"same-origin")
}

/// The request in HTTP/1.1, for a connection of its own.
///
/// # Errors
/// The body is not wholly known.
fn encoded(request: &InspectedRequest) -> Result<Vec<u8>, &'static str> {
    let client = &request.client;
    if client.body.is_partial {
        return Err("The body did not arrive or was not read as a whole");
    }
    if client.body.is_cut() {
        return Err("The body was not kept as a whole: raise `admin.inspect.bodies`");
    }
    let mut bytes = format!("{} {} HTTP/1.1\r\n", client.method, client.target.0).into_bytes();
    let has_host = client.headers.iter().any(|line| line.name == "host");
    if !has_host {
        bytes.extend_from_slice(format!("host: {}\r\n", client.host).as_bytes());
    }
    for HeadLine { name, value, .. } in client.headers.iter() {
        if !LEFT_OUT.contains(&name) {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
    }
    let length = client.body.bytes().len();
    if length > 0 || !matches!(client.method.as_str(), "GET" | "HEAD") {
        bytes.extend_from_slice(format!("content-length: {length}\r\n").as_bytes());
    }
    bytes.extend_from_slice(b"connection: close\r\n\r\n");
    bytes.extend_from_slice(client.body.bytes());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;
    use crate::state::inspector::BodyStart;

    #[test]
    fn only_the_pages_own_origin_counts() {
        let is_own = |headers: &[(&str, &str)]| {
            let mut request = TestRequest::post();
            for (name, value) in headers {
                request = request.insert_header((*name, *value));
            }
            is_of_this_page(&request.to_http_request())
        };
        let host = ("host", "127.0.0.1:9180");
        assert!(is_own(&[host, ("origin", "http://127.0.0.1:9180")]));
        assert!(is_own(&[host, ("origin", "http://127.0.0.1:9180"), ("sec-fetch-site", "same-origin")]));
        for foreign in ["null", "http://evil.example", "http://127.0.0.1:9181", "https://127.0.0.1:9180", ""]
        {
            assert!(!is_own(&[host, ("origin", foreign)]), "{foreign}");
        }
        assert!(!is_own(&[host]));
        assert!(!is_own(&[host, ("origin", "http://127.0.0.1:9180"), ("sec-fetch-site", "cross-site")]));
    }

    #[test]
    fn a_body_that_is_cut_is_not_sent() {
        let mut request = InspectedRequest::for_tests("r");
        assert!(encoded(&request).unwrap().starts_with(b"GET / HTTP/1.1\r\nhost: h\r\n"));
        request.client.body = BodyStart::new(1);
        request.client.body.push(b"ab");
        assert!(encoded(&request).unwrap_err().contains("admin.inspect.bodies"));
        request.client.body = BodyStart::new(10);
        request.client.body.is_partial = true;
        assert!(encoded(&request).unwrap_err().contains("did not arrive"));
    }
}
