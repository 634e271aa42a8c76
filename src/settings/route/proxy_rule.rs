//! The choice of the proxy on the way to a host: `proxy_url`, else the environment.

use std::fmt;

use serde_json::Value;

use super::{
    environment_proxies::{EnvironmentProxies, UnusableProxy},
    forward_proxy::ForwardProxy,
    upstream::Scheme,
};
use crate::settings::source::{check::Checker, secrecy::Secrecy, shown::Show};

/// The value of `proxy_url` that turns off the proxies of the environment.
pub(in crate::settings) const OFF: &str = "none";

/// The proxies of a route, for its calls and for its credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProxyRule {
    /// The proxy of `proxy_url`.
    Url(ForwardProxy),
    /// `proxy_url: none`.
    Off,
    /// No `proxy_url`: the environment decides for each host.
    Environment(EnvironmentProxies),
}

/// The proxy for one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProxyChoice {
    Through(Box<ForwardProxy>),
    Direct(Direct),
}

/// The reason why no proxy is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direct {
    /// No proxy is set for the scheme.
    NotSet,
    /// `proxy_url: none`.
    Off,
    /// `NO_PROXY`, by the name of the variable.
    Exempt(&'static str),
    /// Loopback and link-local addresses use no proxy of the environment.
    ThisMachine,
}

impl ProxyRule {
    /// The rule of a route: its `proxy_url`, if there is one.
    pub(in crate::settings) fn check(url: Option<&str>, checker: &mut Checker<'_>) -> Self {
        match url {
            None => Self::Environment(EnvironmentProxies::read(|name| checker.variable(name))),
            Some(OFF) => Self::Off,
            Some(url) => match ForwardProxy::parse(url) {
                Ok(proxy) => Self::Url(proxy),
                Err(problem) => {
                    checker.at("proxy_url").report(problem, ForwardProxy::EXPECTED);
                    Self::Off
                }
            },
        }
    }

    /// The proxy for connections to a host, an IPv6 address without brackets.
    ///
    /// # Errors
    /// The variable of the environment for this scheme is not the URL of a supported proxy.
    pub fn choose(&self, scheme: Scheme, host: &str, port: u16) -> Result<ProxyChoice, UnusableProxy> {
        match self {
            Self::Url(proxy) => Ok(ProxyChoice::Through(Box::new(proxy.clone()))),
            Self::Off => Ok(ProxyChoice::Direct(Direct::Off)),
            Self::Environment(proxies) => proxies.choose(scheme, host, port),
        }
    }

    /// The rule without the proxies of the environment.
    #[must_use]
    pub fn without_environment(&self) -> Self {
        match self {
            Self::Url(_) => self.clone(),
            Self::Off | Self::Environment(_) => Self::Off,
        }
    }

    /// The rule for the calls for keys: equal for routes that use no proxy, which then share their keys.
    pub(in crate::settings) fn for_keys(&self) -> Self {
        match self {
            Self::Environment(proxies) if proxies.is_empty() => Self::Off,
            _ => self.clone(),
        }
    }
}

impl ProxyChoice {
    /// The proxy, if one is used.
    pub fn proxy(&self) -> Option<&ForwardProxy> {
        match self {
            Self::Through(proxy) => Some(proxy),
            Self::Direct(_) => None,
        }
    }

    /// The setting or variable that decided; `None` if there is none.
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Through(proxy) => Some(proxy.named_by),
            Self::Direct(Direct::NotSet) => None,
            Self::Direct(Direct::Off) => Some("proxy_url"),
            Self::Direct(Direct::Exempt(variable)) => Some(variable),
            Self::Direct(Direct::ThisMachine) => Some("address of this machine"),
        }
    }
}

/// `HOST:PORT` or `none`, and the reason.
impl fmt::Display for ProxyChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Through(proxy) => write!(f, "{proxy}")?,
            Self::Direct(_) => f.write_str(OFF)?,
        }
        self.reason().map_or(Ok(()), |reason| write!(f, " ({reason})"))
    }
}

impl Show for ProxyChoice {
    fn show(&self, secrecy: Secrecy) -> Value {
        match self {
            Self::Through(proxy) => proxy.show(secrecy),
            Self::Direct(Direct::Off) => OFF.into(),
            Self::Direct(_) => Value::Null,
        }
    }
}
