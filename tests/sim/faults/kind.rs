//! What can fail.

use std::sync::Arc;
use std::time::Duration;

use ottla::types::Random;

use crate::workload::Surroundings;
use crate::world::machine::Machine;

/// A fault. Machines are named by their number, both ends of a link by their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// The process dies and is started again.
    Killed(i32),
    /// The process dies at its so manieth call to the disk from now.
    KilledWithin(i32, u64),
    /// The process stands still.
    Paused(i32),
    /// The power fails and comes back; what was not synced is kept, lost or torn.
    WithoutPower(i32),
    /// The machine comes back with empty disks.
    DisksReplaced(i32),
    /// A bit of what was synced flips, as far as the segment is not the last: a random number says
    /// which.
    Rotten(i32, u64),
    /// From, to: nothing gets through, and all of it does later.
    Cut(Vec<(String, String)>),
    /// Every connection between the two ends, with what is under way.
    Reset(String, String),
    /// What is sent is under way until the end of the fault.
    Delayed(String, String),
    /// Blocking work waits for so long at most.
    SlowDisk(i32, Duration),
    /// The sync that is the so manieth from now fails, and what it was for is lost.
    FailedSync(i32, u64),
    /// Nothing more fits on the disk.
    FullDisk(i32),
    /// The wall clock jumps, and back.
    WallClock(i32, i64),
    /// Both clocks are too fast or too slow, in parts per million.
    Drift(i32, i64),
}

impl Kind {
    /// One that the next random numbers choose.
    pub fn draw(random: &dyn Random, machines: &[Arc<Machine>], around: &Surroundings) -> Kind {
        let below = |bound: u64| usize::try_from(random.below(bound)).unwrap_or(0);
        let machine = &machines[below(machines.len() as u64)];
        let id = machine.id;
        match random.below(21) {
            0 | 1 => Kind::Killed(id),
            2 | 16 => Kind::KilledWithin(id, 1 + random.below(60)),
            17 | 18 => Kind::Paused(id),
            19 => Kind::Rotten(id, random.below(u64::MAX)),
            20 if random.below(4) == 0 => Kind::DisksReplaced(id),
            3 | 4 => Kind::WithoutPower(id),
            5..=7 => Kind::Cut(cut(random, machine, machines, around)),
            8 => {
                let others = others(machine, machines, around);
                Kind::Reset(machine.name.clone(), others[below(others.len() as u64)].clone())
            }
            9 | 10 => {
                let others = others(machine, machines, around);
                Kind::Delayed(machine.name.clone(), others[below(others.len() as u64)].clone())
            }
            11 => {
                let longest = [5, 50, 400][below(3)];
                Kind::SlowDisk(id, Duration::from_millis(longest))
            }
            12 => Kind::FailedSync(id, 1 + random.below(20)),
            13 => Kind::FullDisk(id),
            14 => Kind::WallClock(id, [-3_600_000, -1_500, 1_500, 3_600_000][below(4)]),
            _ => Kind::Drift(id, [-20_000, -500, 500, 20_000][below(4)]),
        }
    }

    /// It lasts shorter than so many milliseconds and a little.
    pub fn longest_ms(&self) -> u64 {
        match self {
            Kind::Killed(_) | Kind::KilledWithin(..) | Kind::FullDisk(_) => 3_000,
            Kind::WithoutPower(_) | Kind::DisksReplaced(_) | Kind::SlowDisk(..) => 4_000,
            Kind::Cut(_) | Kind::Paused(_) => 5_000,
            Kind::Delayed(..) => 600,
            Kind::Reset(..) | Kind::FailedSync(..) | Kind::Rotten(..) => 1,
            Kind::WallClock(..) | Kind::Drift(..) => 6_000,
        }
    }

    /// Who does not run while it lasts.
    pub fn takes_down(&self) -> Option<i32> {
        match self {
            Kind::Killed(id)
            | Kind::KilledWithin(id, _)
            | Kind::WithoutPower(id)
            | Kind::DisksReplaced(id) => Some(*id),
            _ => None,
        }
    }

    /// Who may lose what was not synced, or more.
    pub fn loses(&self) -> Option<i32> {
        match self {
            Kind::WithoutPower(id) | Kind::FailedSync(id, _) | Kind::DisksReplaced(id) => Some(*id),
            _ => None,
        }
    }
}

/// Everybody but that machine: the others, and the clients.
fn others(machine: &Machine, machines: &[Arc<Machine>], around: &Surroundings) -> Vec<String> {
    let names = machines.iter().map(|other| other.name.clone()).chain(around.clients.clone());
    names.filter(|name| *name != machine.name).collect()
}

/// A partition: clean or of two machines only, both ways or one.
fn cut(
    random: &dyn Random,
    machine: &Machine,
    machines: &[Arc<Machine>],
    around: &Surroundings,
) -> Vec<(String, String)> {
    let mut others = others(machine, machines, around);
    match random.below(3) {
        // From the machines, but not from the clients.
        0 => others.retain(|name| machines.iter().any(|machine| machine.name == *name)),
        1 => {
            let one = usize::try_from(random.below(others.len() as u64)).unwrap_or(0);
            others = vec![others.swap_remove(one)];
        }
        _ => {}
    }
    let ways = random.below(4);
    let mut links = Vec::new();
    for other in others {
        if ways != 1 {
            links.push((machine.name.clone(), other.clone()));
        }
        if ways != 2 {
            links.push((other, machine.name.clone()));
        }
    }
    links
}
