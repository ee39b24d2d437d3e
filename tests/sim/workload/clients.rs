//! Which clients there are, and on which machine each runs.

use std::time::Duration;

use futures::StreamExt;
use futures::future::LocalBoxFuture;
use futures::stream::FuturesUnordered;

use super::{Surroundings, admin, consumer, producer};

/// The clients' machines.
pub const MACHINES: [&str; 2] = ["c0", "c1"];

const PRODUCERS: u32 = 2;

/// Runs all clients of one machine, until `until` and until they have done what they had begun.
pub async fn run(around: Surroundings, until: Duration) -> turmoil::Result {
    let is_here = |number: u32| MACHINES[number as usize % MACHINES.len()] == around.machine;
    let mut all: FuturesUnordered<LocalBoxFuture<'_, turmoil::Result>> = FuturesUnordered::new();
    if is_here(0) {
        all.push(Box::pin(admin::create(around.clone())));
    }
    for number in (0..PRODUCERS).filter(|number| is_here(*number)) {
        all.push(Box::pin(producer::run(around.clone(), number, until)));
    }
    // Two for each partition.
    for number in (0..2 * around.partitions.unsigned_abs()).filter(|number| is_here(*number)) {
        let partition = i32::try_from(number / 2)?;
        all.push(Box::pin(consumer::run(around.clone(), number, partition, until)));
    }
    while let Some(ended) = all.next().await {
        ended?;
    }
    Ok(())
}
