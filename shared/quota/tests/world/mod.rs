//! Isolates, ledgers and the network between them, with a clock moved by hand.
//!
//! Messages take their time, get lost and overtake each other; isolates crash, and no two of their clocks agree. What was
//! truly admitted and truly used is kept beside, and judged when all is over.

mod verdict;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap},
};

use machine::{Alarm, Machine as _, Next};
use mcp::Timestamp;
use quota::lease::{Amount, Ask, Command, Counts, Errand, Ledger, Reply, Spend, Toll, Verdict, Wallet};

/// All there is.
pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) rules: Rules,
    pub(crate) random: Random,
    pub(crate) ledgers: HashMap<String, Account>,
    isolates: Vec<Isolate>,
    calls: Vec<Call>,
    waiting: HashMap<u64, Waiting>,
    events: BinaryHeap<Reverse<(u64, u64)>>,
    pending: HashMap<u64, Event>,
    serial: u64,
}

/// How bad the world is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// The longest a message takes.
    pub(crate) transit_max_ms: u64,
    /// One message in this many is lost; 0: none.
    pub(crate) lost: u64,
    /// How long an isolate waits for a reply.
    pub(crate) patience_ms: u64,
    /// How far apart the clocks of isolates are.
    pub(crate) skew_ms: u64,
    /// When the clock of all ledgers steps back, and by how much.
    pub(crate) host_steps: [(u64, u64); 2],
}

/// A ledger as its host keeps it, and what is truly so.
#[derive(Default)]
pub(crate) struct Account {
    state: Option<Counts>,
    pub(crate) alarm: Option<u64>,
    pub(crate) caps: quota::lease::Caps,
    /// How many commands it was told.
    pub(crate) told: u64,
    /// Calls that passed here, and when that was decided.
    pub(crate) admitted: Vec<(u64, usize)>,
    /// When it last granted anything, each time.
    granted: Vec<u64>,
    pub(crate) refused: u64,
    /// Refusals of calls that an all-knowing ledger had admitted.
    pub(crate) refused_wrongly: u64,
    /// What was admitted lately.
    recent: std::collections::VecDeque<u64>,
    /// Tokens and money truly used, by the time the answer ended.
    tokens: std::collections::VecDeque<(u64, u64)>,
    tokens_recent: u64,
}

struct Isolate {
    wallet: Wallet,
    /// Distinguishes it from those that crashed in its place.
    life: u64,
    skew: u64,
    flush_at: Option<u64>,
    /// Calls whose cost its wallet knows and the ledger may not, by ledger.
    unsettled: BTreeMap<String, Vec<usize>>,
}

/// A call that was admitted.
pub(crate) struct Call {
    /// The isolate, and which of its lives.
    pub(crate) isolate: (usize, u64),
    pub(crate) ended: u64,
    /// Tokens of the request, used when it was admitted.
    pub(crate) need: u64,
    /// Tokens of the answer, used when it ended.
    pub(crate) answer: u64,
    /// When each of its ledgers had counted the answer.
    pub(crate) settled: BTreeMap<String, u64>,
}

struct Waiting {
    place: usize,
    life: u64,
    ask: Ask,
    replies: Vec<Option<Option<Reply>>>,
    decided: Vec<u64>,
    wish: Wish,
}

/// A call somebody wants to make.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) tolls: std::rc::Rc<Vec<Toll>>,
    pub(crate) need: Amount,
    pub(crate) answer: Amount,
    pub(crate) takes_ms: u64,
}

enum Event {
    Call(usize, Wish),
    Crash(usize),
    /// An isolate's clock steps forward.
    Step(usize, u64),
    Flush(usize, u64),
    Ends(usize, u64, usize, Wish),
    /// A command reaches its ledger.
    Arrives(Box<Message>),
    /// Its reply, or the end of patience, reaches the isolate.
    Returns(Box<Message>, Option<Reply>, u64),
}

struct Message {
    place: usize,
    life: u64,
    errand: Errand,
    /// The ask it belongs to, and its place there.
    ask: Option<(u64, usize)>,
    settles: Vec<usize>,
}

/// What came of a call at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    Admitted,
    Refused(u64),
    Asking,
}

