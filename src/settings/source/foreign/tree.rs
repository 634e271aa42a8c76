//! YAML or JSON of another program as a tree, in which each value has its line.
//!
//! More is accepted than in settings: several documents, merge keys (`<<`), JSON with a comma too many, keys
//! that are numbers.

use std::{borrow::Cow, collections::HashMap, rc::Rc};

use super::super::yaml::{
    node_size::{Excess, NodeSize},
    tree::{self, YamlFault, YamlFaultKind, YamlKey, YamlLimits, YamlNode, YamlValue},
};

/// An Envoy configuration has about thirty levels, a dump of a thousand routes fifty thousand values.
const LIMITS: YamlLimits = YamlLimits { levels: 64, size: NodeSize { values: 500_000, bytes: 32 << 20 } };
/// Keys of one table, whose search is linear.
const MAX_KEYS: usize = 5_000;

/// A value and its line. Has no `Debug`: it may hold a secret.
#[derive(Clone)]
pub struct ForeignNode {
    pub value: ForeignValue,
    /// Counted from 1; 0 in JSON, whose parser has no lines.
    pub line: usize,
}

#[derive(Clone)]
pub enum ForeignValue {
    Null,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Rc<Vec<ForeignNode>>),
    /// The entries in the order of the file, each key once.
    Table(Rc<Vec<(String, ForeignNode)>>),
}

/// The reason why a text is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignError {
    /// Counted from 1.
    pub line: usize,
    /// As one clause.
    pub problem: String,
}

impl From<YamlFault> for ForeignError {
    fn from(YamlFault { line, kind }: YamlFault) -> Self {
        let YamlLimits { levels, size: NodeSize { values, bytes } } = LIMITS;
        let too_large = |limit| format!("more than {limit}, those behind aliases each time");
        let problem = match kind {
            YamlFaultKind::Syntax(message) => format!("not valid YAML: {message}"),
            YamlFaultKind::Levels => {
                format!("nested too deep: more than {levels} levels of lists and tables")
            }
            YamlFaultKind::Size(Excess::Values) => too_large(format!("{values} keys and values")),
            YamlFaultKind::Size(Excess::Bytes) => too_large(format!("{bytes} bytes of text")),
            YamlFaultKind::RecursiveAlias => "a recursive alias: it is inside its own anchor".to_owned(),
            YamlFaultKind::Key(found @ "an alias") => format!("{found} as a key"),
            YamlFaultKind::Key(_) => {
                "a list or table as a key; is this a template that was not rendered?".to_owned()
            }
        };
        Self { line, problem }
    }
}

impl ForeignNode {
    /// The value of a key, unless it is null.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entries()
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, node)| node)
            .filter(|node| !node.is_null())
    }

    /// The value at a path of keys.
    pub fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// The entries of a table; none of another value.
    pub fn entries(&self) -> &[(String, Self)] {
        if let ForeignValue::Table(entries) = &self.value { entries } else { &[] }
    }

    /// The items of a list; none of another value.
    pub fn items(&self) -> &[Self] {
        if let ForeignValue::List(items) = &self.value { items } else { &[] }
    }

    /// The items of a list, or the value alone.
    pub fn each(&self) -> &[Self] {
        if let ForeignValue::List(items) = &self.value { items } else { std::slice::from_ref(self) }
    }

    pub fn text(&self) -> Option<&str> {
        if let ForeignValue::Text(text) = &self.value { Some(text) } else { None }
    }

    /// The value as text, also of a number or boolean: unquoted words of YAML may be either.
    pub fn scalar(&self) -> Option<String> {
        match &self.value {
            ForeignValue::Text(text) => Some(text.clone()),
            ForeignValue::Integer(number) => Some(number.to_string()),
            ForeignValue::Float(number) => Some(number.to_string()),
            ForeignValue::Boolean(value) => Some(value.to_string()),
            _ => None,
        }
    }

    /// A boolean, also as a text, as in forms.
    pub fn boolean(&self) -> Option<bool> {
        match &self.value {
            ForeignValue::Boolean(value) => Some(*value),
            ForeignValue::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// A number, also as a text, as in forms.
    pub fn number(&self) -> Option<f64> {
        match &self.value {
            #[expect(clippy::cast_precision_loss, reason = "milliseconds and ports are far below 2^53")]
            ForeignValue::Integer(number) => Some(*number as f64),
            ForeignValue::Float(number) => Some(*number),
            ForeignValue::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self.value, ForeignValue::Null)
    }

    pub fn is_table(&self) -> bool {
        matches!(self.value, ForeignValue::Table(_))
    }

    pub fn is_list(&self) -> bool {
        matches!(self.value, ForeignValue::List(_))
    }

    /// A table without a line, as the next ones.
    pub fn table(entries: Vec<(String, Self)>) -> Self {
        Self { value: ForeignValue::Table(Rc::new(entries)), line: 0 }
    }

    pub fn list(items: Vec<Self>) -> Self {
        Self { value: ForeignValue::List(Rc::new(items)), line: 0 }
    }

    pub fn of_text(text: impl Into<String>) -> Self {
        Self { value: ForeignValue::Text(text.into()), line: 0 }
    }
}

/// Parses the documents of a text.
///
/// # Errors
/// The first reason why the text is refused.
pub fn parse(text: &str) -> Result<Vec<ForeignNode>, ForeignError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_start().starts_with(['{', '['])
        && let Ok(value) = serde_json::from_str::<serde_json::Value>(text)
    {
        return Ok(vec![of_json(value, 0, &mut NodeSize::default())?]);
    }
    // YAML allows no tabs in indentation, and JSON does
    let is_json = text.trim_start().starts_with(['{', '[']);
    let text = if is_json { Cow::Owned(with_spaces(text)) } else { Cow::Borrowed(text) };
    let documents = tree::documents(&text, LIMITS)?;
    documents.into_iter().map(|document| of_yaml(&document.root, document.root.line)).collect()
}

