//! Which versions a broker serves. One that does not know our version of ApiVersions answers in
//! version 0 with UNSUPPORTED_VERSION and says what it knows; then it is asked again (KIP-511).

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::net::client::{ClientError, Connection};
use crate::protocol::codec::{DecodeError, Message, Reader, Request};
use crate::protocol::header::decode_response_header;
use crate::protocol::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use crate::types::ErrorCode;

const API: crate::protocol::ApiKey = ApiVersionsRequest::API;

/// Asks, twice if need be.
pub async fn versions(
    connection: &Connection,
) -> Result<BTreeMap<i16, RangeInclusive<i16>>, ClientError> {
    let ours = ApiVersionsRequest::VERSIONS;
    let mut response = ask(connection, *ours.end()).await?;
    if response.error_code == ErrorCode::UnsupportedVersion.code() {
        let theirs = response.api_keys.iter().find(|row| row.api_key == API.code());
        // Brokers before 2.4 do not say: version 0 is what all of them know.
        let version = theirs.map_or(0, |row| row.max_version.clamp(0, *ours.end()));
        response = ask(connection, version).await?;
    }
    if response.error_code != ErrorCode::None.code() {
        let name = ErrorCode::from_code(response.error_code).map_or("an error", ErrorCode::name);
        let reason = format!("it refused to tell its versions: {name} ({})", response.error_code);
        return Err(ClientError::Closed { address: connection.address().clone(), reason });
    }
    let rows = response.api_keys.iter();
    Ok(rows.map(|row| (row.api_key, row.min_version..=row.max_version)).collect())
}

async fn ask(connection: &Connection, version: i16) -> Result<ApiVersionsResponse, ClientError> {
    let request = ApiVersionsRequest {
        client_software_name: "ottla".into(),
        client_software_version: env!("CARGO_PKG_VERSION").into(),
    };
    let slot = Arc::clone(&connection.slots).acquire_owned().await;
    let slot = slot.map_err(|_| connection.shared.ended())?;
    let frame = connection.begin(version, &request, slot)?.await?;
    read(Reader::new(frame), version).map_err(|error| ClientError::Malformed {
        address: connection.address().clone(),
        reason: format!("an ApiVersions response of version {version}: {error}"),
    })
}

fn read(mut reader: Reader, version: i16) -> Result<ApiVersionsResponse, DecodeError> {
    decode_response_header(API, version, &mut reader)?;
    let error_code = reader.clone().i16()?;
    let refused = error_code == ErrorCode::UnsupportedVersion.code();
    ApiVersionsResponse::decode(&mut reader, if refused { 0 } else { version })
}
