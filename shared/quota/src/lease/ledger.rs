//! May this be spent? The machine that counts against one limit, for one of those it counts.
//!
//! One command does everything an isolate has to say: it settles what was used, gives back what was not, counts what
//! could not wait, and draws. A command is told at most once. If its reply is lost, whatever it settled is settled, or
//! counts as spent when its lease expires; whatever it drew counts as spent: more may be counted than was admitted,
//! never less.

use machine::{Alarm, Machine, Next, Transition};
use mcp::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    amount::{Amount, Caps, Dimension},
    counts::{Counts, Lease},
};

/// The machine that counts against one limit.
#[derive(Debug)]
pub enum Ledger {}

/// What a ledger is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Settle, and draw.
    Exchange(Box<Exchange>),
    /// Forget what is over.
    Sweep,
}

/// All that an isolate has to say to a ledger, at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// The limit in force.
    pub caps: Caps,
    /// What became of leases.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settled: Vec<Settled>,
    /// What was counted for requests that were never sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undone: Vec<Undo>,
    /// What was spent beyond any lease: an answer's size is known only when it is there.
    #[serde(default, skip_serializing_if = "Amount::is_zero")]
    pub beyond: Amount,
    /// What is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draw: Option<Draw>,
}

/// What became of a lease since it was last told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// Which one.
    pub lease: u64,
    /// What of it was used. It counts from now on: later than it was, by whatever clock.
    pub used: Amount,
    /// What of it will not be used any more.
    pub returned: Amount,
}

/// What a draw counted, and another limit refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undo {
    /// When it was counted, as the ledger said.
    pub at: u64,
    /// What was counted.
    pub amount: Amount,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draw {
    /// Counted as spent now, if requests fit under the limit and of tokens and money anything is left. `None`: only a
    /// lease is asked for.
    pub need: Option<Amount>,
    /// Leased, as far as it can be spared.
    pub wish: Amount,
}

/// What a ledger answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// All is counted.
    Counted {
        /// When, on the ledger's own clock: what an [`Undo`] names.
        at: u64,
        /// What may be spent without asking.
        lease: Option<Lease>,
    },
    /// The need is not admitted; what was settled is.
    Refused {
        /// Which of the limit's dimensions is used up for the longest.
        dimension: Dimension,
        /// How long until the need is admitted, if nobody else takes its place.
        retry_after_ms: u64,
    },
}

impl Machine for Ledger {
    const KIND: &'static str = "ledger";
    type State = Counts;
    type Command = Command;
    type Reply = Reply;

    fn apply(mut state: Counts, command: Command, now: Timestamp) -> Transition<Counts, Reply> {
        match command {
            Command::Exchange(exchange) => state.exchange(&exchange, now),
            Command::Sweep => {
                state.advance(now, &UNLIMITED);
                state.wake_at = 0;
                let reply = Reply::Counted { at: state.clock.now(), lease: None };
                keep(state, reply)
            }
        }
    }

    fn wake() -> Option<Command> {
        Some(Command::Sweep)
    }
}

/// One alarm is enough: when it comes and something is still kept, the next is set.
fn keep(mut state: Counts, reply: Reply) -> Transition<Counts, Reply> {
    let Some(over_at) = state.over_at() else {
        return Transition { state: Next::Clear, alarm: Alarm::Off, ..Transition::reply(reply) };
    };
    if state.wake_at > 0 {
        return Transition::put(state, reply);
    }
    state.wake_at = over_at;
    let alarm = Alarm::At(state.clock.host(over_at));
    Transition { alarm, ..Transition::put(state, reply) }
}

impl Counts {
    fn exchange(mut self, exchange: &Exchange, now: Timestamp) -> Transition<Self, Reply> {
        let Exchange { caps, settled, undone, beyond, draw } = exchange;
        let behind = self.clock.behind();
        self.advance(now, caps);
        // A wait that is told holds on the clock it was told by: a step back has to be remembered.
        let is_same = settled.is_empty() && undone.is_empty() && beyond.is_zero() && self.clock.behind() == behind;
        let at = self.clock.now();
        settled.iter().for_each(|settled| self.settle(settled, caps));
        undone.iter().for_each(|undo| self.undo(undo.amount, undo.at));
        self.spend(*beyond, at, caps);
        match draw.map_or(Ok(None), |draw| self.draw(draw, caps)) {
            Ok(lease) => keep(self, Reply::Counted { at, lease }),
            Err(refused) if is_same => Transition::reply(refused),
            Err(refused) => keep(self, refused),
        }
    }

    fn settle(&mut self, settled: &Settled, caps: &Caps) {
        let used = self.free(settled.lease, settled.used);
        self.free(settled.lease, settled.returned);
        self.spend(used, self.clock.now(), caps);
    }

    fn draw(&mut self, draw: Draw, caps: &Caps) -> Result<Option<Lease>, Reply> {
        if let Some(need) = draw.need {
            let wait = |(dimension, cap)| self.excess(dimension, cap, &need).map(|excess| (dimension, excess));
            let waits = caps.limited().filter_map(wait);
            let waits = waits.map(|(dimension, excess)| (self.wait_ms(dimension, excess), dimension));
            if let Some((retry_after_ms, dimension)) = waits.max() {
                return Err(Reply::Refused { dimension, retry_after_ms });
            }
            self.spend(need, self.clock.now(), caps);
        }
        Ok(self.lease(draw.wish, caps))
    }

    /// By how much `need` is too much. Requests have to fit; of tokens and money something has to be left, because what
    /// a call costs is known only when it is over.
    fn excess(&self, dimension: Dimension, cap: u64, need: &Amount) -> Option<u64> {
        let needed = match dimension {
            Dimension::RequestsPerMinute => need.requests,
            _ => 1,
        };
        let excess = self.held(dimension).saturating_add(needed).saturating_sub(cap);
        (excess > 0).then_some(excess)
    }
}

/// What a sweep counts expired leases against: whatever was leased is limited.
const UNLIMITED: Caps = Caps {
    requests_per_minute: Some(u32::MAX),
    tokens_per_minute: Some(u64::MAX),
    tokens_per_day: Some(u64::MAX),
    tokens_per_month: Some(u64::MAX),
    money_per_day_micros: Some(u64::MAX),
    money_per_month_micros: Some(u64::MAX),
};
