//! What fails, and when: drawn from the seed.
//!
//! - [`kind`]: what can fail, and for how long
//! - [`losses`]: whose data may be lost at the moment, so that no more is than was promised
//!
//! A fault begins, lasts and ends; several last at a time.

mod kind;
mod losses;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ottla::storage::Operation;
use ottla::types::Random;
use ottla::types::random::{SeededRandom, mix};
use turmoil::Sim;

use crate::run::Options;
use crate::workload::Surroundings;
use crate::world::machine::Machine;
use crate::world::network::Power;
use kind::Kind;
use losses::Losses;

/// Before this time the cluster forms undisturbed.
const FROM: Duration = Duration::from_millis(1_500);

/// When who joins late does.
const JOINS: Duration = Duration::from_millis(3_000);

/// The faults of one run.
pub struct Faults {
    enabled: bool,
    random: Arc<dyn Random>,
    next: Duration,
    /// What lasts, by when it ends; the number keeps the order of what ends together.
    lasting: BTreeMap<(Duration, u64), Kind>,
    begun: u64,
    losses: Losses,
    /// Whose disks rot: the copies elsewhere are sound.
    rotten: Option<i32>,
    /// Whose disks were replaced.
    replaced: Option<i32>,
}

impl Faults {
    /// What the seed has in store.
    pub fn new(options: &Options) -> Faults {
        let random: Arc<dyn Random> = Arc::new(SeededRandom::new(mix(options.seed ^ 0xfa17)));
        let late = options.joins_late().map(|late| ((JOINS, 0), Kind::Killed(late)));
        Faults {
            enabled: options.faults,
            random,
            next: FROM,
            lasting: late.into_iter().collect(),
            begun: 0,
            losses: Losses::new(options.flush),
            rotten: None,
            replaced: None,
        }
    }

    /// Begins and ends what is due.
    pub fn act(&mut self, sim: &mut Sim<'_>, machines: &[Arc<Machine>], around: &Surroundings) {
        let now = around.trace.now();
        self.losses.look(machines);
        while let Some(ending) = self.lasting.first_entry().filter(|it| it.key().0 <= now) {
            let kind = ending.remove();
            self.stop(&kind, sim, machines, around);
        }
        self.bury(sim, machines, around);
        if !self.enabled || now < self.next {
            return;
        }
        self.next = now + Duration::from_millis(100 + self.random.below(900));
        let kind = Kind::draw(&*self.random, machines, around);
        if !self.may_begin(&kind) {
            return;
        }
        let lasts = Duration::from_millis(50 + self.random.below(kind.longest_ms()));
        around.trace.note("fault", format_args!("{kind:?} for {lasts:?}"));
        self.start(&kind, sim, machines, around);
        self.begun += 1;
        self.lasting.insert((now + lasts, self.begun), kind);
    }

    /// Nothing fails any more.
    pub fn end(&mut self, sim: &mut Sim<'_>, machines: &[Arc<Machine>], around: &Surroundings) {
        for kind in std::mem::take(&mut self.lasting).into_values() {
            self.stop(&kind, sim, machines, around);
        }
        around.links.mend_all();
    }

    /// Takes down whose disk has just broken: he dies there.
    fn bury(&mut self, sim: &mut Sim<'_>, machines: &[Arc<Machine>], around: &Surroundings) {
        for machine in machines {
            if machine.is_dying() && sim.is_host_running(machine.name.as_str()) {
                around.trace.note(&machine.name, "dies");
                kill(machine, Power::ProcessDead, sim, around);
            }
        }
    }

    /// Whether the machine is meant to be down.
    pub fn is_down(&self, id: i32) -> bool {
        self.lasting.values().any(|kind| kind.takes_down() == Some(id))
    }

    fn may_begin(&self, kind: &Kind) -> bool {
        let is_down = kind.takes_down().is_some_and(|id| self.is_down(id));
        let is_paused =
            |other: &Kind| matches!((kind, other), (Kind::Paused(a), Kind::Paused(b)) if a == b);
        if is_down || self.lasting.values().any(is_paused) {
            return false;
        }
        // What one machine's disks lose for good must be elsewhere.
        match kind {
            Kind::Rotten(id, _) => {
                return self.replaced.is_none() && self.rotten.is_none_or(|rotten| rotten == *id);
            }
            Kind::DisksReplaced(_) if self.replaced.is_some() || self.rotten.is_some() => {
                return false;
            }
            _ => {}
        }
        kind.loses().is_none_or(|id| self.losses.may_lose(id))
    }

