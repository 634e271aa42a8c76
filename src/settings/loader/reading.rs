//! One reading of the settings: first the process, then each route, with `defaults` for its missing keys and
//! environment variables that override its file.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{SecretVersion, TreeChanges};
use crate::settings::{
    RouteSettings, Settings,
    process::{WrittenDefaults, WrittenSettings, secrets::SecretsAccess},
    route::{self, shared_parts::SharedParts},
    schema::{WAITING, WAITING_URI},
    source::{
        check::Checker,
        document::Document,
        hidden::Hidden,
        mistake::{Mistake, Mistakes, Place},
        overrides::overrides,
        reader,
        reference::{self, ReferenceSources},
        remote_secret::{NamedSecret, REGION_VARIABLES},
        tree::{Content, DEFAULTS, Environment, LinkedFiles, Node, ROUTES},
        yaml::{self, ParsedYaml, YamlError},
    },
};

pub struct Reading<'e> {
    environment: &'e Environment,
    sources: ReferenceSources<'e>,
    /// The settings of the process.
    settings: Settings,
    /// A tree with the section `defaults` alone.
    defaults: Node,
    written_defaults: Option<WrittenDefaults>,
    /// The secrets in AWS that `default.yaml` names, `defaults` too.
    process_secrets: Vec<SecretVersion>,
    /// The backends of the routes so far, also of those with mistakes.
    backends: BTreeSet<String>,
    /// Variables that override a route's file, by its stem.
    overrides: BTreeMap<String, Node>,
    /// Secret texts of the routes are collected.
    collects_hidden: bool,
    changes: Option<&'e dyn TreeChanges>,
    shared_parts: SharedParts,
    /// The routes so far, by the stems of their files.
    routes: BTreeMap<String, CheckedRoute>,
}

/// A route that has been checked, and what was found meanwhile.
#[derive(Debug, Clone)]
pub struct CheckedRoute {
    pub settings: Arc<RouteSettings>,
    /// The files that it leads to.
    pub files: LinkedFiles,
    /// The secrets in AWS that it names.
    pub secrets: Vec<SecretVersion>,
    pub warnings: Vec<Mistake>,
    /// Its secret texts, if they are collected.
    pub hidden: Hidden,
}

impl<'e> Reading<'e> {
    /// Reads the settings of the process. `collects_hidden` also collects the texts that `explain` must not
    /// print.
    pub fn new(
        process: Option<&Document>,
        sources: ReferenceSources<'e>,
        collects_hidden: bool,
        changes: Option<&'e dyn TreeChanges>,
        mistakes: &mut Mistakes,
    ) -> Self {
        let environment = sources.environment;
        let tree = process.and_then(|document| parsed(document, mistakes));
        let mut tree = tree.unwrap_or_else(Node::empty);
        let mut above = overrides(environment, mistakes);
        let mut of_routes = above.remove(&[ROUTES.to_owned()]);
        let overrides = match of_routes.as_mut().map(|routes| &mut routes.content) {
            Some(Content::Table(table)) => std::mem::take(table),
            _ => BTreeMap::new(),
        };
        tree.override_with(above);
        if let Some(wrong) = of_routes.filter(|routes| !matches!(routes.content, Content::Table(_))) {
            tree.override_with(Node::with_child(ROUTES, wrong));
        }
        if let Some(changes) = changes {
            changes.process(&mut tree, environment, mistakes);
        }
        reference::resolve(&mut tree, &mut Vec::new(), sources, mistakes);
        let process_secrets = versions(&tree.secrets(), sources);
        let mut defaults = take_defaults(&mut tree);
        let WrittenSettings { defaults: written_defaults, .. } = reader::read(&mut defaults, mistakes);
        let written: WrittenSettings = reader::read(&mut tree, mistakes);
        let mut settings = Settings::check(written, &mut Checker::new(&tree, environment, mistakes));
        settings.without_waiting_collector();
        let is_inspecting = settings.admin.inspect.is_some();
        Self {
            environment,
            sources,
            settings,
            defaults,
            written_defaults,
            process_secrets,
            backends: BTreeSet::new(),
            overrides,
            // the inspector shows requests
            collects_hidden: collects_hidden || is_inspecting,
            changes,
            shared_parts: SharedParts::default(),
            routes: BTreeMap::new(),
        }
    }

    pub fn process_secrets(&self) -> &Vec<SecretVersion> {
        &self.process_secrets
    }

    /// Adds a route that was checked before.
    pub fn add(&mut self, stem: &str, route: CheckedRoute) {
        self.backends.insert(route.settings.backend.section().name().to_owned());
        self.routes.insert(stem.to_owned(), route);
    }

