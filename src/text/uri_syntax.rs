//! The bytes of a URL: escapes, `..` in all its spellings, and brackets around an address.

pub mod path;
pub mod query;

use std::{borrow::Cow, net::IpAddr};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

use super::local_addresses::is_of_this_machine;

/// Every byte that needs an escape in a segment or a value: all but the unreserved characters of RFC 3986,
/// 2.3.
pub const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// True if every `%` is followed by two hexadecimal digits (RFC 3986, 2.1).
pub fn escapes_are_whole(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some(percent) = rest.iter().position(|byte| *byte == b'%') {
        let Some((_, after)) = escaped_byte(&rest[percent..]) else { return false };
        rest = after;
    }
    true
}

/// The unreserved characters of RFC 3986, 2.3, by byte.
const UNRESERVED: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        #[expect(clippy::cast_possible_truncation, reason = "the table has an entry for each byte")]
        let character = byte as u8;
        table[byte] = character.is_ascii_alphanumeric() || matches!(character, b'-' | b'.' | b'_' | b'~');
        byte += 1;
    }
    table
};

/// True for a byte that never needs an escape (RFC 3986, 2.3).
fn is_unreserved(byte: u8) -> bool {
    UNRESERVED[usize::from(byte)]
}

/// Encodes every byte that is neither unreserved nor among `kept`.
pub fn push_encoded(bytes: &[u8], kept: &[u8], text: &mut Vec<u8>) {
    let mut rest = bytes;
    loop {
        let is_plain = |byte: &u8| is_unreserved(*byte) || kept.contains(byte);
        let (plain, behind) =
            rest.split_at(rest.iter().position(|byte| !is_plain(byte)).unwrap_or(rest.len()));
        text.extend_from_slice(plain);
        let Some((&byte, after)) = behind.split_first() else { return };
        text.extend_from_slice(&escape(byte));
        rest = after;
    }
}

/// The escape of a byte, with the upper-case digits that RFC 3986 (2.1) recommends.
pub fn escape(byte: u8) -> [u8; 3] {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    [b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
}

/// Appends a part of a URL with each byte in the one form of strict escapes (RFC 3986, 2.3 and 6.2.2); `plus`
/// takes the place of a raw `+`.
fn push_strict_part(part: &str, plus: &str, text: &mut String) {
    if part.bytes().all(is_unreserved) {
        text.push_str(part);
    } else {
        push_escaped_part(part, plus, text);
    }
}

fn push_escaped_part(part: &str, plus: &str, text: &mut String) {
    let mut rest = part;
    loop {
        let (plain, behind) =
            rest.split_at(rest.bytes().position(|byte| !is_unreserved(byte)).unwrap_or(rest.len()));
        text.push_str(plain);
        let mut characters = behind.chars();
        let Some(character) = characters.next() else { return };
        rest = characters.as_str();
        match (character, escaped_byte(behind.as_bytes())) {
            (_, Some((byte, _))) => {
                rest = &behind[3..];
                if is_unreserved(byte) {
                    text.push(char::from(byte));
                } else {
                    push_escape(byte, text);
                }
            }
            ('+', _) => text.push_str(plus),
            _ => character.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| push_escape(byte, text)),
        }
    }
}

fn push_escape(byte: u8, text: &mut String) {
    text.extend(escape(byte).map(char::from));
}

/// True if a path has a `..` segment in any spelling.
pub fn climbs(path: &str) -> bool {
    if has_no_dots(path) {
        return false;
    }
    let climbs = |plain: Cow<'_, [u8]>| parts(&plain).any(|part| name_of(part) == b"..");
    path.split('/').any(|segment| unescaped(segment.as_bytes()).is_none_or(climbs))
}

/// True for a segment that is `.` or `..` in any spelling.
pub fn is_dot_segment(segment: &str) -> bool {
    let is_dots = |plain: Cow<'_, [u8]>| matches!(name_of(&plain), b"." | b"..");
    unescaped(segment.as_bytes()).is_some_and(is_dots)
}

/// Checks that a remainder does not lead above the path to which it is appended.
///
/// Servers split segments differently, and a request may pass several that resolve dots. The worst reading
/// counts: escapes are decoded repeatedly; an escaped slash or a backslash is a separator around a `..` but
/// not between two names, which count as one; a `;` (Tomcat's `..;/`) or a NUL ends a name; overlong UTF-8 is
/// decoded.
///
/// # Errors
/// The reason, for the log.
pub fn check_remainder(remainder: &str) -> Result<(), &'static str> {
    if has_no_dots(remainder) {
        return Ok(());
    }
    let mut depth = 0;
    for segment in remainder.split('/') {
        let plain = unescaped(segment.as_bytes()).ok_or("escapes are nested too deep")?;
        depth = depth_behind(depth, &plain).ok_or("`..` would leave the route")?;
    }
    Ok(())
}

/// True for a path that cannot have a `..`, as most: neither an escape nor two dots.
fn has_no_dots(path: &str) -> bool {
    let bytes = path.as_bytes();
    !bytes.contains(&b'%') && !bytes.windows(2).any(|pair| pair == b"..")
}

