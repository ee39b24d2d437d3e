//! Fetches what this node's followers lack, with Kafka's own Fetch: one task per leader node, which
//! carries all partitions led by it.
//!
//! - `target`: one leader node: the partitions to fetch from it, and the task that does so
//! - `lane`: one fetch under way on a connection of its own
//! - `session`: what the leader was told, so that it need not be told again
//! - `request`: requests, and answers matched with what was asked
//!
//! Never is more than one fetch of a partition under way: its [`FollowerState`] sees to that.
//!
//! [`FollowerState`]: super::follower::FollowerState

mod lane;
mod request;
mod session;
mod target;

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::target::Target;
use super::options::NodeContext;
use super::partition::Partition;
use crate::metadata::{Image, MetadataSource};
use crate::net::{HostPort, Network};
use crate::types::NodeId;

/// What all fetches share: the way to other nodes.
pub(super) struct Way {
    context: Arc<NodeContext>,
    network: Arc<dyn Network>,
    metadata: Arc<dyn MetadataSource>,
}

impl Way {
    pub(super) fn new(
        context: Arc<NodeContext>,
        network: Arc<dyn Network>,
        metadata: Arc<dyn MetadataSource>,
    ) -> Arc<Self> {
        Arc::new(Self { context, network, metadata })
    }

    /// This node.
    pub(super) fn node(&self) -> NodeId {
        self.context.node
    }

    pub(super) fn network(&self) -> &dyn Network {
        &*self.network
    }

    /// The newest metadata.
    pub(super) fn image(&self) -> Arc<Image> {
        self.metadata.image()
    }

    /// Where a node serves other brokers.
    pub(super) fn address_of(&self, node: NodeId) -> Option<HostPort> {
        let image = self.metadata.image();
        let endpoint =
            image.broker(node)?.endpoint(&self.context.options.inter_broker_listener)?.clone();
        Some(HostPort::new(endpoint.host, endpoint.port))
    }
}

/// The fetching tasks of a node.
pub(super) struct Fetchers {
    way: Arc<Way>,
    targets: Mutex<BTreeMap<NodeId, Arc<Target>>>,
    new_targets: mpsc::UnboundedSender<Arc<Target>>,
    to_run: Mutex<Option<mpsc::UnboundedReceiver<Arc<Target>>>>,
}

impl Fetchers {
    pub(super) fn new(way: Arc<Way>) -> Arc<Self> {
        // Bounded by the brokers of the cluster: each is sent once.
        let (new_targets, to_run) = mpsc::unbounded_channel();
        Arc::new(Self {
            way,
            targets: Mutex::default(),
            new_targets,
            to_run: Mutex::new(Some(to_run)),
        })
    }

    /// `partition` follows `leader` now. It is forgotten by itself when it does so no more.
    pub(super) fn add(&self, leader: NodeId, partition: Arc<Partition>) {
        let mut targets = self.targets.lock();
        let target = targets.entry(leader).or_insert_with(|| {
            let target = Arc::new(Target::new(leader, Arc::clone(&self.way.context.clock)));
            // At most one per node of the cluster; nobody listens once the node is stopping.
            self.new_targets.send(Arc::clone(&target)).unwrap_or_default();
            target
        });
        target.add(partition);
    }

    /// Brokers have changed their addresses or come back: no pause outlasts that.
    pub(super) fn brokers_changed(&self) {
        self.targets.lock().values().for_each(|target| target.try_again());
    }

    /// Runs the tasks until it is dropped; it ends if one of them fails.
    pub(super) async fn run(self: Arc<Self>) {
        let Some(mut to_run) = self.to_run.lock().take() else { return };
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                Some(target) = to_run.recv() => {
                    tasks.spawn(target::run(target, Arc::clone(&self.way)));
                }
                Some(ended) = tasks.join_next() => {
                    tracing::error!(?ended, "a fetching task has ended");
                    return;
                }
            }
        }
    }
}
