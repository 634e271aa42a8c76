//! The report as JSON.

use serde_json::{Value, json};

use super::{Report, differences_of, flags_of, plain};
use crate::import::route::{Finding, FindingKind, ImportedRoute, LeftOut};

pub fn render(report: &Report) -> Value {
    let routes: Vec<Value> = report.routes.iter().map(|route| route_json(report, route)).collect();
    let left_out: Vec<Value> = report.left_out.iter().map(left_out_json).collect();
    let lines = report.secrets();
    let secrets: Vec<Value> = lines
        .iter()
        .map(|line| {
            json!({
                "file": format!("{}/{}", report.secrets_directory(), line.file),
                "from": line.place,
                "written": line.is_written,
            })
        })
        .collect();
    json!({
        "routes": routes,
        "left_out": left_out,
        "secrets": secrets,
        "secret_command": report.secret_command(&lines),
        "warnings": report.warnings,
        "default_yaml": report.process_is_kept,
    })
}

fn route_json(report: &Report, route: &ImportedRoute) -> Value {
    let is_translated = route.is_translated();
    let changes: Vec<Value> = differences_of(route)
        .into_iter()
        .filter(|_| is_translated)
        .map(|row| {
            json!({
                "topic": plain(row.topic),
                "before": plain(row.before),
                "here": plain(row.here),
                "keep": row.keep,
            })
        })
        .collect();
    let flags: Vec<Value> =
        flags_of(route).into_iter().map(|(flag, here)| json!({ "flag": flag, "here": here })).collect();
    let findings = |kind: FindingKind| -> Vec<Value> {
        route.findings.iter().filter(|finding| finding.kind == kind).map(finding_json).collect()
    };
    json!({
        "name": route.name,
        "translated": is_translated,
        "file": is_translated.then(|| report.file_of(route)),
        "from": { "program": route.peer.name(), "route": route.title, "place": route.place.to_string() },
        "problems": route.problems,
        "to_do": findings(FindingKind::Attention),
        "changed": findings(FindingKind::Changed),
        "left_out": findings(FindingKind::LeftOut),
        "flags": flags,
        "differences": changes,
    })
}

fn finding_json(finding: &Finding) -> Value {
    json!({ "what": finding.subject, "text": finding.text })
}

fn left_out_json(part: &LeftOut) -> Value {
    json!({
        "program": part.peer.name(),
        "what": part.name,
        "text": part.text,
        "place": part.place.as_ref().map(ToString::to_string),
    })
}