/// The text with blanks in the place of tabs at the beginnings of lines.
fn with_spaces(text: &str) -> String {
    let line = |line: &str| {
        let rest = line.trim_start_matches([' ', '\t']);
        " ".repeat(line.len() - rest.len()) + rest
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// The value of a node. An entry of a table has the line of its key.
fn of_yaml(node: &YamlNode, line: usize) -> Result<ForeignNode, ForeignError> {
    let value = match &node.value {
        YamlValue::Null => ForeignValue::Null,
        YamlValue::Boolean(value) => ForeignValue::Boolean(*value),
        YamlValue::Integer(number) => ForeignValue::Integer(*number),
        YamlValue::Real(text) => {
            let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
            number.map_or_else(|| ForeignValue::Text(text.clone()), ForeignValue::Float)
        }
        YamlValue::Text(text) => ForeignValue::Text(text.clone()),
        YamlValue::List(items) => {
            let items: Result<Vec<_>, _> = items.iter().map(|item| of_yaml(item, item.line)).collect();
            ForeignValue::List(Rc::new(items?))
        }
        YamlValue::Table(entries) => table(entries)?,
    };
    Ok(ForeignNode { value, line })
}

fn table(entries: &[(YamlKey, YamlNode)]) -> Result<ForeignValue, ForeignError> {
    let (mut table, mut merged): (Vec<(String, ForeignNode)>, Vec<_>) = (Vec::new(), Vec::new());
    let mut positions: HashMap<&str, usize> = HashMap::new();
    for (key, value) in entries {
        let node = of_yaml(value, key.line)?;
        if key.text == "<<" {
            merged.push(node);
        } else if let Some(&position) = positions.get(&*key.text) {
            // the last one wins, as in the parsers of the peers
            table[position].1 = node;
        } else if table.len() == MAX_KEYS {
            return Err(ForeignError {
                line: key.line,
                problem: format!("more than {MAX_KEYS} keys in a table"),
            });
        } else {
            positions.insert(&key.text, table.len());
            table.push((key.text.clone(), node));
        }
    }
    Ok(merge(table, &merged))
}

/// Counts as the builder of YAML does.
fn of_json(value: serde_json::Value, level: usize, size: &mut NodeSize) -> Result<ForeignNode, ForeignError> {
    let fault = |kind| YamlFault { line: 1, kind };
    if level > LIMITS.levels {
        return Err(fault(YamlFaultKind::Levels).into());
    }
    size.add(value.as_str().map_or(NodeSize::EMPTY, NodeSize::of_text), LIMITS.size)
        .map_err(|excess| fault(YamlFaultKind::Size(excess)))?;
    let value = match value {
        serde_json::Value::Null => ForeignValue::Null,
        serde_json::Value::Bool(value) => ForeignValue::Boolean(value),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(number) => ForeignValue::Integer(number),
            None => ForeignValue::Float(number.as_f64().unwrap_or(f64::MAX)),
        },
        serde_json::Value::String(text) => ForeignValue::Text(text),
        serde_json::Value::Array(items) => {
            let items: Result<Vec<_>, _> =
                items.into_iter().map(|item| of_json(item, level + 1, size)).collect();
            ForeignValue::List(Rc::new(items?))
        }
        serde_json::Value::Object(entries) => {
            let mut table = Vec::with_capacity(entries.len());
            for (key, value) in entries {
                table.push((key, of_json(value, level + 1, size)?));
            }
            ForeignValue::Table(Rc::new(table))
        }
    };
    Ok(ForeignNode { value, line: 0 })
}

/// A table with the entries of its merge keys that it does not have itself (YAML's merge type,
/// <https://yaml.org/type/merge.html>): of several tables the first wins.
fn merge(mut entries: Vec<(String, ForeignNode)>, merged: &[ForeignNode]) -> ForeignValue {
    for (key, node) in merged.iter().flat_map(ForeignNode::each).flat_map(ForeignNode::entries) {
        if entries.iter().all(|(name, _)| name != key) {
            entries.push((key.clone(), node.clone()));
        }
    }
    ForeignValue::Table(Rc::new(entries))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn one(text: &str) -> ForeignNode {
        let documents = parse(text).unwrap_or_else(|error| panic!("{error:?}"));
        assert_eq!(documents.len(), 1, "{text}");
        documents.into_iter().next().unwrap()
    }

    #[track_caller]
    fn refused(text: &str) -> String {
        let start = Instant::now();
        let error = parse(text).err().unwrap();
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
        error.problem
    }

    #[test]
    fn json_may_have_a_comma_too_many_tabs_and_surrogates() {
        let text = "{\n\t\"a\": [1, 2,],\n\t\"b\": {\"c\": \"x\\/y\",},\n}";
        let node = one(text);
        assert_eq!(node.at(&["a"]).unwrap().items().len(), 2);
        assert_eq!(node.at(&["b", "c"]).unwrap().text(), Some("x/y"));
        assert_eq!(one(r#"{"a": "\ud83d\ude00"}"#).get("a").unwrap().text(), Some("😀"));
    }

    #[test]
    fn merge_keys_and_anchors_are_followed_and_own_keys_win() {
        let node =
            one("a: &a { x: 1, y: 2 }\nb: &b { y: 3, z: 4 }\nc:\n  <<: [*a, *b]\n  x: 9\nd: { <<: *a }\n");
        let number = |path: &[&str]| node.at(path).and_then(ForeignNode::number);
        assert_eq!(number(&["c", "x"]), Some(9.0));
        assert_eq!(number(&["c", "y"]), Some(2.0));
        assert_eq!(number(&["c", "z"]), Some(4.0));
        assert_eq!(number(&["d", "y"]), Some(2.0));
    }

    #[test]
    fn values_have_the_lines_of_their_keys_and_documents_follow_each_other() {
        let documents = parse("a:\n  - b: 1\n    c: 2\n---\nd: 3\n").unwrap();
        assert_eq!(documents.len(), 2);
        assert_eq!(documents[0].get("a").unwrap().items()[0].get("c").unwrap().line, 3);
        assert_eq!(documents[1].get("d").unwrap().line, 5);
    }

    #[test]
    fn bombs_are_refused_before_they_are_built() {
        let mut laughs = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for (name, below) in ["b", "c", "d", "e", "f", "g"].iter().zip(["a", "b", "c", "d", "e", "f"]) {
            let items = vec![format!("*{below}"); 10].join(", ");
            laughs.extend([name, ": &", name, " [", &items, "]\n"]);
        }
        assert!(refused(&laughs).contains("keys and values"));
        let text = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), vec!["*a"; 40].join(", "));
        assert!(refused(&text).contains("bytes of text"));
        for deep in [
            format!("a: {}", "[".repeat(5000)),
            "[".repeat(100_000),
            "{\"a\":".repeat(5000),
            format!("{}1{}", "[".repeat(100), "]".repeat(100)),
            format!("a:\n{}", "- ".repeat(5000)),
        ] {
            assert!(refused(&deep).contains("nested too deep"), "{}", refused(&deep));
        }
        assert!(refused("a: &a [*a]\n").contains("recursive alias"));
        assert!(refused("a: &a { <<: *a }\n").contains("recursive alias"));
        assert!(refused("a: {{ .Values.key }}\n").contains("template"));
    }
}
