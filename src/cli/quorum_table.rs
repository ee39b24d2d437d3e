//! How `metadata-quorum describe` prints: Kafka's summary, and Kafka's table.

use std::io::{self, Write};

use crate::types::{DirectoryId, NodeId, Offset, TimestampMs};

/// The metadata quorum as its leader described it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Quorum {
    pub(super) cluster_id: String,
    pub(super) leader: NodeId,
    pub(super) leader_epoch: i32,
    pub(super) high_watermark: Offset,
    pub(super) voters: Vec<Member>,
    pub(super) observers: Vec<Member>,
}

/// One voter or observer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) node: NodeId,
    pub(super) directory: DirectoryId,
    pub(super) log_end: Offset,
    pub(super) last_fetch: TimestampMs,
    pub(super) last_caught_up: TimestampMs,
    /// `NAME://HOST:PORT` of its controller listeners.
    pub(super) endpoints: Vec<String>,
}

impl Quorum {
    fn leader_member(&self) -> Option<&Member> {
        self.voters.iter().find(|voter| voter.node == self.leader)
    }

    /// `--status`.
    pub(super) fn print_status(&self, out: &mut impl Write) -> io::Result<()> {
        let slowest = self.voters.iter().min_by_key(|voter| voter.log_end);
        let (lag, lag_ms) = match (self.leader_member(), slowest) {
            (Some(leader), Some(slowest)) => {
                let lag = leader.log_end.since(slowest.log_end);
                let known = leader.last_caught_up.0 >= 0 && slowest.last_caught_up.0 >= 0;
                let lag_ms = if leader.node == slowest.node {
                    0
                } else if known {
                    leader.last_caught_up.0 - slowest.last_caught_up.0
                } else {
                    -1
                };
                (lag, lag_ms)
            }
            _ => (-1, -1),
        };
        writeln!(out, "ClusterId:              {}", self.cluster_id)?;
        writeln!(out, "LeaderId:               {}", self.leader)?;
        writeln!(out, "LeaderEpoch:            {}", self.leader_epoch)?;
        writeln!(out, "HighWatermark:          {}", self.high_watermark)?;
        writeln!(out, "MaxFollowerLag:         {lag}")?;
        writeln!(out, "MaxFollowerLagTimeMs:   {lag_ms}")?;
        writeln!(out, "CurrentVoters:          {}", members(&self.voters))?;
        writeln!(out, "CurrentObservers:       {}", members(&self.observers))
    }

    /// `--replication`. With `now`, times are printed as how long ago they were.
    pub(super) fn print_replication(
        &self,
        out: &mut impl Write,
        now: Option<TimestampMs>,
    ) -> io::Result<()> {
        let end = self.leader_member().map_or(Offset::UNKNOWN, |leader| leader.log_end);
        let mut rows = vec![
            [
                "NodeId",
                "DirectoryId",
                "LogEndOffset",
                "Lag",
                "LastFetchTimestamp",
                "LastCaughtUpTimestamp",
                "Status",
            ]
            .map(str::to_owned),
        ];
        let is_leader = |member: &&Member| member.node == self.leader;
        let leader = self.voters.iter().filter(is_leader).map(|member| (member, "Leader"));
        let followers = self.voters.iter().filter(|member| !is_leader(member));
        let followers = followers.map(|member| (member, "Follower"));
        let observers = self.observers.iter().map(|member| (member, "Observer"));
        for (member, status) in leader.chain(followers).chain(observers) {
            rows.push([
                member.node.to_string(),
                member.directory.to_string(),
                member.log_end.to_string(),
                end.since(member.log_end).to_string(),
                time(member.last_fetch, now),
                time(member.last_caught_up, now),
                status.to_owned(),
            ]);
        }
        print_table(out, &rows)
    }
}

fn time(time: TimestampMs, now: Option<TimestampMs>) -> String {
    match now {
        Some(now) if time.0 >= 0 => format!("{} ms ago", (now.0 - time.0).max(0)),
        _ => time.to_string(),
    }
}

