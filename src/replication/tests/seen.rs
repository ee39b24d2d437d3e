//! Metadata as a test shows it to a node.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::metadata::{Image, MetadataSource};
use crate::types::watch;

/// The metadata as one node has seen it.
pub(crate) struct Seen {
    pub image: ArcSwap<Image>,
    pub version: watch::Sender<u64>,
}

impl Default for Seen {
    fn default() -> Self {
        Self { image: ArcSwap::default(), version: watch::Sender::new(0) }
    }
}

impl MetadataSource for Seen {
    fn image(&self) -> Arc<Image> {
        self.image.load_full()
    }

    fn subscribe(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }
}
