//! The table of coordinators and states; one table for each group, as Kafka prints it.

use crate::cli::client::groups::describe::GroupDescription;
use crate::cli::consumer_groups::describe::{MISSING, or_missing};
use crate::cli::consumer_groups::table::Table;

/// One group's line under its heading.
pub(super) fn table(group: &GroupDescription, is_verbose: bool) -> String {
    let mut columns =
        vec![("GROUP", 15), ("COORDINATOR (ID)", 25), ("ASSIGNMENT-STRATEGY", 20), ("STATE", 20)];
    let coordinator = &group.coordinator;
    let assignor = if group.assignor.is_empty() { MISSING } else { &group.assignor };
    let mut cells = vec![
        group.group_id.clone(),
        format!("{}  ({})", coordinator.address, coordinator.node),
        assignor.to_owned(),
        group.state.clone(),
    ];
    if is_verbose {
        columns.extend([("GROUP-EPOCH", 15), ("TARGET-ASSIGNMENT-EPOCH", 25)]);
        cells.extend([or_missing(group.group_epoch), or_missing(group.assignment_epoch)]);
    }
    columns.push(("#MEMBERS", 0));
    cells.push(group.members.len().to_string());
    let mut table = Table::new(&columns);
    table.row(cells);
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::consumer_groups::describe::tests::{group, member};

    #[test]
    fn the_table_is_kafkas() {
        let mut group = group("Stable", vec![member("m", &[])]);
        assert_eq!(
            table(&group, false),
            "\nGROUP           COORDINATOR (ID)          ASSIGNMENT-STRATEGY  STATE                #MEMBERS\n\
             readers         host:9092  (2)            range                Stable               1\n"
        );
        group.assignor = String::new();
        group.group_epoch = Some(3);
        assert_eq!(
            table(&group, true),
            "\nGROUP           COORDINATOR (ID)          ASSIGNMENT-STRATEGY  STATE                GROUP-EPOCH     TARGET-ASSIGNMENT-EPOCH   #MEMBERS\n\
             readers         host:9092  (2)            -                    Stable               3               -                         1\n"
        );
    }
}
