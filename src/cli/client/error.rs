//! What can go wrong between a tool and its cluster, in words for its user.

use std::time::Duration;

use crate::net::client::ClientError;
use crate::types::{ErrorCode, NodeId, TopicName};

/// Why a request brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientFailure {
    /// None of the brokers that were named can be reached.
    #[error(
        "no broker can be reached: {reasons}; start one with 'ottla dev', or name another with --bootstrap-server HOST:PORT"
    )]
    Unreachable {
        /// One reason for each address.
        reasons: String,
    },
    /// A broker that the cluster named is not in its metadata any more.
    #[error("broker {0} is not available")]
    UnknownBroker(NodeId),
    /// A broker answered with an error.
    #[error("{}", refusal(*code, message.as_deref()))]
    Refused {
        /// Which.
        code: ErrorCode,
        /// The broker's own words.
        message: Option<String>,
    },
    /// The topic does not exist, and nobody is about to create it.
    #[error("topic '{0}' does not exist; create it with 'ottla topics --create --topic {0}'")]
    NoSuchTopic(TopicName),
    /// A broker answered with an error that this version does not know.
    #[error("the broker answered with the unknown error {0}")]
    UnknownCode(i16),
    /// The brokers do not offer what the tool needs.
    #[error("the broker does not support {0}")]
    Unsupported(&'static str),
    /// The records cannot be put into a batch, or a batch cannot be read.
    #[error("{0}")]
    Batch(String),
    /// What a coordinator tells of a group is not what the tool can work with.
    #[error("{0}")]
    Group(String),
    /// All retries together took too long.
    #[error("timed out after {} ms waiting for {what}{}", after.as_millis(), reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default())]
    TimedOut {
        /// What was waited for.
        what: String,
        /// How long.
        after: Duration,
        /// What the last attempt said.
        reason: Option<String>,
    },
    /// The connection failed, or what came over it was not understood.
    #[error("{0}")]
    Connection(#[from] ClientError),
}

fn refusal(code: ErrorCode, message: Option<&str>) -> String {
    match message {
        Some(message) if !message.is_empty() => format!("{message} ({})", code.name()),
        _ => format!("{} ({})", code.message().trim_end_matches('.'), code.name()),
    }
}

impl ClientFailure {
    /// The failure that an error code on the wire means; `Ok` for none.
    pub fn check(code: i16, message: Option<&str>) -> Result<(), ClientFailure> {
        match ErrorCode::from_code(code) {
            Some(ErrorCode::None) => Ok(()),
            Some(code) => Err(ClientFailure::Refused { code, message: message.map(str::to_owned) }),
            None => Err(ClientFailure::UnknownCode(code)),
        }
    }

    /// The broker's error code, if that is what went wrong.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            ClientFailure::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether another attempt may succeed.
    pub fn is_retriable(&self) -> bool {
        match self {
            ClientFailure::Refused { code, .. } => code.is_retriable(),
            ClientFailure::Connection(error) => match error {
                ClientError::Refused { .. }
                | ClientError::Unreachable { .. }
                | ClientError::Closed { .. }
                | ClientError::Timeout { .. }
                | ClientError::TooManyInFlight(_) => true,
                ClientError::Malformed { .. }
                | ClientError::UnsupportedVersion { .. }
                | ClientError::Unencodable { .. } => false,
            },
            ClientFailure::Unreachable { .. } | ClientFailure::UnknownBroker(_) => true,
            ClientFailure::UnknownCode(_)
            | ClientFailure::Unsupported(_)
            | ClientFailure::NoSuchTopic(_)
            | ClientFailure::Batch(_)
            | ClientFailure::Group(_)
            | ClientFailure::TimedOut { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_shows_the_brokers_words_and_the_codes_name() {
        let failure = |message: Option<&str>| ClientFailure::Refused {
            code: ErrorCode::TopicAlreadyExists,
            message: message.map(str::to_owned),
        };
        assert_eq!(
            failure(Some("Topic 'orders' already exists.")).to_string(),
            "Topic 'orders' already exists. (TOPIC_ALREADY_EXISTS)"
        );
        assert_eq!(
            failure(None).to_string(),
            "A topic with this name already exists (TOPIC_ALREADY_EXISTS)"
        );
    }
}