/// The depth after an unescaped segment that begins at `depth`; `None` if it leads above 0.
fn depth_behind(mut depth: usize, segment: &[u8]) -> Option<usize> {
    let mut is_new_name = true;
    let mut has_parameters = false;
    for part in parts(segment) {
        match name_of(part) {
            b"" | b"." => {}
            b".." => {
                depth = depth.checked_sub(1)?;
                is_new_name = true;
            }
            // the rest after a `;` may be a parameter instead of a name
            _ => depth += usize::from(std::mem::take(&mut is_new_name) && !has_parameters),
        }
        has_parameters |= name_of(part).len() < part.len();
    }
    Some(depth)
}

/// The parts of an unescaped segment at every possible separator.
fn parts(segment: &[u8]) -> impl Iterator<Item = &[u8]> {
    segment.split(|byte| matches!(byte, b'/' | b'\\'))
}

/// A part without its parameters.
fn name_of(part: &[u8]) -> &[u8] {
    part.split(|byte| matches!(byte, b';' | 0)).next().unwrap_or_default()
}

/// A segment with its escapes decoded until none is left; `None` if they are nested too deep: that is an
/// attack, and costly to decode.
fn unescaped(segment: &[u8]) -> Option<Cow<'_, [u8]>> {
    const DEEPEST: usize = 4;
    let mut text = Cow::Borrowed(segment);
    for _ in 0..=DEEPEST {
        match unescaped_once(&text) {
            Some(once) => text = Cow::Owned(once),
            None => return Some(text),
        }
    }
    None
}

/// One round of decoding; `None` if there was no escape.
fn unescaped_once(text: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let (byte, after) = match rest {
            // overlong `.` and `/`
            [0xC0, 0xAE, after @ ..] | [0xE0, 0x80, 0xAE, after @ ..] => (b'.', after),
            [0xC0, 0xAF, after @ ..] | [0xE0, 0x80, 0xAF, after @ ..] => (b'/', after),
            _ => escaped_byte(rest).unwrap_or((byte, after)),
        };
        plain.push(byte);
        rest = after;
    }
    (plain.len() < text.len()).then_some(plain)
}

/// The host of a URL, an IPv6 address without its brackets (RFC 3986, 3.2.2).
pub fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
}

/// True if a host, without brackets, is this machine by its name or address.
pub fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// True for loopback, link-local addresses, and the addresses that AWS serves on each machine: EC2's metadata
/// service, the endpoints of ECS and of EKS Pod Identity. A proxy would connect to its own machine.
///
/// `host` has no brackets.
pub fn is_on_this_machine(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    // RFC 6761, 6.3
    let is_localhost = |name: &str| name.eq_ignore_ascii_case("localhost");
    if is_localhost(host) || host.rsplit_once('.').is_some_and(|(_, last)| is_localhost(last)) {
        return true;
    }
    // without the zone of a link-local address
    let address = host.split('%').next().unwrap_or_default();
    address.parse().is_ok_and(is_of_this_machine)
}

