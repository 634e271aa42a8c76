//! Counters of secrets in AWS that the settings name.
//!
//! `credentials/secrets.rs` counts; `admin/exposition.rs` reads the counters.

use super::{
    table::counted,
    values::{Gauge, counts},
};

counted! {
    SecretMetrics {
        fetches: Fetches["outcome"] = "apigw_invoker_secret_fetches_total",
            "Calls that fetch a secret from Secrets Manager or Parameter Store, by outcome.";
        missing: Gauge = "apigw_invoker_secrets_missing",
            "Secrets without a value, for which routes wait.";
        stale: Gauge = "apigw_invoker_secrets_stale",
            "Secrets whose last refresh failed or whose value is not valid; the last value stays in use.";
    }
}

counts! {
    Fetches {
        /// AWS returned the secret.
        succeeded,
        /// AWS refused, or did not answer.
        failed,
    }
}
