//! Headers. A flexible version's request header carries tagged fields (version 2 of the header), and
//! so does its response header (version 1), but for ApiVersions, whose response must be readable
//! by a client that does not know the version.

use bytes::Bytes;

use crate::protocol::codec::{
    DecodeError, EncodeError, Field, Form, Message, Reader, Request, Str, Writer,
    read_tagged_fields,
};
use crate::protocol::{ApiKey, messages};

/// What stands before every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// Which API; any number can come.
    pub api_key: i16,
    /// In which version; any number can come.
    pub api_version: i16,
    /// Comes back with the response.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<Str>,
}

/// The header's strings have two-byte lengths in all versions.
const PLAIN: Form = Form { version: 0, flexible: false };

/// Takes the header off a request. Of an API that is not known only the fields that all headers share
/// are read; a version later than the known ones has the form of the latest.
///
/// # Errors
/// The bytes are not a header.
pub fn decode_request_header(reader: &mut Reader) -> Result<RequestHeader, DecodeError> {
    let api_key = reader.i16()?;
    let api_version = reader.i16()?;
    let correlation_id = reader.i32()?;
    let client_id = Field::read(reader, PLAIN)?;
    if ApiKey::from_i16(api_key).is_some_and(|api| api_version >= api.first_flexible()) {
        read_tagged_fields(reader, |_, _| Ok(false))?;
    }
    Ok(RequestHeader { api_key, api_version, correlation_id, client_id })
}

/// A whole request frame: length, header, body.
///
/// # Errors
/// The request does not fit its version.
pub fn encode_request<R: Request>(
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
    request: &R,
) -> Result<Vec<Bytes>, EncodeError> {
    let mut writer = Writer::new();
    R::API.code().write(&mut writer, PLAIN)?;
    version.write(&mut writer, PLAIN)?;
    correlation_id.write(&mut writer, PLAIN)?;
    client_id.map(Str::from).write(&mut writer, PLAIN)?;
    if version >= R::API.first_flexible() {
        writer.unsigned_varint(0);
    }
    request.encode(&mut writer, version)?;
    let length = i32::try_from(writer.len()).map_err(|_| EncodeError::TooLong(writer.len()))?;
    let mut parts = vec![Bytes::copy_from_slice(&length.to_be_bytes())];
    parts.extend(writer.into_parts());
    Ok(parts)
}

/// Appends a response's header.
pub fn encode_response_header(api: ApiKey, version: i16, correlation_id: i32, writer: &mut Writer) {
    writer.put(&correlation_id.to_be_bytes());
    if is_response_header_flexible(api, version) {
        writer.unsigned_varint(0);
    }
}

/// Takes the header off a response; gives the correlation id.
pub fn decode_response_header(
    api: ApiKey,
    version: i16,
    reader: &mut Reader,
) -> Result<i32, DecodeError> {
    let correlation_id = reader.i32()?;
    if is_response_header_flexible(api, version) {
        read_tagged_fields(reader, |_, _| Ok(false))?;
    }
    Ok(correlation_id)
}

fn is_response_header_flexible(api: ApiKey, version: i16) -> bool {
    api != ApiKey::ApiVersions && version >= api.first_flexible()
}

/// The answer to an ApiVersions request of a version that is not known: version 0, error 35, and
/// what is served (KIP-511). `response` says the latter.
///
/// # Errors
/// The response does not fit version 0.
pub fn encode_unsupported_api_versions(
    correlation_id: i32,
    mut response: messages::api_versions::ApiVersionsResponse,
) -> Result<Vec<Bytes>, EncodeError> {
    response.error_code = UNSUPPORTED_VERSION;
    let mut writer = Writer::new();
    encode_response_header(ApiKey::ApiVersions, 0, correlation_id, &mut writer);
    response.encode(&mut writer, 0)?;
    Ok(writer.into_parts())
}

const UNSUPPORTED_VERSION: i16 = 35;
