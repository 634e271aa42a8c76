//! Messages for TLS sessions that failed: the cause, and what the operator can do.
//!
//! `client/dial.rs` passes the error of a handshake, `client/exchange.rs` one that ended a session
//! afterwards. The texts of rustls have its type names and seconds since 1970, which do not help an operator.

use std::{fmt::Display, io, path::Path};

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

use crate::{system::wall_clock::Rfc3339, text::listing::listed};

pub(super) const DAY: u64 = 24 * 60 * 60;

/// The server of a handshake.
pub struct HandshakePeer<'a> {
    /// Host and port.
    pub place: &'a dyn Display,
    /// The name in SNI, which its certificate must have.
    pub name: &'a str,
    /// The file of the trusted authorities; `None` for those of the platform.
    pub authorities: Option<&'a Path>,
}

/// A failure, with its cause and the operator's next step.
#[derive(Debug)]
pub struct TlsFailure {
    /// The cause, with the place.
    pub problem: String,
    pub cure: Option<Cure>,
}

/// The operator's next step, a sentence without its full stop, by its form in lines for people.
#[derive(Debug)]
pub enum Cure {
    /// Follows a semicolon, in every line.
    Clause(&'static str),
    /// A sentence, in every line.
    Sentence(&'static str),
    /// A sentence of `check` only.
    CheckAlone(&'static str),
    /// In no line, since the problem contains it in other words.
    Nowhere(&'static str),
}

impl Cure {
    pub fn text(&self) -> &'static str {
        let (Self::Clause(text) | Self::Sentence(text) | Self::CheckAlone(text) | Self::Nowhere(text)) = self;
        text
    }
}

impl TlsFailure {
    pub fn for_log(&self) -> String {
        match &self.cure {
            Some(Cure::CheckAlone(_)) => self.problem.clone(),
            _ => self.for_check(),
        }
    }

    /// The line of `check --connect`.
    pub fn for_check(&self) -> String {
        let problem = &self.problem;
        match &self.cure {
            None | Some(Cure::Nowhere(_)) => problem.clone(),
            Some(Cure::Clause(text)) => {
                let (first, rest) = text.split_at(1);
                format!("{problem}; {}{rest}", first.to_ascii_lowercase())
            }
            Some(Cure::Sentence(text) | Cure::CheckAlone(text)) => {
                let stop = if problem.ends_with('?') { "" } else { "." };
                format!("{problem}{stop} {text}")
            }
        }
    }
}

pub fn of_handshake(error: &io::Error, server: &HandshakePeer<'_>) -> TlsFailure {
    let place = server.place;
    let failed = |cause: &dyn Display| format!("TLS with {place} failed: {cause}");
    let Some(tls) = of_tls(error) else {
        let ended = matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
        );
        let cause =
            if ended { &"it closed the connection during the handshake" as &dyn Display } else { error };
        let cure = Cure::CheckAlone(
            "See whether host and port are those of a server with TLS, and whether a firewall or a proxy on \
             the way cuts TLS",
        );
        return TlsFailure { problem: failed(cause), cure: Some(cure) };
    };
    let (cause, cure) = match tls {
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            let cure = Cure::CheckAlone(
                "Correct host or port; without TLS the URL begins with http:// (disable_https: true for a \
                 function)",
            );
            let problem = format!("{place} did not answer with TLS; does it speak plain HTTP?");
            return TlsFailure { problem, cure: Some(cure) };
        }
        Error::InvalidCertificate(certificate) => of_certificate(certificate, server),
        Error::AlertReceived(alert) => of_alert(*alert, Some(server.name)),
        other => (other.to_string(), None),
    };
    TlsFailure { problem: failed(&cause), cure }
}

/// The failure of a session that the server has ended: in TLS 1.3 it may refuse the client's certificate
/// after the handshake.
pub fn of_session(error: &io::Error) -> Option<TlsFailure> {
    let (cause, cure) = match of_tls(error)? {
        Error::AlertReceived(alert) => of_alert(*alert, None),
        other => (other.to_string(), None),
    };
    Some(TlsFailure { problem: format!("TLS failed after the handshake: {cause}"), cure })
}

/// True if the server's certificate was refused: a retry would fail too.
pub fn is_about_a_certificate(error: &io::Error) -> bool {
    matches!(of_tls(error), Some(Error::InvalidCertificate(_)))
}

fn of_tls(error: &io::Error) -> Option<&Error> {
    error.get_ref().and_then(|error| error.downcast_ref())
}

fn of_certificate(error: &CertificateError, server: &HandshakePeer<'_>) -> (String, Option<Cure>) {
    let HandshakePeer { name, authorities, .. } = server;
    let unknown = format!("its certificate for {name} was not issued by an authority that is trusted here");
    let (cause, cure) = match error {
        CertificateError::UnknownIssuer => match authorities {
            Some(file) => (
                format!("{unknown} (ca_certificate: {})", file.display()),
                Cure::Sentence("Add the authority to that file"),
            ),
            None => (
                format!("{unknown} (those of this system)"),
                // no key of the settings applies to their source
                Cure::Sentence(
                    "Name a file with the authority in ca_certificate, or one with all authorities in \
                     SSL_CERT_FILE",
                ),
            ),
        },
        CertificateError::ExpiredContext { time, not_after } => (
            format!("its certificate {}", expired(time.as_secs(), not_after.as_secs())),
            Cure::CheckAlone(
                "The server's operator has to replace the certificate; if the clock is wrong, set it right",
            ),
        ),
        CertificateError::NotValidYetContext { time, not_before } => (
            format!("its certificate {}", not_yet(time.as_secs(), not_before.as_secs())),
            Cure::Sentence("Set the clock right, or have the certificate replaced"),
        ),
        CertificateError::NotValidForNameContext { presented, .. } => (
            format!("its certificate is for {} and not for {name}", names(presented)),
            Cure::Sentence("Correct the host, or name the server in connect.sni"),
        ),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => (
            "its certificate is not one for servers (extended key usage)".to_owned(),
            Cure::CheckAlone("The server's operator has to get a certificate for servers"),
        ),
        // the default of `openssl req -x509`
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => (
            "its certificate is that of an authority, not of a server (basic constraints: CA:TRUE)"
                .to_owned(),
            Cure::Sentence("Have the authority issue a certificate for the server"),
        ),
        other => return (format!("its certificate cannot be verified: {other}"), None),
    };
    (cause, Some(cure))
}

/// The end of a sentence about an expired certificate; times are in seconds since 1970.
pub(super) fn expired(now: u64, not_after: u64) -> String {
    let days = now.saturating_sub(not_after) / DAY;
    match days {
        0 => format!(
            "expired less than a day ago, at {} (this machine's clock: {})",
            rfc3339(not_after),
            rfc3339(now)
        ),
        days => format!(
            "expired on {}, {days} day{} ago (this machine's clock: {})",
            date(not_after),
            if days == 1 { "" } else { "s" },
            date(now)
        ),
    }
}

/// The end of a sentence about a certificate that is not yet valid.
pub(super) fn not_yet(now: u64, not_before: u64) -> String {
    format!("is not valid before {} (this machine's clock: {})", moment(not_before), moment(now))
}

/// The date at midnight, else date and time.
fn moment(time: u64) -> String {
    if time.is_multiple_of(DAY) { date(time) } else { rfc3339(time) }
}

pub(super) fn date(time: u64) -> String {
    format!("{:.10}", rfc3339(time))
}

fn rfc3339(time: u64) -> String {
    Rfc3339::of_seconds(time).to_string()
}

/// The names without the types that webpki writes around them: `DnsName("a.example")`, `IpAddress(10.0.0.1)`.
fn names(presented: &[String]) -> String {
    let bare = |name: &String| {
        let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
        inner.unwrap_or(name).trim_matches('"').to_owned()
    };
    let names: Vec<String> = presented.iter().map(bare).collect();
    if names.is_empty() { "no name at all".to_owned() } else { listed(&names) }
}

/// The meaning of an alert by which the server ended the session (RFC 8446, 6.2).
fn of_alert(alert: AlertDescription, name: Option<&str>) -> (String, Option<Cure>) {
    use AlertDescription as Alert;
    let (cause, cure) = match alert {
        Alert::CertificateRequired => (
            "the server requires a client certificate".to_owned(),
            Cure::Clause("Set client_certificate and client_key"),
        ),
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateExpired
        | Alert::CertificateUnknown
        | Alert::UnknownCA
        | Alert::AccessDenied => (
            format!("the server refused the client certificate ({alert:?})"),
            Cure::Clause("Check client_certificate"),
        ),
        Alert::ProtocolVersion => (
            "the server speaks neither TLS 1.2 nor TLS 1.3 (ProtocolVersion)".to_owned(),
            Cure::Nowhere("The server's operator has to offer TLS 1.2 or TLS 1.3"),
        ),
        Alert::HandshakeFailure => (
            "the server refused the handshake (HandshakeFailure): no cipher suite in common, or it requires \
             a client certificate (client_certificate, client_key)"
                .to_owned(),
            Cure::Nowhere("Set client_certificate and client_key, if the server requires them"),
        ),
        Alert::UnrecognisedName => {
            let name = name.map(|name| format!(" {name}")).unwrap_or_default();
            (
                format!("the server does not know the name{name} (UnrecognisedName)"),
                Cure::Clause("Set connect.sni"),
            )
        }
        other => return (format!("the server sent the alert {other:?}"), None),
    };
    (cause, Some(cure))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls_pki_types::UnixTime;

    use super::*;

    fn log_line(error: Error) -> String {
        let error = io::Error::new(io::ErrorKind::InvalidData, error);
        let place = "api.example:443";
        let server =
            HandshakePeer { place: &place, name: "api.example", authorities: Some(Path::new("/ca.pem")) };
        of_handshake(&error, &server).for_log()
    }

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    #[test]
    fn an_expired_certificate_is_described_in_dates_and_days() {
        let (now, feb_2025) = (at(1_795_984_965), at(1_738_368_000));
        let of = |time, not_after| {
            log_line(Error::InvalidCertificate(CertificateError::ExpiredContext { time, not_after }))
        };
        assert_eq!(
            of(now, feb_2025),
            "TLS with api.example:443 failed: its certificate expired on 2025-02-01, 666 days ago (this \
             machine's clock: 2026-11-29)"
        );
        assert!(of(now, at(1_795_984_965 - DAY)).contains("1 day ago"));
        let today = of(now, at(1_795_984_965 - 60));
        assert!(today.contains("less than a day ago, at 2026-11-29T20:41:45Z (this"), "{today}");
    }

    #[test]
    fn a_foreign_name_an_unknown_authority_and_plain_http_are_described_with_their_cure() {
        let presented = vec!["DnsName(\"a.example\")".to_owned(), "IpAddress(10.0.0.1)".to_owned()];
        let expected = rustls_pki_types::ServerName::try_from("api.example").unwrap();
        for (error, words) in [
            (
                Error::InvalidCertificate(CertificateError::NotValidForNameContext { expected, presented }),
                "its certificate is for a.example, 10.0.0.1 and not for api.example",
            ),
            (
                Error::InvalidCertificate(CertificateError::UnknownIssuer),
                "TLS with api.example:443 failed: its certificate for api.example was not issued by an \
                 authority that is trusted here (ca_certificate: /ca.pem). Add the authority to that file",
            ),
            (
                Error::InvalidMessage(InvalidMessage::InvalidContentType),
                "api.example:443 did not answer with TLS; does it speak plain HTTP?",
            ),
            (
                Error::AlertReceived(AlertDescription::CertificateRequired),
                "set client_certificate and client_key",
            ),
        ] {
            let line = log_line(error);
            assert!(line.contains(words), "{line}");
        }
    }
}
