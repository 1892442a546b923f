use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const ROOM: Room = Room { concurrency: 2, queue: 2, queue_wait_ms: 1_000, hold_ms: 60_000 };

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000 + millis)
}

fn ticket(place: Place) -> Ticket {
    match place {
        Place::Granted(ticket) | Place::Queued(ticket) => ticket,
        Place::Full { .. } => panic!("full"),
    }
}

#[test]
fn who_came_first_goes_first_and_the_rest_is_told_when_to_come_again() {
    let mut slots = Slots::default();
    let admit = |slots: &mut Slots| slots.admit("a", ROOM, at(0));
    let [one, two] = [admit(&mut slots), admit(&mut slots)].map(ticket);
    let [three, four] = [admit(&mut slots), admit(&mut slots)].map(ticket);
    assert_eq!(slots.load("a"), (2, 2));
    assert_eq!(admit(&mut slots), Place::Full { retry_after_ms: 1_000 });
    assert!(matches!(slots.admit("b", ROOM, at(0)), Place::Granted(_)), "another instance has its own places");
    assert_eq!(slots.leave("a", two, at(1)), [three]);
    assert!(slots.holds("a", three) && !slots.holds("a", four));
    assert_eq!(slots.leave("a", two, at(1)), [], "said twice");
    assert_eq!(slots.leave("a", one, at(1)), [four]);
}

#[test]
fn who_gives_up_waiting_leaves_no_gap_and_who_was_just_granted_passes_it_on() {
    let mut slots = Slots::default();
    let [one, _, three, four] = [(); 4].map(|()| ticket(slots.admit("a", ROOM, at(0))));
    assert_eq!(slots.leave("a", three, at(1)), [], "it only waited");
    assert_eq!(slots.leave("a", one, at(1)), [four]);
    let five = ticket(slots.admit("a", ROOM, at(2)));
    assert_eq!(slots.leave("a", four, at(3)), [five], "granted, but gone before it knew");
}

#[test]
fn places_that_are_never_given_back_are_taken_back() {
    let mut slots = Slots::default();
    for _ in 0..4 {
        let _ = ticket(slots.admit("a", ROOM, at(0)));
    }
    assert!(matches!(slots.admit("a", ROOM, at(999)), Place::Full { .. }));
    assert!(matches!(slots.admit("a", ROOM, at(1_000)), Place::Queued(_)), "nobody waits for longer than allowed");
    assert!(matches!(slots.admit("a", ROOM, at(60_000)), Place::Granted(_)));
    for _ in 0..2 {
        let _ = slots.admit("b", ROOM, at(9_000_000));
    }
    assert!(matches!(slots.admit("b", ROOM, at(0)), Place::Granted(_)), "the clock stepped back");
}

#[test]
fn more_room_is_used_as_soon_as_somebody_leaves() {
    let mut slots = Slots::default();
    let tickets = [(); 4].map(|()| ticket(slots.admit("a", ROOM, at(0))));
    let more = Room { concurrency: 4, ..ROOM };
    assert!(matches!(slots.admit("a", Room { queue: 3, ..more }, at(1)), Place::Queued(_)), "nobody overtakes");
    assert_eq!(slots.leave("a", tickets[0], at(2)).len(), 3);
}

#[test]
fn what_is_kept_is_bounded() {
    let mut slots = Slots::default();
    for number in 0..LANES_MAX {
        assert!(matches!(slots.admit(&number.to_string(), ROOM, at(0)), Place::Granted(_)));
    }
    assert!(matches!(slots.admit("one more", ROOM, at(0)), Place::Full { .. }));
}

proptest! {
    #[test]
    fn never_more_at_once_and_never_somebody_forgotten(
        concurrency in 1_u32..4,
        queue in 0_u32..4,
        steps in prop::collection::vec((any::<bool>(), 0_usize..8), 1..200),
    ) {
        let room = Room { concurrency, queue, ..ROOM };
        let mut slots = Slots::default();
        let (mut held, mut line) = (BTreeSet::new(), Vec::new());
        for (comes, which) in steps {
            if comes {
                match slots.admit("a", room, at(0)) {
                    Place::Granted(ticket) => prop_assert!(held.insert(ticket) && line.is_empty()),
                    Place::Queued(ticket) => line.push(ticket),
                    Place::Full { .. } => prop_assert_eq!(line.len(), queue as usize),
                }
            } else {
                let leaving = held.iter().copied().chain(line.iter().copied()).nth(which);
                let Some(leaving) = leaving else { continue };
                held.remove(&leaving);
                line.retain(|ticket| *ticket != leaving);
                for next in slots.leave("a", leaving, at(0)) {
                    prop_assert_eq!(line.remove(0), next, "first come, first served");
                    held.insert(next);
                }
            }
            prop_assert!(held.len() <= concurrency as usize && line.len() <= queue as usize);
            prop_assert!(line.is_empty() || held.len() == concurrency as usize, "nobody waits beside a free place");
            prop_assert_eq!(slots.load("a"), (held.len(), line.len()));
        }
        for ticket in held.iter().chain(&line) {
            let _ = slots.leave("a", *ticket, at(0));
        }
        prop_assert!(slots.lanes.is_empty());
    }
}
