//! ListConfigResources (key 74), versions 0-1: topics, brokers and their loggers, all of which have a
//! configuration; groups and subscriptions to the metrics of clients, for which something was set. Version 0
//! lists subscriptions alone.

use std::sync::Arc;

use crate::broker::handlers::dispatch::{Call, Handler, Outcome};
use crate::metadata::{ConfigResource, Image, MetadataSource};
use crate::protocol::messages::list_config_resources::{
    ConfigResource as Listed, ListConfigResourcesRequest, ListConfigResourcesResponse,
};
use crate::types::ErrorCode;

/// All types, in Kafka's order.
const ALL: [i8; 5] = [
    ConfigResource::GROUP,
    ConfigResource::CLIENT_METRICS,
    ConfigResource::BROKER_LOGGER,
    ConfigResource::BROKER,
    ConfigResource::TOPIC,
];

/// See the module's documentation.
pub(crate) struct ListConfigResources {
    /// The committed image.
    pub metadata: Arc<dyn MetadataSource>,
}

impl Handler for ListConfigResources {
    type Request = ListConfigResourcesRequest;

    async fn handle(
        self: Arc<Self>,
        call: Call<ListConfigResourcesRequest>,
    ) -> Outcome<ListConfigResourcesResponse> {
        let wanted = match call.version {
            0 => vec![ConfigResource::CLIENT_METRICS],
            _ if call.request.resource_types.is_empty() => ALL.to_vec(),
            _ => call.request.resource_types,
        };
        if wanted.iter().any(|number| !ALL.contains(number)) {
            let error_code = ErrorCode::UnsupportedVersion.code();
            return Outcome::Now(ListConfigResourcesResponse { error_code, ..Default::default() });
        }
        let image = self.metadata.image();
        let types = ALL.iter().filter(|number| wanted.contains(number));
        let listed = types.flat_map(|&resource_type| {
            let names = names(&image, resource_type).into_iter();
            names.map(move |name| Listed { resource_name: name.into(), resource_type })
        });
        let config_resources = listed.collect();
        Outcome::Now(ListConfigResourcesResponse { config_resources, ..Default::default() })
    }
}

fn names(image: &Image, resource_type: i8) -> Vec<String> {
    match resource_type {
        ConfigResource::TOPIC => image.topics.keys().map(ToString::to_string).collect(),
        ConfigResource::BROKER | ConfigResource::BROKER_LOGGER => {
            image.brokers.keys().map(ToString::to_string).collect()
        }
        ConfigResource::GROUP | ConfigResource::CLIENT_METRICS => {
            let configured = image.configured().map(|(resource, _)| resource);
            let of_type = configured.filter(|it| it.type_number() == resource_type);
            of_type.map(ConfigResource::name).collect()
        }
        _ => Vec::new(),
    }
}
