//! YAML of any program as a tree, built from the parser's events with limits.
//!
//! The builder takes the events one by one and counts before it builds: a few bytes of nested lists overflow
//! the stack of a recursive reader, and a few bytes of nested aliases fill the memory. What keys, documents
//! and duplicates mean is left to the readers of the tree.

use std::{collections::HashMap, rc::Rc};

use yaml_rust2::{
    Event, ScanError, Yaml, YamlLoader,
    parser::{MarkedEventReceiver as _, Parser, Tag},
    scanner::{Marker, TScalarStyle},
};

use super::node_size::{Excess, NodeSize};

/// The parser's message about a text with more levels of brackets than it counts.
const PARSER_LEVELS: &str = "recursion limit exceeded";

/// The largest tree that is built.
#[derive(Debug, Clone, Copy)]
pub struct YamlLimits {
    /// Levels of lists and tables, those behind aliases too: the readers of the tree recurse.
    pub levels: usize,
    /// Values with keys, and bytes of all texts, those behind aliases each time.
    pub size: NodeSize,
}

/// The reason why no tree was built, and its line, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YamlFault {
    pub line: usize,
    pub kind: YamlFaultKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum YamlFaultKind {
    /// With the parser's message.
    Syntax(String),
    Levels,
    Size(Excess),
    RecursiveAlias,
    /// A key that is no scalar: `a list`, `a table` or `an alias`.
    Key(&'static str),
}

impl YamlFault {
    fn new(mark: Marker, kind: YamlFaultKind) -> Self {
        Self { line: mark.line(), kind }
    }
}

impl From<ScanError> for YamlFault {
    fn from(error: ScanError) -> Self {
        let kind = match error.info() {
            PARSER_LEVELS => YamlFaultKind::Levels,
            info => YamlFaultKind::Syntax(info.to_owned()),
        };
        Self::new(*error.marker(), kind)
    }
}

/// One of the documents of a text. Has no `Debug`, as the next types: it may hold a secret.
pub struct YamlDocument {
    /// Of `---`, or of the first value.
    pub line: usize,
    pub root: YamlNode,
}

#[derive(Clone)]
pub struct YamlNode {
    pub value: YamlValue,
    /// Of its first character, or of the alias.
    pub line: usize,
    pub is_alias: bool,
}

#[derive(Clone)]
pub enum YamlValue {
    Null,
    Boolean(bool),
    Integer(i64),
    /// As it is written; infinity and NaN (YAML 1.2.2, 10.3.2) are among them.
    Real(String),
    Text(String),
    List(Rc<Vec<YamlNode>>),
    /// In the order of the text, with duplicate keys and merge keys.
    Table(Rc<Vec<(YamlKey, YamlNode)>>),
}

#[derive(Clone)]
pub struct YamlKey {
    pub text: String,
    /// The key as a scalar.
    pub value: YamlValue,
    /// Without quotes.
    pub is_plain: bool,
    pub line: usize,
}

/// Builds the documents of a text.
///
/// # Errors
/// The first reason why no tree is built.
pub fn documents(text: &str, limits: YamlLimits) -> Result<Vec<YamlDocument>, YamlFault> {
    let mut parser = Parser::new_from_str(text);
    let mut builder = TreeBuilder {
        limits,
        documents: Vec::new(),
        document_line: 1,
        open: Vec::new(),
        anchors: HashMap::new(),
        size: NodeSize::default(),
    };
    loop {
        // `Parser::load` recurses for each level without a limit
        let (event, mark) = parser.next_token()?;
        if event == Event::StreamEnd {
            return Ok(builder.documents);
        }
        builder.take(event, mark)?;
    }
}

/// A list or table whose end has not been read.
struct OpenNode {
    anchor: usize,
    line: usize,
    /// Of all values before it.
    size_before: NodeSize,
    /// Of the deepest item so far.
    levels_below: usize,
    items: OpenItems,
}

enum OpenItems {
    List(Vec<YamlNode>),
    Table {
        entries: Vec<(YamlKey, YamlNode)>,
        /// The key whose value comes next.
        key: Option<YamlKey>,
    },
}

/// A value that aliases may repeat.
#[derive(Clone)]
struct AnchoredValue {
    value: YamlValue,
    size: NodeSize,
    levels: usize,
}

struct TreeBuilder {
    limits: YamlLimits,
    documents: Vec<YamlDocument>,
    document_line: usize,
    open: Vec<OpenNode>,
    anchors: HashMap<usize, AnchoredValue>,
    size: NodeSize,
}

impl TreeBuilder {
    fn take(&mut self, event: Event, mark: Marker) -> Result<(), YamlFault> {
        match event {
            Event::DocumentStart => {
                self.document_line = mark.line();
                self.anchors.clear();
            }
            Event::Scalar(text, style, anchor, tag) => {
                let size = NodeSize::of_text(&text);
                self.count(size, mark)?;
                if self.expects_key() {
                    self.key(text, style, anchor, tag, mark);
                } else {
                    let value = AnchoredValue { value: scalar(text, style, tag, mark), size, levels: 0 };
                    self.close(value, anchor, mark.line());
                }
            }
            Event::Alias(_) if self.expects_key() => {
                return Err(YamlFault::new(mark, YamlFaultKind::Key("an alias")));
            }
            Event::Alias(anchor) => {
                let Some(AnchoredValue { value, size, levels }) = self.anchors.get(&anchor).cloned() else {
                    return Err(YamlFault::new(mark, YamlFaultKind::RecursiveAlias));
                };
                self.count(size, mark)?;
                self.check_levels(levels, mark)?;
                self.add(YamlNode { value, line: mark.line(), is_alias: true }, levels);
            }
            Event::SequenceStart(anchor, _) => self.open(anchor, OpenItems::List(Vec::new()), mark)?,
            Event::MappingStart(anchor, _) => {
                self.open(anchor, OpenItems::Table { entries: Vec::new(), key: None }, mark)?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(OpenNode { anchor, line, size_before, levels_below, items }) = self.open.pop() {
                    let value = match items {
                        OpenItems::List(items) => YamlValue::List(Rc::new(items)),
                        OpenItems::Table { entries, .. } => YamlValue::Table(Rc::new(entries)),
                    };
                    let size = self.size.since(size_before);
                    self.close(AnchoredValue { value, size, levels: levels_below + 1 }, anchor, line);
                }
            }
            Event::DocumentEnd | Event::StreamStart | Event::StreamEnd | Event::Nothing => {}
        }
        Ok(())
    }

    fn expects_key(&self) -> bool {
        matches!(self.open.last(), Some(OpenNode { items: OpenItems::Table { key: None, .. }, .. }))
    }

    fn key(&mut self, text: String, style: TScalarStyle, anchor: usize, tag: Option<Tag>, mark: Marker) {
        let value = scalar(text.clone(), style, tag, mark);
        if anchor > 0 {
            let size = NodeSize::of_text(&text);
            self.anchors.insert(anchor, AnchoredValue { value: value.clone(), size, levels: 0 });
        }
        if let Some(OpenNode { items: OpenItems::Table { key, .. }, .. }) = self.open.last_mut() {
            *key = Some(YamlKey { text, value, is_plain: style == TScalarStyle::Plain, line: mark.line() });
        }
    }

    fn open(&mut self, anchor: usize, items: OpenItems, mark: Marker) -> Result<(), YamlFault> {
        if self.expects_key() {
            let found = if matches!(items, OpenItems::List(_)) { "a list" } else { "a table" };
            return Err(YamlFault::new(mark, YamlFaultKind::Key(found)));
        }
        self.check_levels(1, mark)?;
        let size_before = self.size;
        self.open.push(OpenNode { anchor, line: mark.line(), size_before, levels_below: 0, items });
        self.count(NodeSize::EMPTY, mark)
    }

    /// Checks that a value with so many levels fits below the open ones.
    fn check_levels(&self, levels: usize, mark: Marker) -> Result<(), YamlFault> {
        if self.open.len() + levels > self.limits.levels {
            return Err(YamlFault::new(mark, YamlFaultKind::Levels));
        }
        Ok(())
    }

    fn count(&mut self, size: NodeSize, mark: Marker) -> Result<(), YamlFault> {
        self.size
            .add(size, self.limits.size)
            .map_err(|excess| YamlFault::new(mark, YamlFaultKind::Size(excess)))
    }

    /// Ends a value, which an alias may repeat from here on.
    fn close(&mut self, anchored: AnchoredValue, anchor: usize, line: usize) {
        if anchor > 0 {
            self.anchors.insert(anchor, anchored.clone());
        }
        let AnchoredValue { value, levels, .. } = anchored;
        self.add(YamlNode { value, line, is_alias: false }, levels);
    }

    /// Adds a whole value to the list or table around it.
    fn add(&mut self, node: YamlNode, levels: usize) {
        let Some(open) = self.open.last_mut() else {
            self.documents.push(YamlDocument { line: self.document_line, root: node });
            return;
        };
        open.levels_below = open.levels_below.max(levels);
        match &mut open.items {
            OpenItems::List(items) => items.push(node),
            OpenItems::Table { entries, key } => entries.extend(key.take().map(|key| (key, node))),
        }
    }
}

/// A scalar as the parser's own loader resolves it.
fn scalar(text: String, style: TScalarStyle, tag: Option<Tag>, mark: Marker) -> YamlValue {
    let mut loader = YamlLoader::default();
    loader.on_event(Event::Scalar(text, style, 0, tag), mark);
    loader.on_event(Event::DocumentEnd, mark);
    match loader.documents().first().cloned() {
        Some(Yaml::Boolean(value)) => YamlValue::Boolean(value),
        Some(Yaml::Integer(value)) => YamlValue::Integer(value),
        Some(Yaml::Real(text)) => YamlValue::Real(text),
        Some(Yaml::String(text)) => YamlValue::Text(text),
        _ => YamlValue::Null,
    }
}
