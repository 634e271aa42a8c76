//! The environment of a container, and its variables in the arguments.

use secrecy::{ExposeSecret as _, SecretString};

use crate::{import::values::shown, settings::foreign::ForeignNode};

/// The variables of a container that are looked up.
const MAX_VARIABLES: usize = 1_000;
/// Bytes of a text with variables: each value may name two others, and so grow without a limit.
const MAX_EXPANDED: usize = 64 << 10;

/// A variable of a container's environment.
pub struct Variable {
    pub name: String,
    /// `None` if it comes from elsewhere, such as a Secret.
    pub value: Option<SecretString>,
}

/// The environment of a container.
#[derive(Default)]
pub struct Variables {
    pub listed: Vec<Variable>,
    /// Objects of Kubernetes and files with further variables, as the report names them.
    pub elsewhere: Vec<String>,
}

impl Variables {
    /// The variables of a container of Kubernetes, Docker Compose or ECS.
    pub fn of_container(node: &ForeignNode) -> Self {
        let mut variables = Self::default();
        for key in ["env", "environment", "secrets"] {
            variables.listed.extend(node.get(key).map(listed).unwrap_or_default());
        }
        for source in node.get("envFrom").map_or(&[][..], ForeignNode::items) {
            for (key, kind) in [("secretRef", "Secret"), ("configMapRef", "ConfigMap")] {
                let name = source.at(&[key, "name"]).and_then(ForeignNode::scalar);
                variables.elsewhere.extend(name.map(|name| format!("{kind} `{}`", shown(&name))));
            }
        }
        for key in ["env_file", "environmentFiles"] {
            let files = node.get(key).map_or(&[][..], ForeignNode::each).iter();
            let names = files.filter_map(|file| {
                file.scalar().or_else(|| file.get("path").or_else(|| file.get("value"))?.scalar())
            });
            variables.elsewhere.extend(names.map(|name| format!("file `{}`", shown(&name))));
        }
        variables
    }

    /// The variable of a name. The last one wins, as in a process.
    pub fn get(&self, name: &str) -> Option<&Variable> {
        self.listed.iter().rev().take(MAX_VARIABLES).find(|variable| variable.name == name)
    }

    fn value(&self, name: &str) -> Option<&str> {
        Some(self.get(name)?.value.as_ref()?.expose_secret())
    }

    /// Replaces `$(NAME)` by the variable's value, as Kubernetes does in `command`, `args` and `env`: `$$` is
    /// `$`, and variables without a value here stay.
    pub fn expand<'a>(&'a self, text: &'a str) -> String {
        replace_references(text, |reference, behind| {
            if let Some(behind) = behind.strip_prefix('$') {
                return ("$", behind);
            }
            match behind.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
                Some((name, after)) => {
                    let whole = &reference[..reference.len() - after.len()];
                    (self.value(name).unwrap_or(whole), after)
                }
                None => ("$", behind),
            }
        })
    }

    /// Replaces `$(NAME)` in the values of the variables by those before them.
    pub fn expand_values(&mut self) {
        let mut before = Self::default();
        for Variable { name, value } in std::mem::take(&mut self.listed) {
            let value = value.map(|value| before.expand(value.expose_secret()).into());
            before.listed.push(Variable { name, value });
        }
        self.listed = before.listed;
    }

    /// Replaces `$NAME` and `${NAME}` in the text of `sh -c` by the variables' values; others stay.
    pub fn expand_shell<'a>(&'a self, text: &'a str) -> String {
        replace_references(text, |_, behind| {
            let braced = behind.strip_prefix('{').and_then(|inner| inner.split_once('}'));
            let end = behind.find(|char: char| !is_of_name(char)).unwrap_or(behind.len());
            let (name, after) = braced.unwrap_or_else(|| behind.split_at(end));
            self.value(name).map_or(("$", behind), |value| (value, after))
        })
    }
}

