//! Where records come from.

use crate::cli::client::ClientFailure;
use crate::cli::client::consumed::ConsumedRecord;
use crate::cli::client::consumer::Consumer;
use crate::cli::client::consumer::group::GroupConsumer;

/// A consumer of either kind.
#[derive(Debug)]
pub(super) enum Source {
    /// Of assigned partitions.
    Assigned(Box<Consumer>),
    /// Of what a group gives it.
    Member(Box<GroupConsumer>),
}

impl Source {
    pub(super) fn assigned(consumer: Consumer) -> Self {
        Source::Assigned(Box::new(consumer))
    }

    pub(super) fn member(consumer: GroupConsumer) -> Self {
        Source::Member(Box::new(consumer))
    }

    /// Waits until there are records. May be dropped and called again.
    pub(super) async fn fill(&mut self) -> Result<(), ClientFailure> {
        match self {
            Source::Assigned(consumer) => consumer.fill_until_ready().await,
            Source::Member(consumer) => consumer.fill().await,
        }
    }

    /// A record that is there.
    pub(super) fn take_ready(&mut self) -> Option<ConsumedRecord> {
        match self {
            Source::Assigned(consumer) => consumer.take_one(),
            Source::Member(consumer) => consumer.take_ready(),
        }
    }

    /// What was taken is printed.
    pub(super) fn settle(&mut self) {
        match self {
            Source::Assigned(_) => {}
            Source::Member(consumer) => consumer.settle(),
        }
    }

    /// Commits and leaves, where there is a group.
    pub(super) async fn close(self) {
        match self {
            Source::Assigned(_) => {}
            Source::Member(consumer) => consumer.close().await,
        }
    }
}
