//! Filters of a chain, and their configuration for a route.

use super::{at, get};
use crate::settings::foreign::ForeignNode;

/// The filters that are translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Lambda,
    Signing,
}

/// The two filters of a chain, and the names of the others.
#[derive(Default, Clone)]
pub struct FilterChain {
    lambda: Option<ForeignNode>,
    signing: Option<ForeignNode>,
    pub others: Vec<String>,
}

const LAMBDA: &str = "aws_lambda";
const SIGNING: &str = "aws_request_signing";

impl FilterChain {
    pub fn of_manager(manager: &ForeignNode) -> Self {
        Self::of(get(manager, "http_filters").map_or(&[][..], ForeignNode::items))
    }

    /// The filters in the options of a cluster, which sign after the route's rewrites.
    pub fn of_cluster(cluster: &ForeignNode) -> Self {
        let options = get(cluster, "typed_extension_protocol_options");
        let options = options.map_or(&[][..], ForeignNode::entries);
        let filters = options.iter().filter_map(|(_, options)| get(options, "http_filters"));
        Self::of(filters.flat_map(ForeignNode::items).cloned().collect::<Vec<_>>().as_slice())
    }

    fn of(filters: &[ForeignNode]) -> Self {
        let mut chain = Self::default();
        for filter in filters {
            let name = filter.get("name").and_then(ForeignNode::scalar).unwrap_or_default();
            let config = get(filter, "typed_config");
            let kind =
                config.and_then(|config| config.get("@type")).and_then(ForeignNode::text).unwrap_or_default();
            let is = |word: &str| name.ends_with(word) || kind.contains(&format!("{word}."));
            let is_disabled = filter.get("disabled").and_then(ForeignNode::boolean) == Some(true);
            let config = config.cloned().filter(|_| !is_disabled);
            if is(LAMBDA) {
                chain.lambda = chain.lambda.or(config);
            } else if is(SIGNING) {
                chain.signing = chain.signing.or(config);
            } else if !name.ends_with("router") && !name.contains("upstream_codec") {
                chain.others.push(name);
            }
        }
        chain
    }

    fn of_kind(&self, kind: Kind) -> Option<&ForeignNode> {
        match kind {
            Kind::Lambda => self.lambda.as_ref(),
            Kind::Signing => self.signing.as_ref(),
        }
    }

    /// The configuration for a route; `overriding` are the route and what is around it, the innermost first.
    pub fn configuration(&self, kind: Kind, overriding: &[&ForeignNode]) -> Option<ForeignNode> {
        let (word, inner) = match kind {
            Kind::Lambda => (LAMBDA, "invoke_config"),
            Kind::Signing => (SIGNING, SIGNING),
        };
        let own = overriding.iter().find_map(|around| {
            let mut entries = get(around, "typed_per_filter_config")?.entries().iter();
            entries.find(|entry| is_of(word, entry)).map(|(_, config)| config)
        });
        let Some(own) = own else { return self.of_kind(kind).cloned() };
        if own.get("disabled").and_then(ForeignNode::boolean) == Some(true) {
            return None;
        }
        let config = get(own, "config").unwrap_or(own);
        at(config, &[inner]).cloned().or_else(|| self.of_kind(kind).cloned())
    }

    /// The filters that a route configures besides the two.
    pub fn others_of_route(around: &ForeignNode) -> Vec<&str> {
        let entries = get(around, "typed_per_filter_config").map_or(&[][..], ForeignNode::entries);
        let others = entries.iter().filter(|entry| !is_of(LAMBDA, entry) && !is_of(SIGNING, entry));
        others.map(|(name, _)| name.as_str()).collect()
    }
}

/// True for an entry of `typed_per_filter_config` whose name or type is that of a filter.
fn is_of(filter: &str, (name, config): &(String, ForeignNode)) -> bool {
    let has_type = |node: &ForeignNode| {
        node.get("@type").and_then(ForeignNode::text).is_some_and(|kind| kind.contains(&format!("{filter}.")))
    };
    name.ends_with(filter) || has_type(config) || get(config, "config").is_some_and(has_type)
}
