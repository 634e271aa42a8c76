//! `apigw-invoker check`: are the settings right, and with `--credentials`, are there keys?
//!
//! `cli.rs` comes here. Mistakes go to standard error and end with 78; as JSON, everything is one document on standard
//! output.

use std::{io, process::ExitCode, time::SystemTime};

use clap::Args;
use serde_json::{Value, json};

use super::{Form, OutputForm, SettingsDirectory, load, print_json};
use crate::{
    certificates,
    credentials::{State, try_once},
    run::{counted, tell},
    settings::{Mistakes, Settings, Source},
    snapshot,
    terminal::Paint,
};

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    directory: SettingsDirectory,
    /// Fetch the keys of every signing route too, and say whose they are and until when.
    #[arg(long)]
    credentials: bool,
    #[command(flatten)]
    form: OutputForm,
}

/// What became of one source of keys.
struct Tried<'s> {
    routes: Vec<&'s str>,
    told: String,
    ready: bool,
}

/// Checks, and says what was found.
pub(super) fn run(options: &Options) -> ExitCode {
    let form = options.form.output;
    let settings = match load(&options.directory, form) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let mut warnings = snapshot::warnings(&settings);
    warnings.extend(certificates::warnings(&settings, SystemTime::now()));
    let remarks = snapshot::remarks(&settings);
    if form == Form::Text {
        let paint = Paint::of_errors();
        for warning in &warnings {
            tell(&mut io::stderr(), &format!("{} {warning}", paint.warning("warning:")));
        }
        for remark in &remarks {
            tell(&mut io::stderr(), &format!("{} {remark}", paint.heading("remark:")));
        }
        tell(&mut io::stdout(), &Paint::of_output().good(&summary(options, &settings)));
    }
    let tried = if options.credentials { try_all(&settings) } else { Vec::new() };
    match form {
        Form::Text => {
            let paint = Paint::of_output();
            for Tried { routes, told, ready } in &tried {
                let what = if routes.len() == 1 { "route" } else { "routes" };
                let line = format!("{what} {}: {told}", routes.join(", "));
                tell(&mut io::stdout(), &if *ready { paint.good(&line) } else { paint.bad(&line) });
            }
        }
        Form::Json => print_json(&document(&settings, &warnings, &remarks, &tried)),
    }
    if tried.iter().all(|tried| tried.ready) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn summary(options: &Options, settings: &Settings) -> String {
    let enabled = settings.routes.iter().filter(|route| route.enabled).count();
    format!(
        "{}: the settings are valid: {}, {enabled} enabled, to listen on {}",
        options.directory.settings.display(),
        counted(settings.routes.len(), "route"),
        settings.listen.http
    )
}

fn document(settings: &Settings, warnings: &[String], remarks: &[String], tried: &[Tried<'_>]) -> Value {
    let routes: Vec<Value> =
        settings.routes.iter().map(|route| json!({ "id": route.id, "enabled": route.enabled })).collect();
    let credentials: Vec<Value> = tried
        .iter()
        .map(|tried| json!({ "routes": tried.routes, "ready": tried.ready, "status": tried.told }))
        .collect();
    json!({
        "right": true,
        "listen": settings.listen.http.to_string(),
        "routes": routes,
        "warnings": warnings,
        "remarks": remarks,
        "credentials": credentials,
        "mistakes": [],
    })
}

/// The mistakes as `--output json` gives them.
pub(super) fn mistakes(mistakes: &Mistakes) -> Value {
    let mistakes: Vec<Value> = mistakes
        .iter()
        .map(|mistake| {
            json!({
                "file": mistake.place.source,
                "line": mistake.place.line,
                "key": mistake.key,
                "problem": mistake.problem,
                "expected": mistake.expected,
                "nearest": mistake.nearest,
            })
        })
        .collect();
    json!({ "right": false, "mistakes": mistakes })
}

/// Tries each source once, whatever the number of routes that use it.
fn try_all(settings: &Settings) -> Vec<Tried<'_>> {
    let mut sources: Vec<(&Source, Vec<&str>)> = Vec::new();
    for route in settings.routes.iter().filter(|route| route.enabled) {
        let Some(source) = route.backend.source() else { continue };
        match sources.iter_mut().find(|(known, _)| *known == source) {
            Some((_, routes)) => routes.push(&route.id),
            None => sources.push((source, vec![&route.id])),
        }
    }
    let tried = |(source, routes)| match actix_rt::System::new().block_on(try_once(source)) {
        Ok(status) => {
            Tried { routes, told: status.to_string(), ready: matches!(status.state, State::Ready(_)) }
        }
        Err(error) => Tried { routes, told: error.to_string(), ready: false },
    };
    sources.into_iter().map(tried).collect()
}
