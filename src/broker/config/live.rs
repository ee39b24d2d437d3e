//! The configuration as it is now: what the node was started with, under what was set for it while
//! it runs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::ignored::why_ignored;
use super::keys::{self, Known};
use super::{BrokerConfig, precedence};
use crate::metadata::{ConfigMap, ConfigResource, Image, MetadataSource};
use crate::types::watch;

/// A node's configuration, which may change while the node runs. Whoever works in rounds reads
/// [`LiveConfig::current`] at the beginning of each, so that a change needs no restart.
#[derive(Clone)]
pub struct LiveConfig {
    shared: Arc<Shared>,
}

struct Shared {
    started_with: Arc<BrokerConfig>,
    current: ArcSwap<BrokerConfig>,
    seen: Mutex<Seen>,
    changes: watch::Sender<u64>,
}

/// The newest image that was looked at, and what it holds for this node.
#[derive(Default)]
struct Seen {
    version: u64,
    cluster: ConfigMap,
    broker: ConfigMap,
}

impl LiveConfig {
    /// Begins with what the node was started with.
    pub fn new(started_with: Arc<BrokerConfig>) -> Self {
        let shared = Shared {
            current: ArcSwap::new(Arc::clone(&started_with)),
            started_with,
            seen: Mutex::default(),
            changes: watch::Sender::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The configuration now.
    pub fn current(&self) -> Arc<BrokerConfig> {
        self.shared.current.load_full()
    }

    /// What the node was started with.
    pub fn started_with(&self) -> &Arc<BrokerConfig> {
        &self.shared.started_with
    }

    /// Counts the changes so far, and each later one.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// The configuration as of `image`, or as of a newer one that was looked at before. A value that does
    /// not fit this node's others is passed over, and told.
    pub fn at(&self, image: &Image) -> Arc<BrokerConfig> {
        let own = ConfigResource::Broker(self.shared.started_with.node_id);
        let of = |resource| image.config(resource).cloned().unwrap_or_default();
        let (cluster, broker) = (of(&ConfigResource::DefaultBroker), of(&own));
        let mut seen = self.shared.seen.lock();
        let is_old = image.version() < seen.version;
        if is_old || (seen.cluster == cluster && seen.broker == broker) {
            seen.version = seen.version.max(image.version());
            return self.current();
        }
        let started_with = &self.shared.started_with;
        let (config, faults) = precedence::effective(started_with, &cluster, &broker);
        for fault in faults {
            tracing::error!("what was set while the node runs is passed over: {fault}");
        }
        let before = [&seen.cluster, &seen.broker].map(Arc::clone);
        for (key, value) in cluster.iter().chain(broker.iter()) {
            let is_new = before.iter().all(|map| map.get(key) != Some(value));
            if let Some(why) = why_ignored(key).filter(|_| is_new) {
                tracing::warn!("{key} is ignored: {why}");
            }
        }
        *seen = Seen { version: image.version(), cluster, broker };
        let config = Arc::new(config);
        self.shared.current.store(Arc::clone(&config));
        drop(seen);
        tracing::info!("the configuration has changed");
        self.shared.changes.send_modify(|changes| *changes += 1);
        config
    }

    /// Follows the cluster's metadata for as long as that is there.
    pub async fn follow(self, metadata: Arc<dyn MetadataSource>) {
        let mut versions = metadata.subscribe();
        loop {
            versions.borrow_and_update();
            self.at(&metadata.image());
            if versions.changed().await.is_err() {
                return;
            }
        }
    }

    /// Judges what `resource`, this broker or all brokers, is to have set while it runs; says what is
    /// wrong, in Kafka's words where Kafka has them.
    ///
    /// # Errors
    /// One sentence.
    pub fn judge(
        &self,
        image: &Image,
        resource: &ConfigResource,
        next: &BTreeMap<String, String>,
    ) -> Result<(), String> {
        let per_broker = matches!(resource, ConfigResource::Broker(_));
        precedence::judge(next, per_broker)?;
        let started_with = &self.shared.started_with;
        let own = ConfigResource::Broker(started_with.node_id);
        let of = |resource| image.config(resource).cloned().unwrap_or_default();
        let (cluster, broker) = (of(&ConfigResource::DefaultBroker), of(&own));
        let (next_cluster, next_broker) =
            if per_broker { (&*cluster, next) } else { (next, &*broker) };
        let (_, before) = precedence::effective(started_with, &cluster, &broker);
        let (_, faults) = precedence::effective(started_with, next_cluster, next_broker);
        // What did not fit before is not this change's fault.
        faults.into_iter().find(|fault| !before.contains(fault)).map_or(Ok(()), Err)
    }

    /// Whether a broker key exists, be it without use here.
    pub fn is_known(key: &str) -> bool {
        keys::find(key).is_some()
    }

    /// Whether values can be appended to a broker key.
    pub fn is_list(key: &str) -> bool {
        matches!(keys::find(key), Some(Known::TopicDefault(key)) if key.kind.is_list())
    }
}

impl fmt::Debug for LiveConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveConfig").field("current", &self.current()).finish_non_exhaustive()
    }
}
