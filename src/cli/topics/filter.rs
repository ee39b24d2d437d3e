//! Which topics a regular expression on the command line means.

use anyhow::Context;
use regex::Regex;

/// A list of topics in Kafka's notation: regular expressions that must match the whole name,
/// separated by commas or bars, perhaps in quotes.
#[derive(Debug, Clone)]
pub struct TopicFilter(Regex);

impl TopicFilter {
    /// Reads the notation.
    pub fn new(text: &str) -> anyhow::Result<Self> {
        let expression =
            text.trim().replace(',', "|").replace(' ', "").trim_matches(['"', '\'']).to_owned();
        Regex::new(&format!("^(?:{expression})$"))
            .map(Self)
            .with_context(|| format!("'{text}' is not a regular expression"))
    }

    /// Whether `topic` is meant.
    pub fn matches(&self, topic: &str) -> bool {
        self.0.is_match(topic)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn the_whole_name_must_match() {
        for (filter, topic, matches) in [
            ("orders", "orders", true),
            ("orders", "orders2", false),
            ("or.*", "orders", true),
            ("orders,payments", "payments", true),
            ("orders | payments", "payments", true),
            ("\"orders\"", "orders", true),
            (".*", "anything", true),
            ("order.s", "order-s", true),
        ] {
            assert_eq!(
                TopicFilter::new(filter).unwrap().matches(topic),
                matches,
                "{filter} {topic}"
            );
        }
        assert!(TopicFilter::new("*").is_err());
    }
}
