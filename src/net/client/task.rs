//! The one task of a connection: writes what is sent, reads what is answered, brings the two
//! together by their correlation ids.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc, oneshot};

use crate::net::client::ClientError;
use crate::net::frames::{FrameBuffer, Progress};
use crate::net::output::Output;
use crate::net::transport::{BoxStream, HostPort};

/// Requests wait in their queue while as much is unwritten.
const MAX_UNSENT_BYTES: usize = 1 << 20;

/// A connection that nobody holds looks as often whether somebody still waits for an answer.
const ABANDONED_CHECK: Duration = Duration::from_secs(1);

/// A request on its way to the task.
pub struct Outgoing {
    /// The frame, its length included.
    pub parts: Vec<Bytes>,
    /// Its correlation id and who waits for the answer.
    pub waiting: Option<(i32, Waiting)>,
}

/// Somebody who waits for an answer.
pub struct Waiting {
    /// Takes the answer's frame.
    pub reply: oneshot::Sender<Bytes>,
    /// Its place among the requests in flight.
    pub _slot: OwnedSemaphorePermit,
}

/// What a connection, its task and its answers know together.
#[derive(Debug)]
pub struct Shared {
    /// Where the connection leads.
    pub address: HostPort,
    end: OnceLock<ClientError>,
    hang_up: Notify,
}

impl Shared {
    /// A connection that is open.
    pub fn new(address: HostPort) -> Self {
        Self { address, end: OnceLock::new(), hang_up: Notify::new() }
    }

    /// Ends the connection for this reason, unless it has ended already.
    pub fn end(&self, error: ClientError) {
        let _ = self.end.set(error);
        self.hang_up.notify_one();
    }

    /// Why the connection has ended.
    pub fn ended(&self) -> ClientError {
        self.end.get().cloned().unwrap_or_else(|| self.closed("its task is gone"))
    }

    /// Whether the connection has ended.
    pub fn is_over(&self) -> bool {
        self.end.get().is_some()
    }

    fn closed(&self, reason: impl ToString) -> ClientError {
        ClientError::Closed { address: self.address.clone(), reason: reason.to_string() }
    }

    fn malformed(&self, reason: impl ToString) -> ClientError {
        ClientError::Malformed { address: self.address.clone(), reason: reason.to_string() }
    }
}

/// Runs until the connection ends, and lets everybody who waits know why.
pub async fn run(
    stream: BoxStream,
    mut requests: mpsc::Receiver<Outgoing>,
    shared: std::sync::Arc<Shared>,
    max_response_bytes: usize,
) {
    let mut in_flight = BTreeMap::new();
    let error = exchange(stream, &mut requests, &shared, &mut in_flight, max_response_bytes).await;
    // Those who find their answer gone look here for the reason: it has to stand first.
    shared.end(error);
}

async fn exchange(
    stream: BoxStream,
    requests: &mut mpsc::Receiver<Outgoing>,
    shared: &Shared,
    in_flight: &mut BTreeMap<i32, Waiting>,
    max_response_bytes: usize,
) -> ClientError {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut frames = FrameBuffer::new(max_response_bytes, "max_response_bytes");
    let mut output = Output::default();
    let mut is_held = true;
    loop {
        // All that is sent in one go is written in one go.
        tokio::select! {
            biased;
            () = shared.hang_up.notified() => return shared.closed("it was closed here"),
            request = requests.recv(), if is_held && output.len() < MAX_UNSENT_BYTES => {
                match request {
                    Some(Outgoing { parts, waiting }) => {
                        output.push_raw(parts);
                        in_flight.extend(waiting);
                        continue;
                    }
                    None => is_held = false,
                }
            }
            written = output.write_to(&mut writer), if !output.is_empty() => {
                if let Err(error) = written {
                    return shared.closed(error);
                }
            }
            received = frames.read_from(&mut reader) => match received {
                Ok(0) => return shared.closed("the broker closed it"),
                Ok(_) => {}
                Err(error) => return shared.closed(error),
            },
            () = tokio::time::sleep(ABANDONED_CHECK), if !is_held => {}
        }
        if let Err(error) = deliver(&mut frames, in_flight, shared) {
            return error;
        }
        let is_awaited = in_flight.values().any(|waiting| !waiting.reply.is_closed());
        if !is_held && output.is_empty() && !is_awaited {
            return shared.closed("it was dropped");
        }
    }
}

/// Hands out every answer that has arrived whole.
fn deliver(
    frames: &mut FrameBuffer,
    in_flight: &mut BTreeMap<i32, Waiting>,
    shared: &Shared,
) -> Result<(), ClientError> {
    while let Progress::Frame(frame) =
        frames.next_frame().map_err(|error| shared.malformed(error))?
    {
        let Some(correlation_id) = frame.first_chunk::<4>() else {
            return Err(shared.malformed(format!("an answer of {} bytes", frame.len())));
        };
        let correlation_id = i32::from_be_bytes(*correlation_id);
        match in_flight.remove(&correlation_id) {
            // Who asked may have gone: then nobody wants the answer.
            Some(waiting) => drop(waiting.reply.send(frame)),
            None => {
                return Err(shared.malformed(format!("an answer to no request: {correlation_id}")));
            }
        }
    }
    Ok(())
}
