//! The access-log line of a request.

use std::time::Duration;

use log::kv;

use super::{Record, UpstreamFields, error_type_text, milliseconds};
use crate::text::ip_text::IpText;

/// nginx's status for a client that closed the connection before the response.
const CLIENT_GONE: u16 = 499;

impl Record {
    /// The path without the query, which may contain secrets.
    fn path(&self) -> &str {
        Some(self.uri.path()).filter(|path| !path.is_empty()).unwrap_or("-")
    }

    /// Writes the access-log line; `logging/format.rs` formats the fields into its buffer.
    pub(super) fn write(&self, took: Duration) {
        let status = self.status.map_or(CLIENT_GONE, |status| status.as_u16());
        let parts = AccessFields { record: self, status, client_ip: self.client_ip.map(IpText::from), took };
        log::logger().log(
            &log::Record::builder()
                .target("access")
                .level(log::Level::Info)
                .module_path_static(Some(module_path!()))
                .key_values(&parts)
                .args(format_args!("{} {} {status}", self.method, self.path()))
                .build(),
        );
    }
}

/// The fields of an access-log line.
struct AccessFields<'a> {
    record: &'a Record,
    status: u16,
    client_ip: Option<IpText>,
    took: Duration,
}

impl kv::Source for AccessFields<'_> {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn kv::VisitSource<'kvs>) -> Result<(), kv::Error> {
        let record = self.record;
        let mut pair = |name: &'static str, value: kv::Value<'kvs>| visitor.visit_pair(name.into(), value);
        pair("method", record.method.as_str().into())?;
        pair("path", record.path().into())?;
        pair("status", self.status.into())?;
        pair("route", record.route_id().into())?;
        pair("duration_ms", milliseconds(self.took).into())?;
        pair("request_bytes", record.bytes_in.into())?;
        pair("response_bytes", record.bytes_out.into())?;
        pair("request_id", record.request_id_text().into())?;
        if let Some(address) = &self.client_ip {
            pair("client_ip", address.as_str().into())?;
        }
        if let Some(trace) = &record.trace {
            pair("trace_id", trace.id().into())?;
        }
        if let Some(UpstreamFields { after, request_id, error_type }) = &record.upstream {
            pair("upstream_duration_ms", milliseconds(*after).into())?;
            if let Some(id) = request_id.as_ref().and_then(|id| id.to_str().ok()) {
                pair("upstream_request_id", id.into())?;
            }
            if let Some(kind) = error_type.as_ref().and_then(error_type_text) {
                pair("upstream_error_type", kind.into())?;
            }
        }
        if record.attempts > 1 {
            pair("attempts", record.attempts.into())?;
        }
        if let Some(code) = record.code {
            pair("code", code.name.into())?;
        }
        if record.client_left() {
            pair("client_left", true.into())?;
        }
        Ok(())
    }
}
