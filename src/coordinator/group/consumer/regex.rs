//! Subscriptions by regular expression: the broker knows which topics match.
//!
//! Kafka resolves them in the background and rebalances once the result is there; here they are
//! resolved in the same decision. Kafka's limits of how often all of them are resolved again apply.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use regex::{Regex, RegexBuilder};

use crate::coordinator::group::consumer::edit::Edit;
use crate::coordinator::group::consumer::refusal::Refusal;
use crate::coordinator::group::record::GroupRecord;
use crate::coordinator::group::stored::ConsumerGroupRegularExpressionValue;
use crate::metadata::{Image, topic_name};
use crate::protocol::Str;
use crate::types::ErrorCode;

/// How long a change of the topics' names may go unnoticed: they are not matched again sooner.
const MIN_REFRESH_INTERVAL: Duration = Duration::from_secs(10);

/// What one compiled expression may take, in bytes.
const MAX_COMPILED_BYTES: usize = 1 << 20;

/// A member's expression is `new` now; its metadata are recorded already. Returns whether that
/// changes anything.
///
/// # Errors
/// `new` is no regular expression.
pub(super) fn update(
    edit: &mut Edit<'_>,
    old: Option<&str>,
    new: Option<&str>,
) -> Result<bool, Refusal> {
    if let Some(new) = new.filter(|new| !edit.group.regexes.contains_key(*new)) {
        let compiled = compile(new)?;
        resolve(edit, new, &compiled);
    }
    if let Some(old) = old {
        drop_unused(edit, old);
    }
    Ok(old != new)
}

/// Takes an expression back that nobody subscribes by any more.
pub(super) fn drop_unused(edit: &mut Edit<'_>, regex: &str) {
    if edit.group.regexes.contains_key(regex) && !edit.group.has_subscriber(regex) {
        let (group, regex) = (edit.id.clone(), regex.to_owned());
        edit.record(GroupRecord::Regex { group, regex, value: None });
    }
}

/// Matches all expressions again if topics have come or gone, or if it has been long. Returns
/// whether the result is another one.
pub(super) fn refresh(edit: &mut Edit<'_>) -> bool {
    if edit.group.regexes.is_empty() {
        return false;
    }
    let now = edit.now.monotonic;
    if let Some((at, version)) = edit.group.soft.regexes_refreshed {
        let age = now.since(at);
        let has_news = version != edit.names_version && age > MIN_REFRESH_INTERVAL;
        if !has_news && age <= edit.config.regex_refresh_interval {
            return false;
        }
    }
    edit.group.soft.regexes_refreshed = Some((now, edit.names_version));
    let known: Vec<Arc<str>> = edit.group.regexes.keys().cloned().collect();
    let mut changed = false;
    for regex in known {
        if let Ok(compiled) = compile(&regex) {
            changed |= resolve(edit, &regex, &compiled);
        }
    }
    changed
}

/// Records what an expression matches, if that is not what is known.
fn resolve(edit: &mut Edit<'_>, regex: &str, compiled: &Regex) -> bool {
    let topics = matching(compiled, edit.image);
    let known = edit.group.regexes.get(regex);
    if known.is_some_and(|known| known.topics.iter().map(|name| &**name).eq(topics.iter().copied()))
    {
        return false;
    }
    let value = ConsumerGroupRegularExpressionValue {
        topics: topics.into_iter().map(Str::from).collect(),
        version: edit.image.version().cast_signed(),
        timestamp: edit.now.wall.0,
    };
    let (group, regex) = (edit.id.clone(), regex.to_owned());
    edit.record(GroupRecord::Regex { group, regex, value: Some(value) });
    true
}

/// The topics whose whole name matches, without internal ones.
fn matching<'a>(compiled: &Regex, image: &'a Image) -> BTreeSet<&'a str> {
    let names = image.topics.keys().map(|name| name.as_str());
    names.filter(|name| !topic_name::is_internal(name) && compiled.is_match(name)).collect()
}

/// The expression, to be matched against whole names.
fn compile(regex: &str) -> Result<Regex, Refusal> {
    let invalid = |error: regex::Error| {
        let message =
            format!("SubscribedTopicRegex `{regex}` is not a valid regular expression: {error}.");
        Refusal::new(ErrorCode::InvalidRegularExpression, message)
    };
    // Alone first: what closes a group that it has not opened must not close ours.
    let limited = |regex: &str| RegexBuilder::new(regex).size_limit(MAX_COMPILED_BYTES).build();
    limited(regex).map_err(invalid)?;
    limited(&format!(r"\A(?:{regex})\z")).map_err(invalid)
}
