//! Behaviour that differs between the peers and the sidecar: one declaration for the tables of
//! `settings/MIGRATING.md` and for the reports of `import`.

mod apisix;
mod envoy;
mod kong;
mod other_plugins;
mod sigv4_proxy;

use super::feature::Feature;
use crate::settings::foreign::Peer;

pub use other_plugins::OTHER_PLUGINS;
pub use sigv4_proxy::FLAGS;

/// One behaviour that differs. Texts are Markdown, with links relative to the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Difference {
    pub topic: &'static str,
    /// At the peer; empty where it has nothing of the kind.
    pub before: &'static str,
    pub here: &'static str,
    /// The routes that it concerns: those with one of these features; every route if empty.
    pub when: &'static [Feature],
    /// The keys of the route that keep the peer's behaviour, if there are any.
    pub keep: Option<&'static str>,
}

/// The replacement of flags or plugins. Texts are Markdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replacement {
    pub names: &'static [&'static str],
    /// The cell of the page's table.
    pub before: &'static str,
    pub here: &'static str,
}

impl Difference {
    /// True if it concerns a route with these features.
    pub fn concerns(&self, has: impl Fn(Feature) -> bool) -> bool {
        self.when.is_empty() || self.when.iter().any(|feature| has(*feature))
    }
}

/// The differences from a peer.
pub fn of(peer: Peer) -> &'static [Difference] {
    match peer {
        Peer::Apisix => apisix::APISIX,
        Peer::Kong => kong::KONG,
        Peer::Sigv4Proxy => sigv4_proxy::SIGV4_PROXY,
        Peer::Envoy => envoy::ENVOY,
    }
}

/// The replacement of a gateway's plugin, as plain text.
pub fn instead_of_plugin(name: &str) -> Option<String> {
    let row = OTHER_PLUGINS.iter().find(|row| row.names.contains(&name))?;
    Some(plain(row.here))
}

/// The replacement of an HTTP filter of Envoy, as plain text.
pub fn instead_of_envoy_filter(name: &str) -> String {
    const FILTERS: [(&str, &str); 9] = [
        ("jwt_authn", "key-auth"),
        ("basic_auth", "key-auth"),
        ("ext_authz", "key-auth"),
        ("rbac", "ip-restriction"),
        ("cors", "cors"),
        ("cache", "cors"),
        ("ratelimit", "limit-count"),
        ("rate_limit", "limit-count"),
        ("lua", "pre-function"),
    ];
    let plugin = FILTERS.iter().find(|(word, _)| name.contains(word)).map(|(_, plugin)| *plugin);
    plugin.and_then(instead_of_plugin).unwrap_or_else(|| "no filters here".to_owned())
}

/// The replacement of a flag of aws-sigv4-proxy.
pub fn of_flag(name: &str) -> Option<&'static Replacement> {
    FLAGS.iter().find(|row| row.names.contains(&name))
}

/// Markdown without its links.
pub fn plain(markdown: &str) -> String {
    let (mut text, mut rest) = (String::with_capacity(markdown.len()), markdown);
    while let Some((before, link)) = rest.split_once('[') {
        let parts =
            link.split_once("](").and_then(|(label, target)| Some((label, target.split_once(')')?.1)));
        match parts.filter(|(label, _)| !label.contains('[')) {
            Some((label, behind)) => {
                text.extend([before, label]);
                rest = behind;
            }
            None => {
                text.extend([before, "["]);
                rest = link;
            }
        }
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_become_their_labels_and_other_brackets_stay() {
        assert_eq!(plain("see [Paths](README.md#paths), `[a]` and [b]"), "see Paths, `[a]` and [b]");
    }

    #[test]
    fn a_topic_stands_once_in_a_table_and_every_row_says_what_happens_here() {
        for peer in Peer::ALL {
            let rows = of(peer);
            for (at, row) in rows.iter().enumerate() {
                assert!(!row.topic.is_empty() && !row.here.is_empty(), "{peer}: {row:?}");
                assert!(rows[..at].iter().all(|other| other.topic != row.topic), "{peer}: {}", row.topic);
            }
        }
    }

    #[test]
    fn a_plugin_has_one_replacement() {
        let names: Vec<_> = OTHER_PLUGINS.iter().flat_map(|row| row.names).collect();
        for (at, name) in names.iter().enumerate() {
            assert!(!names[..at].contains(name), "{name}");
        }
        assert!(instead_of_plugin("cors").unwrap().contains("the API or the function"));
    }
}
