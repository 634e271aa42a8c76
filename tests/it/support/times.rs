//! Times as HTTP and AWS write them.

use std::time::SystemTime;

use actix_http::header::HttpDate;

/// A time in the format of `Date`.
pub fn http_date(time: SystemTime) -> String {
    HttpDate::from(time).to_string()
}

/// A time in the format of `X-Amz-Date`, which sorts as the times do.
pub fn amz_date(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string().replace(['-', ':'], "")
}