impl World {
    pub(crate) fn new(isolates: usize, seed: u64, rules: Rules) -> Self {
        let mut random = Random(seed);
        let isolate = |random: &mut Random| Isolate {
            wallet: Wallet::default(),
            life: 0,
            skew: random.below(rules.skew_ms + 1),
            flush_at: None,
            unsettled: BTreeMap::new(),
        };
        let isolates = (0..isolates).map(|_| isolate(&mut random)).collect();
        Self {
            now: START,
            rules,
            random,
            ledgers: HashMap::new(),
            isolates,
            calls: Vec::new(),
            waiting: HashMap::new(),
            events: BinaryHeap::new(),
            pending: HashMap::new(),
            serial: 0,
        }
    }

    pub(crate) fn call_at(&mut self, at: u64, place: usize, wish: Wish) {
        self.at(at, Event::Call(place, wish));
    }

    pub(crate) fn crash_at(&mut self, at: u64, place: usize) {
        self.at(at, Event::Crash(place));
    }

    pub(crate) fn step_at(&mut self, at: u64, place: usize, by: u64) {
        self.at(at, Event::Step(place, by));
    }

    /// Lets everything happen until `end`.
    pub(crate) fn run(&mut self, end: u64) {
        while let Some(Reverse((at, serial))) = self.events.peek().copied().filter(|Reverse((at, _))| *at <= end) {
            self.events.pop();
            self.now = at;
            let event = self.pending.remove(&serial).unwrap();
            self.happen(event);
        }
        self.now = end;
    }

