//! Listing, describing and deleting groups.

use crate::coordinator::group::command::{Answer, Asked, ListFilter};
use crate::coordinator::group::draft::Draft;
use crate::coordinator::group::ids::GroupId;
use crate::coordinator::group::machine::Group;
use crate::coordinator::group::{classic, consumer, offsets};
use crate::protocol::Str;
use crate::protocol::consumer_protocol::CONSUMER;
use crate::protocol::messages::delete_groups::DeletableGroupResult;
use crate::protocol::messages::describe_groups::DescribedGroup;
use crate::protocol::messages::list_groups::ListedGroup;
use crate::types::ErrorCode;

/// From this version on a group that is not there is an error (KIP-1043); before it was Dead only.
const GROUP_ID_NOT_FOUND: i16 = 6;

/// ListGroups. Filters are in any case; a state or type that there is none of matches nothing.
pub(super) fn list(draft: &mut Draft<'_>, asked: Asked<ListFilter>) {
    let ListFilter { states, types } = &asked.body;
    let matches = |filter: &[Str], value: &str| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(value))
    };
    let listed = draft.machine.groups.iter().map(|(id, group)| listed(id, group));
    let listed = listed
        .filter(|group| matches(states, &group.group_state) && matches(types, &group.group_type));
    let listed = listed.collect();
    draft.reply(asked.request, Answer::Listed(listed));
}

fn listed(id: &GroupId, group: &Group) -> ListedGroup {
    let (protocol_type, state, kind) = match group {
        Group::Classic(group) => {
            (group.protocol_type().unwrap_or_default(), group.state().name(), "classic")
        }
        Group::Consumer(group) => (CONSUMER, group.state_name(), "consumer"),
    };
    ListedGroup {
        group_id: Str::from(&**id),
        protocol_type: Str::from(protocol_type),
        group_state: Str::from_static(state),
        group_type: Str::from_static(kind),
    }
}

/// DescribeGroups, which knows classic groups only.
pub(super) fn describe(draft: &mut Draft<'_>, asked: Asked<Vec<Str>>) {
    let groups = asked.body.iter();
    let described = groups.map(|id| match draft.group(id).map(|group| &**group) {
        Some(Group::Classic(group)) => group.described(&GroupId::from(id.as_str())),
        Some(Group::Consumer(_)) => dead(id, "is not a classic group", asked.version),
        None => dead(id, "not found", asked.version),
    });
    let described = described.collect();
    draft.reply(asked.request, Answer::Described(described));
}

fn dead(id: &Str, why: &str, version: i16) -> DescribedGroup {
    let group_state = Str::from_static(classic::State::Dead.name());
    let dead = DescribedGroup { group_id: id.clone(), group_state, ..DescribedGroup::default() };
    if version < GROUP_ID_NOT_FOUND {
        return dead;
    }
    DescribedGroup {
        error_code: ErrorCode::GroupIdNotFound.code(),
        error_message: Some(Str::from(format!("Group {id} {why}."))),
        ..dead
    }
}

/// DeleteGroups: each with its offsets, or not at all.
pub(super) fn delete(draft: &mut Draft<'_>, asked: Asked<Vec<Str>>) {
    let mut results = Vec::with_capacity(asked.body.len());
    for name in &asked.body {
        let error = delete_one(draft, name).err().unwrap_or(ErrorCode::None);
        results.push(DeletableGroupResult { group_id: name.clone(), error_code: error.code() });
    }
    draft.reply(asked.request, Answer::Deleted(results));
}

fn delete_one(draft: &mut Draft<'_>, name: &str) -> Result<(), ErrorCode> {
    let group = draft.group(name).cloned().ok_or(ErrorCode::GroupIdNotFound)?;
    let is_empty = match &*group {
        Group::Classic(group) => group.is_empty(),
        Group::Consumer(group) => group.is_empty(),
    };
    if !is_empty {
        return Err(ErrorCode::NonEmptyGroup);
    }
    let id = GroupId::from(name);
    offsets::tombstones(draft, &id);
    match &*group {
        Group::Classic(_) => classic::remove(draft, &id),
        Group::Consumer(group) => consumer::remove(draft, &id, group),
    }
    Ok(())
}
