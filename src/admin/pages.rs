//! The files of the pages, which are compiled in, the headers of every page, and the choice between HTML,
//! JSON and text.
//!
//! The pages load files of this port alone, run no inline script, and put texts into the document as text: a
//! request may contain markup.

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::header::{self, HeaderName, HeaderValue},
    web,
};

/// Scripts, styles and requests of the page's own origin alone; no frame, form or plug-in.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

/// The headers of every answer of a page or its data.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    // a page has state, and the address decides between two representations
    (header::CACHE_CONTROL, "no-store"),
];

/// A file that is compiled in.
struct PageFile {
    name: &'static str,
    media_type: &'static str,
    text: &'static str,
}

const FILES: [PageFile; 5] = [
    PageFile {
        name: "style.css",
        media_type: "text/css; charset=utf-8",
        text: include_str!("pages/style.css"),
    },
    PageFile { name: "icon.svg", media_type: "image/svg+xml", text: include_str!("pages/icon.svg") },
    PageFile { name: "dom.js", media_type: JAVASCRIPT, text: include_str!("pages/dom.js") },
    PageFile { name: "status.js", media_type: JAVASCRIPT, text: include_str!("pages/status.js") },
    PageFile { name: "inspect.js", media_type: JAVASCRIPT, text: include_str!("pages/inspect.js") },
];
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// The HTML of the status page.
pub(super) const STATUS: &str = include_str!("pages/status.html");

/// The HTML of the inspector, for the list and for one request.
pub(super) const INSPECT: &str = include_str!("pages/inspect.html");

/// The representation that a client accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    /// For browsers.
    Html,
    Json,
    /// For `curl` and everything else.
    Text,
}

impl View {
    /// The first of the client's preferred media types that there is, by RFC 9110, 12.5.1.
    pub(super) fn of(request: &HttpRequest) -> Self {
        let accepted = request.headers().get_all(header::ACCEPT).filter_map(|value| value.to_str().ok());
        let mut best = (0.0, Self::Text);
        for item in accepted.flat_map(|value| value.split(',')) {
            let mut parts = item.split(';').map(str::trim);
            let view = match parts.next() {
                Some(name) if name.eq_ignore_ascii_case("text/html") => Self::Html,
                Some(name) if name.eq_ignore_ascii_case("application/json") => Self::Json,
                Some(name) if name.eq_ignore_ascii_case("text/plain") => Self::Text,
                _ => continue,
            };
            let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok()).unwrap_or(1.0);
            if weight > best.0 {
                best = (weight, view);
            }
        }
        best.1
    }
}

/// A file of `/pages/`.
pub(super) async fn file(name: web::Path<String>) -> HttpResponse {
    match FILES.iter().find(|file| file.name == *name) {
        Some(file) => answer(HttpResponse::Ok()).content_type(file.media_type).body(file.text),
        None => answer(HttpResponse::NotFound()).finish(),
    }
}

pub(super) fn html(page: &'static str) -> HttpResponse {
    answer(HttpResponse::Ok()).content_type("text/html; charset=utf-8").body(page)
}

pub(super) fn text(text: String) -> HttpResponse {
    answer(HttpResponse::Ok()).content_type("text/plain; charset=utf-8").body(text)
}

pub(super) fn json(text: String) -> HttpResponse {
    answer(HttpResponse::Ok()).content_type("application/json").body(text)
}

/// An answer with the headers of the pages.
pub(super) fn answer(mut answer: HttpResponseBuilder) -> HttpResponseBuilder {
    for (name, value) in HEADERS {
        answer.insert_header((name, HeaderValue::from_static(value)));
    }
    answer.insert_header((header::VARY, header::ACCEPT.as_str()));
    answer
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn the_clients_accept_decides_between_html_json_and_text() {
        for (accept, view) in [
            ("*/*", View::Text),
            ("", View::Text),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", View::Html),
            ("application/json", View::Json),
            ("application/json, text/plain, */*", View::Json),
            ("text/html;q=0.5, application/json", View::Json),
            ("text/plain, text/html", View::Text),
            ("APPLICATION/JSON;q=x", View::Json),
            ("image/png", View::Text),
        ] {
            let request = TestRequest::default().insert_header((header::ACCEPT, accept)).to_http_request();
            assert_eq!(View::of(&request), view, "{accept}");
        }
        assert_eq!(View::of(&TestRequest::default().to_http_request()), View::Text);
    }

    #[test]
    fn no_page_has_an_inline_script_a_style_attribute_or_another_host() {
        let pages = FILES
            .iter()
            .map(|file| (file.name, file.text))
            .chain([("status.html", STATUS), ("inspect.html", INSPECT)]);
        for (name, text) in pages {
            for forbidden in ["<style", " style=", "onclick", "innerHTML", "//cdn", "eval(", "@import"] {
                assert!(!text.contains(forbidden), "{name}: {forbidden}");
            }
            let foreign = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!foreign.contains("http://") && !foreign.contains("https://"), "{name}");
            let inline =
                text.matches("<script").count() - text.matches("<script type=\"module\" src=").count();
            assert_eq!(inline, 0, "{name}");
        }
    }
}
