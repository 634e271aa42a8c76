//! `apigw-invoker import`: routes and a report from the configuration of another gateway or proxy.

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;

use super::INVALID_USAGE;
use crate::{
    app::process::{Ended, print_line},
    import::{ImportOptions, ReportFormat, import},
    system::terminal::Paint,
};

/// A route could not be translated.
const INCOMPLETE: u8 = 3;

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// Files of one program, which may complete each other; `-` for standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The settings directory; the routes are written to DIR/routes.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Write each secret into a file of this directory, mode 0600. The routes refer to secrets by file in any
    /// case, without this option below /var/run/secrets/apigw-invoker.
    #[arg(long, value_name = "DIR")]
    secrets: Option<PathBuf>,
    /// Form of the report.
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    report: ReportFormat,
    /// Replace files that are there.
    #[arg(long)]
    force: bool,
}

/// Imports the files and prints the report; exits with 3 if a route could not be translated, and with 1 if
/// nothing could be read or written.
pub(super) fn run(args: ImportArgs) -> Ended {
    let ImportArgs { files, to, secrets, report, force } = args;
    let is_below = |directory: &Path| {
        let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        secrets.as_ref().is_some_and(|secrets| whole(secrets).starts_with(whole(directory)))
    };
    if is_below(&to.join("routes")) {
        let problem = "apigw-invoker: --secrets: the directory of the routes has route files only";
        print_line(&mut io::stderr(), problem);
        return Err(ExitCode::from(INVALID_USAGE));
    }
    if is_below(&to) {
        let remark = "apigw-invoker: --secrets: inside the settings directory: a bundle or ConfigMap of it \
            would have the secrets too";
        print_line(&mut io::stderr(), remark);
    }
    let imported = import(&ImportOptions { files, to, secrets, force }).map_err(|error| {
        print_line(&mut io::stderr(), &format!("apigw-invoker: {error}"));
        ExitCode::FAILURE
    })?;
    let ended = super::print_result(&imported.render(report, Paint::of_output()));
    if ended == ExitCode::SUCCESS && !imported.is_whole() {
        return Ok(ExitCode::from(INCOMPLETE));
    }
    Ok(ended)
}
