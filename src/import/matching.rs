//! Paths and methods of the peers in the form of `uri` and `methods`.

use super::{route::ImportedRoute, values::shown};
use crate::{settings::foreign::ForeignNode, text::uri_syntax::push_encoded};

/// Characters of a `uri` that stand for themselves, besides letters and digits.
const KEPT: &[u8] = b"/!\"$&'()+,-.:;<=>@[\\]^_`|~";

/// The `uri` for all paths that begin with a text, by whole segments.
pub fn prefix(text: &str) -> Result<String, String> {
    Ok(format!("{}*", literal(text)?))
}

/// A literal path as `uri`, with escapes where a `uri` needs them. Existing escapes stay.
pub fn literal(text: &str) -> Result<String, String> {
    if text.contains(['*', '?', '#']) {
        return Err(format!("the path `{}` has a `*`, `?` or `#`", shown(text)));
    }
    let mut encoded = Vec::with_capacity(text.len());
    for (at, part) in text.split('%').enumerate() {
        if at > 0 {
            encoded.push(b'%');
        }
        push_encoded(part.as_bytes(), KEPT, &mut encoded);
    }
    Ok(String::from_utf8_lossy(&encoded).into_owned())
}

/// The methods of a route, but for those that are never routed.
pub fn methods(node: &ForeignNode, imported: &mut ImportedRoute) -> Vec<String> {
    let written =
        node.get("methods").map_or(&[][..], ForeignNode::each).iter().filter_map(ForeignNode::scalar);
    let (never, methods): (Vec<String>, Vec<String>) = written
        .flat_map(|text| text.split(',').map(|text| text.trim().to_ascii_uppercase()).collect::<Vec<_>>())
        .partition(|method| matches!(&**method, "CONNECT" | "TRACE"));
    if !never.is_empty() {
        imported.left_out("methods", format!("{}: answered here, never routed", never.join(", ")));
        if methods.is_empty() {
            imported.problem("it has no other methods than CONNECT and TRACE, which are never routed");
        }
    }
    methods
}
