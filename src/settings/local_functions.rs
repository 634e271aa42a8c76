//! `functions.yaml`: the functions that `dev` runs on this machine. `run` and `check` accept the file and
//! never execute it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{self, Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor, value::SeqAccessDeserializer},
};

use super::{
    PayloadVersion,
    source::{
        document::LOCAL_FUNCTIONS_FILE,
        mistake::{Mistake, Mistakes, Place},
        reader,
        tree::{Content, Node},
        yaml::{self, ParsedYaml, YamlError},
    },
};
use crate::{
    system::regular_file,
    text::{command_line, units::WrittenDuration},
};

/// Lambda's default.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3);
/// "The maximum value is 900 seconds" (`Timeout`, Lambda API reference).
const MAX_TIMEOUT: Duration = Duration::from_mins(15);
const MIN_TIMEOUT: Duration = Duration::from_millis(100);
const MAX_CONCURRENCY: usize = 100;
/// Characters that a function's name may have besides letters and digits.
const NAME_MARKS: &str = "-_.";
/// The address of the function's own Runtime API.
const RUNTIME_API: &str = "AWS_LAMBDA_RUNTIME_API";

/// A function that runs on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalFunction {
    /// The `function_name` of routes, or the id of a route with `api_gateway`.
    pub name: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The working directory of the command.
    pub directory: PathBuf,
    pub environment: BTreeMap<String, String>,
    pub timeout: Duration,
    /// The number of events that are handled at the same time, each by a process of its own.
    pub concurrency: usize,
    /// The ids of further routes with `api_gateway`.
    pub routes: Vec<String>,
    /// The version of API Gateway's event; by default 2.0 for Function URLs and 1.0 for others.
    pub payload: Option<PayloadVersion>,
}

impl LocalFunction {
    /// A function of the command line, `NAME=COMMAND`.
    ///
    /// # Errors
    /// A sentence about what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, command) = text.split_once('=').ok_or("expected NAME=COMMAND")?;
        check_name(name)?;
        let command = command_line::split(command)?;
        let directory = std::env::current_dir().map_err(|error| format!("no working directory: {error}"))?;
        Ok(Self {
            name: name.to_owned(),
            command,
            directory,
            environment: BTreeMap::new(),
            timeout: DEFAULT_TIMEOUT,
            concurrency: 1,
            routes: Vec::new(),
            payload: None,
        })
    }

    /// Reads a file of functions.
    ///
    /// # Errors
    /// Every mistake there is.
    pub fn load(path: &Path) -> Result<Vec<Self>, Mistakes> {
        let mut mistakes = Mistakes::default();
        let source: Arc<str> = path.display().to_string().into();
        let functions = match regular_file::read_settings(path) {
            Ok(text) => {
                let base = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                read(&text, &source, base.unwrap_or(Path::new(".")), &mut mistakes)
            }
            Err(error) => {
                let problem = format!("cannot be read: {error}");
                mistakes.push(Mistake::new(Place::file(source), "", problem));
                Vec::new()
            }
        };
        mistakes.into_result(functions)
    }

    /// The file of functions in a settings directory, which may be missing.
    pub fn file_in(directory: &Path) -> PathBuf {
        directory.join(LOCAL_FUNCTIONS_FILE)
    }

    /// [`Self::load`]; no functions without a file.
    ///
    /// # Errors
    /// Every mistake there is.
    pub fn load_if_there(path: &Path) -> Result<Vec<Self>, Mistakes> {
        if path.symlink_metadata().is_ok() { Self::load(path) } else { Ok(Vec::new()) }
    }
}

/// One item of the file, as written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WrittenFunction {
    name: Option<String>,
    command: Option<WrittenCommand>,
    directory: Option<PathBuf>,
    environment: BTreeMap<String, String>,
    timeout: Option<WrittenDuration>,
    concurrency: Option<u64>,
    routes: Vec<String>,
    payload: Option<PayloadVersion>,
}

/// A text that is split as a shell does, or a list.
#[derive(Debug)]
enum WrittenCommand {
    Text(String),
    List(Vec<String>),
}

impl<'de> Deserialize<'de> for WrittenCommand {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrList;

        impl<'de> Visitor<'de> for TextOrList {
            type Value = WrittenCommand;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or a list of texts (in quotes, if YAML takes them for something else)")
            }

            fn visit_str<E>(self, text: &str) -> Result<WrittenCommand, E> {
                Ok(WrittenCommand::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<WrittenCommand, A::Error> {
                Deserialize::deserialize(SeqAccessDeserializer::new(items)).map(WrittenCommand::List)
            }
        }

        deserializer.deserialize_any(TextOrList)
    }
}

fn read(text: &str, source: &Arc<str>, base: &Path, mistakes: &mut Mistakes) -> Vec<LocalFunction> {
    let ParsedYaml { root, duplicates } = match yaml::parse_list(text, source) {
        Ok(parsed) => parsed,
        Err(YamlError { line, problem, expected }) => {
            let place = Place { source: Arc::clone(source), line: Some(line) };
            mistakes.push(Mistake { expected, ..Mistake::new(place, "", problem) });
            return Vec::new();
        }
    };
    for (key, line) in duplicates {
        let place = Place { source: Arc::clone(source), line: Some(line) };
        mistakes.push(Mistake::new(place, key, "duplicate key"));
    }
    let items = match root.content {
        Content::List(items) => items,
        Content::Null => BTreeMap::new(),
        Content::Table(table) if table.is_empty() => BTreeMap::new(),
        _ => {
            let expected = "a list of functions, each with `name` and `command`";
            mistakes.push(Mistake::new(root.place, "", "not a list").expected(expected));
            return Vec::new();
        }
    };
    let mut names = BTreeSet::new();
    let items = items.into_values();
    items.filter_map(|item| function(item, base, &mut names, mistakes)).collect()
}

