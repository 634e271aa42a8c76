//! Regular expressions of the texts that the reader accepts.

use crate::text::header_names::OwnNames;

/// A reference, which is valid for any key.
pub const REFERENCE: &str = r"^(\$((env|file|ssm)://|secret://aws/).+|\{vault://(env|aws)/.+\})$";
/// A text that contains a reference and is none itself.
pub const REFERENCE_INSIDE: &str = r"[\s\S](\$(env|file|ssm|secret)://|\{vault://)";
/// The name of a header (RFC 9110, 5.1 and 5.6.2).
pub const HEADER_NAME: &str = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$";
/// The value of a header, without whitespace at its ends (RFC 9110, 5.5).
pub const HEADER_VALUE: &str = "^([!-~]([\t -~]*[!-~])?)?$";
/// Whole milliseconds, or numbers with units, between and after which `humantime` accepts blanks.
pub const DURATION: &str = concat!(
    r"^(\+?[0-9]+|\s*((",
    r"[0-9][0-9\s]*(\.\s*[0-9][0-9\s]*)?",
    r"(usec|us|µs|millis|msec|ms|seconds|second|secs|sec|s|minutes|minute|mins|min|m",
    r"|hours|hour|hrs|hr|h|days|day|d|weeks|week|wks|wk|w|months|month|M|years|year|yrs|yr|y)",
    r"|[0-9][0-9\s]*(nanos|nsec|ns))\s*)+)$",
);
/// Whole bytes, or a number with its unit, as `bytesize` parses them.
pub const SIZE: &str =
    r"^(\+?[0-9]+(\s*bytes?)?|([0-9]+\.?[0-9]*|\.[0-9]+)\s*([kKmMgGtTpPeE][iI]?[bB]?|[bB]))$";
/// A share as text, as `f64` parses it.
pub const SHARE: &str = concat!(
    r"^(\+?(0+\.?|0*\.[0-9]+|0*1(\.0*)?)|-(0+\.?0*|\.0+)",
    r"|\+?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][+-]?[0-9]+)$"
);
/// A JSON object as text.
pub const OBJECT: &str = r"^\s*\{[\s\S]*\}\s*$";

const IPV4: &str =
    "((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])[.]){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
const PORT: &str = "0*([0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])";

/// A DNS name, whose last label is no number.
const NAME: &str = concat!(
    r"([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*",
    r"([0-9]*[A-Za-z_]([A-Za-z0-9_-]*[A-Za-z0-9_])?|[0-9]+-[A-Za-z0-9_-]*[A-Za-z0-9_])\.?"
);

/// An IPv6 address (RFC 4291, 2.2).
fn ipv6() -> String {
    const PART: &str = "[0-9a-fA-F]{1,4}";
    let mut forms = vec![format!("({PART}:){{7}}{PART}"), format!("({PART}:){{6}}{IPV4}")];
    for before in 0..8 {
        // `::` stands for one part or more
        let head = if before == 0 { String::new() } else { format!("({PART}:){{{}}}{PART}", before - 1) };
        match 7 - before {
            0 => forms.push(format!("{head}::")),
            most => forms.push(format!("{head}::({PART}(:{PART}){{0,{}}})?", most - 1)),
        }
        if before < 6 {
            forms.push(format!("{head}::({PART}:){{0,{}}}{IPV4}", 5 - before));
        }
    }
    forms.join("|")
}

/// An IP address and a port, as `SocketAddr` parses them.
pub fn address() -> String {
    format!(r"^({IPV4}|\[({})(%[0-9]+)?\]):{PORT}$", ipv6())
}

/// An IP address or a network (CIDR), or `unix:`.
pub fn trusted_ip() -> String {
    const V4_PREFIX: &str = "3[0-2]|[12]?[0-9]";
    const V6_PREFIX: &str = "12[0-8]|1[01][0-9]|[1-9]?[0-9]";
    format!(r"^(unix:|{IPV4}(/({V4_PREFIX}))?|({})(/({V6_PREFIX}))?)$", ipv6())
}

/// The name of a host or an IP address, with or without brackets.
pub fn host() -> String {
    const NAME: &str = r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*";
    let address = ipv6();
    format!(r"^({NAME}|\[{NAME}\]|{address}|\[({address})\])$")
}

/// The name of a server in TLS.
pub fn server_name() -> String {
    format!("^({NAME}|{IPV4}|{})$", ipv6())
}

/// A host to connect to, with or without a port.
pub fn host_port() -> String {
    const NOT_ZERO: &str =
        "0*([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])";
    format!(r"^({NAME}|{IPV4}|\[({})\])(:{NOT_ZERO})?$", ipv6())
}

/// Any of the names, in upper or lower case.
pub fn any_of_names(own: &OwnNames) -> String {
    let in_any_case = |name: &str| {
        let letter = |char: char| match char {
            'a'..='z' => format!("[{}{char}]", char.to_ascii_uppercase()),
            other => other.to_string(),
        };
        name.chars().map(letter).collect::<String>()
    };
    let names = own.names.iter().copied().flatten().map(|name| in_any_case(name) + "$");
    let prefixes = own.prefixes.iter().map(|prefix| in_any_case(prefix));
    format!("^({})", names.chain(prefixes).collect::<Vec<_>>().join("|"))
}
