//! A broker's life as the broker leads it: it registers, heartbeats, asks to be put into service
//! once its logs are loaded and it knows its own registration, and leaves in order. A broker whose
//! last answered heartbeat was sent longer ago than its session may have been given up by the
//! controller: it must stop answering as a leader until it is heard again.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::controller::handle::{Controller, RequestContext};
use crate::controller::machine::{Command, Refusal, RegisterBroker, Reply};
use crate::controller::peer::message::{HeartbeatAnswer, HeartbeatRequest};
use crate::log::LogDirectory;
use crate::metadata::Image;
use crate::storage::{Offload, offload};
use crate::types::{BrokerEpoch, Clock, ErrorCode, Monotonic, NodeId, watch};

/// Between two attempts to register.
const REGISTER_PAUSE: Duration = Duration::from_millis(100);
/// How long one attempt to register may take.
const REGISTER_PATIENCE: Duration = Duration::from_secs(10);
/// Between two heartbeats while something is expected to change.
const IMPATIENT: Duration = Duration::from_millis(25);
/// How long a broker that stops and that no other could replace waits for a controller to answer:
/// the last one of a cluster, whose quorum has gone before it.
const ALONE: Duration = Duration::from_millis(500);

/// How a broker presents itself and how often it speaks.
#[derive(Debug, Clone)]
pub struct LifecycleOptions {
    /// What it registers as; the same for as long as the process lives.
    pub registration: RegisterBroker,
    /// `broker.heartbeat.interval.ms`
    pub heartbeat: Duration,
    /// `broker.session.timeout.ms`
    pub session: Duration,
    /// The data directories. Each notes the registration durably before the broker asks to be put
    /// into service, so that the next run can show how this one ended (rule 15).
    pub directories: Vec<Arc<LogDirectory>>,
    /// Where blocking work runs.
    pub offload: Arc<dyn Offload>,
}

/// How a broker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokerState {
    /// The controller does not know this process yet, or not any more.
    Unregistered,
    /// Registered, and of no use to clients yet.
    Fenced(BrokerEpoch),
    /// In service.
    Running(BrokerEpoch),
    /// It asked to stop; its leaders are moving.
    Stopping(BrokerEpoch),
    /// It leads nothing any more and is fenced: the process may go.
    Stopped,
}

/// What a broker asks of the controller. The controller itself does it; tests have a double.
pub trait ControllerLink: Send + Sync + 'static {
    /// Has a command carried out.
    fn submit(
        &self,
        command: Command,
        deadline: Monotonic,
    ) -> impl Future<Output = Result<Reply, ErrorCode>> + Send;
    /// Shows a sign of life.
    fn heartbeat(
        &self,
        request: HeartbeatRequest,
        patience: Duration,
    ) -> impl Future<Output = Result<HeartbeatAnswer, ErrorCode>> + Send;
    /// The newest image.
    fn image(&self) -> Arc<Image>;
}

impl ControllerLink for Controller {
    async fn submit(&self, command: Command, deadline: Monotonic) -> Result<Reply, ErrorCode> {
        Controller::submit(self, command, RequestContext::internal(deadline)).await
    }

    async fn heartbeat(
        &self,
        request: HeartbeatRequest,
        patience: Duration,
    ) -> Result<HeartbeatAnswer, ErrorCode> {
        Controller::heartbeat(self, request, patience).await
    }

    fn image(&self) -> Arc<Image> {
        self.metadata().image()
    }
}

