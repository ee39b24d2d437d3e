//! The paths and their answers, all of them one JSON object.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use crate::broker::health::{Health, HealthState};

/// Where the routes learn how the node stands.
pub type HealthSource = Arc<dyn Fn() -> Health + Send + Sync>;

/// Everything that is answered.
pub fn router(health: HealthSource) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .with_state(health)
}

async fn index(State(health): State<HealthSource>) -> Response {
    Json(json!({
        "name": "ottla",
        "version": env!("CARGO_PKG_VERSION"),
        "node_id": health().node_id.0,
        "paths": ["/health/live", "/health/ready"],
    }))
    .into_response()
}

/// That this is answered is the answer.
async fn live(State(health): State<HealthSource>) -> Response {
    (StatusCode::OK, Json(shown(&health()))).into_response()
}

async fn ready(State(health): State<HealthSource>) -> Response {
    let health = health();
    let status = match health.state {
        HealthState::Ready => StatusCode::OK,
        HealthState::Joining
        | HealthState::Unregistered
        | HealthState::Fenced
        | HealthState::CatchingUp
        | HealthState::Stopping => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(shown(&health))).into_response()
}

fn shown(health: &Health) -> serde_json::Value {
    json!({
        "node_id": health.node_id.0,
        "roles": health.roles,
        "state": health.state.name(),
        "reason": health.reason,
    })
}

async fn unknown_path(uri: Uri) -> Response {
    let error = format!("there is nothing at {}; / lists what there is", uri.path());
    (StatusCode::NOT_FOUND, Json(json!({ "error": error }))).into_response()
}

async fn wrong_method(uri: Uri) -> Response {
    let error = format!("{} is only read: use GET", uri.path());
    (StatusCode::METHOD_NOT_ALLOWED, Json(json!({ "error": error }))).into_response()
}