/// Replaces each `$` with what belongs to it. `replacement` gets the text from the `$` and the one behind it,
/// and returns the new text and what is read next. A text that grows beyond the limit stays as it is.
fn replace_references<'a>(
    text: &'a str,
    replacement: impl Fn(&'a str, &'a str) -> (&'a str, &'a str),
) -> String {
    let (mut replaced, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find('$') {
        replaced.push_str(&rest[..at]);
        let (new, next) = replacement(&rest[at..], &rest[at + 1..]);
        replaced.push_str(new);
        rest = next;
        if replaced.len() > MAX_EXPANDED {
            return text.to_owned();
        }
    }
    replaced + rest
}

fn is_of_name(char: char) -> bool {
    char.is_ascii_alphanumeric() || char == '_'
}

/// True for the name of a variable before a command.
pub fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Variables as a list of `{name, value}` or `NAME=value`, or as a table.
fn listed(node: &ForeignNode) -> Vec<Variable> {
    let of_items = node.items().iter().filter_map(|item| match item.text() {
        Some(text) => Some(match text.split_once('=') {
            Some((name, value)) => Variable { name: name.to_owned(), value: Some(value.into()) },
            None => Variable { name: text.to_owned(), value: None },
        }),
        None => {
            let name = item.get("name").and_then(ForeignNode::scalar)?;
            Some(Variable { name, value: item.get("value").and_then(ForeignNode::scalar).map(Into::into) })
        }
    });
    let of_entries = node
        .entries()
        .iter()
        .map(|(name, value)| Variable { name: name.clone(), value: value.scalar().map(Into::into) });
    of_items.chain(of_entries).collect()
}

/// The variables in a text whose values are not known: `$(NAME)`, `${NAME}`, `$NAME` in capital letters, and
/// `{{ … }}` of a template.
pub fn variables_in(text: &str) -> Vec<&str> {
    let (mut found, mut rest) = (Vec::new(), text);
    while let Some(start) = rest.find(['$', '{']) {
        let from = &rest[start..];
        let length = length_of_variable(from);
        found.extend(length.map(|length| &from[..length]));
        rest = &from[length.unwrap_or(1)..];
    }
    found
}

/// The bytes of the variable that a text begins with.
fn length_of_variable(text: &str) -> Option<usize> {
    let to = |end: &str| text.find(end).map_or(text.len(), |at| at + end.len());
    if text.starts_with("{{") {
        return Some(to("}}"));
    }
    let behind = text.strip_prefix('$')?;
    match behind.chars().next()? {
        '(' => Some(to(")")),
        '{' => Some(to("}")),
        'A'..='Z' | '_' => Some(1 + behind.find(|char| !is_of_name(char)).unwrap_or(behind.len())),
        _ => None,
    }
}

/// The name of a variable that `variables_in` found; none of an expression.
pub fn name_of(variable: &str) -> Option<&str> {
    let name = variable.strip_prefix('$')?.trim_matches(['(', ')', '{', '}']);
    name.chars().all(is_of_name).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(values: &[(&str, Option<&str>)]) -> Variables {
        let listed = values
            .iter()
            .map(|(name, value)| Variable { name: (*name).to_owned(), value: value.map(Into::into) });
        Variables { listed: listed.collect(), elsewhere: Vec::new() }
    }

    #[test]
    fn variables_are_expanded_as_by_kubernetes() {
        let variables = variables(&[("REGION", Some("old")), ("REGION", Some("eu-west-1")), ("KEY", None)]);
        for (text, expanded) in [
            ("$($(REGION))", "$($(REGION))"),
            ("aps.$(REGION).amazonaws.com", "aps.eu-west-1.amazonaws.com"),
            ("$(REGION)$(REGION)", "eu-west-1eu-west-1"),
            ("$$(REGION)", "$(REGION)"),
            ("$(KEY) $(OTHER) $REGION ${REGION}", "$(KEY) $(OTHER) $REGION ${REGION}"),
            ("$(REGION", "$(REGION"),
            ("100$", "100$"),
        ] {
            assert_eq!(variables.expand(text), expanded, "{text}");
        }
    }

    #[test]
    fn a_value_may_name_the_variables_before_it() {
        let mut variables =
            variables(&[("A", Some("a")), ("B", Some("$(A)-b")), ("C", Some("$(B)-$(D)")), ("D", Some("d"))]);
        variables.expand_values();
        assert_eq!(variables.value("B"), Some("a-b"));
        assert_eq!(variables.value("C"), Some("a-b-$(D)"));
    }

    #[test]
    fn values_that_double_do_not_grow_without_a_limit() {
        let mut variables = variables(&[("A0", Some("0123456789"))]);
        for at in 1..64 {
            let value = format!("$(A{before})$(A{before})", before = at - 1);
            variables.listed.push(Variable { name: format!("A{at}"), value: Some(value.into()) });
        }
        variables.expand_values();
        let longest = variables.listed.iter().filter_map(|variable| variable.value.as_ref());
        assert!(longest.map(|value| value.expose_secret().len()).max() <= Some(2 * MAX_EXPANDED));
    }

    #[test]
    fn variables_of_a_shell_are_expanded_by_name_and_in_braces() {
        let variables = variables(&[("REGION", Some("eu-west-1")), ("KEY", None)]);
        for (text, expanded) in [
            ("--region $REGION --host a.${REGION}.b", "--region eu-west-1 --host a.eu-west-1.b"),
            ("$REGION_2 $KEY ${KEY} $1 $", "$REGION_2 $KEY ${KEY} $1 $"),
        ] {
            assert_eq!(variables.expand_shell(text), expanded, "{text}");
        }
    }

    #[test]
    fn variables_without_values_are_found_in_each_spelling() {
        for (text, found) in [
            ("a.$(REGION).b", &["$(REGION)"][..]),
            ("a.${REGION:-x}.b$(C)", &["${REGION:-x}", "$(C)"]),
            ("$REGION.b", &["$REGION"]),
            ("a.{{ .Values.region }}.b", &["{{ .Values.region }}"]),
            ("a.$(aws", &["$(aws"]),
            ("a", &[]),
            ("a$", &[]),
            ("pa$word {a}", &[]),
        ] {
            assert_eq!(variables_in(text), found, "{text}");
        }
        assert_eq!(name_of("$(REGION)"), Some("REGION"));
        assert_eq!(name_of("${REGION:-x}"), None);
        assert_eq!(name_of("{{ .Values.region }}"), None);
    }
}
