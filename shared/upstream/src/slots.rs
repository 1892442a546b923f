//! Is there room for one more request at this instance? So many at once, a few more in line, the rest not now.
//!
//! Only books are kept here: who waits is woken by whoever called. A place that is never given back, because its request
//! was dropped without a word, is taken back once it is older than any request may be.

use std::collections::{BTreeMap, VecDeque};

use mcp::Timestamp;

/// The places at each instance, as far as one isolate has given them away.
#[derive(Debug, Default)]
pub struct Slots {
    lanes: BTreeMap<String, Lane>,
    last: u64,
}

/// How much room there is at an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Requests at once; at least 1 counts.
    pub concurrency: u32,
    /// How many more may wait.
    pub queue: u32,
    /// For how long they wait, in milliseconds.
    pub queue_wait_ms: u64,
    /// How long a place may be held, in milliseconds: no request takes longer.
    pub hold_ms: u64,
}

/// Who holds a place, or waits for one. Give it to [`Slots::leave`] in every case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// What was found for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Place {
    /// It may go.
    Granted(Ticket),
    /// It waits, until [`Slots::leave`] of another one names it, or its time is over.
    Queued(Ticket),
    /// It cannot even wait.
    Full {
        /// When it is worth trying again.
        retry_after_ms: u64,
    },
}

/// One instance: who holds a place and who waits for one, each with the time when that ends at the latest.
#[derive(Debug, Default)]
struct Lane {
    held: BTreeMap<Ticket, Timestamp>,
    line: VecDeque<(Ticket, Timestamp)>,
    concurrency: usize,
    hold_ms: u64,
}

impl Slots {
    /// A place at `instance`.
    pub fn admit(&mut self, instance: &str, room: Room, now: Timestamp) -> Place {
        let full = Place::Full { retry_after_ms: room.queue_wait_ms.max(RETRY_MIN_MS) };
        if !self.lanes.contains_key(instance) {
            if self.lanes.len() >= LANES_MAX {
                return full;
            }
            self.lanes.insert(instance.to_owned(), Lane::default());
        }
        let Some(lane) = self.lanes.get_mut(instance) else { return full };
        lane.concurrency = places(room.concurrency).max(1);
        lane.hold_ms = room.hold_ms;
        lane.forget(room, now);
        self.last = self.last.wrapping_add(1);
        let ticket = Ticket(self.last);
        if lane.line.is_empty() && lane.held.len() < lane.concurrency {
            lane.held.insert(ticket, now.plus_millis(room.hold_ms));
            return Place::Granted(ticket);
        }
        if lane.line.len() < places(room.queue) {
            lane.line.push_back((ticket, now.plus_millis(room.queue_wait_ms)));
            return Place::Queued(ticket);
        }
        full
    }

    /// `ticket` is done, or waits no longer. Gives those whose turn it is now: they hold a place from here on and are to
    /// be woken. Said twice, the second time does nothing.
    #[must_use]
    pub fn leave(&mut self, instance: &str, ticket: Ticket, now: Timestamp) -> Vec<Ticket> {
        let Some(lane) = self.lanes.get_mut(instance) else { return Vec::new() };
        lane.line.retain(|(waiting, _)| *waiting != ticket);
        lane.held.remove(&ticket);
        let free = lane.concurrency.saturating_sub(lane.held.len()).min(lane.line.len());
        let next: Vec<Ticket> = lane.line.drain(..free).map(|(ticket, _)| ticket).collect();
        let until = now.plus_millis(lane.hold_ms);
        lane.held.extend(next.iter().map(|ticket| (*ticket, until)));
        if lane.held.is_empty() && lane.line.is_empty() {
            self.lanes.remove(instance);
        }
        next
    }

    /// Whether `ticket` holds a place: for one that waited and is not sure why it woke.
    #[must_use]
    pub fn holds(&self, instance: &str, ticket: Ticket) -> bool {
        self.lanes.get(instance).is_some_and(|lane| lane.held.contains_key(&ticket))
    }

    /// How many requests are in flight at `instance`, and how many wait.
    #[must_use]
    pub fn load(&self, instance: &str) -> (usize, usize) {
        self.lanes.get(instance).map_or((0, 0), |lane| (lane.held.len(), lane.line.len()))
    }
}

impl Lane {
    /// Takes back what was held or waited for too long; also what would be because the clock stepped back.
    fn forget(&mut self, room: Room, now: Timestamp) {
        let is_real = |until: Timestamp, longest_ms: u64| now < until && until <= now.plus_millis(longest_ms);
        self.held.retain(|_, until| is_real(*until, room.hold_ms));
        self.line.retain(|(_, until)| is_real(*until, room.queue_wait_ms));
    }
}

fn places(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Instances with requests in flight; more than a configuration names.
const LANES_MAX: usize = 1024;
/// Nobody is told to come again sooner.
const RETRY_MIN_MS: u64 = 1_000;

#[cfg(test)]
#[path = "slots/tests.rs"]
mod tests;