    fn start(
        &mut self,
        kind: &Kind,
        sim: &mut Sim<'_>,
        machines: &[Arc<Machine>],
        around: &Surroundings,
    ) {
        self.losses.add(kind.loses());
        let on = |id: &i32| machines.iter().find(|machine| machine.id == *id);
        match kind {
            Kind::Killed(id) => {
                let Some(machine) = on(id) else { return };
                kill(machine, Power::ProcessDead, sim, around);
            }
            Kind::KilledWithin(id, calls) => {
                on(id).into_iter().for_each(|machine| machine.dies_within(*calls));
            }
            Kind::Paused(id) => on(id).into_iter().for_each(|machine| machine.pause()),
            Kind::WithoutPower(id) => {
                let Some(machine) = on(id) else { return };
                kill(machine, Power::Off, sim, around);
            }
            Kind::DisksReplaced(id) => {
                let Some(machine) = on(id) else { return };
                self.replaced = Some(*id);
                kill(machine, Power::Off, sim, around);
                machine.replace_disks();
            }
            Kind::Rotten(id, chosen) => {
                let Some(machine) = on(id) else { return };
                if let Ok(Some((path, at))) = machine.rot(|bytes| chosen % bytes) {
                    self.rotten = Some(*id);
                    let what = format_args!("byte {at} of {} rots", path.display());
                    around.trace.note(&machine.name, what);
                }
            }
            Kind::Cut(links) => {
                links.iter().for_each(|(from, to)| around.links.cut(from, to));
            }
            Kind::Reset(a, b) => around.links.reset(a, b),
            Kind::Delayed(a, b) => sim.hold(a.as_str(), b.as_str()),
            Kind::SlowDisk(id, longest) => {
                on(id).into_iter().for_each(|machine| machine.slowness.set(*longest));
            }
            Kind::FailedSync(id, nth) => {
                on(id).into_iter().for_each(|machine| machine.disk().fail(Operation::Sync, *nth));
            }
            Kind::FullDisk(id) => {
                on(id).into_iter().for_each(|machine| machine.fill_up());
            }
            Kind::WallClock(id, ahead_ms) => {
                on(id).into_iter().for_each(|machine| machine.skew.set_wall(*ahead_ms));
            }
            Kind::Drift(id, ppm) => {
                on(id).into_iter().for_each(|machine| machine.skew.set_drift(*ppm));
            }
        }
    }

    fn stop(
        &mut self,
        kind: &Kind,
        sim: &mut Sim<'_>,
        machines: &[Arc<Machine>],
        around: &Surroundings,
    ) {
        let on = |id: &i32| machines.iter().find(|machine| machine.id == *id);
        match kind {
            Kind::Killed(id)
            | Kind::KilledWithin(id, _)
            | Kind::WithoutPower(id)
            | Kind::DisksReplaced(id) => {
                let Some(machine) = on(id) else { return };
                if sim.is_host_running(machine.name.as_str()) {
                    // The call that it was to die at has not come, or it has stopped by itself.
                    machine.lives_on();
                    return;
                }
                around.trace.note(&machine.name, "starts again");
                around.links.set_power(&machine.name, Power::Running);
                sim.bounce(machine.name.as_str());
            }
            Kind::Paused(id) => on(id).into_iter().for_each(|machine| machine.resume()),
            Kind::Cut(links) => {
                around.trace.note("fault", format_args!("over: {kind:?}"));
                links.iter().for_each(|(from, to)| around.links.mend(from, to));
            }
            Kind::Delayed(a, b) => sim.release(a.as_str(), b.as_str()),
            Kind::SlowDisk(id, _) => {
                on(id).into_iter().for_each(|machine| machine.slowness.set(Duration::ZERO));
            }
            Kind::FullDisk(id) => {
                on(id).into_iter().for_each(|machine| machine.disk().set_capacity(None));
            }
            Kind::WallClock(id, _) => {
                on(id).into_iter().for_each(|machine| machine.skew.set_wall(0));
            }
            Kind::Drift(id, _) => {
                on(id).into_iter().for_each(|machine| machine.skew.set_drift(0));
            }
            Kind::Reset(..) | Kind::FailedSync(..) | Kind::Rotten(..) => {}
        }
    }
}

/// The machine's process is gone, and with the power what was not synced.
fn kill(machine: &Machine, power: Power, sim: &mut Sim<'_>, around: &Surroundings) {
    around.links.set_power(&machine.name, power);
    match power {
        Power::Off => machine.power_failed(),
        Power::ProcessDead | Power::Running => machine.process_died(),
    }
    around.trace.quietly(|| sim.crash(machine.name.as_str()));
}
