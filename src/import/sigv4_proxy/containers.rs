//! Containers that run aws-sigv4-proxy: of Kubernetes, of Docker Compose, of ECS, and of `docker run`.

use std::sync::Arc;

use super::{
    PROGRAM,
    variables::{self, Variable, Variables},
};
use crate::{
    import::values::{place, shown},
    settings::{
        Place,
        foreign::{ForeignNode, ForeignValue},
    },
    text::command_line,
};

/// A container of the proxy.
pub struct Container {
    /// The wished name of the route.
    pub name: String,
    pub title: String,
    pub place: Place,
    pub arguments: Vec<String>,
    pub environment: Variables,
}

/// The program that runs a container.
#[derive(Clone, Copy)]
enum Kind {
    /// Kubernetes, which replaces `$(NAME)` in arguments.
    Container,
    /// Docker Compose.
    Service,
    /// ECS.
    Task,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Container | Self::Task => "container",
            Self::Service => "service",
        }
    }
}

/// Finds the containers of a document.
pub fn in_document(document: &ForeignNode, file: &Arc<str>, found: &mut Vec<Container>) {
    let workload = document.at(&["metadata", "name"]).and_then(ForeignNode::scalar);
    if document.get("services").is_some_and(ForeignNode::is_table) {
        for (name, service) in document.get("services").map_or(&[][..], ForeignNode::entries) {
            found.extend(container(service, name, Kind::Service, file));
        }
        return;
    }
    for node in document.get("containerDefinitions").map_or(&[][..], ForeignNode::items) {
        let name = node.get("name").and_then(ForeignNode::scalar).unwrap_or_default();
        found.extend(container(node, &name, Kind::Task, file));
    }
    let before = found.len();
    in_pods(document, workload.as_deref(), file, found);
    if found.len() == before {
        found.extend(injected(document, workload.as_deref().unwrap_or(PROGRAM), file));
    }
}

/// The lists of containers at any depth: pods, templates of pods, lists of workloads.
fn in_pods(node: &ForeignNode, workload: Option<&str>, file: &Arc<str>, found: &mut Vec<Container>) {
    match &node.value {
        ForeignValue::Table(entries) => {
            let own = node.at(&["metadata", "name"]).and_then(ForeignNode::scalar);
            let workload = own.as_deref().or(workload);
            for (key, below) in entries.iter() {
                if matches!(&**key, "containers" | "initContainers") {
                    for item in below.items() {
                        let name = workload.map(str::to_owned);
                        let name = name.or_else(|| item.get("name").and_then(ForeignNode::scalar));
                        found.extend(container(item, &name.unwrap_or_default(), Kind::Container, file));
                    }
                } else {
                    in_pods(below, workload, file, found);
                }
            }
        }
        ForeignValue::List(items) => items.iter().for_each(|item| in_pods(item, workload, file, found)),
        _ => {}
    }
}

/// A container whose image or command is the proxy.
fn container(node: &ForeignNode, name: &str, kind: Kind, file: &Arc<str>) -> Option<Container> {
    let image = node.get("image").and_then(ForeignNode::scalar).unwrap_or_default();
    let command =
        words(node.get("command").or_else(|| node.get("entrypoint").or_else(|| node.get("entryPoint"))));
    let runs_program = command.iter().any(|word| word.contains(PROGRAM));
    if !image.contains(PROGRAM) && !runs_program {
        return None;
    }
    let mut arguments = command;
    arguments.extend(words(node.get("args")));
    if node.get("entrypoint").or_else(|| node.get("entryPoint")).is_some() {
        arguments.extend(words(node.get("command")));
    }
    let mut environment = Variables::of_container(node);
    if matches!(kind, Kind::Container) {
        environment.expand_values();
        for argument in &mut arguments {
            *argument = environment.expand(argument);
        }
    }
    let arguments = after_program(arguments, &environment);
    let own = node.get("name").and_then(ForeignNode::scalar).unwrap_or_else(|| name.to_owned());
    Some(Container {
        name: if name.is_empty() { PROGRAM.to_owned() } else { name.to_owned() },
        title: format!("{} `{}`", kind.name(), shown(&own)),
        place: place(file, node),
        arguments,
        environment,
    })
}

/// The words of a list, or of one text.
fn words(node: Option<&ForeignNode>) -> Vec<String> {
    let Some(node) = node else { return Vec::new() };
    match node.text() {
        Some(text) => command_line::split(text).unwrap_or_default(),
        None => node.items().iter().filter_map(ForeignNode::scalar).collect(),
    }
}

/// The arguments after the program, if that is among them; also in the text of `sh -c`.
fn after_program(arguments: Vec<String>, environment: &Variables) -> Vec<String> {
    if let Some(text) = arguments.iter().find(|word| word.contains(PROGRAM) && word.contains(' ')) {
        let words = command_line::split(&environment.expand_shell(text)).unwrap_or_default();
        return words.into_iter().skip_while(|word| !is_program(word)).skip(1).collect();
    }
    match arguments.iter().position(|word| is_program(word)) {
        Some(at) => arguments.into_iter().skip(at + 1).collect(),
        None => arguments,
    }
}

