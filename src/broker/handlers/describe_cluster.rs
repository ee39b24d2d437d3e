//! DescribeCluster (key 60), versions 0-2: brokers (fenced ones too where asked, KIP-1073) or the
//! controllers (KIP-919), and the cluster's id.

use std::sync::Arc;

use crate::broker::handlers::dispatch::{Call, Handler, Outcome};
use crate::broker::handlers::operations::{CLUSTER_OPERATIONS, NOT_ASKED};
use crate::controller::Controller;
use crate::metadata::MetadataSource;
use crate::protocol::messages::describe_cluster::{
    DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};
use crate::types::ErrorCode;

/// The endpoint type that asks for brokers.
const BROKERS: i8 = 1;
/// The endpoint type that asks for controllers.
const CONTROLLERS: i8 = 2;

/// See the module's documentation.
pub(crate) struct DescribeCluster {
    /// The committed image.
    pub metadata: Arc<dyn MetadataSource>,
    /// Who the controllers are.
    pub controller: Arc<Controller>,
    /// What this listener is: it answers only for its own kind.
    pub endpoint_type: EndpointType,
}

/// Which kind of node a listener belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndpointType {
    /// A broker's listener.
    Broker,
    /// A controller's listener.
    Controller,
}

impl EndpointType {
    fn number(self) -> i8 {
        match self {
            EndpointType::Broker => BROKERS,
            EndpointType::Controller => CONTROLLERS,
        }
    }
}

impl Handler for DescribeCluster {
    type Request = DescribeClusterRequest;

    async fn handle(
        self: Arc<Self>,
        call: Call<DescribeClusterRequest>,
    ) -> Outcome<DescribeClusterResponse> {
        let asked = match call.version {
            0 => BROKERS,
            _ => call.request.endpoint_type,
        };
        if asked != self.endpoint_type.number() {
            return Outcome::Now(self.mismatch(asked));
        }
        let image = self.metadata.image();
        let active = self.controller.active_controller();
        let brokers: Vec<_> = match self.endpoint_type {
            EndpointType::Broker => {
                let with_fenced = call.version >= 2 && call.request.include_fenced_brokers;
                let listed = image.brokers.values().filter(|b| with_fenced || !b.fenced);
                let listed = listed.filter_map(|broker| {
                    let endpoint = broker.endpoint(&call.context.listener)?;
                    Some(DescribeClusterBroker {
                        broker_id: broker.node_id.0,
                        host: endpoint.host.as_str().into(),
                        port: endpoint.port.into(),
                        rack: broker.rack.as_deref().map(Into::into),
                        is_fenced: broker.fenced,
                    })
                });
                listed.collect()
            }
            EndpointType::Controller => {
                let voters = self.controller.quorum().voters;
                let listed = voters.into_iter().map(|voter| DescribeClusterBroker {
                    broker_id: voter.node_id.0,
                    host: voter.host.as_str().into(),
                    port: voter.port.into(),
                    ..Default::default()
                });
                listed.collect()
            }
        };
        let active = active.map_or(-1, |node| node.0);
        let controller_id = match brokers.iter().any(|broker| broker.broker_id == active) {
            true => active,
            false => brokers.first().map_or(-1, |broker| broker.broker_id),
        };
        Outcome::Now(DescribeClusterResponse {
            error_code: ErrorCode::None.code(),
            endpoint_type: asked,
            cluster_id: image.cluster_id.as_deref().unwrap_or_default().into(),
            controller_id,
            brokers,
            cluster_authorized_operations: match call.request.include_cluster_authorized_operations
            {
                true => CLUSTER_OPERATIONS,
                false => NOT_ASKED,
            },
            ..Default::default()
        })
    }
}

impl DescribeCluster {
    fn mismatch(&self, asked: i8) -> DescribeClusterResponse {
        let (error, message) = match asked {
            BROKERS | CONTROLLERS => (
                ErrorCode::MismatchedEndpointType,
                "The request was sent to an endpoint of the wrong type: use a broker's listener \
                 with --bootstrap-server, a controller's with --bootstrap-controller.",
            ),
            _ => (ErrorCode::UnsupportedEndpointType, "This endpoint type is not known."),
        };
        DescribeClusterResponse {
            error_code: error.code(),
            error_message: Some(message.into()),
            endpoint_type: asked,
            ..Default::default()
        }
    }
}
