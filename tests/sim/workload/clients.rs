//! Which clients there are, and on which machine each runs.

use std::time::Duration;

use futures::StreamExt;
use futures::future::LocalBoxFuture;
use futures::stream::FuturesUnordered;

use super::plan::Sending;
use super::{Surroundings, admin, consumer, idempotent, producer};

/// The clients' machines.
pub const MACHINES: [&str; 2] = ["c0", "c1"];

/// Runs all clients of one machine, until `until` and until they have done what they had begun.
pub async fn run(around: Surroundings, until: Duration) -> turmoil::Result {
    let is_here = |number: u32| MACHINES[number as usize % MACHINES.len()] == around.machine;
    let mut all: FuturesUnordered<LocalBoxFuture<'_, turmoil::Result>> = FuturesUnordered::new();
    if is_here(0) {
        all.push(Box::pin(admin::create(around.clone())));
    }
    for (number, sending) in (0..).zip(&around.plan.producers).filter(|(it, _)| is_here(*it)) {
        all.push(match sending {
            Sending::Once => Box::pin(producer::run(around.clone(), number, until)),
            Sending::Idempotent => Box::pin(idempotent::run(around.clone(), number, until)),
        });
    }
    let readers = around.plan.readers * around.plan.partitions.unsigned_abs();
    for number in (0..readers).filter(|number| is_here(number + 1)) {
        let partition = i32::try_from(number)? % around.plan.partitions;
        all.push(Box::pin(consumer::run(around.clone(), number, partition, until)));
    }
    while let Some(ended) = all.next().await {
        ended?;
    }
    Ok(())
}
