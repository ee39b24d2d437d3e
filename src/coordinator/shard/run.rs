//! The task of a shard: loading, releasing, ticks, changes of the metadata.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt, OptionFuture};

use super::active::{Active, ReignOver, earliest};
use super::replay::{Replay, ReplayError};
use super::{Shard, ShardMachine, State};
use crate::metadata::Image;
use crate::replication::Movements;
use crate::types::{ErrorCode, Monotonic, Offset, watch};

/// How soon what the shard wanted for itself, and the log refused, is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// The least time between two ticks.
const TICK_PAUSE: Duration = Duration::from_millis(1);

/// What the shard owes the machine.
struct Owed {
    /// Metadata that the machine has not been told of.
    image: Option<Arc<Image>>,
    /// Not before: the log has refused, or a tick was only just decided.
    not_before: Monotonic,
}

/// What the task does next.
struct Plan {
    until: Option<Monotonic>,
    sync: bool,
}

impl<M: ShardMachine> Shard<M> {
    /// Loads `machine`, which must be new, and serves until the reign is over.
    pub async fn run(self: Arc<Self>, machine: M, mut images: watch::Receiver<Arc<Image>>) {
        let movements = self.partition.movements();
        let started = self.seams.clock.monotonic();
        match self.load(machine, &mut images, &movements).await {
            Ok(Some((active, record_count))) => {
                let took = self.seams.clock.monotonic().since(started);
                let partition = self.partition.topic_partition();
                tracing::info!(%partition, leader_epoch = %self.leader_epoch, record_count, ?took, "coordinates");
                self.become_state(State::Active(Box::new(active)));
            }
            Ok(None) => return self.close(),
            Err(error) => {
                let partition = self.partition.topic_partition();
                tracing::error!(%partition, %error, "the coordinator's partition cannot be loaded");
                return self.fail();
            }
        }
        self.serve(&movements, &mut images).await;
        self.close();
    }

    /// The machine at the end of the log, all of which is committed; none if the reign ended first.
    async fn load(
        &self,
        machine: M,
        images: &mut watch::Receiver<Arc<Image>>,
        movements: &Movements,
    ) -> Result<Option<(Active<M>, u64)>, ReplayError> {
        let log = self.partition.log();
        let replay = Replay::of(&log, machine);
        let buffer_bytes = self.options.load_buffer_bytes;
        let replay = replay.run(&log, &*self.seams.offload, buffer_bytes).await?;
        if self.until_committed(replay.end, movements).await.is_err() {
            return Ok(None);
        }
        let mut active = Active::new(
            replay.machine,
            replay.end,
            Arc::clone(&self.partition),
            self.leader_epoch,
            self.options.clone(),
            Arc::clone(&self.perform),
        );
        if self.until_taken(&mut active, M::loaded).await.is_err() {
            return Ok(None);
        }
        let image = Arc::clone(&images.borrow_and_update());
        let told = self.until_taken(&mut active, || M::metadata_changed(Arc::clone(&image))).await;
        Ok(told.ok().map(|()| (active, replay.record_count)))
    }

    async fn until_committed(&self, end: Offset, movements: &Movements) -> Result<(), ReignOver> {
        loop {
            let committed = self.partition.committed_in_reign(self.leader_epoch);
            if committed.map_err(|_| ReignOver)? >= end {
                return Ok(());
            }
            if self.partition.flushes_before_ack() {
                // If it fails the partition goes offline, which ends the reign.
                self.partition.sync().await.unwrap_or_default();
            }
            movements.next().await;
        }
    }

    /// Has `active` decide what `make` gives, until the log takes it.
    async fn until_taken(
        &self,
        active: &mut Active<M>,
        make: impl Fn() -> M::Command,
    ) -> Result<(), ReignOver> {
        while let Err(error) = active.decide(self.seams.now(), make()) {
            self.note_refusal(error);
            tokio::time::sleep(RETRY_PAUSE).await;
            self.partition.committed_in_reign(self.leader_epoch).map_err(|_| ReignOver)?;
        }
        Ok(())
    }

    fn note_refusal(&self, error: ErrorCode) {
        let partition = self.partition.topic_partition();
        tracing::warn!(%partition, error = error.name(), "the log refuses a coordinator's records; they are tried again");
    }

    async fn serve(&self, movements: &Movements, images: &mut watch::Receiver<Arc<Image>>) {
        let mut owed = Owed { image: None, not_before: Monotonic::default() };
        let mut syncing: Option<BoxFuture<'_, Result<(), ErrorCode>>> = None;
        loop {
            let step = self.with_active(|active| self.step(active, &mut owed));
            let Ok(Ok(plan)) = step else { return };
            if plan.sync && syncing.is_none() {
                syncing = Some(self.partition.sync().boxed());
            }
            let now = self.seams.clock.monotonic();
            let sleep = plan.until.map(|until| tokio::time::sleep(until.since(now)));
            tokio::select! {
                biased;
                () = movements.next() => {}
                () = self.wake.notified() => {}
                Some(synced) = OptionFuture::from(syncing.as_mut()) => {
                    syncing = None;
                    if let Err(error) = synced {
                        let error = super::refusal::of(error);
                        self.with_active(|active| active.refuse_held(error)).unwrap_or_default();
                    }
                }
                Some(()) = OptionFuture::from(sleep) => {}
                changed = images.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    owed.image = Some(Arc::clone(&images.borrow_and_update()));
                }
            }
        }
    }

    /// All that is due now, and when to look again.
    fn step(&self, active: &mut Active<M>, owed: &mut Owed) -> Result<Plan, ReignOver> {
        active.release(self.is_live())?;
        let now = self.seams.now();
        active.expire(now.monotonic);
        if owed.not_before <= now.monotonic {
            self.pay(active, owed);
            active.release(self.is_live())?;
        }
        let due = match owed.image {
            Some(_) => Some(owed.not_before),
            None => active.tick_due().map(|due| due.max(owed.not_before)),
        };
        let until = earliest(due, active.first_expiry());
        active.arm(until);
        Ok(Plan { until, sync: active.needs_sync() })
    }

    /// Tells the machine of new metadata and of the time, where that is due.
    fn pay(&self, active: &mut Active<M>, owed: &mut Owed) {
        let now = self.seams.now();
        let later = |pause| now.monotonic.plus(pause);
        if let Some(image) = &owed.image {
            match active.decide(now, M::metadata_changed(Arc::clone(image))) {
                Ok(()) => owed.image = None,
                Err(error) => {
                    self.note_refusal(error);
                    owed.not_before = later(RETRY_PAUSE);
                    return;
                }
            }
        }
        if active.tick_due().is_some_and(|due| due <= now.monotonic) {
            owed.not_before = match active.decide(now, M::tick()) {
                Ok(()) => later(TICK_PAUSE),
                Err(error) => {
                    self.note_refusal(error);
                    later(RETRY_PAUSE)
                }
            };
        }
    }
}
