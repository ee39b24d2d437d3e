//! Groups that change over between the two protocols.

use crate::coordinator::group::classic::ClassicGroup;
use crate::coordinator::group::consumer::edit::Edit;
use crate::coordinator::group::consumer::refusal::Refusal;
use crate::coordinator::group::consumer::state::ConsumerGroup;
use crate::coordinator::group::draft::Draft;
use crate::coordinator::group::ids::GroupId;
use crate::coordinator::group::record::GroupRecord;
use crate::types::ErrorCode;

/// A member of the consumer protocol joins a classic group.
pub(super) fn upgrade<'a>(
    draft: &mut Draft<'a>,
    id: GroupId,
    classic: &ClassicGroup,
) -> Result<Edit<'a>, Refusal> {
    if classic.is_empty() {
        let mut edit = Edit::new(draft, id.clone(), ConsumerGroup::default());
        edit.record(GroupRecord::Classic { group: id, value: None });
        return Ok(edit);
    }
    Err(Refusal::new(ErrorCode::GroupIdNotFound, format!("Group {id} is not a consumer group.")))
}
