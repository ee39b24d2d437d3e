//! The properties file.

use bytes::Bytes;
use ottla::broker::config::BrokerConfig;

/// A configuration, if it is text.
pub fn properties(data: &Bytes) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = BrokerConfig::load(text, &[], |_| None);
}

pub fn property_seeds() -> Vec<Vec<u8>> {
    let good = "process.roles=broker,controller\nnode.id=1\n\
                controller.quorum.voters=1@localhost:9093\n\
                listeners=PLAINTEXT://:9092,CONTROLLER://:9093\n\
                advertised.listeners=PLAINTEXT://localhost:9092\n\
                controller.listener.names=CONTROLLER\nlog.dirs=/a,/b\n";
    let seeds = [
        good.to_owned(),
        format!("{good}num.partitions=3\nlog.retention.hours=1\nretention.ms = -1\n"),
        format!("{good}! a comment\nlog.segment.bytes : 1\\\n  000\n\\u0041=b\n"),
        "zookeeper.connect=x\nnode.id=99999999999999999999\n".to_owned(),
    ];
    seeds.map(String::into_bytes).to_vec()
}
