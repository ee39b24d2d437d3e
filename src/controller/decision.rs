//! The one loop that changes the metadata. It takes every waiting command, decides them one after
//! another on a working copy of the image, proposes their records, awaits the commit, and answers
//! them all: group commit, one batch in flight, no speculation.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::controller::machine::{
    Command, Decision, Liveness, MAX_PARTITION_CHANGES, Note, Options, Reply, Situation, decide,
};
use crate::controller::office::Office;
use crate::controller::raft::types::{EntryData, EntryOutcome, Raft};
use crate::metadata::{Image, MetadataRecord, MetadataSource};
use crate::types::machine::Now;
use crate::types::{Clock, ErrorCode, Random};

/// So many commands wait before callers do.
pub const QUEUE_COMMANDS: usize = 1024;

/// How many commands one batch takes at most.
const BATCH_COMMANDS: usize = 256;

/// An entry holds at most so many bytes of records.
const MAX_ENTRY_BYTES: usize = 1 << 20;

/// A commit that is not answered by then has an unknown outcome.
const COMMIT_PATIENCE: Duration = Duration::from_secs(2);

/// How often commands are decided again because the image moved beneath them. It can only be our
/// own commit of unknown outcome, so once is the rule.
const ATTEMPTS: usize = 4;

/// A command that waits to be decided.
#[derive(Debug)]
pub struct Pending {
    /// What is asked.
    pub command: Command,
    /// Where the answer goes; nobody may be waiting any more.
    pub answer: oneshot::Sender<Result<Reply, ErrorCode>>,
}

/// What the loop works with.
pub struct DecisionLoop {
    /// The raft node.
    pub raft: Raft,
    /// Whether this node is the active controller, and the brokers' sessions.
    pub office: Arc<Office>,
    /// The committed image.
    pub metadata: Arc<dyn MetadataSource>,
    /// The controller's configuration.
    pub options: Options,
    /// Both clocks.
    pub clock: Arc<dyn Clock>,
    /// Seeds for decisions.
    pub random: Arc<dyn Random>,
    /// The commands.
    pub queue: mpsc::Receiver<Pending>,
    /// Soft facts of this term.
    pub liveness: Liveness,
    /// The term in which `liveness` was gathered.
    pub liveness_term: Option<u64>,
}

/// Why a batch could not be committed.
enum Failure {
    /// The image is not the one that was decided on.
    Outdated,
    /// This node does not lead, or nobody knows what became of the proposal.
    NotController,
}

/// Records that will be one entry.
#[derive(Default)]
struct Draft {
    records: Vec<Bytes>,
    size_bytes: usize,
    partition_changes: usize,
}

/// A command that was decided; its answer is due once so many drafts are committed.
struct Decided {
    pending: Pending,
    reply: Reply,
    notes: Vec<Note>,
    due_after: usize,
}

impl DecisionLoop {
    /// Runs until every sender of commands is gone.
    pub async fn run(mut self) {
        let mut batch = Vec::new();
        while self.queue.recv_many(&mut batch, BATCH_COMMANDS).await > 0 {
            self.serve(std::mem::take(&mut batch)).await;
        }
    }

    async fn serve(&mut self, mut batch: Vec<Pending>) {
        for _ in 0..ATTEMPTS {
            let Some(term) = self.office.make_certain(&self.raft).await else { break };
            self.begin_term(term);
            batch.retain(|pending| !pending.answer.is_closed());
            let (base, decided, drafts) = self.decide_all(batch);
            match self.commit(term, base, decided, drafts).await {
                (_, Ok(())) => return,
                (rest, Err(Failure::Outdated)) => batch = rest,
                (rest, Err(Failure::NotController)) => {
                    batch = rest;
                    break;
                }
            }
        }
        for pending in batch {
            // Whoever is gone needs no answer.
            let _ = pending.answer.send(Err(ErrorCode::NotController));
        }
    }

    /// Gaining leadership restarts all deadlines.
    fn begin_term(&mut self, term: u64) {
        if self.liveness_term != Some(term) {
            self.liveness = Liveness::default();
            self.liveness_term = Some(term);
            let at = self.clock.monotonic();
            let image = self.metadata.image();
            for broker in image.brokers.values().filter(|broker| !broker.fenced) {
                let (node_id, broker_epoch) = (broker.node_id, broker.broker_epoch);
                self.liveness.note(Note::Unfenced { node_id, broker_epoch, at });
            }
        }
        self.liveness.live = self.office.live_brokers();
    }

