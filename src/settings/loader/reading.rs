//! One reading of the settings: first the process, then each route, with `defaults` for its missing keys and
//! environment variables that override its file.

use std::{collections::BTreeMap, sync::Arc};

use crate::settings::{
    RouteSettings, Settings,
    process::WrittenSettings,
    route::{self, shared_parts::SharedParts},
    source::{
        bounds::Unfit,
        check::Checker,
        document::Document,
        hidden::Hidden,
        mistake::{Mistake, Mistakes, Place},
        overrides::overrides,
        reader, reference,
        tree::{Content, DEFAULTS, Environment, LinkedFiles, Node, ROUTES},
        yaml::{self, Parsed},
    },
};

pub struct Reading<'e> {
    environment: &'e Environment,
    /// The settings of the process.
    settings: Settings,
    defaults: Node,
    /// Variables that override a route's file, by its stem.
    overrides: BTreeMap<String, Node>,
    hidden: Option<Hidden>,
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
    pub warnings: Vec<Mistake>,
}

impl<'e> Reading<'e> {
    /// Reads the settings of the process. `collects_hidden` also collects the texts that `explain` must not print.
    pub fn new(
        process: Option<&Document>,
        environment: &'e Environment,
        collects_hidden: bool,
        mistakes: &mut Mistakes,
    ) -> Self {
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
        reference::resolve(&mut tree, &mut Vec::new(), environment, mistakes);
        let defaults = take_defaults(&mut tree, mistakes);
        let written: WrittenSettings = reader::read(&mut tree, mistakes);
        let settings = Settings::check(written, &mut Checker::new(&tree, environment, mistakes));
        Self {
            environment,
            settings,
            defaults,
            overrides,
            hidden: collects_hidden.then(Hidden::default),
            shared_parts: SharedParts::default(),
            routes: BTreeMap::new(),
        }
    }

    /// Adds a route that was checked before.
    pub fn add(&mut self, stem: &str, route: CheckedRoute) {
        self.routes.insert(stem.to_owned(), route);
    }

    /// Reads and checks a route; without a document, one that only variables describe.
    pub fn route(
        &mut self,
        stem: &str,
        document: Option<&Document>,
        mistakes: &mut Mistakes,
    ) -> Option<&CheckedRoute> {
        let warned = mistakes.warned().len();
        let mut tree = self.tree(stem, document, mistakes)?;
        lay_beneath_routes(&self.defaults, &mut tree);
        let written: WrittenSettings = reader::read(&mut tree, mistakes);
        let written = written.routes.and_then(|mut routes| routes.remove(stem));
        let mut checker = Checker::new(&tree, self.environment, mistakes);
        let files = checker.files();
        let mut settings = written?.check(stem, &self.settings.limits, &mut checker.at(ROUTES).at(stem));
        if let Some(settings) = &mut settings {
            settings.backend.share_parts(&mut self.shared_parts);
        }
        if let Some(hidden) = &mut self.hidden {
            hidden.add_tree(&tree);
        }
        let warnings = mistakes.warned()[warned..].to_vec();
        self.add(stem, CheckedRoute { settings: Arc::new(settings?), files, warnings });
        self.routes.get(stem)
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
        reference::resolve(&mut tree, &mut Vec::new(), self.environment, mistakes);
        Some(tree)
    }

    /// The settings with all routes, if there is no mistake. `text_of` gives the file of a route that clashes with
    /// another.
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
        let mut settings = self.settings;
        for CheckedRoute { settings: route, files, .. } in self.routes.into_values() {
            settings.routes.push(route);
            settings.files.extend(files.paths);
        }
        settings.files.sort();
        settings.files.dedup();
        settings.hidden = self.hidden.unwrap_or_default();
        settings.warnings = mistakes.warnings();
        mistakes.into_result(settings)
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

fn parsed(document: &Document, mistakes: &mut Mistakes) -> Option<Node> {
    let source: Arc<str> = document.source.as_str().into();
    let at = |line| Place { source: Arc::clone(&source), line };
    let Parsed { mut root, duplicates } = match yaml::parse(&document.text, &source) {
        Ok(parsed) => parsed,
        Err(Unfit { line, problem, expected }) => {
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

/// Takes `defaults` out of the tree, after its mistakes of form have been reported once for all routes.
fn take_defaults(tree: &mut Node, mistakes: &mut Mistakes) -> Node {
    let path = [DEFAULTS.to_owned()];
    let Some(defaults) = tree.remove(&path) else { return Node::empty() };
    let mut alone = Node::with_child(DEFAULTS, defaults);
    let _: WrittenSettings = reader::read(&mut alone, mistakes);
    alone.remove(&path).unwrap_or_else(Node::empty)
}

/// Gives each route what `defaults` says about the backend that the route has.
fn lay_beneath_routes(defaults: &Node, tree: &mut Node) {
    let Content::Table(sections) = &defaults.content else { return };
    let Content::Table(root) = &mut tree.content else { return };
    let Some(Content::Table(routes)) = root.get_mut(ROUTES).map(|routes| &mut routes.content) else { return };
    for route in routes.values_mut() {
        let Content::Table(keys) = &mut route.content else { continue };
        for (section, defaults) in sections {
            if let Some(own) = keys.get_mut(section) {
                own.fill(defaults);
            }
        }
    }
}
