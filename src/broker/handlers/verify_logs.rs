//! VerifyLogs (key 10001), version 0, of Ottla's own and not advertised: begins a verification of this
//! broker's logs, or tells how far one has come. It goes on if nobody asks for it any more.

use std::sync::Arc;

use crate::broker::handlers::dispatch::{Call, Handler, Outcome};
use crate::broker::verification::{Progress, Refusal, Reported, Scope, State, Verifications};
use crate::protocol::own::verify_logs::{VerifyLogsFinding, VerifyLogsRequest, VerifyLogsResponse};
use crate::types::{PartitionId, TopicName};

/// See the module's documentation.
pub(crate) struct VerifyLogs {
    /// The verifications of this broker.
    pub verifications: Arc<Verifications>,
}

impl Handler for VerifyLogs {
    type Request = VerifyLogsRequest;

    async fn handle(self: Arc<Self>, call: Call<VerifyLogsRequest>) -> Outcome<VerifyLogsResponse> {
        let request = call.request;
        let progress = match request.verification_id {
            -1 => self.verifications.begin(scope(&request), rate(request.bytes_per_second)),
            id => self.verifications.progress(id),
        };
        Outcome::Now(match progress {
            Ok(progress) => response(progress),
            Err(refusal) => refused(&refusal),
        })
    }
}

fn scope(request: &VerifyLogsRequest) -> Scope {
    let topics = request.topics.as_ref()?.iter().map(|topic| {
        let partitions = topic.partitions.iter().copied().map(PartitionId).collect();
        (TopicName::new(&topic.name), partitions)
    });
    Some(topics.collect())
}

fn rate(bytes_per_second: i64) -> Option<u64> {
    u64::try_from(bytes_per_second).ok().filter(|rate| *rate > 0)
}

fn response(progress: Progress) -> VerifyLogsResponse {
    let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    VerifyLogsResponse {
        verification_id: progress.id,
        is_done: progress.is_done,
        total_bytes: signed(progress.total_bytes),
        verified_bytes: signed(progress.verified_bytes),
        verified_segments: i32::try_from(progress.verified_segments).unwrap_or(i32::MAX),
        findings: progress.findings.into_iter().map(finding).collect(),
        ..VerifyLogsResponse::default()
    }
}

fn finding(reported: Reported) -> VerifyLogsFinding {
    let Reported { log_dir, topic_partition, finding, state } = reported;
    let (code, obstacle) = match state {
        State::Found => (0, None),
        State::Mended => (1, None),
        State::Damaged(obstacle) => (2, Some(obstacle.as_str().into())),
    };
    VerifyLogsFinding {
        log_dir: log_dir.as_str().into(),
        topic: topic_partition.topic.as_str().into(),
        partition: topic_partition.partition.0,
        segment: finding.segment.0,
        position: i64::try_from(finding.position).unwrap_or(i64::MAX),
        from_offset: finding.from.0,
        to_offset: finding.to.0,
        reason: finding.reason.as_str().into(),
        state: code,
        obstacle,
    }
}

fn refused(refusal: &Refusal) -> VerifyLogsResponse {
    VerifyLogsResponse {
        error_code: refusal.error_code().code(),
        error_message: Some(refusal.to_string().as_str().into()),
        ..VerifyLogsResponse::default()
    }
}