    /// What follows from the batch, and the version of the image on which that was decided.
    fn decide_all(&self, batch: Vec<Pending>) -> (u64, Vec<Decided>, Vec<Draft>) {
        let mut working = Image::clone(&self.metadata.image());
        let base = working.version();
        let (mut decided, mut drafts) = (Vec::new(), Vec::new());
        for pending in batch {
            let decision = self.decide(&working, pending.command.clone());
            match take_in(&mut working, &mut drafts, &decision.groups) {
                Ok(()) => decided.push(Decided {
                    pending,
                    reply: decision.reply,
                    notes: decision.notes,
                    due_after: drafts.len(),
                }),
                Err(error) => {
                    tracing::error!(command = ?pending.command, "a decision does not fit: {error}");
                    let _ = pending.answer.send(Err(ErrorCode::UnknownServerError));
                }
            }
        }
        (base, decided, drafts)
    }

    fn decide(&self, image: &Image, command: Command) -> Decision {
        let now = Now { monotonic: self.clock.monotonic(), wall: self.clock.wall() };
        let seed = (u128::from(self.random.bits()) << 64) | u128::from(self.random.bits());
        let (liveness, options) = (&self.liveness, &self.options);
        decide(&Situation { image, liveness, options, now, seed }, command)
    }

    /// Commits the drafts one after another and gives the answers that each makes due. What is
    /// left over comes back.
    async fn commit(
        &mut self,
        term: u64,
        base: u64,
        decided: Vec<Decided>,
        drafts: Vec<Draft>,
    ) -> (Vec<Pending>, Result<(), Failure>) {
        let mut decided = decided.into_iter().peekable();
        let mut committed = 0;
        let mut drafts = drafts.into_iter();
        loop {
            while let Some(done) = decided.next_if(|next| next.due_after <= committed) {
                done.notes.into_iter().for_each(|note| self.liveness.note(note));
                // Whoever is gone needs no answer.
                let _ = done.pending.answer.send(Ok(done.reply));
            }
            let Some(draft) = drafts.next() else { return (Vec::new(), Ok(())) };
            let data = EntryData {
                records: draft.records,
                decided_in_term: term,
                decided_on_version: base + committed as u64,
            };
            if let Err(failure) = self.propose(data).await {
                return (decided.map(|left| left.pending).collect(), Err(failure));
            }
            committed += 1;
        }
    }

    async fn propose(&self, data: EntryData) -> Result<(), Failure> {
        match tokio::time::timeout(COMMIT_PATIENCE, self.raft.client_write(data)).await {
            Ok(Ok(response)) => match response.data {
                EntryOutcome::Applied { .. } | EntryOutcome::NoRecords => Ok(()),
                EntryOutcome::Outdated { .. } => Err(Failure::Outdated),
            },
            Ok(Err(error)) => {
                tracing::debug!("a proposal was not taken: {error}");
                self.office.doubt();
                Err(Failure::NotController)
            }
            Err(_) => {
                tracing::warn!(
                    "a proposal was not committed in {COMMIT_PATIENCE:?}: outcome unknown"
                );
                self.office.doubt();
                Err(Failure::NotController)
            }
        }
    }
}

/// Applies a decision's groups to the working copy and adds them to the drafts; all or nothing.
fn take_in(
    working: &mut Image,
    drafts: &mut Vec<Draft>,
    groups: &[Vec<MetadataRecord>],
) -> Result<(), String> {
    let mut image = working.clone();
    let mut encoded = Vec::with_capacity(groups.len());
    for group in groups {
        let mut draft = Draft::default();
        for record in group {
            image.apply(record).map_err(|error| error.to_string())?;
            let bytes = record.encode().map_err(|error| error.to_string())?;
            draft.size_bytes += bytes.len();
            draft.partition_changes += usize::from(record.is_partition_change());
            draft.records.push(bytes);
        }
        if !draft.records.is_empty() {
            encoded.push(draft);
        }
    }
    for group in encoded {
        match drafts.last_mut() {
            Some(last) if last.has_room_for(&group) => last.absorb(group),
            _ => drafts.push(group),
        }
    }
    *working = image;
    Ok(())
}

impl Draft {
    fn has_room_for(&self, other: &Draft) -> bool {
        self.size_bytes + other.size_bytes <= MAX_ENTRY_BYTES
            && self.partition_changes + other.partition_changes <= MAX_PARTITION_CHANGES
    }

    fn absorb(&mut self, other: Draft) {
        self.records.extend(other.records);
        self.size_bytes += other.size_bytes;
        self.partition_changes += other.partition_changes;
    }
}
