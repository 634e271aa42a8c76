//! The report as Markdown.

use super::{Report, flags_of};
use crate::import::route::{FindingKind, ImportedRoute};

pub fn render(report: &Report) -> String {
    let mut page = format!("# Import\n\n{}.\n", report.summary());
    for route in &report.routes {
        push_route(report, route, &mut page);
    }
    push_changes(report, &mut page);
    push_list(
        "Left out",
        report.left_out.iter().map(|part| {
            let place = part.place.as_ref().map(|place| format!(" ({place})")).unwrap_or_default();
            format!("{}: {}{place}", part.name, part.text)
        }),
        &mut page,
    );
    push_list("Warnings of check", report.warnings.iter().cloned(), &mut page);
    push_secrets(report, &mut page);
    if let Some(keys) = &report.process_is_kept {
        page.extend([format!(
            "\n## Process\n\n`default.yaml` was not changed; it needs:\n\n```yaml\n{keys}\n```\n"
        )]);
    }
    if !report.written.routes.is_empty() {
        page.extend([format!("\n## Next\n\n```sh\n{}\n```\n", report.check_command())]);
    }
    page
}

fn push_route(report: &Report, route: &ImportedRoute, page: &mut String) {
    page.extend([format!("\n## {}\n\n{} of {}, {}", route.name, route.title, route.peer, route.place)]);
    if route.is_translated() {
        page.extend([format!(": `{}`\n", report.file_of(route))]);
    } else {
        page.push_str(": **not translated**\n");
    }
    let problems = route.problems.iter().map(|problem| format!("- {}\n", line(problem)));
    let findings =
        [FindingKind::Attention, FindingKind::Changed, FindingKind::LeftOut].into_iter().flat_map(|kind| {
            route.findings.iter().filter(move |finding| finding.kind == kind).map(move |finding| {
                format!("- {}: {}: {}\n", kind.name(), finding.subject, line(&finding.text))
            })
        });
    let flags = flags_of(route).into_iter().map(|(flag, here)| format!("- {flag}: {here}\n"));
    let list: String = problems.chain(findings).chain(flags).collect();
    if !list.is_empty() {
        page.extend(["\n", &list]);
    }
}

fn push_changes(report: &Report, page: &mut String) {
    let changes = report.changes();
    if changes.is_empty() {
        return;
    }
    page.push_str("\n## Behaviour that changes\n\n| | before | here | to keep | routes |\n");
    page.push_str("| --- | --- | --- | --- | --- |\n");
    for change in changes {
        let row = change.difference;
        let keep = row.keep.map(|keep| format!("`{keep}`")).unwrap_or_default();
        let routes = if change.is_of_all { "all".to_owned() } else { change.routes.join(", ") };
        let cells = [super::plain(row.topic), super::plain(row.before), super::plain(row.here), keep, routes];
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        page.extend([format!("| {} |\n", cells.join(" | "))]);
    }
}

fn push_list(heading: &str, items: impl Iterator<Item = String>, page: &mut String) {
    let list: String = items.map(|item| format!("- {}\n", line(&item))).collect();
    if !list.is_empty() {
        page.extend([format!("\n## {heading}\n\n{list}")]);
    }
}

fn push_secrets(report: &Report, page: &mut String) {
    let secrets = report.secrets();
    let directory = report.secrets_directory();
    let items = secrets.iter().map(|secret| {
        let state = if secret.is_written { "written" } else { "to be written" };
        format!("`{directory}/{}`: {state}, from {}", secret.file, secret.place)
    });
    push_list("Secrets", items, page);
    if let Some(command) = report.secret_command(&secrets) {
        page.extend([format!("\n```sh\n{command}\n```\n")]);
    }
}

/// A text on one line.
fn line(text: &str) -> String {
    text.replace('\n', " ")
}
