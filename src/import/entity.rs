//! An object of a gateway's configuration, such as a route, a service or a plugin.

use std::sync::Arc;

use crate::settings::foreign::ForeignNode;

/// An object and its file.
#[derive(Clone)]
pub struct Entity {
    pub node: ForeignNode,
    pub file: Arc<str>,
}

impl Entity {
    /// The value of a key as text.
    pub fn text(&self, key: &str) -> Option<String> {
        self.node.get(key).and_then(ForeignNode::scalar)
    }
}
