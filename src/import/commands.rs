//! Commands of a shell, as documents show them: calls of an Admin API by `curl`, and `docker run`.

use crate::{
    settings::foreign::{self, ForeignNode, Peer},
    text::command_line,
};

/// Commands of one text.
const MAX_COMMANDS: usize = 1_000;
/// Bytes of a text with commands.
const MAX_TEXT_BYTES: usize = 1 << 20;

/// A command, in words, with the line of its first.
pub struct Command {
    pub words: Vec<String>,
    pub line: usize,
}

/// The commands of a text: those on a line of their own, continued by `\` at its end or by an open quote.
pub fn in_text(text: &str) -> Vec<Command> {
    let mut commands = Vec::new();
    let names_a_program = text.contains("curl") || text.contains("sigv4-proxy");
    if text.len() > MAX_TEXT_BYTES || !names_a_program {
        return commands;
    }
    let (mut pending, mut first_line, mut quote) = (String::new(), 1, None);
    for (at, line) in text.lines().enumerate() {
        if quote.is_none() && line.trim_start().starts_with('#') {
            continue;
        }
        if pending.is_empty() {
            first_line = at + 1;
        }
        let continued = line.trim_end().strip_suffix('\\').filter(|_| quote.is_none());
        let line = continued.unwrap_or(line);
        quote = quote_after(quote, line);
        pending.extend([line, if continued.is_some() { " " } else { "\n" }]);
        if continued.is_none() && quote.is_none() {
            commands.extend(command(&std::mem::take(&mut pending), first_line));
        }
        if commands.len() == MAX_COMMANDS {
            return commands;
        }
    }
    commands.extend(command(&pending, first_line));
    commands
}

fn command(text: &str, line: usize) -> Option<Command> {
    Some(Command { words: without_prompt(command_line::split(text).ok()?), line })
}

fn without_prompt(mut words: Vec<String>) -> Vec<String> {
    if words.first().is_some_and(|word| word == "$" || word == "#") {
        words.remove(0);
    }
    words
}

/// The quote that is open after a line.
fn quote_after(mut open: Option<char>, line: &str) -> Option<char> {
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        match open {
            None if matches!(char, '\'' | '"') => open = Some(char),
            None | Some('"') if char == '\\' => drop(chars.next()),
            Some(quote) if char == quote => open = None,
            _ => {}
        }
    }
    open
}

/// The entity that a `curl` sends to an Admin API.
pub fn request(command: &Command) -> Option<(Peer, ForeignNode)> {
    if command.words.first()? != "curl" {
        return None;
    }
    let (mut url, mut data, mut words) = (None, Vec::new(), command.words.iter().skip(1));
    while let Some(word) = words.next() {
        let (option, value) = match word.split_once('=').filter(|_| word.starts_with("--")) {
            Some((option, value)) => (option, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        match option {
            "-d" | "--data" | "--data-raw" | "--data-binary" | "--data-urlencode" | "-F" | "--form" => {
                data.push(value.or_else(|| words.next().cloned())?);
            }
            "-X" | "--request" | "-H" | "--header" | "-u" | "--user" | "-o" | "--output" => {
                words.next();
            }
            "--url" => url = value.or_else(|| words.next().cloned()),
            word if word.starts_with('-') => {}
            word => url = url.or_else(|| Some(word.to_owned())),
        }
    }
    let (url, first) = (url?, data.first()?);
    if let Some((_, rest)) = url.split_once("/apisix/admin/") {
        let value = foreign::parse(first).ok()?.into_iter().next().filter(ForeignNode::is_table)?;
        let key = format!("/apisix/{}", rest.trim_matches('/'));
        let kind = rest.trim_matches('/').split('/').next()?.to_owned();
        let stored = ForeignNode::table(vec![
            // without an id in the path, the body has it
            (
                "key".to_owned(),
                ForeignNode::of_text(if rest.contains('/') { key } else { format!("/apisix/{kind}/") }),
            ),
            ("value".to_owned(), value),
        ]);
        return Some((Peer::Apisix, stored));
    }
    kong_request(&url, &data).map(|document| (Peer::Kong, document))
}

/// The entity of a form or JSON for Kong's Admin API, with the entity that the path names.
fn kong_request(url: &str, data: &[String]) -> Option<ForeignNode> {
    let (_, rest) = url.split_once("://").unwrap_or(("", url));
    let path: Vec<&str> =
        rest.split(['?', '#']).next()?.split('/').skip(1).filter(|part| !part.is_empty()).collect();
    let first = data.first()?;
    let mut entity = match foreign::parse(first).ok().and_then(|documents| documents.into_iter().next()) {
        Some(node) if node.is_table() && first.trim_start().starts_with('{') => node,
        _ => form(data),
    };
    let (list, owner) = match path[..] {
        [.., owner @ ("services" | "routes" | "apis"), id, list @ ("plugins" | "routes")] => {
            (list, Some((owner.trim_end_matches('s'), id)))
        }
        [.., list @ ("services" | "routes" | "plugins" | "apis")]
        | [.., list @ ("services" | "routes" | "plugins" | "apis"), _] => (list, None),
        _ => return None,
    };
    if let Some((owner, id)) = owner {
        let mut entries = entity.entries().to_vec();
        let id = ForeignNode::table(vec![("name".to_owned(), ForeignNode::of_text(id))]);
        entries.push((owner.to_owned(), id));
        entity = ForeignNode::table(entries);
    }
    Some(ForeignNode::table(vec![(list.to_owned(), ForeignNode::list(vec![entity]))]))
}

/// A form: `config.aws_key=v` is a key of a table, `paths[]=/a` and `paths[1]=/a` are items of a list.
fn form(data: &[String]) -> ForeignNode {
    let mut entries: Vec<(String, ForeignNode)> = Vec::new();
    // one text may hold several pairs, unless it is encoded by `--data-urlencode`
    for (name, value) in data.iter().filter_map(|pair| pair.split_once('=')) {
        let value = ForeignNode::of_text(value);
        match name.split_once('.') {
            Some((table, key)) => {
                let own = entries.iter().find(|(name, _)| name == table);
                let mut below = own.map_or(&[][..], |(_, node)| node.entries()).to_vec();
                below.push((key.to_owned(), value));
                set(&mut entries, table, ForeignNode::table(below));
            }
            None => match name.split_once('[') {
                Some((list, _)) => {
                    let own = entries.iter().find(|(name, _)| name == list);
                    let mut items = own.map_or(&[][..], |(_, node)| node.items()).to_vec();
                    items.push(value);
                    set(&mut entries, list, ForeignNode::list(items));
                }
                None => set(&mut entries, name, value),
            },
        }
    }
    ForeignNode::table(entries)
}

fn set(entries: &mut Vec<(String, ForeignNode)>, key: &str, node: ForeignNode) {
    match entries.iter_mut().find(|(name, _)| name == key) {
        Some((_, own)) => *own = node,
        None => entries.push((key.to_owned(), node)),
    }
}