    fn at(&mut self, at: u64, event: Event) {
        self.serial += 1;
        self.pending.insert(self.serial, event);
        self.events.push(Reverse((at, self.serial)));
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Call(place, wish) => drop(self.call(place, wish)),
            Event::Crash(place) => self.crash(place),
            Event::Step(place, by) => {
                self.isolates[place].skew += by;
                self.isolates[place].flush_at = None;
                self.schedule(place);
            }
            Event::Flush(place, life) => {
                if self.isolates[place].life == life {
                    self.isolates[place].flush_at = None;
                    self.flush(place);
                }
            }
            Event::Ends(place, life, call, wish) => self.ends(place, life, call, &wish),
            Event::Arrives(message) => self.arrives(message),
            Event::Returns(message, reply, decided) => self.returns(*message, reply, decided),
        }
    }

    /// The clock of an isolate.
    fn clock(&self, place: usize) -> Timestamp {
        Timestamp::from_millis(self.now + self.isolates[place].skew)
    }

    pub(crate) fn call(&mut self, place: usize, wish: Wish) -> Came {
        let clock = self.clock(place);
        let came = match self.isolates[place].wallet.spend(&wish.tolls, wish.need, clock) {
            Spend::Granted(_) => {
                let decided = vec![self.now; wish.tolls.len()];
                self.admit(place, &wish, &decided);
                Came::Admitted
            }
            Spend::Refused(refused) => {
                self.refuse(&wish, refused.toll);
                Came::Refused(refused.retry_after_ms)
            }
            Spend::Ask(ask) => {
                self.ask(place, ask, wish);
                Came::Asking
            }
        };
        self.schedule(place);
        came
    }

    fn ask(&mut self, place: usize, ask: Ask, wish: Wish) {
        let life = self.isolates[place].life;
        self.serial += 1;
        let id = self.serial;
        let errands: Vec<Errand> = ask.errands().cloned().collect();
        let replies = vec![None; errands.len()];
        let decided = vec![self.now; wish.tolls.len()];
        self.waiting.insert(id, Waiting { place, life, ask, replies, decided, wish });
        for (n, errand) in errands.into_iter().enumerate() {
            self.send(place, errand, Some((id, n)));
        }
    }

    fn send(&mut self, place: usize, errand: Errand, ask: Option<(u64, usize)>) {
        let isolate = &mut self.isolates[place];
        let settles = isolate.unsettled.remove(&errand.ledger).unwrap_or_default();
        let message = Box::new(Message { place, life: isolate.life, errand, ask, settles });
        let transit = self.transit();
        if self.is_lost() {
            self.at(self.now + self.rules.patience_ms, Event::Returns(message, None, self.now));
        } else {
            self.at(self.now + transit, Event::Arrives(message));
        }
    }

    fn arrives(&mut self, message: Box<Message>) {
        let reply = self.tell(&message.errand.ledger, message.errand.command.clone());
        for call in &message.settles {
            self.calls[*call].settled.insert(message.errand.ledger.clone(), self.now);
        }
        let transit = self.transit();
        let (after, reply) = match self.is_lost() {
            true => (self.rules.patience_ms, None),
            false => (transit, Some(reply)),
        };
        self.at(self.now + after, Event::Returns(message, reply, self.now));
    }

    /// What the host of machines does, alarms included.
    pub(crate) fn tell(&mut self, ledger: &str, command: Command) -> Reply {
        let now = self.now;
        let host = now - self.rules.host_steps.iter().filter(|(at, _)| *at <= now).map(|(_, by)| by).sum::<u64>();
        let account = self.ledgers.entry(ledger.to_owned()).or_default();
        account.told += 1;
        if let Command::Exchange(exchange) = &command {
            account.caps = exchange.caps;
        }
        while let Some(alarm) = account.alarm.filter(|alarm| *alarm <= host) {
            account.alarm = None;
            account.apply(Command::Sweep, alarm);
        }
        let reply = account.apply(command, host);
        if matches!(reply, Reply::Counted { .. }) {
            account.granted.push(now);
        }
        reply
    }

    fn returns(&mut self, message: Message, reply: Option<Reply>, decided: u64) {
        let Message { place, life, errand, ask, settles } = message;
        if self.isolates[place].life != life {
            return;
        }
        if reply.is_none() {
            self.isolates[place].unsettled.entry(errand.ledger.clone()).or_default().extend(settles);
        }
        let clock = self.clock(place);
        match ask {
            None => self.isolates[place].wallet.accept(errand, reply, clock),
            Some((id, n)) => self.replied(id, n, reply, (errand, decided)),
        }
        self.schedule(place);
    }

    fn replied(&mut self, id: u64, n: usize, reply: Option<Reply>, (errand, decided): (Errand, u64)) {
        let Some(waiting) = self.waiting.get_mut(&id) else { return };
        waiting.replies[n] = Some(reply);
        let toll = waiting.wish.tolls.iter().position(|toll| toll.ledger == errand.ledger).unwrap();
        waiting.decided[toll] = decided;
        if waiting.replies.iter().any(Option::is_none) {
            return;
        }
        let Waiting { place, life, ask, replies, decided, wish } = self.waiting.remove(&id).unwrap();
        assert_eq!(self.isolates[place].life, life);
        let clock = self.clock(place);
        match self.isolates[place].wallet.finish(ask, replies.into_iter().flatten().collect(), clock) {
            Verdict::Granted(_) => self.admit(place, &wish, &decided),
            Verdict::Refused(refused) => self.refuse(&wish, refused.toll),
            Verdict::Unknown => {}
        }
    }

    fn admit(&mut self, place: usize, wish: &Wish, decided: &[u64]) {
        let call = self.calls.len();
        let ended = self.now + wish.takes_ms;
        let life = self.isolates[place].life;
        self.calls.push(Call {
            isolate: (place, life),
            ended,
            need: wish.need.tokens,
            answer: wish.answer.tokens,
            settled: BTreeMap::new(),
        });
        for (toll, decided) in wish.tolls.iter().zip(decided) {
            let account = self.ledgers.entry(toll.ledger.clone()).or_default();
            account.caps = toll.caps;
            account.admitted.push((*decided, call));
            account.recent.push_back(*decided);
            account.use_tokens(self.now, wish.need.tokens);
        }
        if wish.answer != Amount::default() {
            self.at(ended, Event::Ends(place, life, call, wish.clone()));
        }
    }

    fn ends(&mut self, place: usize, life: u64, call: usize, wish: &Wish) {
        for toll in wish.tolls.iter() {
            let account = self.ledgers.get_mut(&toll.ledger).unwrap();
            account.use_tokens(self.now, wish.answer.tokens);
        }
        if self.isolates[place].life != life {
            return;
        }
        let clock = self.clock(place);
        let isolate = &mut self.isolates[place];
        isolate.wallet.settle(&wish.tolls, wish.answer, clock);
        for toll in wish.tolls.iter() {
            isolate.unsettled.entry(toll.ledger.clone()).or_default().push(call);
        }
        self.schedule(place);
    }

    fn refuse(&mut self, wish: &Wish, toll: usize) {
        let is_admissible = wish.tolls.iter().all(|toll| {
            let now = self.now;
            let account = self.ledgers.entry(toll.ledger.clone()).or_default();
            account.forget(now);
            let requests = toll.caps.requests_per_minute.is_none_or(|cap| account.recent.len() < cap as usize);
            requests && toll.caps.tokens_per_minute.is_none_or(|cap| account.tokens_recent < cap)
        });
        let account = self.ledgers.get_mut(&wish.tolls[toll].ledger).unwrap();
        account.refused += 1;
        account.refused_wrongly += u64::from(is_admissible);
    }

    fn crash(&mut self, place: usize) {
        let isolate = &mut self.isolates[place];
        isolate.life += 1;
        isolate.wallet = Wallet::default();
        isolate.flush_at = None;
        isolate.unsettled.clear();
        self.waiting.retain(|_, waiting| waiting.place != place);
    }

    /// What the gateway does: when an errand is due, it is run beside a request; at the latest as due says.
    fn schedule(&mut self, place: usize) {
        let isolate = &mut self.isolates[place];
        let Some(due) = isolate.wallet.due_at() else { return };
        let at = due.as_millis().saturating_sub(isolate.skew).max(self.now);
        if isolate.flush_at.is_none_or(|flush| at < flush) {
            isolate.flush_at = Some(at);
            let life = isolate.life;
            self.at(at, Event::Flush(place, life));
        }
    }

    fn flush(&mut self, place: usize) {
        let clock = self.clock(place);
        for errand in self.isolates[place].wallet.due(clock) {
            self.send(place, errand, None);
        }
        self.schedule(place);
    }

    fn transit(&mut self) -> u64 {
        1 + self.random.below(self.rules.transit_max_ms)
    }

    fn is_lost(&mut self) -> bool {
        self.rules.lost > 0 && self.random.below(self.rules.lost) == 0
    }
}

