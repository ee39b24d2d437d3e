//! The machine of one partition of `__consumer_offsets`: which module decides what.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::coordinator::group::classic::ClassicGroup;
use crate::coordinator::group::command::{Answer, Command, Effect};
use crate::coordinator::group::consumer::ConsumerGroup;
use crate::coordinator::group::draft::Draft;
use crate::coordinator::group::ids::GroupId;
use crate::coordinator::group::offsets::{Offsets, Sweep};
use crate::coordinator::group::record::GroupRecord;
use crate::coordinator::group::{GroupConfig, admin, classic, consumer, offsets};
use crate::coordinator::shard::RequestId;
use crate::metadata::Image;
use crate::types::clock::Monotonic;
use crate::types::machine::{Decision, Machine, Now};

/// How many groups one tick looks after at most; the others' turn comes with the next, at once.
const GROUPS_PER_TICK: usize = 64;

/// A group, under the protocol that it speaks.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant)] // it is always behind an `Arc` of its own
pub(super) enum Group {
    /// The members assign.
    Classic(ClassicGroup),
    /// The broker assigns.
    Consumer(ConsumerGroup),
}

impl Group {
    /// When time will change something about it.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        match self {
            Group::Classic(group) => group.next_deadline(),
            Group::Consumer(group) => group.next_deadline(),
        }
    }
}

/// A soft fact.
#[derive(Debug, Clone)]
pub enum Note {
    /// The cluster's metadata is this now.
    Image(Arc<Image>),
    /// A group is this now, its durable part as the records of the same decision say.
    #[allow(private_interfaces)] // made and taken in this room only
    Group(GroupId, Option<Arc<Group>>),
    /// When offsets are looked through for expired ones next.
    ExpiryDue(Monotonic),
    /// How far looking through them has come.
    Sweep(Sweep),
}

/// All groups of one partition.
#[derive(Debug)]
pub struct GroupMachine {
    pub(super) config: Arc<GroupConfig>,
    pub(super) image: Arc<Image>,
    /// The version of the image in which topics last came or went.
    pub(super) names_version: u64,
    pub(super) groups: BTreeMap<GroupId, Arc<Group>>,
    pub(super) offsets: Offsets,
    pub(super) expiry_due: Option<Monotonic>,
    pub(super) sweep: Sweep,
    /// Each group's deadline, in both directions.
    deadlines: BTreeSet<(Monotonic, GroupId)>,
    deadline_of: BTreeMap<GroupId, Monotonic>,
}

impl GroupMachine {
    /// A machine that knows nothing yet.
    pub fn new(config: Arc<GroupConfig>) -> Self {
        Self {
            config,
            image: Arc::default(),
            names_version: 0,
            groups: BTreeMap::new(),
            offsets: Offsets::default(),
            expiry_due: None,
            sweep: Sweep::default(),
            deadlines: BTreeSet::new(),
            deadline_of: BTreeMap::new(),
        }
    }

    /// When [`Command::Tick`] is due.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        let of_groups = self.deadlines.first().map(|(at, _)| *at);
        of_groups.into_iter().chain(self.expiry_due).min()
    }

    fn tick(&self, draft: &mut Draft<'_>) {
        let now = draft.now.monotonic;
        let due = self.deadlines.iter().take_while(|(at, _)| *at <= now);
        for (_, id) in due.take(GROUPS_PER_TICK) {
            if draft.room() == 0 {
                break;
            }
            match self.groups.get(id).map(|group| &**group) {
                Some(Group::Classic(group)) => classic::expire(draft, id, group),
                Some(Group::Consumer(group)) => consumer::expire(draft, id, group),
                None => {}
            }
        }
        if self.expiry_due.is_some_and(|due| due <= now) {
            offsets::expire(draft);
        }
    }

    fn loaded(&self, draft: &mut Draft<'_>) {
        for (id, group) in &self.groups {
            match &**group {
                Group::Classic(group) => classic::loaded(draft, id, group),
                Group::Consumer(group) => consumer::loaded(draft, id, group),
            }
        }
        offsets::loaded(draft);
    }

    /// A group that is taken back without its offsets, to be another one, is there until it is that: no
    /// offset is nobody's.
    fn keep_for_offsets(&mut self, id: &GroupId) {
        if !self.groups.contains_key(id) && self.offsets.of(id).next().is_some() {
            offsets::ensure_group(&mut self.groups, id);
        }
    }

    fn index(&mut self, id: &GroupId) {
        if let Some(before) = self.deadline_of.remove(id) {
            self.deadlines.remove(&(before, id.clone()));
        }
        let deadline = self.groups.get(id).and_then(|group| group.next_deadline());
        if let Some(deadline) = deadline {
            self.deadline_of.insert(id.clone(), deadline);
            self.deadlines.insert((deadline, id.clone()));
        }
    }
}

