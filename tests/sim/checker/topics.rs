//! Whether some order of creations and deletions explains all that was answered of a topic.
//!
//! Each name is a register that is there or not. An operation takes effect at one moment between
//! its invocation and its answer; one without an answer takes effect at any later moment, or never.
//! The search goes through invocations and answers in time, and keeps every state of affairs that
//! is possible so far.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::history::{Action, History, Outcome, TopicAnswer};
use super::report::{Anomaly, Report};

/// What an operation says of the register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Create,
    Delete,
    /// It was there, or not.
    Saw(bool),
}

/// One operation on one name.
#[derive(Debug, Clone, Copy)]
struct Step {
    place: usize,
    invoked: Duration,
    /// None: nobody knows whether and when.
    completed: Option<Duration>,
    effect: Effect,
}

pub fn check(history: &History, report: &mut Report) {
    for (name, steps) in steps(history) {
        if let Err(place) = linearize(&steps) {
            report.add(Anomaly::TopicNotLinearizable, None, &[place], || {
                format!("what was answered of topic {name} has no order that explains it")
            });
        }
    }
    lagging_lists(history, report);
}

fn steps(history: &History) -> BTreeMap<&str, Vec<Step>> {
    let mut all: BTreeMap<&str, Vec<Step>> = BTreeMap::new();
    for (place, operation) in history.operations.iter().enumerate() {
        let (name, outcome, change) = match &operation.action {
            Action::CreateTopic { name, outcome } => (name, outcome, Effect::Create),
            Action::DeleteTopic { name, outcome } => (name, outcome, Effect::Delete),
            Action::ListTopics { current: true, outcome: Outcome::Acknowledged(names) } => {
                for name in names {
                    all.entry(name).or_default();
                }
                continue;
            }
            _ => continue,
        };
        let (completed, effect) = match outcome {
            Outcome::Acknowledged(TopicAnswer::Done) => (Some(operation.completed), change),
            Outcome::Acknowledged(TopicAnswer::NothingToDo) => {
                (Some(operation.completed), Effect::Saw(change == Effect::Create))
            }
            Outcome::Unknown => (None, change),
            Outcome::Failed => continue,
        };
        let step = Step { place, invoked: operation.invoked, completed, effect };
        all.entry(name).or_default().push(step);
    }
    for (place, operation) in history.operations.iter().enumerate() {
        if let Action::ListTopics { current: true, outcome: Outcome::Acknowledged(names) } =
            &operation.action
        {
            let (invoked, completed) = (operation.invoked, Some(operation.completed));
            for (name, steps) in &mut all {
                let effect = Effect::Saw(names.contains(*name));
                steps.push(Step { place, invoked, completed, effect });
            }
        }
    }
    all
}

/// One way in which things may stand.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    there: bool,
    /// Steps under way that have taken effect already.
    done: Vec<usize>,
    /// How many of the unanswered creations and deletions took effect.
    creations: usize,
    deletions: usize,
}

impl State {
    /// As good as `other`, and with no fewer ways to go on.
    fn covers(&self, other: &State) -> bool {
        self.there == other.there
            && self.done == other.done
            && self.creations <= other.creations
            && self.deletions <= other.deletions
    }
}

/// What is under way at one moment.
#[derive(Default)]
struct UnderWay {
    answered: Vec<usize>,
    unanswered_creations: usize,
    unanswered_deletions: usize,
}

/// Or the place of the first operation whose answer nothing explains.
fn linearize(steps: &[Step]) -> Result<(), usize> {
    // At one moment invocations come first: whoever is asked and who answers then overlap.
    let mut events: Vec<(Duration, bool, usize)> = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        events.push((step.invoked, false, index));
        events.extend(step.completed.map(|completed| (completed, true, index)));
    }
    events.sort_unstable();
    let mut under_way = UnderWay::default();
    let start = State { there: false, done: Vec::new(), creations: 0, deletions: 0 };
    let mut states = vec![start];
    for (_, is_answer, index) in events {
        let step = steps[index];
        match (is_answer, step.completed, step.effect) {
            (true, _, _) => {
                states = after(states, index, steps, &under_way);
                if states.is_empty() {
                    return Err(step.place);
                }
                under_way.answered.retain(|one| *one != index);
            }
            (false, Some(_), _) => under_way.answered.push(index),
            (false, None, Effect::Create) => under_way.unanswered_creations += 1,
            (false, None, Effect::Delete) => under_way.unanswered_deletions += 1,
            (false, None, Effect::Saw(_)) => {}
        }
    }
    Ok(())
}

/// Every way in which things may stand once `index` has taken effect.
fn after(mut states: Vec<State>, index: usize, steps: &[Step], under_way: &UnderWay) -> Vec<State> {
    let mut found: Vec<State> = Vec::new();
    let mut met: BTreeSet<State> = BTreeSet::new();
    while let Some(state) = states.pop() {
        if let Some(place) = state.done.iter().position(|one| *one == index) {
            let mut state = state;
            state.done.remove(place);
            if !found.iter().any(|other| other.covers(&state)) {
                found.retain(|other| !state.covers(other));
                found.push(state);
            }
        } else if met.insert(state.clone()) {
            states.extend(next(&state, steps, under_way));
        }
    }
    found
}

/// The states that one more operation leads to.
fn next(state: &State, steps: &[Step], under_way: &UnderWay) -> Vec<State> {
    let mut next = Vec::new();
    for &index in under_way.answered.iter().filter(|index| !state.done.contains(index)) {
        let there = match (steps[index].effect, state.there) {
            (Effect::Create, false) => true,
            (Effect::Delete, true) => false,
            (Effect::Saw(saw), there) if saw == there => there,
            _ => continue,
        };
        let mut state = State { there, ..state.clone() };
        state.done.push(index);
        state.done.sort_unstable();
        next.push(state);
    }
    if !state.there && state.creations < under_way.unanswered_creations {
        next.push(State { there: true, creations: state.creations + 1, ..state.clone() });
    }
    if state.there && state.deletions < under_way.unanswered_deletions {
        next.push(State { there: false, deletions: state.deletions + 1, ..state.clone() });
    }
    next
}

/// A broker's own answer may be old, but tells of nothing that nobody had asked for.
fn lagging_lists(history: &History, report: &mut Report) {
    let mut created: BTreeMap<&str, Duration> = BTreeMap::new();
    for operation in &history.operations {
        let Action::CreateTopic { name, outcome } = &operation.action else { continue };
        if *outcome != Outcome::Failed {
            created.entry(name).or_insert(operation.invoked);
        }
    }
    for (place, operation) in history.operations.iter().enumerate() {
        let Action::ListTopics { current: false, outcome } = &operation.action else { continue };
        for name in outcome.acknowledged().into_iter().flatten() {
            if created.get(name.as_str()).is_none_or(|asked| *asked > operation.completed) {
                report.add(Anomaly::TopicNotLinearizable, None, &[place], || {
                    format!("topic {name} was listed before anybody created it")
                });
            }
        }
    }
}
