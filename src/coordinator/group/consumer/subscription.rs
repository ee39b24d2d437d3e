//! Which topics a group and its members subscribe to.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::coordinator::group::consumer::member::Metadata;
use crate::coordinator::group::consumer::state::ConsumerGroup;

impl ConsumerGroup {
    /// Whether a member subscribes to `topic`, by name or by expression.
    pub fn is_subscribed_to(&self, topic: &str) -> bool {
        self.members.values().any(|member| self.subscribes(&member.metadata, topic))
    }

    /// Whether that member subscribes to `topic`.
    pub(super) fn subscribes(&self, metadata: &Metadata, topic: &str) -> bool {
        let names =
            |topics: &[Arc<str>]| topics.binary_search_by(|name| (**name).cmp(topic)).is_ok();
        let resolved = metadata.regex.as_ref().and_then(|regex| self.regexes.get(regex));
        names(&metadata.topics) || resolved.is_some_and(|resolved| names(&resolved.topics))
    }

    /// The topics that a member subscribes to, by name and by expression.
    pub(super) fn topics_of(&self, metadata: &Metadata) -> BTreeSet<Arc<str>> {
        let resolved = metadata.regex.as_ref().and_then(|regex| self.regexes.get(regex));
        let matched = resolved.iter().flat_map(|resolved| resolved.topics.iter());
        metadata.topics.iter().chain(matched).cloned().collect()
    }

    /// The topics that any member subscribes to.
    pub(super) fn subscribed_topics(&self) -> BTreeSet<Arc<str>> {
        let mut all = BTreeSet::new();
        let mut last: Option<&Arc<[Arc<str>]>> = None;
        for member in self.members.values() {
            let topics = &member.metadata.topics;
            if last.is_none_or(|last| !Arc::ptr_eq(last, topics)) {
                all.extend(topics.iter().cloned());
            }
            last = Some(topics);
        }
        for (regex, resolved) in &self.regexes {
            if self.has_subscriber(regex) {
                all.extend(resolved.topics.iter().cloned());
            }
        }
        all
    }

    /// Whether a member subscribes by that expression.
    pub(super) fn has_subscriber(&self, regex: &str) -> bool {
        self.members.values().any(|member| member.metadata.regex.as_deref() == Some(regex))
    }
}