impl Machine for GroupMachine {
    type Command = Command;
    type Record = GroupRecord;
    type Note = Note;
    type Reply = (RequestId, Answer);
    type Effect = Effect;

    fn decide(
        &self,
        now: Now,
        command: Command,
    ) -> Decision<GroupRecord, Note, (RequestId, Answer), Effect> {
        let mut draft = Draft::new(self, now);
        let is_consumer = |id: &str| {
            self.groups.get(id).is_some_and(|group| matches!(&**group, Group::Consumer(_)))
        };
        match command {
            Command::Tick => self.tick(&mut draft),
            Command::Loaded => self.loaded(&mut draft),
            Command::MetadataChanged(image) => consumer::metadata_changed(&mut draft, image),
            Command::Join(asked) if is_consumer(&asked.body.group_id) => {
                consumer::classic_join(&mut draft, asked);
            }
            Command::Join(asked) => classic::join(&mut draft, asked),
            Command::Sync(asked) if is_consumer(&asked.body.group_id) => {
                consumer::classic_sync(&mut draft, asked);
            }
            Command::Sync(asked) => classic::sync(&mut draft, asked),
            Command::Heartbeat(asked) if is_consumer(&asked.body.group_id) => {
                consumer::classic_heartbeat(&mut draft, asked);
            }
            Command::Heartbeat(asked) => classic::heartbeat(&mut draft, asked),
            Command::Leave(asked) if is_consumer(&asked.body.group_id) => {
                consumer::classic_leave(&mut draft, asked);
            }
            Command::Leave(asked) => classic::leave(&mut draft, asked),
            Command::ConsumerHeartbeat(asked) => consumer::heartbeat(&mut draft, asked),
            Command::CommitOffsets(asked) => offsets::commit(&mut draft, asked),
            Command::FetchOffsets(asked, stable) => offsets::fetch(&mut draft, asked, stable),
            Command::DeleteOffsets(asked) => offsets::delete(&mut draft, asked),
            Command::List(asked) => admin::list(&mut draft, asked),
            Command::Describe(asked) => admin::describe(&mut draft, asked),
            Command::ConsumerDescribe(asked) => consumer::describe(&mut draft, asked),
            Command::Delete(asked) => admin::delete(&mut draft, asked),
        }
        draft.finish()
    }

    fn apply(&mut self, record: &GroupRecord) {
        match record {
            GroupRecord::Offset { group, partition, value } => {
                if value.is_some() {
                    offsets::ensure_group(&mut self.groups, group);
                }
                self.offsets.apply(group, partition, value.as_ref());
            }
            GroupRecord::Classic { group, value } => {
                classic::apply(&mut self.groups, group, value.as_ref());
                self.keep_for_offsets(group);
                self.index(group);
            }
            GroupRecord::Consumer { group, .. }
            | GroupRecord::Member { group, .. }
            | GroupRecord::TargetEpoch { group, .. }
            | GroupRecord::Target { group, .. }
            | GroupRecord::Current { group, .. }
            | GroupRecord::Regex { group, .. } => {
                consumer::apply(&mut self.groups, record);
                self.keep_for_offsets(group);
                self.index(group);
            }
        }
    }

    fn note(&mut self, note: Note) {
        match note {
            Note::Image(image) => {
                if consumer::names_differ(&self.image, &image) {
                    self.names_version = image.version();
                }
                self.image = image;
            }
            Note::Group(id, group) => {
                match group {
                    Some(group) => self.groups.insert(id.clone(), group),
                    None => self.groups.remove(&id),
                };
                self.index(&id);
            }
            Note::ExpiryDue(at) => self.expiry_due = Some(at),
            Note::Sweep(sweep) => self.sweep = sweep,
        }
    }
}
