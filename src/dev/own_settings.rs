//! `apigw-invoker dev --settings DIR`: the user's own routes, with their targets led to the stand-in.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use super::{
    DevOptions, STAND_IN,
    banner::{OwnBanner, own_text},
    refuse_unused, start,
};
use crate::{
    app::process::{EndSignals, Ended, counted, invalid_settings, print_line, serve},
    settings::{LocalFunction, LocalTargets, Mistakes, Settings, SettingsLoader},
    stand_in::{
        StandInKeys, StandInOptions,
        played::{Played, unused},
        runtime::Functions,
    },
};

/// The settings that `dev --settings` would run, for `routes --dev` and `explain --dev`.
///
/// # Errors
/// Every mistake there is.
pub(crate) fn settings(directory: &Path) -> Result<Settings, Mistakes> {
    let stand_in = STAND_IN.parse().unwrap_or_else(|_| SocketAddr::from(([127, 0, 0, 1], 0)));
    let targets = targets(stand_in, &StandInKeys::example(), None, None);
    SettingsLoader::local(directory, targets).collecting_hidden().load()
}

/// Runs the sidecar and the stand-in until a signal ends them.
pub(super) fn run(options: &DevOptions, directory: &Path) -> Ended {
    let keys = StandInKeys::example();
    let file = FunctionsFile::of(options, directory);
    let functions = options.functions(Some(file.load()))?;
    let host = start(functions.clone())?;
    let stand_in_options =
        StandInOptions { functions: Some(host.functions().clone()), ..StandInOptions::new(keys.clone()) };
    let stand_in = options.stand_in(stand_in_options)?;
    let targets = targets(stand_in.address(), &keys, options.listen, options.admin);
    let mut loader = SettingsLoader::local(directory, targets).following(file.path().to_owned());
    let settings = loader.load().map_err(|mistakes| invalid_settings(&mistakes))?;
    refuse_unused(&settings, &functions)?;
    let player = stand_in.player();
    player(Played::of(&settings, &functions));
    let follower =
        FunctionsFollower { file, given: options.function.clone(), functions: host.functions().clone() };
    let loader = loader.calling(move |settings| player(Played::of(settings, &follower.follow(settings))));
    let routes = settings.clone();
    serve(settings, Some(loader.into()), EndSignals::Terminal, |application| {
        application.allow_sending_again();
        let banner = OwnBanner {
            listen: application.address(),
            admin: application.admin_address(),
            stand_in: stand_in.address(),
            fault: options.fault,
        };
        print_line(&mut io::stdout(), &own_text(&banner, &routes, &functions));
    })
}

fn targets(
    stand_in: SocketAddr,
    keys: &StandInKeys,
    listen: Option<SocketAddr>,
    admin: Option<SocketAddr>,
) -> LocalTargets {
    LocalTargets {
        stand_in,
        api_key: keys.api_key.clone(),
        access_key_id: keys.access_key_id.clone(),
        secret_access_key: keys.secret_access_key.clone(),
        listen,
        admin,
    }
}

/// The file of functions.
#[derive(Debug, Clone)]
enum FunctionsFile {
    /// Of the command line.
    Named(PathBuf),
    /// In the settings directory, where it may be created and removed at any time.
    Beside(PathBuf),
}

impl FunctionsFile {
    fn of(options: &DevOptions, directory: &Path) -> Self {
        let beside = || Self::Beside(LocalFunction::file_in(directory));
        options.functions.clone().map_or_else(beside, Self::Named)
    }

    fn path(&self) -> &Path {
        let (Self::Named(path) | Self::Beside(path)) = self;
        path
    }

    fn load(&self) -> Result<Vec<LocalFunction>, Mistakes> {
        match self {
            Self::Named(path) => LocalFunction::load(path),
            Self::Beside(path) => LocalFunction::load_if_there(path),
        }
    }
}

/// Reads the functions again after a change of the settings.
struct FunctionsFollower {
    file: FunctionsFile,
    /// The functions of the command line.
    given: Vec<LocalFunction>,
    functions: Functions,
}

impl FunctionsFollower {
    /// The functions from now on. A file with mistakes is ignored.
    fn follow(&self, settings: &Settings) -> Vec<LocalFunction> {
        let mut functions = match self.file.load() {
            Ok(functions) => functions,
            Err(mistakes) => {
                log::error!("the functions have mistakes, and the old ones stay in use");
                for mistake in &mistakes {
                    log::error!("{mistake}");
                }
                return self.functions.all();
            }
        };
        functions.retain(|function| self.given.iter().all(|given| given.name != function.name));
        functions.extend(self.given.iter().cloned());
        for sentence in unused(settings, &functions) {
            log::warn!("{sentence}");
        }
        if functions != self.functions.all() {
            log::info!("functions reloaded: {}", counted(functions.len(), "function"));
            self.functions.replace(functions.clone());
        }
        functions
    }
}
