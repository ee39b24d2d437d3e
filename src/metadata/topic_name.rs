//! What a topic may be called, in Kafka's rules and words.

/// The longest name: the directory `<name>-<partition>` must fit a file name.
pub const MAX_LENGTH: usize = 249;

/// The log of the metadata itself: nobody may make a topic of that name.
pub const CLUSTER_METADATA: &str = "__cluster_metadata";

/// Says what is wrong with `name`; `Ok` if nothing is.
pub fn validate(name: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let fault = if name.is_empty() {
        "the empty string is not allowed".to_owned()
    } else if name == "." || name == ".." {
        format!("'{name}' is not allowed")
    } else if name.len() > MAX_LENGTH {
        format!("the length of '{name}' is longer than the max allowed length {MAX_LENGTH}")
    } else if !name.chars().all(legal) {
        format!(
            "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
        )
    } else {
        return Ok(());
    };
    Err(format!("Topic name is invalid: {fault}"))
}

/// Whether the names would give metrics of the same name: they differ in `.` and `_` only.
pub fn collide(one: &str, other: &str) -> bool {
    let unified = |name: &str| name.replace('.', "_");
    unified(one) == unified(other)
}

/// Whether a name can collide with another.
pub fn may_collide(name: &str) -> bool {
    name.contains(['.', '_'])
}

/// Where groups and committed offsets are kept.
pub const CONSUMER_OFFSETS: &str = "__consumer_offsets";

/// Where the rebalances of groups are remembered.
pub const GROUP_HISTORY: &str = "__ottla_group_history";

/// Whether the brokers keep the topic for themselves: clients see it marked as internal.
pub fn is_internal(name: &str) -> bool {
    matches!(name, CONSUMER_OFFSETS | GROUP_HISTORY | "__transaction_state" | "__share_group_state")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn names_are_judged_as_kafka_does() {
        let long = "x".repeat(250);
        for (name, fault) in [
            ("", Some("the empty string is not allowed")),
            (".", Some("'.' is not allowed")),
            ("..", Some("'..' is not allowed")),
            ("a b", Some("'a b' contains one or more characters")),
            ("straße", Some("contains one or more characters")),
            (long.as_str(), Some("is longer than the max allowed length 249")),
            (&long[..249], None),
            ("Orders.v1_a-b", None),
            ("...", None),
        ] {
            match (validate(name), fault) {
                (Ok(()), None) => {}
                (Err(message), Some(fault)) => assert!(message.contains(fault), "{message}"),
                (got, _) => panic!("{name}: {got:?}"),
            }
        }
    }

    #[test]
    fn dots_and_underscores_collide() {
        assert!(collide("a.b", "a_b") && !collide("a.b", "a-b"));
    }
}
