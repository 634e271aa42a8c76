//! An IP address as text on the stack, without an allocation: each request has one in a header and in its log
//! line.

use std::{
    io::Write as _,
    net::{IpAddr, Ipv4Addr},
};

/// Bytes of the longest IPv6 address, `INET6_ADDRSTRLEN` of `inet_ntop` without its closing zero.
const MAX_LENGTH: usize = 45;

#[derive(Debug, Clone, Copy)]
pub(crate) struct IpText {
    bytes: [u8; MAX_LENGTH],
    length: usize,
}

impl From<IpAddr> for IpText {
    fn from(address: IpAddr) -> Self {
        let mut text = Self { bytes: [0; MAX_LENGTH], length: 0 };
        match address {
            IpAddr::V4(address) => text.put_v4(address),
            IpAddr::V6(address) => {
                let mut rest = &mut text.bytes[..];
                // fits always
                let _ = write!(rest, "{address}");
                let left = rest.len();
                text.length = MAX_LENGTH - left;
            }
        }
        text
    }
}

impl IpText {
    /// `Display` takes ten times as long.
    fn put_v4(&mut self, address: Ipv4Addr) {
        for (at, octet) in address.octets().into_iter().enumerate() {
            if at > 0 {
                self.put(b".");
            }
            self.put(itoa::Buffer::new().format(octet).as_bytes());
        }
    }

    fn put(&mut self, text: &[u8]) {
        self.bytes[self.length..self.length + text.len()].copy_from_slice(text);
        self.length += text.len();
    }

    pub fn as_str(&self) -> &str {
        // digits, dots and colons
        str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_address_has_the_text_of_its_display(address in any::<IpAddr>()) {
            let text = address.to_string();
            let own = IpText::from(address);
            prop_assert_eq!(own.as_str(), text);
        }
    }

    #[test]
    fn the_longest_addresses_fit() {
        for text in
            ["255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::ffff:255.255.255.255", "::"]
        {
            assert_eq!(IpText::from(text.parse::<IpAddr>().unwrap()).as_str(), text);
        }
    }
}