/// A broker's registration and heartbeats. They end when it is dropped.
pub struct BrokerLifecycle {
    shared: Arc<Shared>,
    tasks: Mutex<JoinSet<()>>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    session: Duration,
    state: watch::Sender<BrokerState>,
    wishes: Mutex<Wishes>,
    hurry: Notify,
    /// When the last heartbeat was sent that the controller answered; none if it answered that the
    /// broker is fenced.
    heard: Mutex<Option<Monotonic>>,
    failed: watch::Sender<Option<String>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Wishes {
    logs_loaded: bool,
    stop: bool,
}

impl BrokerLifecycle {
    /// Begins to register, in the background.
    pub fn start<L: ControllerLink>(
        options: LifecycleOptions,
        link: Arc<L>,
        clock: Arc<dyn Clock>,
    ) -> BrokerLifecycle {
        let shared = Arc::new(Shared {
            clock,
            session: options.session,
            state: watch::Sender::new(BrokerState::Unregistered),
            wishes: Mutex::default(),
            hurry: Notify::new(),
            heard: Mutex::default(),
            failed: watch::Sender::new(None),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(live(options, link, Arc::clone(&shared)));
        BrokerLifecycle { shared, tasks: Mutex::new(tasks) }
    }

    /// How the broker stands, and each change of that.
    pub fn state(&self) -> watch::Receiver<BrokerState> {
        self.shared.state.subscribe()
    }

    /// Why the broker can never register, once that is so: the process has to exit then.
    pub fn failure(&self) -> watch::Receiver<Option<String>> {
        self.shared.failed.subscribe()
    }

    /// The current registration.
    pub fn broker_epoch(&self) -> Option<BrokerEpoch> {
        match *self.shared.state.borrow() {
            BrokerState::Fenced(epoch)
            | BrokerState::Running(epoch)
            | BrokerState::Stopping(epoch) => Some(epoch),
            BrokerState::Unregistered | BrokerState::Stopped => None,
        }
    }

    /// Whether the controller cannot have given this broker up: the last heartbeat that it
    /// answered was sent within the session, and the answer was not that the broker is fenced.
    /// The metadata that deposes a fenced broker may reach it later than that answer does. A broker
    /// that is not live must not answer as leader or coordinator.
    pub fn is_live(&self) -> bool {
        let heard = *self.shared.heard.lock();
        heard.is_some_and(|sent| self.shared.clock.monotonic().since(sent) <= self.shared.session)
    }

    /// The logs are loaded: ask to be put into service.
    pub fn logs_loaded(&self) {
        self.shared.wishes.lock().logs_loaded = true;
        self.shared.hurry.notify_one();
    }

    /// Controlled shutdown: has the leaders moved, and waits for that for at most `patience`, and
    /// only while a controller answers. True if it went in order.
    pub async fn shutdown(&self, patience: Duration) -> bool {
        self.shared.wishes.lock().stop = true;
        self.shared.hurry.notify_one();
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        let ended = tokio::time::timeout(patience, tasks.join_next()).await;
        if ended.is_err() {
            tracing::warn!("the leaders have not moved away in {patience:?}");
        }
        tasks.shutdown().await;
        *self.shared.state.borrow() == BrokerState::Stopped
    }
}

/// Registers and heartbeats until the broker has stopped or can never register.
async fn live<L: ControllerLink>(options: LifecycleOptions, link: Arc<L>, shared: Arc<Shared>) {
    let node_id = options.registration.node_id;
    loop {
        let broker_epoch = match register(&options, &*link, &shared).await {
            Ok(broker_epoch) => broker_epoch,
            Err(reason) => {
                tracing::error!("{reason}");
                shared.failed.send_replace(Some(reason));
                return;
            }
        };
        tracing::info!(node = %node_id, epoch = %broker_epoch, "registered");
        note_registration(&options, broker_epoch).await;
        shared.state.send_replace(BrokerState::Fenced(broker_epoch));
        match heartbeat(&options, &*link, &shared, broker_epoch).await {
            Ended::Stopped => {
                shared.state.send_replace(BrokerState::Stopped);
                return;
            }
            Ended::Unheard => return,
            Ended::Unknown if shared.wishes.lock().stop => return,
            Ended::Unknown => {}
        }
        tracing::warn!(node = %node_id, "the controller does not know this registration: registering again");
        *shared.heard.lock() = None;
        shared.state.send_replace(BrokerState::Unregistered);
    }
}

async fn note_registration(options: &LifecycleOptions, broker_epoch: BrokerEpoch) {
    for directory in options.directories.iter().filter(|directory| !directory.is_offline()) {
        let noting = Arc::clone(directory);
        let noted = offload(&*options.offload, move || noting.set_broker_epoch(broker_epoch)).await;
        // The directory then counts as unclean at the next start, which is the safe side.
        match noted {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("{}: {error}", directory.path().display()),
            Err(error) => tracing::warn!("{}: {error}", directory.path().display()),
        }
    }
}

/// Registers, however long it takes. An error is one that trying again does not mend.
async fn register<L: ControllerLink>(
    options: &LifecycleOptions,
    link: &L,
    shared: &Shared,
) -> Result<BrokerEpoch, String> {
    let mut explained = None;
    loop {
        let deadline = shared.clock.monotonic().plus(REGISTER_PATIENCE);
        let command = Command::RegisterBroker(registration_now(options));
        let problem = match link.submit(command, deadline).await {
            Ok(Reply::Registered { broker_epoch }) => return Ok(broker_epoch),
            Ok(Reply::Refused(refusal)) if is_final(refusal.code) => {
                return Err(refused_for_good(options, &refusal));
            }
            Ok(Reply::Refused(refusal)) => refusal.to_string(),
            Ok(other) => format!("an answer to another question: {other:?}"),
            Err(code) => code.message().to_owned(),
        };
        if explained.as_ref() != Some(&problem) {
            tracing::info!("waiting to be registered: {problem}");
            explained = Some(problem);
        }
        tokio::time::sleep(REGISTER_PAUSE).await;
    }
}

/// The registration with the directories that work at this moment.
fn registration_now(options: &LifecycleOptions) -> RegisterBroker {
    let mut registration = options.registration.clone();
    for directory in options.directories.iter().filter(|directory| directory.is_offline()) {
        let failed = directory.directory_id();
        registration.directories.retain(|registered| registered.id != failed);
        registration.has_offline_directories = true;
    }
    registration
}

/// What is wrong and what to do, in one line.
fn refused_for_good(options: &LifecycleOptions, refusal: &Refusal) -> String {
    let advice = match refusal.code {
        ErrorCode::InconsistentClusterId => {
            let paths = options.directories.iter().map(|it| it.path().display().to_string());
            let paths = paths.collect::<Vec<_>>().join(", ");
            format!(
                "cluster.id in the meta.properties of {paths} names another cluster than the one that \
                 this node found; set log.dirs to this cluster's directories (or empty ones), or \
                 controller.quorum.voters to the other cluster"
            )
        }
        ErrorCode::UnsupportedVersion => "run the cluster's version of ottla".to_owned(),
        _ => "correct its configuration".to_owned(),
    };
    format!("the cluster does not register this broker: {refusal}; {advice}")
}

/// Errors of a registration that stay: another cluster, or features that this broker lacks.
fn is_final(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::InconsistentClusterId
            | ErrorCode::UnsupportedVersion
            | ErrorCode::InvalidRegistration
    )
}

#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Stopped,
    /// It is to stop, and no controller answers.
    Unheard,
    Unknown,
}

async fn heartbeat<L: ControllerLink>(
    options: &LifecycleOptions,
    link: &L,
    shared: &Shared,
    broker_epoch: BrokerEpoch,
) -> Ended {
    let node_id = options.registration.node_id;
    let mut answered = shared.clock.monotonic();
    loop {
        let wishes = *shared.wishes.lock();
        let image = link.image();
        let request = HeartbeatRequest {
            node_id,
            broker_epoch,
            applied: image.offset(),
            ready: wishes.logs_loaded && knows_itself(&image, node_id, broker_epoch),
            wants_shutdown: wishes.stop,
        };
        let sent = shared.clock.monotonic();
        let mut pause = options.heartbeat;
        match link.heartbeat(request, options.heartbeat * 2).await {
            Ok(answer) => {
                answered = sent;
                *shared.heard.lock() = (!answer.fenced).then_some(sent);
                if wishes.stop && answer.should_shut_down {
                    let deadline = sent.plus(options.session);
                    let command = Command::CompleteControlledShutdown { node_id, broker_epoch };
                    match link.submit(command, deadline).await {
                        Ok(Reply::Done) => return Ended::Stopped,
                        other => tracing::debug!("not fenced yet: {other:?}"),
                    }
                }
                let state = match answer {
                    _ if wishes.stop => BrokerState::Stopping(broker_epoch),
                    HeartbeatAnswer { fenced: true, .. } => BrokerState::Fenced(broker_epoch),
                    HeartbeatAnswer { fenced: false, .. } => BrokerState::Running(broker_epoch),
                };
                let changes = wishes.stop || (wishes.logs_loaded && answer.fenced);
                if changes {
                    pause = IMPATIENT.min(pause);
                }
                shared.state.send_if_modified(|now| std::mem::replace(now, state) != state);
            }
            Err(ErrorCode::StaleBrokerEpoch) => return Ended::Unknown,
            Err(error) => {
                tracing::debug!("no answer to a heartbeat: {}", error.name());
                // After a session without an answer it must not lead any more: staying serves
                // nobody.
                let worth = if is_alone(&image, node_id) { ALONE } else { options.session };
                if wishes.stop && shared.clock.monotonic().since(answered) >= worth {
                    tracing::warn!("no controller answers any more: stopping without it");
                    return Ended::Unheard;
                }
                pause = IMPATIENT.min(pause);
            }
        }
        tokio::select! {
            biased;
            () = shared.hurry.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Whether the image holds this very registration: only then is it known here who leads what.
fn knows_itself(image: &Image, node_id: NodeId, broker_epoch: BrokerEpoch) -> bool {
    image.broker(node_id).is_some_and(|broker| broker.broker_epoch == broker_epoch)
}

/// Whether no other broker could take anything over.
fn is_alone(image: &Image, node_id: NodeId) -> bool {
    !image.brokers.values().any(|broker| broker.node_id != node_id && broker.is_active())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::metadata::BrokerRegistration;
    use crate::storage::InlineOffload;
    use crate::types::IncarnationId;
    use crate::types::clock::SystemClock;

    /// A controller as a broker might meet it.
    #[derive(Default)]
    struct Double {
        state: Mutex<DoubleState>,
    }

    #[derive(Default)]
    struct DoubleState {
        epoch: i64,
        silent: bool,
        forgets: bool,
        fenced: bool,
        completed: bool,
        /// Whether the image knows of another broker.
        others: bool,
    }

    impl ControllerLink for Double {
        async fn submit(&self, command: Command, _: Monotonic) -> Result<Reply, ErrorCode> {
            let mut state = self.state.lock();
            match command {
                Command::RegisterBroker(_) => {
                    state.epoch += 1;
                    Ok(Reply::Registered { broker_epoch: BrokerEpoch(state.epoch) })
                }
                Command::CompleteControlledShutdown { .. } => {
                    state.completed = true;
                    Ok(Reply::Done)
                }
                other => panic!("{other:?}"),
            }
        }

        async fn heartbeat(
            &self,
            request: HeartbeatRequest,
            patience: Duration,
        ) -> Result<HeartbeatAnswer, ErrorCode> {
            if self.state.lock().silent {
                tokio::time::sleep(patience).await;
                return Err(ErrorCode::NotController);
            }
            let mut state = self.state.lock();
            if std::mem::take(&mut state.forgets) {
                return Err(ErrorCode::StaleBrokerEpoch);
            }
            Ok(HeartbeatAnswer {
                caught_up: true,
                fenced: state.fenced,
                should_shut_down: request.wants_shutdown,
            })
        }

        fn image(&self) -> Arc<Image> {
            let mut image = Image::default();
            if self.state.lock().others {
                let other = BrokerRegistration {
                    node_id: NodeId(2),
                    broker_epoch: BrokerEpoch(2),
                    incarnation: IncarnationId::ZERO,
                    endpoints: Vec::new(),
                    rack: None,
                    fenced: false,
                    in_controlled_shutdown: false,
                    directories: Vec::new(),
                    has_offline_directories: false,
                    features: Vec::new(),
                };
                image.brokers.insert(NodeId(2), Arc::new(other));
            }
            Arc::new(image)
        }
    }

    fn start(double: &Arc<Double>) -> BrokerLifecycle {
        let registration = RegisterBroker {
            node_id: NodeId(1),
            cluster_id: None,
            incarnation: IncarnationId::ZERO,
            endpoints: Vec::new(),
            rack: None,
            directories: Vec::new(),
            has_offline_directories: false,
            features: Vec::new(),
        };
        let options = LifecycleOptions {
            registration,
            heartbeat: Duration::from_millis(250),
            session: Duration::from_secs(2),
            directories: Vec::new(),
            offload: Arc::new(InlineOffload),
        };
        BrokerLifecycle::start(options, Arc::clone(double), Arc::new(SystemClock::new()))
    }

    async fn reaches(lifecycle: &BrokerLifecycle, expected: BrokerState) {
        let mut state = lifecycle.state();
        let reached = state.wait_for(|state| *state == expected);
        tokio::time::timeout(Duration::from_secs(60), reached)
            .await
            .unwrap_or_else(|_| panic!("waited for {expected:?}"))
            .unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_broker_that_nobody_answers_is_not_live_once_its_session_is_over() {
        let double = Arc::new(Double::default());
        let lifecycle = start(&double);
        assert!(!lifecycle.is_live());
        reaches(&lifecycle, BrokerState::Running(BrokerEpoch(1))).await;
        assert!(lifecycle.is_live());
        double.state.lock().silent = true;
        tokio::time::sleep(Duration::from_millis(1700)).await;
        assert!(lifecycle.is_live());
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert!(!lifecycle.is_live());
        double.state.lock().silent = false;
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert!(lifecycle.is_live());
    }

    #[tokio::test(start_paused = true)]
    async fn a_broker_that_was_given_up_is_not_live_before_it_is_in_service_again() {
        let double = Arc::new(Double::default());
        let lifecycle = start(&double);
        reaches(&lifecycle, BrokerState::Running(BrokerEpoch(1))).await;
        double.state.lock().fenced = true;
        reaches(&lifecycle, BrokerState::Fenced(BrokerEpoch(1))).await;
        assert!(!lifecycle.is_live(), "it does not know yet who leads in its place");
        double.state.lock().fenced = false;
        reaches(&lifecycle, BrokerState::Running(BrokerEpoch(1))).await;
        assert!(lifecycle.is_live());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_registration_is_made_again() {
        let double = Arc::new(Double::default());
        double.state.lock().fenced = true;
        let lifecycle = start(&double);
        reaches(&lifecycle, BrokerState::Fenced(BrokerEpoch(1))).await;
        double.state.lock().forgets = true;
        reaches(&lifecycle, BrokerState::Fenced(BrokerEpoch(2))).await;
        assert_eq!(lifecycle.broker_epoch(), Some(BrokerEpoch(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_broker_leaves_in_order() {
        let double = Arc::new(Double::default());
        let lifecycle = start(&double);
        reaches(&lifecycle, BrokerState::Running(BrokerEpoch(1))).await;
        assert!(lifecycle.shutdown(Duration::from_secs(30)).await);
        assert!(double.state.lock().completed);
        assert_eq!(*lifecycle.state().borrow(), BrokerState::Stopped);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_does_not_wait_for_controllers_that_are_gone() {
        for (others, seconds) in [(false, 2), (true, 4)] {
            let double = Arc::new(Double::default());
            double.state.lock().others = others;
            let lifecycle = start(&double);
            reaches(&lifecycle, BrokerState::Running(BrokerEpoch(1))).await;
            double.state.lock().silent = true;
            let asked = tokio::time::Instant::now();
            assert!(!lifecycle.shutdown(Duration::from_secs(30)).await);
            let took = asked.elapsed();
            assert!(took < Duration::from_secs(seconds), "others {others}: {took:?}");
            assert!(
                !others || took >= Duration::from_millis(1500),
                "an election may be on: {took:?}"
            );
        }
    }
}
