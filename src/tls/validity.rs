//! The validity period of the sidecar's own certificates, and warnings before they expire.
//!
//! `server.rs` and `client_identity.rs` read it from the certificates that they present;
//! `state/certificates.rs` watches it. rustls verifies only the peer's certificates.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use der::{
    Decode as _, SliceReader, Tag, Tagged as _,
    asn1::{AnyRef, GeneralizedTime, UtcTime},
};
use rustls_pki_types::CertificateDer;

use super::certificate_fields::fields;
use super::failure::{DAY, date, expired, not_yet};

/// The earliest warning before the end.
const MAX_NOTICE: u64 = 30 * DAY;
/// The part of a shorter lifetime in which to warn: certificates of a day are replaced after two thirds of
/// it.
const NOTICE_SHARE: u64 = 5;

/// The validity period of a chain of certificates, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Validity {
    /// The latest beginning in the chain.
    pub not_before: u64,
    /// The earliest end in the chain.
    pub not_after: u64,
    /// The time from which a replacement is due.
    pub renewal_due: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValidityStatus {
    Valid,
    NotYet,
    /// Valid, and a replacement is due.
    EndsSoon,
    Expired,
}

impl Validity {
    /// The validity of a chain; `None` if a certificate cannot be parsed.
    pub fn of(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let each: Vec<Self> =
            chain.iter().map(|certificate| read(certificate).ok()).collect::<Option<_>>()?;
        let first_to_end = each.iter().min_by_key(|validity| validity.not_after)?;
        let not_before = each.iter().map(|validity| validity.not_before).max()?;
        Some(Self { not_before, ..*first_to_end })
    }

    fn between(not_before: Duration, not_after: Duration) -> Self {
        let (not_before, not_after) = (not_before.as_secs(), not_after.as_secs());
        let lifetime = not_after.saturating_sub(not_before);
        let notice = MAX_NOTICE.min(lifetime / NOTICE_SHARE);
        Self { not_before, not_after, renewal_due: not_after.saturating_sub(notice) }
    }

    pub fn status(&self, now: SystemTime) -> ValidityStatus {
        let now = seconds(now);
        if now > self.not_after {
            ValidityStatus::Expired
        } else if now < self.not_before {
            ValidityStatus::NotYet
        } else if now >= self.renewal_due {
            ValidityStatus::EndsSoon
        } else {
            ValidityStatus::Valid
        }
    }

    /// The end of a sentence that begins with the certificate; `None` if no warning is due.
    pub fn warning(&self, now: SystemTime) -> Option<String> {
        let clock = seconds(now);
        Some(match self.status(now) {
            ValidityStatus::Valid => return None,
            ValidityStatus::Expired => expired(clock, self.not_after),
            ValidityStatus::NotYet => not_yet(clock, self.not_before),
            ValidityStatus::EndsSoon => {
                let left = match (self.not_after - clock) / DAY {
                    0 => "less than a day".to_owned(),
                    1 => "1 day".to_owned(),
                    days => format!("{days} days"),
                };
                format!(
                    "expires on {}, in {left} (this machine's clock: {})",
                    date(self.not_after),
                    date(clock)
                )
            }
        })
    }
}

fn seconds(time: SystemTime) -> u64 {
    // a clock before 1970 counts as 1970
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Parses the field `validity` of a certificate (RFC 5280, 4.1): the fourth from the serial number on.
fn read(certificate: &CertificateDer<'_>) -> der::Result<Validity> {
    let mut fields = fields(certificate)?;
    for _serial_signature_issuer in 0..3 {
        AnyRef::decode(&mut fields)?;
    }
    let mut validity = SliceReader::new(AnyRef::decode(&mut fields)?.value())?;
    Ok(Validity::between(time(&mut validity)?, time(&mut validity)?))
}

/// Parses a `Time`: `UTCTime` until 2049, `GeneralizedTime` from 2050 on (RFC 5280, 4.1.2.5).
fn time(reader: &mut SliceReader<'_>) -> der::Result<Duration> {
    let value = AnyRef::decode(reader)?;
    Ok(match value.tag() {
        Tag::UtcTime => value.decode_as::<UtcTime>()?.to_unix_duration(),
        _ => value.decode_as::<GeneralizedTime>()?.to_unix_duration(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    /// A certificate with this validity period.
    fn certificate(from: (i32, u8, u8), to: (i32, u8, u8)) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(["a.example".to_owned()]).unwrap();
        params.not_before = date_time_ymd(from.0, from.1, from.2);
        params.not_after = date_time_ymd(to.0, to.1, to.2);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    fn at(text: &str) -> SystemTime {
        humantime::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn k3_a_warning_is_due_from_thirty_days_before_the_end() {
        let validity = Validity::of(&[certificate((2026, 1, 1), (2026, 12, 31))]).unwrap();
        let warning = |now| validity.warning(at(now));
        assert_eq!(warning("2026-11-30T00:00:00Z"), None);
        for (now, sentence) in [
            ("2026-12-01T00:00:00Z", "expires on 2026-12-31, in 30 days (this machine's clock: 2026-12-01)"),
            ("2026-12-29T23:00:00Z", "expires on 2026-12-31, in 1 day (this machine's clock: 2026-12-29)"),
            (
                "2026-12-30T23:00:00Z",
                "expires on 2026-12-31, in less than a day (this machine's clock: 2026-12-30)",
            ),
            ("2027-01-02T00:00:00Z", "expired on 2026-12-31, 2 days ago (this machine's clock: 2027-01-02)"),
            ("2025-12-31T00:00:00Z", "is not valid before 2026-01-01 (this machine's clock: 2025-12-31)"),
        ] {
            assert_eq!(warning(now).as_deref(), Some(sentence), "{now}");
        }
    }

    #[test]
    fn k3_a_short_lifetime_has_its_last_fifth_for_the_replacement() {
        let validity = Validity::of(&[certificate((2026, 1, 1), (2026, 1, 11))]).unwrap();
        assert_eq!(validity.status(at("2026-01-08T23:59:59Z")), ValidityStatus::Valid);
        assert_eq!(validity.status(at("2026-01-09T00:00:00Z")), ValidityStatus::EndsSoon);
    }

    #[test]
    fn k3_of_a_chain_the_first_to_end_counts_and_the_last_to_begin() {
        let chain = [certificate((2000, 1, 1), (4000, 1, 1)), certificate((2026, 6, 1), (2050, 1, 1))];
        let validity = Validity::of(&chain).unwrap();
        assert_eq!(validity.status(at("2026-05-31T00:00:00Z")), ValidityStatus::NotYet);
        assert_eq!(validity.status(at("2026-06-02T00:00:00Z")), ValidityStatus::Valid);
        assert_eq!(validity.status(at("2050-01-02T00:00:00Z")), ValidityStatus::Expired);
        assert_eq!(Validity::of(&[]), None);
    }

    proptest! {
        #[test]
        fn k3_no_bytes_make_it_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..64),
            cut in 0_usize..400,
        ) {
            let _ = Validity::of(&[bytes.into()]);
            let whole = certificate((2026, 1, 1), (2026, 12, 31));
            let cut = whole.get(..cut).unwrap_or(&whole).to_vec();
            let _ = Validity::of(&[cut.into()]);
        }
    }
}