    /// Reads and checks a route; without a document, one that only variables describe.
    pub fn route(
        &mut self,
        stem: &str,
        document: Option<&Document>,
        mistakes: &mut Mistakes,
    ) -> Option<&CheckedRoute> {
        let (warned, before) = (mistakes.warned().len(), mistakes.count());
        let mut tree = self.tree(stem, document, mistakes)?;
        self.backends.extend(lay_beneath_route(&self.defaults, &mut tree, stem));
        if let Some(changes) = self.changes {
            changes.lead(&mut tree, stem, mistakes);
        }
        let secrets = tree.secrets();
        let is_waiting = secrets.iter().any(|secret| !secret.is_known);
        let as_written = is_waiting.then(|| tree.clone());
        let (files, mut settings) = self.checked(&mut tree, stem, mistakes);
        if let (None, Some(tree), true) = (&settings, as_written, mistakes.count() == before) {
            settings = self.stand_by(tree, stem, secrets.clone(), mistakes);
        }
        if let Some(settings) = &mut settings {
            settings.backend.share_parts(&mut self.shared_parts);
        }
        let mut hidden = Hidden::default();
        if self.collects_hidden {
            hidden.add_tree(&tree);
        }
        let warnings = mistakes.warned()[warned..].to_vec();
        let (settings, secrets) = (Arc::new(settings?), versions(&secrets, self.sources));
        self.add(stem, CheckedRoute { settings, files, secrets, warnings, hidden });
        self.routes.get(stem)
    }

    /// Reads and checks the tree of a route, and returns the files that it names.
    fn checked(
        &self,
        tree: &mut Node,
        stem: &str,
        mistakes: &mut Mistakes,
    ) -> (LinkedFiles, Option<RouteSettings>) {
        let written: WrittenSettings = reader::read(tree, mistakes);
        let written = written.routes.and_then(|mut routes| routes.remove(stem));
        let mut checker = Checker::new(tree, self.environment, mistakes);
        let files = checker.files();
        let limits = &self.settings.limits;
        let settings =
            written.and_then(|written| written.check(stem, limits, &mut checker.at(ROUTES).at(stem)));
        (files, settings)
    }

    /// A route that matches the same requests and cannot serve: without its secrets, its backend cannot be
    /// checked, as with a private key that is a secret.
    fn stand_by(
        &self,
        mut tree: Node,
        stem: &str,
        secrets: Vec<NamedSecret>,
        mistakes: &mut Mistakes,
    ) -> Option<RouteSettings> {
        let text = |text: &str| Node { content: Content::Text(text.to_owned()), ..Node::empty() };
        let table = |entries: Vec<(&str, Node)>| {
            let entries = entries.into_iter().map(|(key, node)| (key.to_owned(), node));
            Node { content: Content::Table(entries.collect()), ..Node::empty() }
        };
        let place = tree.nearest(&[ROUTES, stem].map(str::to_owned)).place.clone();
        let route = tree.descendant_mut(&[ROUTES, stem].map(str::to_owned))?;
        let Content::Table(keys) = &mut route.content else { return None };
        keys.remove("headers");
        let hosts = keys.remove("api_gateway").and_then(|mut own| own.remove(&["hosts".to_owned()]));
        if let Some(lambda) = keys.get_mut("lambda") {
            *lambda = table(vec![("function_name", text(WAITING)), ("aws_region", text("us-east-1"))]);
        } else {
            let uri = hosts.as_ref().map_or(WAITING_URI, |_| "https://{host}");
            let hosts = hosts.map(|hosts| ("hosts", hosts));
            let section = [("function_uri", text(uri))].into_iter().chain(hosts).collect();
            keys.insert("api_gateway".to_owned(), table(section));
        }
        let (_, settings) = self.checked(&mut tree, stem, &mut Mistakes::default());
        if settings.is_none() {
            let problem = "the route cannot be checked before its secrets are fetched";
            mistakes.push(Mistake::new(place, "", problem).expected("`$env://NAME` or `$file:///path`"));
        }
        settings.map(|settings| RouteSettings { secrets, ..settings })
    }

    /// The tree of a route's file, overridden by environment variables.
    fn tree(&self, stem: &str, document: Option<&Document>, mistakes: &mut Mistakes) -> Option<Node> {
        let above = self.overrides.get(stem).cloned();
        let route = match document {
            Some(document) => {
                let mut route = parsed(document, mistakes)?;
                if let Some(above) = above {
                    route.override_with(above);
                }
                route
            }
            None => above?,
        };
        let mut tree = Node::with_child(ROUTES, Node::with_child(stem, route));
        if let Some(changes) = self.changes {
            changes.route(&mut tree, stem, self.environment, mistakes);
        }
        reference::resolve(&mut tree, &mut Vec::new(), self.sources, mistakes);
        Some(tree)
    }

