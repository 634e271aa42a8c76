//! The report as lines for a terminal.

use super::{Change, Report, flags_of, plain};
use crate::{
    import::route::{FindingKind, ImportedRoute},
    system::terminal::Paint,
    text::listing::listed,
};

pub fn render(report: &Report, paint: Paint) -> String {
    let mut lines = Vec::new();
    let summary = report.summary();
    lines.push(if report.is_whole() { paint.good(&summary) } else { paint.bad(&summary) });
    for route in &report.routes {
        lines.push(String::new());
        push_route(report, route, paint, &mut lines);
    }
    push_changes(&report.changes(), paint, &mut lines);
    push_left_out(report, paint, &mut lines);
    push_section("Warnings of check", &report.warnings, paint, &mut lines);
    push_secrets(report, paint, &mut lines);
    if let Some(keys) = &report.process_is_kept {
        let file = report.options.to.join("default.yaml");
        let mut kept = vec![format!("{} is there and was not changed; it needs:", file.display())];
        kept.extend(keys.lines().map(|line| format!("  {line}")));
        push_section("Process", &kept, paint, &mut lines);
    }
    if !report.written.routes.is_empty() {
        push_section("Next", &[report.check_command()], paint, &mut lines);
    }
    lines.join("\n")
}

fn push_section(heading: &str, body: &[String], paint: Paint, lines: &mut Vec<String>) {
    if !body.is_empty() {
        lines.extend([String::new(), paint.heading(heading)]);
        lines.extend(body.iter().map(|line| format!("  {line}")));
    }
}

fn push_route(report: &Report, route: &ImportedRoute, paint: Paint, lines: &mut Vec<String>) {
    let from = format!("{} of {}, {}", route.title, route.peer, route.place);
    if route.is_translated() {
        lines.push(format!(
            "{} {}",
            paint.heading(&report.file_of(route)),
            paint.faint(&format!("({from})"))
        ));
    } else {
        let mark = paint.bad("not translated");
        lines.push(format!("{} {mark} {}", paint.heading(&route.name), paint.faint(&format!("({from})"))));
        lines.extend(route.problems.iter().map(|problem| format!("  {problem}")));
    }
    for kind in [FindingKind::Attention, FindingKind::Changed, FindingKind::LeftOut] {
        for finding in route.findings.iter().filter(|finding| finding.kind == kind) {
            let name = match kind {
                FindingKind::Attention => paint.warning(kind.name()),
                _ => kind.name().to_owned(),
            };
            lines.push(format!("  {name}: {}: {}", finding.subject, finding.text));
        }
    }
    for (flag, here) in flags_of(route) {
        lines.push(format!("  {flag}: {here}"));
    }
}

fn push_changes(changes: &[Change<'_>], paint: Paint, lines: &mut Vec<String>) {
    if changes.is_empty() {
        return;
    }
    lines.extend([String::new(), paint.heading("Behaviour that changes")]);
    for Change { difference, routes, is_of_all } in changes {
        let routes = if *is_of_all { String::new() } else { format!(" ({})", listed(routes)) };
        lines.push(format!("  {}{}", plain(difference.topic), paint.faint(&routes)));
        if !difference.before.is_empty() {
            lines.push(format!("    before:  {}", plain(difference.before)));
        }
        lines.push(format!("    here:    {}", plain(difference.here)));
        if let Some(keep) = difference.keep {
            lines.push(format!("    to keep: {keep}"));
        }
    }
}

fn push_left_out(report: &Report, paint: Paint, lines: &mut Vec<String>) {
    let parts = report.left_out.iter().map(|part| {
        let place = part.place.as_ref().map(|place| paint.faint(&format!(" ({place})"))).unwrap_or_default();
        format!("{}: {}{place}", part.name, part.text)
    });
    push_section("Left out", &parts.collect::<Vec<_>>(), paint, lines);
}

fn push_secrets(report: &Report, paint: Paint, lines: &mut Vec<String>) {
    let secrets = report.secrets();
    let directory = report.secrets_directory();
    let mut body: Vec<String> = secrets
        .iter()
        .map(|line| {
            let state = if line.is_written { "written" } else { "to be written" };
            format!("{directory}/{}: {state}, from {}", line.file, line.place)
        })
        .collect();
    if let Some(command) = report.secret_command(&secrets) {
        body.push("for Kubernetes, from files with one secret each:".to_owned());
        body.extend(command.lines().map(|line| format!("  {line}")));
    }
    push_section("Secrets", &body, paint, lines);
}