fn function(
    mut item: Node,
    base: &Path,
    names: &mut BTreeSet<String>,
    mistakes: &mut Mistakes,
) -> Option<LocalFunction> {
    let before = mistakes.count();
    if !matches!(item.content, Content::Table(_)) {
        let mistake = Mistake::new(item.place, "", "not a function");
        mistakes.push(mistake.expected("a table with `name` and `command`"));
        return None;
    }
    let written: WrittenFunction = reader::read_undeclared(&mut item, mistakes);
    let is_as_written = mistakes.count() == before;
    let mut checker = ItemChecker { item: &item, is_as_written, mistakes };
    let function = LocalFunction {
        name: checker.name(written.name, names),
        command: checker.command(written.command),
        directory: checker.directory(base, written.directory),
        environment: checker.environment(written.environment),
        timeout: checker.timeout(written.timeout),
        concurrency: checker.concurrency(written.concurrency),
        routes: written.routes,
        payload: written.payload,
    };
    (mistakes.count() == before).then_some(function)
}

/// Checks the values of one item.
struct ItemChecker<'a> {
    item: &'a Node,
    /// No value of it was removed as a mistake.
    is_as_written: bool,
    mistakes: &'a mut Mistakes,
}

impl ItemChecker<'_> {
    fn report(&mut self, key: &str, problem: impl Into<String>, expected: &str) {
        let place = self.item.child(key).map_or(&self.item.place, |node| &node.place).clone();
        self.mistakes.push(Mistake::new(place, key, problem).expected(expected));
    }

    fn name(&mut self, written: Option<String>, names: &mut BTreeSet<String>) -> String {
        let name = written.unwrap_or_default();
        if let Err(problem) = check_name(&name) {
            let expected = "the function_name of a route, or the id of a route with api_gateway";
            self.report("name", problem, expected);
        } else if !names.insert(name.clone()) {
            let problem = format!("another function has the name `{name}`");
            self.report("name", problem, "one function for each name");
        }
        name
    }

    fn command(&mut self, written: Option<WrittenCommand>) -> Vec<String> {
        let command = match written {
            Some(WrittenCommand::List(list)) if list.is_empty() && self.is_as_written => {
                Err("empty".to_owned())
            }
            Some(WrittenCommand::List(list)) => Ok(list),
            Some(WrittenCommand::Text(text)) => command_line::split(&text),
            None => Err("missing".to_owned()),
        };
        let has_nul = |command: &[String]| command.iter().any(|part| part.contains('\0'));
        let command = command.and_then(|command| {
            if has_nul(&command) { Err("contains a NUL character".to_owned()) } else { Ok(command) }
        });
        command.unwrap_or_else(|problem| {
            let expected = "a program with its arguments, such as `python -m awslambdaric app.handler`";
            self.report("command", problem, expected);
            Vec::new()
        })
    }

    fn directory(&mut self, base: &Path, written: Option<PathBuf>) -> PathBuf {
        let directory = base.join(written.unwrap_or_default());
        // absolute, and without the slash that joining an empty path adds
        let directory = path::absolute(&directory).unwrap_or(directory).components().collect::<PathBuf>();
        if !directory.is_dir() {
            let problem = format!("{} is not a directory", directory.display());
            self.report("directory", problem, "a directory, relative to this file");
        }
        directory
    }

    fn environment(&mut self, written: BTreeMap<String, String>) -> BTreeMap<String, String> {
        let is_bad = |(name, value): &(&String, &String)| {
            name.is_empty() || name.contains(['=', '\0']) || value.contains('\0')
        };
        if written.iter().any(|variable| is_bad(&variable)) {
            let expected = "names without `=`, and no NUL characters";
            self.report("environment", "a variable that no process can have", expected);
        }
        if written.contains_key(RUNTIME_API) {
            let problem = format!("{RUNTIME_API} is the address of the function's own Runtime API");
            self.report("environment", problem, "other variables");
        }
        written
    }

    fn timeout(&mut self, written: Option<WrittenDuration>) -> Duration {
        let timeout = written.map_or(DEFAULT_TIMEOUT, |WrittenDuration(timeout)| timeout);
        if !(MIN_TIMEOUT..=MAX_TIMEOUT).contains(&timeout) {
            self.report("timeout", "out of range", "100ms to 15m");
        }
        timeout
    }

    fn concurrency(&mut self, written: Option<u64>) -> usize {
        let concurrency = written.map_or(Some(1), |number| usize::try_from(number).ok());
        concurrency.filter(|number| (1..=MAX_CONCURRENCY).contains(number)).unwrap_or_else(|| {
            self.report("concurrency", "out of range", "1 to 100");
            1
        })
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let is_valid = |char: char| char.is_ascii_alphanumeric() || NAME_MARKS.contains(char);
    if name.is_empty() {
        return Err("the name is missing".to_owned());
    }
    if name.contains(':') {
        return Err("the name has a `:`; expected the name alone, without ARN, version and alias".to_owned());
    }
    if !name.chars().all(is_valid) {
        return Err("the name has characters other than letters, digits, `-`, `_` and `.`".to_owned());
    }
    Ok(())
}
