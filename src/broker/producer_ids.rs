//! Producer ids, from blocks that the controller gives to this broker. A block is used up in
//! memory; what is left of it when the broker stops is never given out.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::broker::controller_link::ControllerLink;
use crate::controller::machine::{Command, Reply};
use crate::net::server::RequestContext;
use crate::types::{ErrorCode, ProducerId};

/// How long a producer waits for the controller to give out a block.
const BLOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// This broker's block of producer ids.
pub(crate) struct ProducerIds {
    link: Arc<ControllerLink>,
    /// Held across the request for a block, so that a burst of producers asks for one only.
    block: Mutex<Range<i64>>,
}

impl ProducerIds {
    /// With no block yet.
    pub fn new(link: Arc<ControllerLink>) -> ProducerIds {
        ProducerIds { link, block: Mutex::new(0..0) }
    }

    /// An id that nobody else has.
    ///
    /// # Errors
    /// What kept the controller from giving out a block.
    pub async fn next(&self, context: &RequestContext) -> Result<ProducerId, ErrorCode> {
        let mut block = self.block.lock().await;
        if block.is_empty() {
            let command = Command::AllocateProducerIds {
                node_id: self.link.node_id(),
                broker_epoch: self.link.broker_epoch(),
            };
            match self.link.submit(command, context, BLOCK_TIMEOUT).await? {
                Reply::ProducerIds { first, count } => *block = first.0..first.0 + i64::from(count),
                other => {
                    tracing::error!(?other, "the controller gave no block of producer ids");
                    return Err(ErrorCode::UnknownServerError);
                }
            }
        }
        block.next().map(ProducerId).ok_or(ErrorCode::UnknownServerError)
    }
}
