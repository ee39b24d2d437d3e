//! The table of members.

use crate::cli::client::groups::describe::{GroupDescription, MemberDescription};
use crate::cli::consumer_groups::describe::{MISSING, assignment_text, or_missing};
use crate::cli::consumer_groups::table::Table;

/// The members; `GROUP-INSTANCE-ID` only if one is static, `UPGRADED` only if the group is between
/// the protocols.
pub(super) fn table(group: &GroupDescription, is_verbose: bool) -> String {
    let has = |upgraded| group.members.iter().any(|member| member.is_upgraded == Some(upgraded));
    let shown = Shown {
        instance_id: group.members.iter().any(|member| member.instance_id.is_some()),
        assignment: is_verbose,
        upgraded: is_verbose && has(true) && has(false),
    };
    let mut table = Table::new(&shown.columns());
    for member in &group.members {
        table.row(shown.cells(group, member));
    }
    table.to_string()
}

#[derive(Debug, Clone, Copy)]
struct Shown {
    instance_id: bool,
    assignment: bool,
    upgraded: bool,
}

impl Shown {
    fn columns(self) -> Vec<(&'static str, usize)> {
        let mut columns = vec![("GROUP", 15), ("CONSUMER-ID", 15)];
        if self.instance_id {
            columns.push(("GROUP-INSTANCE-ID", 17));
        }
        columns.extend([("HOST", 15), ("CLIENT-ID", 15), ("#PARTITIONS", 15)]);
        if self.assignment {
            columns.extend([
                ("CURRENT-EPOCH", 15),
                ("CURRENT-ASSIGNMENT", 20),
                ("TARGET-EPOCH", 15),
                ("TARGET-ASSIGNMENT", 20),
            ]);
        }
        if self.upgraded {
            columns.push(("UPGRADED", 0));
        }
        columns
    }

    fn cells(self, group: &GroupDescription, member: &MemberDescription) -> Vec<String> {
        let mut cells = vec![group.group_id.clone(), member.member_id.clone()];
        if self.instance_id {
            cells.push(member.instance_id.clone().unwrap_or_default());
        }
        cells.extend([
            member.host.clone(),
            member.client_id.clone(),
            member.assignment.len().to_string(),
        ]);
        if self.assignment {
            cells.extend([
                or_missing(member.epoch),
                assignment_text(&member.assignment),
                or_missing(group.assignment_epoch),
                assignment_text(&member.target),
            ]);
        }
        if self.upgraded {
            cells.push(
                member.is_upgraded.map_or(MISSING.to_owned(), |upgraded| upgraded.to_string()),
            );
        }
        cells
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::consumer_groups::describe::tests::{group, member, partitions};

    #[test]
    fn classic_members_have_no_epochs() {
        let group = group("Stable", vec![member("m1", &[("t", 0), ("t", 1)]), member("m2", &[])]);
        assert_eq!(
            table(&group, false),
            "\nGROUP           CONSUMER-ID     HOST            CLIENT-ID       #PARTITIONS    \n\
             readers         m1              /127.0.0.1      client          2              \n\
             readers         m2              /127.0.0.1      client          0              \n"
        );
        let text = table(&group, true);
        assert_eq!(
            text.lines().nth(2).map(str::trim_end),
            Some(
                "readers         m1              /127.0.0.1      client          2               \
                 -               t:0,1                -               -"
            )
        );
    }

    #[test]
    fn columns_appear_when_a_member_needs_them() {
        let mut upgrading = group("Stable", vec![member("m1", &[("t", 0)]), member("m2", &[])]);
        upgrading.assignment_epoch = Some(7);
        upgrading.members[0].epoch = Some(6);
        upgrading.members[0].target = partitions(&[("t", 0), ("t", 1)]);
        upgrading.members[0].instance_id = Some("static".to_owned());
        upgrading.members[0].is_upgraded = Some(true);
        upgrading.members[1].is_upgraded = Some(false);
        let text = table(&upgrading, true);
        let words = |line: usize| -> Vec<&str> {
            text.lines().nth(line).unwrap_or_default().split_whitespace().collect()
        };
        assert_eq!(
            words(1),
            [
                "GROUP",
                "CONSUMER-ID",
                "GROUP-INSTANCE-ID",
                "HOST",
                "CLIENT-ID",
                "#PARTITIONS",
                "CURRENT-EPOCH",
                "CURRENT-ASSIGNMENT",
                "TARGET-EPOCH",
                "TARGET-ASSIGNMENT",
                "UPGRADED"
            ]
        );
        assert_eq!(
            words(2),
            [
                "readers",
                "m1",
                "static",
                "/127.0.0.1",
                "client",
                "1",
                "6",
                "t:0",
                "7",
                "t:0,1",
                "true"
            ]
        );
    }
}
