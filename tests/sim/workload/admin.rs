//! An administrator.

use std::time::Duration;

use ottla::protocol::messages::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use ottla::types::ErrorCode;

use super::{Surroundings, TOPIC};

/// Creates the topic that is written and read, until that has been done.
pub async fn create(around: Surroundings) -> turmoil::Result {
    let mut client = around.client("admin");
    loop {
        let topic = CreatableTopic {
            name: TOPIC.into(),
            num_partitions: around.plan.partitions,
            replication_factor: 3,
            configs: if around.flush { vec![flushed()] } else { Vec::new() },
            ..Default::default()
        };
        let request =
            CreateTopicsRequest { topics: vec![topic], timeout_ms: 2_000, ..Default::default() };
        let address = client.any();
        if let Ok(answer) = client.ask(&address, &request).await {
            let code =
                answer.topics.first().and_then(|topic| ErrorCode::from_code(topic.error_code));
            around.trace.note("admin", format_args!("creates {TOPIC}: {code:?}"));
            if matches!(code, Some(ErrorCode::None | ErrorCode::TopicAlreadyExists)) {
                return Ok(());
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Everything is on the disk before it is acknowledged.
fn flushed() -> CreatableTopicConfig {
    CreatableTopicConfig { name: "flush.messages".into(), value: Some("1".into()) }
}