impl Account {
    pub(crate) fn apply(&mut self, command: Command, now: u64) -> Reply {
        let state = self.state.take().unwrap_or_default();
        let transition = Ledger::apply(state.clone(), command, Timestamp::from_millis(now));
        self.state = match transition.state {
            Next::Keep => Some(state),
            Next::Put(next) => Some(next),
            Next::Clear => None,
        };
        match transition.alarm {
            Alarm::Keep => {}
            Alarm::At(at) => self.alarm = Some(at.as_millis()),
            Alarm::Off => self.alarm = None,
        }
        transition.reply
    }

    /// Requests that are leased at `now`.
    pub(crate) fn leased(&self, now: u64) -> u64 {
        let Some(state) = self.state.clone() else { return 0 };
        let swept = Ledger::apply(state, Command::Sweep, Timestamp::from_millis(now));
        let Next::Put(state) = swept.state else { return 0 };
        let stored = serde_json::to_value(state).unwrap();
        stored["l"].as_array().unwrap().iter().filter_map(|lease| lease[1].as_u64()).sum()
    }

    fn use_tokens(&mut self, now: u64, tokens: u64) {
        self.tokens.push_back((now, tokens));
        self.tokens_recent += tokens;
    }

    fn forget(&mut self, now: u64) {
        while self.recent.pop_front_if(|at| *at + 60_000 <= now).is_some() {}
        while let Some((_, cost)) = self.tokens.pop_front_if(|(at, _)| *at + 60_000 <= now) {
            self.tokens_recent -= cost;
        }
    }
}

/// Numbers that look random and are the same in each run.
pub(crate) struct Random(pub u64);

impl Random {
    /// Steele, Lea and Flood, Fast splittable pseudorandom number generators (2014): SplitMix64.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

/// 20 November 2026, about noon.
pub(crate) const START: u64 = 1_795_176_000_000;