fn is_program(word: &str) -> bool {
    word.rsplit('/').next().is_some_and(|name| name.starts_with("aws-sigv4-proxy") || name == PROGRAM)
}

/// The proxy that the admission controller would inject into a workload with its annotations.
fn injected(document: &ForeignNode, name: &str, file: &Arc<str>) -> Option<Container> {
    const PREFIX: &str = "sidecar.aws.signing-proxy/";
    let annotations = [&["spec", "template", "metadata", "annotations"][..], &["metadata", "annotations"]]
        .iter()
        .find_map(|path| {
            document.at(path).filter(|node| node.entries().iter().any(|(key, _)| key.starts_with(PREFIX)))
        })?;
    let value = |key: &str| annotations.get(&format!("{PREFIX}{key}")).and_then(ForeignNode::scalar);
    if value("inject").is_some_and(|inject| matches!(&*inject.to_lowercase(), "false" | "no" | "off")) {
        return None;
    }
    let mut arguments: Vec<String> = vec!["--port=:8005".to_owned()];
    let host = value("host");
    // the controller takes both from the first labels of the host
    let mut labels = host.as_deref().unwrap_or_default().split('.');
    let guessed = [("name", labels.next()), ("region", labels.next())];
    for (key, guess) in guessed {
        let given = value(key).or_else(|| guess.filter(|guess| !guess.is_empty()).map(str::to_owned));
        arguments.extend(given.map(|given| format!("--{key}={given}")));
    }
    for key in ["host", "role-arn", "upstream-url-scheme"] {
        arguments.extend(value(key).map(|value| format!("--{key}={value}")));
    }
    if value("unsigned-payload").is_some_and(|value| value == "true") {
        arguments.push("--unsigned-payload".to_owned());
    }
    Some(Container {
        name: name.to_owned(),
        title: format!("injected sidecar of `{}`", shown(name)),
        place: place(file, annotations),
        arguments,
        environment: Variables::default(),
    })
}

/// The proxy of a command: itself, or by `docker run` or `podman run`.
pub fn of_command(words: &[String], place: Place) -> Option<Container> {
    let mut environment = Variables::default();
    let mut words: Vec<String> = words.to_vec();
    // variables before the command
    while let Some((name, value)) =
        words.first().and_then(|word| word.split_once('=')).filter(|(name, _)| variables::is_name(name))
    {
        environment.listed.push(Variable { name: name.to_owned(), value: Some(value.into()) });
        words.remove(0);
    }
    let program = words.iter().position(|word| {
        let name = word.rsplit('/').next().unwrap_or_default();
        name.starts_with("aws-sigv4-proxy")
    })?;
    let runner = words.first()?.rsplit('/').next()?;
    let is_run = matches!(runner, "docker" | "podman" | "nerdctl") && words.iter().any(|word| word == "run");
    if !is_run && program != 0 {
        return None;
    }
    let mut options = words[..program].iter();
    let mut port = None;
    while let Some(word) = options.next() {
        let (option, value) = match word.split_once('=').filter(|_| word.starts_with("--")) {
            Some((option, value)) => (option, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        let is_other = option.starts_with("--") && is_switch(option);
        let mut next = || if is_other { None } else { value.clone().or_else(|| options.next().cloned()) };
        match option {
            "-e" | "--env" => {
                let variable = next().unwrap_or_default();
                let (name, value) =
                    variable.split_once('=').map_or((&*variable, None), |(n, v)| (n, Some(v)));
                environment.listed.push(Variable { name: name.to_owned(), value: value.map(Into::into) });
            }
            "--env-file" => {
                environment.elsewhere.extend(next().map(|file| format!("file `{}`", shown(&file))));
            }
            "-p" | "--publish" => port = next(),
            _ => {}
        }
    }
    let mut arguments: Vec<String> = words[program + 1..].to_vec();
    arguments.retain(|word| !matches!(&**word, "&" | "&&" | "|" | ">" | "2>&1"));
    if let Some(host) = port.as_deref().and_then(published) {
        arguments.retain(|word| !word.starts_with("--port="));
        arguments.push(format!("--port=:{host}"));
    }
    let title = "command `aws-sigv4-proxy`".to_owned();
    Some(Container { name: "aws-sigv4-proxy".to_owned(), title, place, arguments, environment })
}

/// Options of `docker run` without a value.
fn is_switch(option: &str) -> bool {
    matches!(
        option,
        "--rm" | "--interactive" | "--tty" | "--detach" | "--init" | "--privileged" | "--read-only"
    )
}

/// The port on the host of `8080:8080`, `127.0.0.1:8080:8080`.
fn published(text: &str) -> Option<u16> {
    let mut parts = text.rsplit(':');
    let container = parts.next()?;
    parts.next().unwrap_or(container).parse().ok()
}
