//! Which instance should a new session go to? Sound ones by turns, an outlier less often, one that is shut last.

use std::num::NonZeroUsize;

use lru::LruCache;
use mcp::Timestamp;

use crate::{
    circuit::{Circuit, Standing},
    resilience::Tolerance,
};

/// The circuits of an isolate by instance, the most recently used ones.
#[derive(Debug)]
pub struct Circuits {
    circuits: LruCache<String, Circuit>,
    turn: usize,
}

impl Default for Circuits {
    fn default() -> Self {
        Self { circuits: LruCache::new(CIRCUITS_MAX), turn: 0 }
    }
}

impl Circuits {
    /// The circuit of `instance`, with `tolerance` in force.
    pub fn of(&mut self, instance: &str, tolerance: Tolerance) -> &mut Circuit {
        let circuit = self.circuits.get_or_insert_mut_ref(instance, || Circuit::new(tolerance));
        circuit.tolerate(tolerance);
        circuit
    }

    /// The instances in the order to try them with a new session. One whose time to be probed has come is first: a new
    /// session can go elsewhere if the probe fails, and nobody else would find out that it is back.
    #[must_use]
    pub fn order<'a>(&mut self, instances: &'a [String], now: Timestamp) -> Vec<&'a str> {
        self.turn = self.turn.wrapping_add(1);
        let count = instances.len().max(1);
        let (lap, start) = (self.turn / count, self.turn % count);
        let turned = instances.iter().cycle().skip(start).take(instances.len()).enumerate();
        let mut ranked: Vec<(Rank, &str)> = turned
            .map(|(place, instance)| {
                let standing =
                    self.circuits.peek_mut(instance).map_or(Standing::Sound, |circuit| circuit.standing(now));
                (Rank::of(standing, place == 0 && is_its_turn(standing, lap)), instance.as_str())
            })
            .collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.into_iter().map(|(_, instance)| instance).collect()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Probe,
    Sound,
    Suspect,
    Shut,
}

impl Rank {
    const fn of(standing: Standing, leads: bool) -> Self {
        match standing {
            Standing::Due => Self::Probe,
            Standing::Sound => Self::Sound,
            Standing::Suspect { .. } if leads => Self::Sound,
            Standing::Suspect { .. } => Self::Suspect,
            Standing::Shut => Self::Shut,
        }
    }
}

/// Whether an outlier leads in this lap: of ten laps in so many as it answered tenths of its requests.
fn is_its_turn(standing: Standing, lap: usize) -> bool {
    match standing {
        // 7 has no divisor in common with 10: its turns are spread, and each of ten laps has its own number.
        Standing::Suspect { failure_permille } => (lap % 10 * 7 % 10) as u32 * 100 >= failure_permille.min(1000),
        _ => true,
    }
}

/// More than a configuration names; one that is forgotten is closed until it fails again.
const CIRCUITS_MAX: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Admit, Outcome};

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn tolerance() -> Tolerance {
        Tolerance::within(Duration::from_secs(1))
    }

    fn record(circuits: &mut Circuits, instance: &str, outcome: Outcome) {
        let circuit = circuits.of(instance, tolerance());
        let Admit::Go(pass) = circuit.admit(NOW, 0) else { panic!("not admitted") };
        let _ = circuit.record(pass, outcome, NOW, 0);
    }

    fn firsts(circuits: &mut Circuits, instances: &[String], laps: usize) -> Vec<usize> {
        let mut counts = vec![0; instances.len()];
        for _ in 0..laps * instances.len() {
            let order = circuits.order(instances, NOW);
            assert_eq!(order.len(), instances.len(), "each is there once");
            counts[instances.iter().position(|one| *one == order[0]).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn sound_ones_take_turns() {
        let instances = ["a", "b", "c"].map(str::to_owned);
        let mut circuits = Circuits::default();
        assert_eq!(firsts(&mut circuits, &instances, 10), [10, 10, 10]);
        assert!(circuits.order(&[], NOW).is_empty());
    }

    #[test]
    fn the_share_of_an_outlier_goes_to_its_siblings() {
        let instances = ["a", "b", "c"].map(str::to_owned);
        let mut circuits = Circuits::default();
        for outcome in [Outcome::Failed, Outcome::Answered, Outcome::Answered, Outcome::Failed, Outcome::Answered] {
            record(&mut circuits, "b", outcome);
        }
        let counts = firsts(&mut circuits, &instances, 10);
        assert_eq!(counts[1], 6, "it failed four of ten");
        assert!(counts[0] >= 10 && counts[2] >= 10, "{counts:?}");
        assert!(circuits.order(&instances, NOW.plus_millis(10_000)).len() == 3);
        assert!((0..3).any(|_| circuits.order(&instances, NOW.plus_millis(20_000))[0] == "b"), "it is forgiven");
    }

    #[test]
    fn one_that_is_shut_is_last_and_first_when_it_is_time_to_probe_it() {
        let instances = ["a", "b", "c"].map(str::to_owned);
        let mut circuits = Circuits::default();
        for _ in 0..5 {
            record(&mut circuits, "b", Outcome::Failed);
        }
        assert!((0..6).all(|_| circuits.order(&instances, NOW)[2] == "b"));
        let later = NOW.plus_millis(5_000);
        assert!((0..6).all(|_| circuits.order(&instances, later)[0] == "b"));
        assert!(matches!(circuits.of("b", tolerance()).admit(later, 1), Admit::Ask(_)));
        assert!((0..6).all(|_| circuits.order(&instances, later)[2] == "b"), "one request asks");
        let stepped_back = Timestamp::from_secs(10);
        assert_eq!(circuits.order(&instances, stepped_back)[2], "b");
        assert_eq!(circuits.order(&instances, stepped_back.plus_millis(60_000))[0], "b");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut circuits = Circuits::default();
        for number in 0..5_000 {
            let _ = circuits.of(&number.to_string(), tolerance());
        }
        assert_eq!(circuits.circuits.len(), CIRCUITS_MAX.get());
    }
}
