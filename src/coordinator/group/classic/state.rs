//! The states of a classic group and which may follow which.

use std::fmt;

/// The states of a classic group, under Kafka's names.
///
/// | from \ to | Empty | PreparingRebalance | CompletingRebalance | Stable | Dead |
/// | --- | --- | --- | --- | --- | --- |
/// | Empty | | the first member joins | | | deleted, or nothing is left of it |
/// | PreparingRebalance | the last member went | | all joined, or their time is up | | deleted |
/// | CompletingRebalance | | a member came, went, changed, or did not sync | | the leader's assignment is there | deleted |
/// | Stable | | a member came, went or changed, or the leader joined again | | | deleted |
/// | Dead | | | | | |
///
/// A static member that takes over from its former self leaves a Stable group Stable. A group that
/// is not in the machine is Dead: no group that is in it ever has that state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::coordinator::group) enum State {
    /// No members; perhaps offsets.
    Empty,
    /// Members join; all of them have to, or go.
    PreparingRebalance,
    /// The members of the generation are settled; the leader assigns.
    CompletingRebalance,
    /// Everyone has, or can fetch, an assignment.
    Stable,
    /// The group is not there any more.
    Dead,
}

impl State {
    /// All of them.
    #[cfg(test)]
    pub const ALL: [State; 5] = [
        State::Empty,
        State::PreparingRebalance,
        State::CompletingRebalance,
        State::Stable,
        State::Dead,
    ];

    /// Whether a group may go from this state to `next`.
    pub fn may_become(self, next: State) -> bool {
        match (self, next) {
            (State::Empty, State::PreparingRebalance)
            | (State::PreparingRebalance, State::CompletingRebalance | State::Empty)
            | (State::CompletingRebalance, State::Stable | State::PreparingRebalance)
            | (State::Stable, State::PreparingRebalance) => true,
            (_, State::Dead) => self != State::Dead,
            (
                State::Empty
                | State::PreparingRebalance
                | State::CompletingRebalance
                | State::Stable
                | State::Dead,
                _,
            ) => false,
        }
    }

    /// Its name as Kafka's tools print it.
    pub fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::PreparingRebalance => "PreparingRebalance",
            State::CompletingRebalance => "CompletingRebalance",
            State::Stable => "Stable",
            State::Dead => "Dead",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Row by row as in the documentation of [`State`]; columns in the order of `State::ALL`.
    const TABLE: [(State, [bool; 5]); 5] = [
        (State::Empty, [false, true, false, false, true]),
        (State::PreparingRebalance, [true, false, true, false, true]),
        (State::CompletingRebalance, [false, true, false, true, true]),
        (State::Stable, [false, true, false, false, true]),
        (State::Dead, [false, false, false, false, false]),
    ];

    #[test]
    fn every_pair_of_states_is_as_the_table_says() {
        for (from, row) in TABLE {
            for (to, may) in State::ALL.into_iter().zip(row) {
                assert_eq!(from.may_become(to), may, "{from} to {to}");
            }
        }
    }

    #[test]
    fn states_have_kafkas_names() {
        let names = State::ALL.map(State::name);
        let kafkas = ["Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead"];
        assert_eq!(names, kafkas);
    }
}
