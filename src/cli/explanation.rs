//! The text form of `apigw-invoker explain`.

use crate::explain::{
    ExplainedRefusal, Explanation,
    left_out::{LeftOut, LeftOutPart},
    outgoing::{Outgoing, SignatureParts},
};
use crate::system::terminal::{Paint, aligned};

pub fn text(explanation: &Explanation, paint: Paint) -> String {
    let Explanation { method, target, host, .. } = explanation;
    let mut lines = vec![format!("{} {method} {target}, host {host}", paint.heading("Request"))];
    lines.push(String::new());
    lines.extend(routes(explanation, paint));
    if !explanation.secrets.is_empty() {
        lines.push(String::new());
        lines.push(paint.heading("Secrets that are not fetched here, with placeholders in their place"));
        lines.extend(explanation.secrets.iter().map(|secret| format!("  {secret}")));
    }
    if let Some(ExplainedRefusal { status, code, cause, suggestion }) = &explanation.refusal {
        lines.push(String::new());
        lines.push(format!(
            "{} {status} {code}: {cause}",
            paint.bad("No request is sent. The client is answered")
        ));
        lines.extend(suggestion.clone());
    }
    if let Some(outgoing) = &explanation.outbound {
        lines.push(String::new());
        lines.extend(outbound(outgoing, paint));
        if !outgoing.left_out.is_empty() {
            lines.push(String::new());
            lines.extend(left_out(outgoing, paint));
        }
        if let Some(signed) = &outgoing.signature {
            lines.push(String::new());
            lines.extend(signature(signed, paint));
        }
    }
    lines.join("\n")
}

fn routes(explanation: &Explanation, paint: Paint) -> Vec<String> {
    let rows: Vec<Vec<String>> = explanation
        .candidates
        .iter()
        .map(|candidate| {
            let mark = if candidate.takes_it { "→" } else { " " };
            vec![
                format!("  {mark} {}", candidate.id),
                candidate.why.clone(),
                candidate.file.display().to_string(),
            ]
        })
        .collect();
    let painted = aligned(&rows)
        .into_iter()
        .zip(&explanation.candidates)
        .map(|(line, candidate)| if candidate.takes_it { paint.good(&line) } else { paint.faint(&line) });
    std::iter::once(paint.heading("Routes")).chain(painted).collect()
}

fn outbound(outgoing: &Outgoing, paint: Paint) -> Vec<String> {
    let Outgoing { endpoint, tls, proxy, proxy_reason, request_line, headers, body, varies, .. } = outgoing;
    let way = if *tls { "over TLS" } else { "without TLS" };
    let through = match (proxy, proxy_reason) {
        (Some(proxy), Some(reason)) => format!(", through the proxy {proxy} ({reason})"),
        (Some(proxy), None) => format!(", through the proxy {proxy}"),
        (None, Some(reason)) => format!(", without a proxy ({reason})"),
        (None, None) => String::new(),
    };
    let mut lines = vec![format!("{} to {endpoint}, {way}{through}", paint.heading("Outbound request"))];
    lines.push(format!("  {request_line}"));
    lines.extend(headers.iter().map(|(name, value)| format!("  {name}: {value}")));
    lines.push(String::new());
    match &body.text {
        Some(text) if !text.is_empty() => lines.extend(text.lines().map(|line| format!("  {line}"))),
        _ => {}
    }
    lines.push(paint.faint(&format!("  ({} bytes of body, SHA-256 {})", body.bytes, body.sha256)));
    if !varies.is_empty() {
        lines.push(paint.faint(&format!("  (different each time: {})", varies.join(", "))));
    }
    lines
}

fn left_out(outgoing: &Outgoing, paint: Paint) -> Vec<String> {
    let rows_of = |part: LeftOutPart| {
        let of_part = outgoing.left_out.iter().filter(move |left_out| left_out.part == part);
        let rows: Vec<Vec<String>> =
            of_part.map(|LeftOut { name, why, .. }| vec![format!("  {name}"), (*why).to_owned()]).collect();
        rows
    };
    let headings = [
        (LeftOutPart::Headers, "Headers of the client that are removed or replaced"),
        (LeftOutPart::Query, "Query arguments of the client that are removed"),
    ];
    let mut lines = Vec::new();
    for (part, heading) in headings {
        let rows = rows_of(part);
        if !rows.is_empty() {
            lines.push(paint.heading(heading));
            lines.extend(aligned(&rows));
        }
    }
    lines
}

fn signature(signed: &SignatureParts, paint: Paint) -> Vec<String> {
    let SignatureParts {
        keys,
        key_id,
        placeholder,
        scope,
        doubts,
        signed_headers,
        canonical_request,
        string_to_sign,
    } = signed;
    let key = key_id.as_deref().unwrap_or("not known here");
    let rows =
        [("keys from", keys.as_str()), ("key id", key), ("scope", scope), ("signed headers", signed_headers)];
    let rows: Vec<Vec<String>> =
        rows.iter().map(|(name, value)| vec![format!("  {name}"), (*value).to_owned()]).collect();
    let mut lines = vec![paint.heading("Signature")];
    lines.extend(aligned(&rows));
    lines.extend(doubts.iter().map(|doubt| paint.bad(&format!("  Warning: {doubt}"))));
    if *placeholder {
        lines.push(paint.bad(
            "  Credentials are not fetched here: key id and session token are placeholders, and so is the \
             hash in the string to sign.",
        ));
    }
    for (heading, text) in [("Canonical request", canonical_request), ("String to sign", string_to_sign)] {
        lines.push(String::new());
        lines.push(paint.heading(heading));
        lines.extend(text.split('\n').map(|line| format!("  {line}").trim_end().to_owned()));
    }
    lines
}
