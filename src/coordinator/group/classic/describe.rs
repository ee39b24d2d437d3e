//! How a classic group is listed and described.

use crate::coordinator::group::classic::group::{ClassicGroup, Phase};
use crate::coordinator::group::classic::member::Member;
use crate::coordinator::group::ids::GroupId;
use crate::protocol::Str;
use crate::protocol::messages::describe_groups::{DescribedGroup, DescribedGroupMember};

impl ClassicGroup {
    /// The group for DescribeGroups. What members said and which assignor is in use is shown while
    /// the group is Stable only.
    pub fn described(&self, id: &GroupId) -> DescribedGroup {
        let is_stable = matches!(self.phase, Phase::Stable { .. });
        let protocol = self.protocol().filter(|_| is_stable);
        DescribedGroup {
            group_id: Str::from(&**id),
            group_state: Str::from_static(self.state().name()),
            protocol_type: Str::from(self.protocol_type().unwrap_or_default()),
            protocol_data: Str::from(protocol.unwrap_or_default()),
            members: self.members().map(|member| described_member(member, protocol)).collect(),
            ..DescribedGroup::default()
        }
    }
}

fn described_member(member: &Member, protocol: Option<&str>) -> DescribedGroupMember {
    DescribedGroupMember {
        member_id: Str::from(&*member.id),
        group_instance_id: member.instance.as_deref().map(Str::from),
        client_id: Str::from(&*member.client.id),
        client_host: Str::from(&*member.client.host),
        member_metadata: member.metadata(protocol),
        member_assignment: member.assignment.clone(),
    }
}
