//! What classic members are answered.

use crate::coordinator::group::classic::group::ClassicGroup;
use crate::coordinator::group::classic::member::{Member, ParkedJoin};
use crate::coordinator::group::command::{Answer, Asked};
use crate::coordinator::group::draft::Draft;
use crate::coordinator::shard::RequestId;
use crate::protocol::Str;
use crate::protocol::messages::join_group::{
    JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember,
};
use crate::protocol::messages::sync_group::SyncGroupResponse;
use crate::types::ErrorCode;

/// From this version on an assignor's name may be null.
const NULLABLE_PROTOCOL: i16 = 7;

impl ParkedJoin {
    /// The JoinGroup that `asked` is.
    pub fn of(asked: &Asked<JoinGroupRequest>) -> Self {
        Self { request: asked.request, version: asked.version }
    }
}

/// Refuses a JoinGroup; `member` is what the client shall go on as.
pub(super) fn refuse_join(draft: &mut Draft<'_>, join: ParkedJoin, member: &str, error: ErrorCode) {
    let response = JoinGroupResponse {
        error_code: error.code(),
        protocol_name: protocol_name(None, join.version),
        member_id: Str::from(member),
        ..JoinGroupResponse::default()
    };
    draft.reply(join.request, Answer::Join(response));
}

/// Refuses a SyncGroup.
pub(super) fn refuse_sync(draft: &mut Draft<'_>, request: RequestId, error: ErrorCode) {
    let response = SyncGroupResponse { error_code: error.code(), ..SyncGroupResponse::default() };
    draft.reply(request, Answer::Sync(response));
}

/// Refuses whatever a member waits with; `member` is what the client shall join as then.
pub(super) fn refuse_parked(
    draft: &mut Draft<'_>,
    parked: &Member,
    member: &str,
    error: ErrorCode,
) {
    if let Some(join) = parked.join {
        refuse_join(draft, join, member, error);
    }
    if let Some(sync) = parked.sync {
        refuse_sync(draft, sync, error);
    }
}

impl ClassicGroup {
    /// What a member is told that has joined: the leader gets to know all members.
    pub(super) fn joined_answer(&self, member: &str, version: i16) -> JoinGroupResponse {
        let is_leader = self.leader.as_deref() == Some(member);
        JoinGroupResponse {
            members: if is_leader { self.members_for_leader() } else { Vec::new() },
            ..self.generation_answer(member, version)
        }
    }

    /// What a member is told about the generation, without the members.
    pub(super) fn generation_answer(&self, member: &str, version: i16) -> JoinGroupResponse {
        JoinGroupResponse {
            generation_id: self.generation,
            protocol_type: self.protocol_type().map(Str::from),
            protocol_name: protocol_name(self.protocol(), version),
            leader: Str::from(self.leader.as_deref().unwrap_or_default()),
            member_id: Str::from(member),
            ..JoinGroupResponse::default()
        }
    }

    fn members_for_leader(&self) -> Vec<JoinGroupResponseMember> {
        let members = self.members().map(|member| JoinGroupResponseMember {
            member_id: Str::from(&*member.id),
            group_instance_id: member.instance.as_deref().map(Str::from),
            metadata: member.metadata(self.protocol()),
        });
        members.collect()
    }

    /// What a member is told that has synced.
    pub(super) fn synced_answer(&self, member: &Member) -> SyncGroupResponse {
        SyncGroupResponse {
            protocol_type: self.protocol_type().map(Str::from),
            protocol_name: self.protocol().map(Str::from),
            assignment: member.assignment.clone(),
            ..SyncGroupResponse::default()
        }
    }

    /// Refuses all that wait: for when the group goes over to the other protocol.
    pub fn refuse_all_parked(&self, draft: &mut Draft<'_>, error: ErrorCode) {
        for member in self.members() {
            refuse_parked(draft, member, &member.id, error);
        }
    }
}

/// Versions that do not know null are told the empty name.
fn protocol_name(name: Option<&str>, version: i16) -> Option<Str> {
    let name = name.map(Str::from);
    if version < NULLABLE_PROTOCOL { Some(name.unwrap_or_default()) } else { name }
}
