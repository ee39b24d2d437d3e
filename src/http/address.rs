//! How HTTP addresses are written: `http://host:port` or `host:port`.

use crate::net::HostPort;

/// Reads `text` as an address: `http://host:port` or `host:port`, and nothing behind it.
///
/// # Errors
/// What is wrong with it.
pub fn parse(text: &str) -> Result<HostPort, String> {
    let text = text.trim();
    if text.starts_with("https://") {
        return Err(format!("'{text}': https is not served; use http://host:port"));
    }
    let rest = text.strip_prefix("http://").unwrap_or(text);
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains('/') {
        return Err(format!("'{text}' has a path; write it as http://host:port"));
    }
    rest.parse().map_err(|error| format!("{error}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn addresses_are_read_with_and_without_their_scheme() {
        for (text, expected) in [
            ("http://127.0.0.1:8080", Some(("127.0.0.1", 8080))),
            ("http://localhost:80/", Some(("localhost", 80))),
            ("[::1]:1", Some(("::1", 1))),
            (":8080", Some(("", 8080))),
            ("https://a:1", None),
            ("http://a:1/b", None),
            ("http://a", None),
            ("a:99999", None),
        ] {
            let expected = expected.map(|(host, port)| HostPort::new(host, port));
            assert_eq!(parse(text).ok(), expected, "{text}");
        }
    }
}