    /// The settings with all routes, if there is no mistake. `text_of` gives the file of a route that clashes
    /// with another.
    ///
    /// # Errors
    /// Every mistake there is, sorted by file and line.
    pub fn finish(
        mut self,
        is_clash_possible: bool,
        text_of: impl Fn(&str) -> Option<Document>,
        mut mistakes: Mistakes,
    ) -> Result<Settings, Mistakes> {
        let stems: Vec<String> = self.overrides.keys().cloned().collect();
        let without_file: Vec<_> = stems.iter().filter(|stem| text_of(stem).is_none()).collect();
        for stem in &without_file {
            self.route(stem, None, &mut mistakes);
        }
        if is_clash_possible || !without_file.is_empty() {
            self.check_against_each_other(text_of, &mut mistakes);
        }
        self.check_unused_defaults(&mut mistakes);
        let mut settings = self.settings;
        for CheckedRoute { settings: route, files, hidden, .. } in self.routes.into_values() {
            settings.routes.push(route);
            settings.files.extend(files.paths);
            settings.hidden.add_all(hidden);
        }
        let first = settings.secret_uses().first().map(|(reference, _)| reference.id.region.clone());
        if let Some(region) = first {
            let of_process = REGION_VARIABLES.iter().find_map(|name| self.environment.get(*name));
            let region = of_process.filter(|region| !region.is_empty()).unwrap_or(&region);
            let nothing = Node::empty();
            let mut checker = Checker::new(&nothing, self.environment, &mut mistakes);
            settings.secrets_access = Some(SecretsAccess::of(region, &mut checker));
        }
        settings.files.sort();
        settings.files.dedup();
        settings.warnings = mistakes.warnings();
        mistakes.into_result(settings)
    }

    /// Checks the values of `defaults` for backends that no route has; the routes check the others.
    fn check_unused_defaults(&mut self, mistakes: &mut Mistakes) {
        let Some(written) = self.written_defaults.take() else { return };
        let mut checker = Checker::new(&self.defaults, self.environment, mistakes).partial();
        let is_used = |section: &str| self.backends.contains(section);
        written.backends.check_unused(is_used, &self.settings.limits, &mut checker.at(DEFAULTS));
    }

    fn check_against_each_other(&self, text_of: impl Fn(&str) -> Option<Document>, mistakes: &mut Mistakes) {
        let routes: Vec<_> = self.routes.iter().map(|(stem, route)| (&**stem, &*route.settings)).collect();
        route::check_against_each_other(&routes, |stem, report| {
            let tree = self.tree(stem, text_of(stem).as_ref(), &mut Mistakes::default());
            let tree = tree.unwrap_or_else(Node::empty);
            let mut checker = Checker::new(&tree, self.environment, mistakes);
            report(&mut checker.at(ROUTES).at(stem));
        });
    }
}

/// The secrets with the versions of their values.
fn versions(secrets: &[NamedSecret], sources: ReferenceSources<'_>) -> Vec<SecretVersion> {
    let version = |named: &NamedSecret| (named.reference.clone(), sources.secrets.version(&named.reference));
    secrets.iter().map(version).collect()
}

fn parsed(document: &Document, mistakes: &mut Mistakes) -> Option<Node> {
    let source: Arc<str> = document.source.as_str().into();
    let at = |line| Place { source: Arc::clone(&source), line };
    let ParsedYaml { mut root, duplicates } = match yaml::parse(&document.text, &source) {
        Ok(parsed) => parsed,
        Err(YamlError { line, problem, expected }) => {
            mistakes.push(Mistake { expected, ..Mistake::new(at(Some(line)), "", problem) });
            return None;
        }
    };
    for (key, line) in &duplicates {
        mistakes.push(Mistake::new(at(Some(*line)), key, "duplicate key"));
    }
    if !document.is_route()
        && let Some(routes) = root.remove(&[ROUTES.to_owned()])
    {
        // the environment may name a route's keys so, a file may not
        let mistake = Mistake::new(routes.place, ROUTES, "routes are not read from this file");
        mistakes.push(mistake.expected("each in a file of its own, routes/NAME.yaml"));
    }
    duplicates.is_empty().then_some(root)
}

/// Moves `defaults` into a tree without routes, where its mistakes are reported once.
fn take_defaults(tree: &mut Node) -> Node {
    let defaults = tree.remove(&[DEFAULTS.to_owned()]);
    defaults.map_or_else(Node::empty, |defaults| Node::with_child(DEFAULTS, defaults))
}

/// Adds the keys of `defaults` for its backends to a route that lacks them; returns those backends.
fn lay_beneath_route(defaults: &Node, tree: &mut Node, stem: &str) -> Vec<String> {
    let path = [ROUTES, stem].map(str::to_owned);
    let (Some(route), defaults) = (tree.descendant_mut(&path), defaults.child(DEFAULTS)) else {
        return Vec::new();
    };
    let (Content::Table(keys), Some(Content::Table(sections))) =
        (&mut route.content, defaults.map(|node| &node.content))
    else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (section, defaults) in sections {
        if let Some(own) = keys.get_mut(section) {
            own.fill(defaults);
            found.push(section.clone());
        }
    }
    found
}
