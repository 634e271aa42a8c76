//! The log line of each attempt at level debug: key id, connection, bytes and times.
//!
//! The line contains neither headers nor secrets, and costs one comparison at other levels.

use aws_credential_types::Credentials;
use log::{Level, kv};

use crate::{
    client::{ConnectionReuse, Endpoint, ReplyBody, UpstreamReply},
    message::{error::ProxyError, redaction::key_id_end},
    proxy::record::{Record, milliseconds},
};

/// Fields of the line.
pub struct AttemptLine<'a> {
    pub record: &'a Record,
    pub endpoint: &'a Endpoint,
    /// `None` for an unsigned call.
    pub keys: Option<&'a Credentials>,
    pub connection: ConnectionReuse,
    pub result: &'a Result<UpstreamReply, ProxyError>,
}

impl AttemptLine<'_> {
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

    /// Declared length of the response's body.
    fn declared_length(&self) -> Option<u64> {
        match &self.result.as_ref().ok()?.body {
            ReplyBody::None { length } => Some(length.unwrap_or(0)),
            ReplyBody::Whole(bytes) => Some(bytes.len() as u64),
            ReplyBody::Stream(stream) => stream.length(),
            ReplyBody::Events(_) => None,
        }
    }
}

impl kv::Source for AttemptLine<'_> {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn kv::VisitSource<'kvs>) -> Result<(), kv::Error> {
        let mut pair = |name: &'static str, value: kv::Value<'kvs>| visitor.visit_pair(name.into(), value);
        pair("attempt", self.record.attempts().into())?;
        pair("keys", self.keys.map_or("none", |keys| key_id_end(keys.access_key_id())).into())?;
        match self.connection {
            ConnectionReuse::None => pair("connection", "none".into())?,
            ConnectionReuse::Kept => pair("connection", "kept".into())?,
            ConnectionReuse::New(took) => {
                pair("connection", "new".into())?;
                pair("connect_ms", milliseconds(took).into())?;
            }
        }
        pair("request_bytes", self.record.bytes_in().into())?;
        if let Some(bytes) = self.declared_length() {
            pair("response_bytes", bytes.into())?;
        }
        pair("upstream_duration_ms", milliseconds(self.record.since_sent()).into())?;
        pair("request_id", self.record.request_id_text().into())?;
        pair("route", self.record.route_id().into())
    }
}
