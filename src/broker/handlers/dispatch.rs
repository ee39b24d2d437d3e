//! From a decoded header to the handler of its API and back to the bytes of the response.

use std::future::Future;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::net::server::{Answer, Handled, RequestContext};
use crate::protocol::codec::{Message, Reader, Writer};
use crate::protocol::header::{RequestHeader, encode_response_header};
use crate::protocol::{ApiKey, Request};

/// One request, decoded, with where it came from.
pub(crate) struct Call<R> {
    /// Whose request this is and how it came.
    pub context: Arc<RequestContext>,
    /// The version in which it was asked and will be answered.
    pub version: i16,
    /// The request itself.
    pub request: R,
}

/// What a handler's first phase ends with.
pub(crate) enum Outcome<R> {
    /// The answer.
    Now(R),
    /// The answer, once this future has it. It is dropped with the connection.
    Later(BoxFuture<'static, R>),
    /// Nothing is answered: acks=0.
    Silence,
    /// The connection is closed, for this reason.
    Close(String),
}

impl<R: Send + 'static> Outcome<R> {
    /// The answer, once `response` has it.
    pub fn later(response: impl Future<Output = R> + Send + 'static) -> Outcome<R> {
        Outcome::Later(response.boxed())
    }
}

/// One API. What `handle` awaits keeps the connection's next request waiting: that is phase one,
/// in which order matters. Long waits belong into [`Outcome::Later`].
pub(crate) trait Handler: Send + Sync + 'static {
    /// The message that this handler answers.
    type Request: Request + Send;

    /// Phase one.
    fn handle(
        self: Arc<Self>,
        call: Call<Self::Request>,
    ) -> impl Future<Output = Outcome<<Self::Request as Request>::Response>> + Send;
}

type Run =
    dyn Fn(Arc<RequestContext>, RequestHeader, Bytes) -> BoxFuture<'static, Handled> + Send + Sync;

/// One row of the dispatch table.
pub(crate) struct Entry {
    /// The API.
    pub api: ApiKey,
    /// What ApiVersions tells.
    pub advertised: RangeInclusive<i16>,
    run: Arc<Run>,
}

impl Entry {
    /// The row of `handler`, advertised with all versions that its request knows.
    pub fn new<H: Handler>(handler: H) -> Entry {
        Entry::shared(Arc::new(handler))
    }

    /// The row of a handler that somebody else holds too.
    pub fn shared<H: Handler>(handler: Arc<H>) -> Entry {
        let run = move |context, header: RequestHeader, body| {
            run(Arc::clone(&handler), context, header, body).boxed()
        };
        Entry { api: H::Request::API, advertised: H::Request::VERSIONS, run: Arc::new(run) }
    }

    /// The same row, advertised from version `minimum`.
    pub fn advertised_from(mut self, minimum: i16) -> Entry {
        self.advertised = minimum..=*self.advertised.end();
        self
    }

    /// Hands one request over.
    pub fn run(
        &self,
        context: Arc<RequestContext>,
        header: RequestHeader,
        body: Bytes,
    ) -> BoxFuture<'static, Handled> {
        (self.run)(context, header, body)
    }
}

async fn run<H: Handler>(
    handler: Arc<H>,
    context: Arc<RequestContext>,
    header: RequestHeader,
    body: Bytes,
) -> Handled {
    let version = header.api_version;
    let api = H::Request::API;
    let mut reader = Reader::new(body);
    let request = match H::Request::decode(&mut reader, version) {
        Ok(request) => request,
        Err(error) => {
            let reason = format!("a {api:?} request of version {version} cannot be read: {error}");
            return Handled::Now(Answer::Close(reason));
        }
    };
    let correlation_id = header.correlation_id;
    let call = Call { context, version, request };
    match handler.handle(call).await {
        Outcome::Now(response) => Handled::Now(answer(api, version, correlation_id, &response)),
        Outcome::Later(response) => Handled::Later(
            async move { answer(api, version, correlation_id, &response.await) }.boxed(),
        ),
        Outcome::Silence => Handled::Now(Answer::None),
        Outcome::Close(reason) => Handled::Now(Answer::Close(reason)),
    }
}

/// A response with its header, ready for the wire.
pub(crate) fn answer<R: Message>(
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    response: &R,
) -> Answer {
    let mut writer = Writer::new();
    encode_response_header(api, version, correlation_id, &mut writer);
    match response.encode(&mut writer, version) {
        Ok(()) => Answer::Response(writer.into_parts()),
        Err(error) => {
            tracing::error!(?api, version, %error, "a response could not be encoded");
            Answer::Close(format!("the {api:?} response of version {version} cannot be encoded"))
        }
    }
}