fn members(members: &[Member]) -> String {
    let members: Vec<String> = members
        .iter()
        .map(|member| {
            let mut text = format!("{{\"id\": {}", member.node);
            if member.directory != DirectoryId::ZERO {
                text += &format!(", \"directoryId\": \"{}\"", member.directory);
            }
            if !member.endpoints.is_empty() {
                let endpoints: Vec<String> =
                    member.endpoints.iter().map(|endpoint| format!("\"{endpoint}\"")).collect();
                text += &format!(", \"endpoints\": [{}]", endpoints.join(", "));
            }
            text + "}"
        })
        .collect();
    format!("[{}]", members.join(", "))
}

/// Columns as wide as their widest cell, a tab after each cell, as Kafka's tools print tables.
fn print_table<const N: usize>(out: &mut impl Write, rows: &[[String; N]]) -> io::Result<()> {
    let widths: [usize; N] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0));
    for row in rows {
        for (cell, width) in row.iter().zip(widths) {
            write!(out, "{cell:<width$}\t")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn member(node: i32, log_end: i64, caught_up: i64) -> Member {
        Member {
            node: NodeId(node),
            directory: DirectoryId::ZERO,
            log_end: Offset(log_end),
            last_fetch: TimestampMs(caught_up),
            last_caught_up: TimestampMs(caught_up),
            endpoints: Vec::new(),
        }
    }

    fn quorum() -> Quorum {
        Quorum {
            cluster_id: "4L6g3nShT-eMCtK--X86sw".to_owned(),
            leader: NodeId(2),
            leader_epoch: 7,
            high_watermark: Offset(100),
            voters: vec![member(1, 90, 400), member(2, 100, 1000), member(3, 100, 900)],
            observers: vec![Member {
                directory: "L2n0nNHlRmyHgTdAJGc8eg".parse().unwrap(),
                endpoints: vec!["CONTROLLER://127.0.0.1:10092".to_owned()],
                ..member(4, 99, -1)
            }],
        }
    }

    fn printed(print: impl Fn(&Quorum, &mut Vec<u8>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        print(&quorum(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_status_is_kafkas() {
        assert_eq!(
            printed(|quorum, out| quorum.print_status(out)),
            "ClusterId:              4L6g3nShT-eMCtK--X86sw\n\
             LeaderId:               2\n\
             LeaderEpoch:            7\n\
             HighWatermark:          100\n\
             MaxFollowerLag:         10\n\
             MaxFollowerLagTimeMs:   600\n\
             CurrentVoters:          [{\"id\": 1}, {\"id\": 2}, {\"id\": 3}]\n\
             CurrentObservers:       [{\"id\": 4, \"directoryId\": \"L2n0nNHlRmyHgTdAJGc8eg\", \
             \"endpoints\": [\"CONTROLLER://127.0.0.1:10092\"]}]\n"
        );
    }

    #[test]
    fn the_leader_stands_first_in_the_table() {
        let text = printed(|quorum, out| quorum.print_replication(out, None));
        let cells: Vec<Vec<&str>> =
            text.lines().map(|line| line.trim_end().split('\t').map(str::trim).collect()).collect();
        assert_eq!(cells[0][6], "Status");
        assert_eq!(cells[1][0], "2");
        assert_eq!(cells[2], ["1", "AAAAAAAAAAAAAAAAAAAAAA", "90", "10", "400", "400", "Follower"]);
        assert_eq!(cells[4], ["4", "L2n0nNHlRmyHgTdAJGc8eg", "99", "1", "-1", "-1", "Observer"]);
    }

    #[test]
    fn times_can_be_printed_as_how_long_ago() {
        let text = printed(|quorum, out| quorum.print_replication(out, Some(TimestampMs(1500))));
        assert!(text.lines().nth(1).unwrap().contains("500 ms ago"), "{text}");
        assert!(text.lines().nth(4).unwrap().contains("-1 "), "{text}");
    }
}