/// The byte of the escape at the start of a text, and the rest of the text.
fn escaped_byte(text: &[u8]) -> Option<(u8, &[u8])> {
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let [b'%', high, low, rest @ ..] = text else { return None };
    Some((digit(*high)? << 4 | digit(*low)?, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn loopback_link_local_and_the_metadata_services_are_on_this_machine() {
        for host in [
            "169.254.169.254",
            "169.254.170.2",
            "169.254.170.23",
            "fd00:ec2::23",
            "fd00:ec2::254",
            "127.0.0.1",
            "127.9.9.9",
            "::ffff:127.0.0.1",
            "0.0.0.0",
            "::",
            "::1",
            "fe80::1",
            "fe80::1%eth0",
            "localhost",
            "LOCALHOST.",
            "api.localhost",
        ] {
            assert!(is_on_this_machine(host), "{host}");
        }
        for host in [
            "sts.eu-west-1.amazonaws.com",
            "10.0.0.1",
            "fd00:1::1",
            "169.253.0.1",
            "xlocalhost",
            "localhost.x",
            "",
        ] {
            assert!(!is_on_this_machine(host), "{host}");
        }
    }

    #[test]
    fn an_escape_has_two_hexadecimal_digits() {
        for sound in ["", "/a", "%2F", "a%c3%A9", "%25zz"] {
            assert!(escapes_are_whole(sound.as_bytes()), "{sound}");
        }
        for broken in ["%", "a%", "%2", "%zz", "%2g/x", "100%/x"] {
            assert!(!escapes_are_whole(broken.as_bytes()), "{broken}");
        }
    }

    #[test]
    fn dots_that_lead_out_are_found_in_every_spelling() {
        for out in [
            "..",
            "../x",
            "a/../../x",
            "%2e%2e/x",
            ".%2E/x",
            "%2e./x",
            "..%2fx",
            "a/..%2f..%2fx",
            "a/..%5c../x",
            "..\\x",
            "%252e%252e/x",
            "%25%2f../..",
            "%25%2f..%2f..",
            "a%25%252e%252e/../..",
            "%25252e%25252e%25252fx",
            "..;/x",
            "..;a=b/x",
            "%c0%ae%c0%ae/x",
            "%e0%80%ae%e0%80%ae/x",
            "..%00/x",
            "a%2fb/../../x",
            "a//../../x",
            "./../x",
            // a name that servers resolve away is no level
            "%2e/../x",
            ";a/../x",
            ".;a/../x",
            "%00/../x",
            // a possible parameter is no level either
            "a/..;%2Fb/..",
            // two servers, of which one splits at backslashes and the next one at escaped slashes
            "a%2Fb%5C..%5C..%2Fc",
            "a%5C..%5C..%5Cb",
        ] {
            assert_eq!(check_remainder(out), Err("`..` would leave the route"), "{out}");
        }
        for nested in ["a/%252525252525252e%2e", "%2525252541"] {
            assert_eq!(check_remainder(nested), Err("escapes are nested too deep"), "{nested}");
        }
    }

    #[test]
    fn dots_that_stay_inside_or_are_names_pass() {
        for inside in
            ["", "a", "a/../b", "a/b/../../c", "...", "..a", "a..", ".", "./a", "a/.", "a.%2e", "a%2F%2Fb"]
        {
            assert_eq!(check_remainder(inside), Ok(()), "{inside}");
        }
    }

    #[test]
    fn s11_dots_between_escaped_separators_pass_where_no_reading_leads_out() {
        for inside in ["a%5C..%5Cb", "a\\..\\b", "a%2F..%2Fb", "a%5C..", "a/b%2F..%2F..", "a%252F..%255Cb"] {
            assert_eq!(check_remainder(inside), Ok(()), "{inside}");
        }
    }

    #[test]
    fn only_a_pair_of_brackets_around_a_host_is_removed() {
        for (host, bare) in [("[::1]", "::1"), ("a.b", "a.b"), ("[::1", "[::1"), ("::1]", "::1]"), ("", "")] {
            assert_eq!(without_brackets(host), bare);
        }
    }

    #[test]
    fn settings_take_no_climbing_at_all() {
        assert!(climbs("/a/../b"));
        assert!(climbs("/a/%2e%2e"));
        assert!(!climbs("/a/..b/"));
    }

    /// A path as resolved by a server that decodes escapes so often, splits at backslashes or not, and
    /// removes parameters or not; `None` if it leads out.
    fn resolved(path: &str, rounds: u8, backslashes: bool, parameters: bool) -> Option<String> {
        let mut text = path.as_bytes().to_vec();
        if parameters {
            let names = path.split('/').map(|segment| segment.split(';').next().unwrap_or_default());
            text = names.collect::<Vec<_>>().join("/").into_bytes();
        }
        for _ in 0..rounds {
            text = unescaped_once(&text).unwrap_or(text);
        }
        let text = String::from_utf8(text).unwrap();
        let mut names = Vec::new();
        for segment in text.split(|at| at == '/' || (backslashes && at == '\\')) {
            match segment {
                "" | "." => {}
                ".." => drop(names.pop()?),
                name => names.push(name),
            }
        }
        Some(names.join("/"))
    }

    proptest! {
        /// A reference reading: segments at raw slashes, one round of unescaping, resolved on a stack.
        #[test]
        fn whatever_leads_out_for_a_plain_server_leads_out_here(
            parts in prop::collection::vec(
                prop::sample::select(vec!["a", ".", "..", "", "%2e%2e", "b%2fc", ".%2E"]),
                0..8,
            )
        ) {
            let mut depth = 0_i32;
            let mut out = false;
            for part in &parts {
                match *part {
                    "" | "." => {}
                    ".." | "%2e%2e" | ".%2E" => depth -= 1,
                    _ => depth += 1,
                }
                out |= depth < 0;
            }
            prop_assert!(!out || check_remainder(&parts.join("/")).is_err());
        }

        /// Reference readings: servers in a row, each of which resolves the segments that it sees.
        #[test]
        fn whatever_leads_out_for_servers_in_a_row_leads_out_here(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "a", "b", ".", "..", "/", "/", "%2F", "%5C", "\\", "%252F", "%255c", "%2e", "%2E%2e",
                    "%252e", ";", "%3B", "/../", "%2F..", "..%5C",
                ]),
                0..12,
            ),
            servers in prop::collection::vec((0..3_u8, any::<bool>(), any::<bool>()), 1..4),
        ) {
            let path = parts.concat();
            let mut arrived = Some(path.clone());
            for (rounds, backslashes, parameters) in servers {
                arrived = arrived.and_then(|path| resolved(&path, rounds, backslashes, parameters));
            }
            prop_assert!(arrived.is_some() || check_remainder(&path).is_err(), "{path}");
        }

        #[test]
        fn no_text_makes_it_panic_or_hang(text in "[%./\\\\;a-f0-9]{0,64}") {
            let _ = (check_remainder(&text), climbs(&text), escapes_are_whole(text.as_bytes()));
        }
    }
}
