//! The line that level debug has for each attempt of a call: the keys, the connection, bytes and times.
//!
//! `call.rs` writes it. Neither headers nor secrets are in it, and below that level it costs one comparison.

use std::time::Duration;

use aws_credential_types::Credentials;
use log::{Level, kv};

use crate::{
    client::{ConnectionReuse, Endpoint, ReplyBody, UpstreamReply},
    message::{error::ProxyError, redaction::key_id_end},
    proxy::record::milliseconds,
};

/// One attempt of a call.
pub struct Attempted<'a> {
    pub request_id: &'a str,
    pub route: &'a str,
    /// Counted from 1.
    pub attempt: u32,
    pub endpoint: &'a Endpoint,
    /// `None` for a call that the route has not signed.
    pub keys: Option<&'a Credentials>,
    pub connection: ConnectionReuse,
    /// Of the request's body.
    pub bytes: u64,
    /// From the moment the call was sent to the head of the answer, or to the failure.
    pub took: Duration,
    pub result: &'a Result<UpstreamReply, ProxyError>,
}

impl Attempted<'_> {
    pub fn log(&self) {
        let write = |outcome: std::fmt::Arguments<'_>| {
            let args = format_args!("call to {}: {outcome}", self.endpoint);
            let mut record = log::Record::builder();
            record.level(Level::Debug).target(module_path!()).module_path_static(Some(module_path!()));
            log::logger().log(&record.key_values(self).args(args).build());
        };
        match self.result {
            Ok(reply) => write(format_args!("{}", reply.status.as_u16())),
            Err(error) => write(format_args!("{}", error.code().name)),
        }
    }

    /// Bytes of the answer's body, as far as its head tells.
    fn announced(&self) -> Option<u64> {
        match &self.result.as_ref().ok()?.body {
            ReplyBody::None { length } => Some(length.unwrap_or(0)),
            ReplyBody::Whole(bytes) => Some(bytes.len() as u64),
            ReplyBody::Stream(stream) => stream.length(),
            ReplyBody::Events(_) => None,
        }
    }
}

impl kv::Source for Attempted<'_> {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn kv::VisitSource<'kvs>) -> Result<(), kv::Error> {
        let mut pair = |name: &'static str, value: kv::Value<'kvs>| visitor.visit_pair(name.into(), value);
        pair("attempt", self.attempt.into())?;
        pair("keys", self.keys.map_or("none", |keys| key_id_end(keys.access_key_id())).into())?;
        match self.connection {
            ConnectionReuse::None => pair("connection", "none".into())?,
            ConnectionReuse::Kept => pair("connection", "kept".into())?,
            ConnectionReuse::New(took) => {
                pair("connection", "new".into())?;
                pair("connect_ms", milliseconds(took).into())?;
            }
        }
        pair("request_bytes", self.bytes.into())?;
        if let Some(bytes) = self.announced() {
            pair("response_bytes", bytes.into())?;
        }
        pair("upstream_duration_ms", milliseconds(self.took).into())?;
        pair("request_id", self.request_id.into())?;
        pair("route", self.route.into())
    }
}
