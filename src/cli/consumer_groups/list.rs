//! `--list`: the groups' ids, and with `--state` or `--type` a table.

use std::fmt::Write as _;

use anyhow::bail;

use crate::cli::client::groups::listing::ListedGroup;

/// Kafka's names of the states that groups of consumers can be in.
const STATES: [&str; 7] = [
    "PreparingRebalance",
    "CompletingRebalance",
    "Stable",
    "Dead",
    "Empty",
    "Assigning",
    "Reconciling",
];
/// Kafka's names of the types of such groups.
const TYPES: [&str; 2] = ["Classic", "Consumer"];

/// The states in a value of `--state`, by Kafka's names.
pub(super) fn states(text: &str) -> anyhow::Result<Vec<String>> {
    match known(text, &STATES) {
        Some(states) => Ok(states),
        None => {
            bail!("Invalid state list '{text}'. Valid states are: {}", STATES.join(", "))
        }
    }
}

/// The types in a value of `--type`, by Kafka's names.
pub(super) fn types(text: &str) -> anyhow::Result<Vec<String>> {
    match known(text, &TYPES) {
        Some(types) => Ok(types),
        None => bail!("Invalid types list '{text}'. Valid types are: {}", TYPES.join(", ")),
    }
}

/// The names in a list, in any case; an empty list filters nothing.
fn known(text: &str, names: &[&str]) -> Option<Vec<String>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let name = |wanted: &str| names.iter().find(|name| name.eq_ignore_ascii_case(wanted.trim()));
    text.split(',').map(|wanted| name(wanted).map(|name| (*name).to_owned())).collect()
}

/// The groups' ids, one a line.
pub(super) fn plain(groups: &[ListedGroup]) -> String {
    groups.iter().map(|group| format!("{}\n", group.group_id)).collect()
}

/// The table: wider by ten than the widest id, and no empty line before it.
pub(super) fn table(groups: &[ListedGroup], with_type: bool, with_state: bool) -> String {
    let widest = groups.iter().map(|group| group.group_id.chars().count()).max();
    let width = widest.unwrap_or_default().max(15) + 10;
    let mut text = String::new();
    let mut line = |id: &str, group_type: &str, state: &str| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{id:<width$}");
        for (is_shown, cell) in [(with_type, group_type), (with_state, state)] {
            if is_shown {
                let _ = write!(text, " {cell:<20}");
            }
        }
        text.push('\n');
    };
    line("GROUP", "TYPE", "STATE");
    let or_unknown = |name: &str| if name.is_empty() { "Unknown" } else { name }.to_owned();
    for group in groups {
        line(&group.group_id, &type_name(&group.group_type), &or_unknown(&group.state));
    }
    text
}

/// Brokers write types in any case.
fn type_name(of: &str) -> String {
    let known = TYPES.iter().find(|name| name.eq_ignore_ascii_case(of));
    known.map_or("Unknown", |name| name).to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn group(id: &str, state: &str, group_type: &str) -> ListedGroup {
        ListedGroup {
            group_id: id.to_owned(),
            state: state.to_owned(),
            group_type: group_type.to_owned(),
        }
    }

    #[test]
    fn names_are_known_in_any_case() {
        assert_eq!(states("stable, EMPTY").unwrap(), ["Stable", "Empty"]);
        assert_eq!(states("").unwrap(), [""; 0]);
        assert_eq!(types("consumer,Classic").unwrap(), ["Consumer", "Classic"]);
        for text in ["bad", "stable,", ","] {
            assert!(states(text).is_err(), "{text}");
        }
        let error = types("share").unwrap_err().to_string();
        assert_eq!(error, "Invalid types list 'share'. Valid types are: Classic, Consumer");
    }

    #[test]
    fn the_table_is_kafkas() {
        let groups = [group("orders-readers-1", "Stable", "classic"), group("b", "", "")];
        assert_eq!(
            table(&groups, true, true),
            "GROUP                      TYPE                 STATE               \n\
             orders-readers-1           Classic              Stable              \n\
             b                          Unknown              Unknown             \n"
        );
        assert_eq!(
            table(&groups[..1], false, true),
            "GROUP                      STATE               \norders-readers-1           Stable              \n"
        );
        assert_eq!(plain(&groups), "orders-readers-1\nb\n");
    }
}
