//! One connection of a server: frames in, answers out, in order, until either side has enough.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::io::{ReadHalf, WriteHalf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Interval, MissedTickBehavior};

use crate::net::admission::{Admission, Place};
use crate::net::answers::Answers;
use crate::net::frames::{FrameBuffer, FrameError, Progress};
use crate::net::output::Output;
use crate::net::server::Stage;
use crate::net::service::{Answer, Handled, RequestContext, Service};
use crate::net::transport::BoxStream;
use crate::protocol::codec::Reader;
use crate::protocol::header::{RequestHeader, decode_request_header};
use crate::types::watch;

/// A client that has as many requests unanswered is not read further.
const MAX_UNANSWERED: usize = 256;

/// A client that lets as much wait to be taken is not read further, and what its requests still
/// wait for is not looked at.
const MAX_UNSENT_BYTES: usize = 1 << 20;

/// A large request must advance by as much per tick: it holds a share of what others wait for.
const MIN_PROGRESS_BYTES: usize = 64 << 10;

/// The longest time between two looks at whether the connection is alive.
const MAX_TICK: Duration = Duration::from_secs(30);

/// How long the last words to a client that is being closed may take.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// Its bytes are not Kafka's protocol.
    #[error("{0}")]
    Frame(#[from] FrameError),
    /// A frame whose header cannot be read.
    #[error("a request's header cannot be read: {0}")]
    Header(#[from] crate::protocol::DecodeError),
    /// The service wants it closed.
    #[error("{0}")]
    Closed(String),
    /// It was silent, or did not take its answers, for too long.
    #[error("nothing moved for {0:?} (connections.max.idle.ms)")]
    Idle(Duration),
    /// It was the least recently used, and there were too many.
    #[error("there are too many connections (max.connections)")]
    Evicted,
    /// It announced a large request and let others wait for it.
    #[error("a request of {0} bytes did not advance")]
    Stalled(usize),
    /// The peer closed it in the middle of a request.
    #[error("the peer closed it after {received} of a request's {length} bytes")]
    Truncated {
        /// How many bytes of the frame were there.
        received: usize,
        /// How many there should have been.
        length: usize,
    },
    /// The network broke it.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The server stops.
    #[error("the server stops")]
    ServerStops,
    /// All is said.
    #[error("the peer closed it")]
    ByPeer,
}

/// One connection and everything that it holds.
pub struct Connection {
    reader: ReadHalf<BoxStream>,
    writer: WriteHalf<BoxStream>,
    service: Arc<dyn Service>,
    admission: Arc<Admission>,
    context: Arc<RequestContext>,
    stage: watch::Receiver<Stage>,
    place: Place,
    frames: FrameBuffer,
    /// What a large request waits for before more of it is read.
    share_wait: Option<BoxFuture<'static, Option<OwnedSemaphorePermit>>>,
    /// What it then holds until its first phase is over.
    share: Option<OwnedSemaphorePermit>,
    /// The request that is being handled; the next one begins after it.
    phase_one: Option<BoxFuture<'static, Handled>>,
    answers: Answers,
    output: Output,
    /// The peer sends nothing any more.
    read_all: bool,
    ticks: Interval,
    quiet: Duration,
    moved_bytes: usize,
}

impl Connection {
    /// A connection whose first bytes may have been read into `frames` already.
    pub fn new(
        stream: BoxStream,
        frames: FrameBuffer,
        service: Arc<dyn Service>,
        admission: Arc<Admission>,
        context: RequestContext,
        stage: watch::Receiver<Stage>,
        place: Place,
    ) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        let idle = admission.limits().connections_max_idle.unwrap_or(MAX_TICK);
        let tick = (idle / 4).clamp(Duration::from_millis(1), MAX_TICK);
        let mut ticks = tokio::time::interval(tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.reset();
        Self {
            reader,
            writer,
            service,
            admission,
            context: Arc::new(context),
            stage,
            place,
            frames,
            share_wait: None,
            share: None,
            phase_one: None,
            answers: Answers::default(),
            output: Output::default(),
            read_all: false,
            ticks,
            quiet: Duration::ZERO,
            moved_bytes: 0,
        }
    }

    /// Serves until the connection ends; says why it did. A first phase that has begun is seen
    /// through whatever happens; answers that are still waited for are dropped.
    pub async fn run(mut self) -> Ended {
        let ended = match self.serve().await {
            Ok(ended) | Err(ended) => ended,
        };
        if let Some(phase_one) = self.phase_one.take() {
            phase_one.await;
        }
        if matches!(ended, Ended::Closed(_) | Ended::Header(_) | Ended::Frame(_)) {
            let _ = tokio::time::timeout(LAST_WORDS, self.write_out()).await;
        }
        ended
    }

    async fn serve(&mut self) -> Result<Ended, Ended> {
        loop {
            self.begin_requests().await?;
            if let Some(ended) = self.finished()? {
                return Ok(ended);
            }
            // In this order all that has arrived is handled before any of it is answered, so that
            // the answers leave together.
            tokio::select! {
                biased;
                handled = when(&mut self.phase_one) => {
                    self.phase_one = None;
                    self.end_phase_one(handled)?;
                }
                () = self.answers.wait(MAX_UNSENT_BYTES), if self.output.len() < MAX_UNSENT_BYTES => {}
                share = when(&mut self.share_wait) => {
                    self.share_wait = None;
                    self.share = share;
                }
                written = self.output.write_to(&mut self.writer), if !self.output.is_empty() => {
                    self.moved_bytes += written?;
                }
                received = self.frames.read_from(&mut self.reader), if self.may_read() => {
                    self.note_received(received?);
                }
                () = self.place.evicted() => return Err(Ended::Evicted),
                changed = self.stage.changed() => self.note_stage(changed.is_err())?,
                _ = self.ticks.tick() => self.note_tick()?,
            }
            self.release_answers()?;
        }
    }

    /// Begins every request that has arrived whole, one after the other, as long as each is handled
    /// at once.
    async fn begin_requests(&mut self) -> Result<(), Ended> {
        while self.may_begin() {
            let frame = match self.frames.next_frame()? {
                Progress::Frame(frame) => frame,
                Progress::Partial(length) => return self.ask_for_share(length),
                Progress::Nothing => return Ok(()),
            };
            let mut reader = Reader::new(frame);
            let header = decode_request_header(&mut reader)?;
            let context = self.context_of(&header);
            let mut phase_one = self.service.handle(context, header, reader.rest().clone());
            drop(reader);
            match futures::poll!(&mut phase_one) {
                std::task::Poll::Ready(handled) => self.end_phase_one(handled)?,
                std::task::Poll::Pending => self.phase_one = Some(phase_one),
            }
        }
        Ok(())
    }

    fn may_begin(&self) -> bool {
        self.phase_one.is_none()
            && self.share_wait.is_none()
            && *self.stage.borrow() == Stage::Running
            && self.answers.len() < MAX_UNANSWERED
            && self.unsent_bytes() < MAX_UNSENT_BYTES
    }

    fn may_read(&self) -> bool {
        self.may_begin() && !self.read_all
    }

    fn unsent_bytes(&self) -> usize {
        self.output.len() + self.answers.ready_bytes()
    }

    fn ask_for_share(&mut self, length: usize) -> Result<(), Ended> {
        if self.share.is_none() {
            self.share_wait = self.admission.share(length);
        }
        Ok(())
    }

    /// The connection's context, made anew only when the client calls itself something else.
    fn context_of(&mut self, header: &RequestHeader) -> Arc<RequestContext> {
        let client_id = header.client_id.as_deref();
        if self.context.client_id.as_deref() != client_id {
            Arc::make_mut(&mut self.context).client_id = client_id.map(str::to_owned);
        }
        Arc::clone(&self.context)
    }

    fn end_phase_one(&mut self, handled: Handled) -> Result<(), Ended> {
        self.share = None;
        match handled {
            Handled::Now(Answer::Close(reason)) => {
                self.release_answers()?;
                return Err(Ended::Closed(reason));
            }
            Handled::Now(answer) => self.answers.push(answer),
            Handled::Later(answer) => self.answers.push_later(answer),
        }
        self.release_answers()
    }

    /// Moves the answers whose turn has come to the output.
    fn release_answers(&mut self) -> Result<(), Ended> {
        while let Some(answer) = self.answers.pop() {
            match answer {
                Answer::Response(parts) => self
                    .output
                    .push_frame(parts)
                    .map_err(|error| Ended::Closed(error.to_string()))?,
                Answer::None => {}
                Answer::Close(reason) => return Err(Ended::Closed(reason)),
            }
        }
        Ok(())
    }

    fn note_received(&mut self, received: usize) {
        self.place.note_use();
        self.moved_bytes += received;
        self.read_all = received == 0;
    }

    /// When the peer has closed its side, whole requests are still handled (acks=0!) and what is
    /// ready is still written, but nothing is waited for. When the server stops, what has begun is
    /// finished.
    fn finished(&mut self) -> Result<Option<Ended>, Ended> {
        if self.phase_one.is_some() || !self.output.is_empty() {
            return Ok(None);
        }
        if *self.stage.borrow() != Stage::Running {
            return Ok(self.answers.is_empty().then_some(Ended::ServerStops));
        }
        if !self.read_all {
            return Ok(None);
        }
        if self.frames.has_frame()? {
            return Ok(None);
        }
        let received = self.frames.received().len();
        Ok(Some(match self.frames.partial()? {
            Some(length) => Ended::Truncated { received, length },
            None => Ended::ByPeer,
        }))
    }

    fn note_stage(&mut self, server_is_gone: bool) -> Result<(), Ended> {
        let closing = server_is_gone || *self.stage.borrow() == Stage::Closing;
        if closing { Err(Ended::ServerStops) } else { Ok(()) }
    }

    fn note_tick(&mut self) -> Result<(), Ended> {
        let moved = std::mem::take(&mut self.moved_bytes);
        let holds_share = self.share.is_some() && self.phase_one.is_none();
        if holds_share
            && moved < MIN_PROGRESS_BYTES
            && let Some(length) = self.frames.partial()?
        {
            return Err(Ended::Stalled(length));
        }
        let on_us =
            self.phase_one.is_some() || self.answers.is_waiting() || self.share_wait.is_some();
        if moved > 0 || (on_us && self.output.is_empty()) {
            self.quiet = Duration::ZERO;
            return Ok(());
        }
        self.frames.rest();
        self.quiet += self.ticks.period();
        match self.admission.limits().connections_max_idle {
            Some(idle) if self.quiet >= idle => Err(Ended::Idle(idle)),
            Some(_) | None => Ok(()),
        }
    }

    async fn write_out(&mut self) -> io::Result<()> {
        while !self.output.is_empty() {
            self.output.write_to(&mut self.writer).await?;
        }
        Ok(())
    }
}

/// Waits for what is there to be waited for; for ever, if nothing is.
async fn when<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// The context of a connection that has just been accepted.
pub fn context(connection_id: u64, peer: SocketAddr, listener: Arc<str>) -> RequestContext {
    RequestContext {
        connection_id,
        peer,
        listener,
        principal: Arc::from("User:ANONYMOUS"),
        client_id: None,
        client_software: Arc::new(OnceLock::new()),
    }
}
