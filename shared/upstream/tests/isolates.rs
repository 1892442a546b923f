//! Do isolates that share nothing but a breaker agree on an instance that dies and returns? Simulated, with messages
//! that are late or lost, isolates that crash, and a clock moved by hand.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "the helpers of tests are tests")]

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    convert::Infallible,
    ops::Range,
    time::Duration,
};

use machine::{Commit, Next, Store};
use mcp::Timestamp;
use upstream::{Admit, Breaker, Circuits, Command, Outcome, Pass, Reply, Tolerance};

#[test]
fn an_instance_that_dies_is_left_alone_and_one_that_returns_is_used_again() {
    println!("seed  to the dead  probes  own probes  crashes  closed after  share at the end");
    for seed in 0..12 {
        let world = World::run(seed);
        let tally = &world.tally;
        let closed_after_ms = tally.first_served_ms - OUTAGE.end;
        let share = tally.late_returned * 100 / tally.late_sessions;
        println!(
            "{seed:4}  {:11}  {:6}  {:10}  {:7}  {closed_after_ms:9} ms  {share:14} %",
            tally.to_the_dead, tally.probes, tally.own_probes, tally.crashes
        );
        assert_eq!(tally.unserved, 0, "two instances were there all the time");
        assert!(tally.sessions > 10_000);
        // Whoever does not know yet tries; afterwards only probes do.
        assert!(tally.to_the_dead <= 5 * (ISOLATES as u32 + tally.crashes), "{tally:?}");
        assert!((2..=12).contains(&tally.probes), "{tally:?}");
        assert!(tally.most_probes_at_once == 1, "{tally:?}");
        assert!(closed_after_ms <= 61_000 + LEASE_MS, "{tally:?}");
        assert!((27..=40).contains(&share), "a third of the sessions, {tally:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_world() {
    assert_eq!(format!("{:?}", World::run(3).tally), format!("{:?}", World::run(3).tally));
}

/// What happens at a point in time.
enum Event {
    /// A new session wants an instance.
    Session,
    /// A command reaches the breaker, unless it is lost.
    Told(Attempt, &'static str, Command),
    /// Its reply reaches the isolate, unless it is lost.
    Replied(Attempt, &'static str, Command, Option<Reply>),
    /// A request has its answer, or its failure.
    Ended { attempt: Attempt, instance: &'static str, pass: Pass, outcome: Outcome },
    /// A probe the breaker had granted is over: by its end, or with the isolate it ran in.
    ProbeOver,
    /// An isolate loses its memory and everything under way.
    Crash,
}

/// A session that looks for an instance; with none left to try, only a message to the breaker.
#[derive(Clone)]
struct Attempt {
    isolate: usize,
    generation: u32,
    left: Vec<&'static str>,
}

#[derive(Debug, Default)]
struct Tally {
    sessions: u32,
    unserved: u32,
    to_the_dead: u32,
    probes: u32,
    own_probes: u32,
    probes_at_once: u32,
    most_probes_at_once: u32,
    crashes: u32,
    /// When the instance that returned served its first request that was no probe.
    first_served_ms: u64,
    late_sessions: u32,
    late_returned: u32,
}

struct World {
    now_ms: u64,
    events: BinaryHeap<Reverse<(u64, usize)>>,
    bodies: Vec<Option<Event>>,
    isolates: Vec<(Circuits, u32)>,
    breakers: BTreeMap<&'static str, Row>,
    instances: Vec<String>,
    random: u64,
    tally: Tally,
}

impl World {
    fn run(seed: u64) -> Self {
        let mut world = Self {
            now_ms: 0,
            events: BinaryHeap::new(),
            bodies: Vec::new(),
            isolates: (0..ISOLATES).map(|_| (Circuits::default(), 0)).collect(),
            breakers: BTreeMap::new(),
            instances: INSTANCES.map(str::to_owned).to_vec(),
            random: seed,
            tally: Tally { first_served_ms: u64::MAX, ..Tally::default() },
        };
        for at_ms in (0..END_MS).step_by(10) {
            world.schedule(at_ms, Event::Session);
        }
        for at_ms in (0..END_MS).step_by(7_000) {
            world.schedule(at_ms, Event::Crash);
        }
        while let Some(Reverse((at_ms, body))) = world.events.pop() {
            world.now_ms = at_ms;
            let event = world.bodies[body].take().unwrap();
            world.happen(event);
        }
        world
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Session => self.open_session(),
            Event::Crash => self.crash(),
            Event::ProbeOver => self.tally.probes_at_once -= 1,
            Event::Told(attempt, instance, command) => self.told(attempt, instance, command),
            Event::Replied(attempt, ..) if !self.lives(&attempt) => {}
            Event::Replied(attempt, instance, command, reply) => self.replied(attempt, instance, command, reply),
            Event::Ended { attempt, .. } if !self.lives(&attempt) => {}
            Event::Ended { attempt, instance, pass, outcome } => self.ended(attempt, instance, pass, outcome),
        }
    }

    fn open_session(&mut self) {
        self.tally.sessions += 1;
        let (isolate, now) = (self.below(ISOLATES as u64) as usize, self.now());
        let (circuits, generation) = &mut self.isolates[isolate];
        let order = circuits.order(&self.instances, now);
        let left = order.into_iter().rev().map(|name| INSTANCES.into_iter().find(|one| *one == name).unwrap());
        let attempt = Attempt { isolate, generation: *generation, left: left.collect() };
        self.try_next(attempt);
    }

    fn try_next(&mut self, mut attempt: Attempt) {
        let Some(instance) = attempt.left.pop() else {
            self.tally.unserved += 1;
            return;
        };
        let (now, random) = (self.now(), self.next());
        match self.isolates[attempt.isolate].0.of(instance, tolerance()).admit(now, random) {
            Admit::Go(pass) => self.send(attempt, instance, pass, false),
            Admit::Ask(command) => self.message(Event::Told(attempt, instance, command)),
            Admit::Open { retry_after_ms } => {
                assert!((1..=60_000).contains(&retry_after_ms));
                self.try_next(attempt);
            }
        }
    }

    fn send(&mut self, attempt: Attempt, instance: &'static str, pass: Pass, is_probe: bool) {
        let took_ms = 5 + self.below(200);
        let ends_ms = self.now_ms + took_ms;
        let is_dead = instance == MORTAL && OUTAGE.contains(&ends_ms);
        self.tally.to_the_dead += u32::from(is_dead && !is_probe);
        if instance == MORTAL && !is_dead && ends_ms >= OUTAGE.end && !is_probe {
            self.tally.first_served_ms = self.tally.first_served_ms.min(ends_ms);
        }
        let outcome = if is_dead { Outcome::Failed } else { Outcome::Answered };
        self.schedule(ends_ms, Event::Ended { attempt, instance, pass, outcome });
        if is_probe {
            self.tally.probes += 1;
            self.tally.probes_at_once += 1;
            self.tally.most_probes_at_once = self.tally.most_probes_at_once.max(self.tally.probes_at_once);
            self.schedule(ends_ms, Event::ProbeOver);
        }
    }

    fn ended(&mut self, attempt: Attempt, instance: &'static str, pass: Pass, outcome: Outcome) {
        let (now, random) = (self.now(), self.next());
        let circuit = self.isolates[attempt.isolate].0.of(instance, tolerance());
        let commands = [circuit.record(pass, outcome, now, random), circuit.due(now)];
        for command in commands.into_iter().flatten() {
            let aside = Attempt { left: Vec::new(), ..attempt.clone() };
            self.message(Event::Told(aside, instance, command));
        }
        match outcome {
            Outcome::Failed => self.try_next(attempt),
            Outcome::Answered if self.now_ms >= END_MS - LATE_MS => {
                self.tally.late_sessions += 1;
                self.tally.late_returned += u32::from(instance == MORTAL);
            }
            Outcome::Answered => {}
        }
    }

    fn told(&mut self, attempt: Attempt, instance: &'static str, command: Command) {
        let is_lost = self.below(20) == 0;
        let now = self.now();
        let reply = (!is_lost).then(|| {
            let command = serde_json::to_string(&command).unwrap();
            let reply = machine::run::<Breaker>(self.breakers.entry(instance).or_default(), &command, now);
            serde_json::from_str(&reply.unwrap()).unwrap()
        });
        let reply = reply.filter(|_| self.below(20) != 0);
        self.message(Event::Replied(attempt, instance, command, reply));
    }

    fn replied(&mut self, attempt: Attempt, instance: &'static str, command: Command, reply: Option<Reply>) {
        let (now, random) = (self.now(), self.next());
        let circuit = self.isolates[attempt.isolate].0.of(instance, tolerance());
        let is_probe = matches!(reply, Some(Reply::Probe { .. }));
        let admit = match (&command, reply) {
            (_, Some(reply)) => circuit.accept(&command, reply, now),
            (Command::Probe { .. }, None) => circuit.unasked(now, random),
            (_, None) => return,
        };
        match (command, admit) {
            (Command::Probe { .. }, Admit::Go(pass)) => {
                self.tally.own_probes += u32::from(reply.is_none());
                self.send(attempt, instance, pass, is_probe);
            }
            (Command::Probe { .. }, Admit::Open { .. }) => self.try_next(attempt),
            (Command::Probe { .. }, Admit::Ask(_)) => panic!("asked twice"),
            _ => {}
        }
    }

    fn crash(&mut self) {
        self.tally.crashes += 1;
        let isolate = self.below(ISOLATES as u64) as usize;
        let generation = self.isolates[isolate].1 + 1;
        self.isolates[isolate] = (Circuits::default(), generation);
    }

    fn lives(&self, attempt: &Attempt) -> bool {
        self.isolates[attempt.isolate].1 == attempt.generation
    }

    /// What travels between isolate and breaker takes a while.
    fn message(&mut self, event: Event) {
        let delay_ms = 2 + self.below(40);
        self.schedule(self.now_ms + delay_ms, event);
    }

    fn schedule(&mut self, at_ms: u64, event: Event) {
        self.events.push(Reverse((at_ms, self.bodies.len())));
        self.bodies.push(Some(event));
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + self.now_ms)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// What a platform stores of one machine.
#[derive(Default)]
struct Row(Option<String>);

impl Store for Row {
    type Failure = Infallible;

    fn load(&mut self) -> Result<Option<String>, Infallible> {
        Ok(self.0.clone())
    }

    fn commit(&mut self, commit: Commit) -> Result<(), Infallible> {
        match commit.state {
            Next::Keep => {}
            Next::Put(state) => self.0 = Some(state),
            Next::Clear => self.0 = None,
        }
        Ok(())
    }
}

fn tolerance() -> Tolerance {
    Tolerance { probe: Duration::from_millis(LEASE_MS), ..Tolerance::within(Duration::from_secs(1)) }
}

const INSTANCES: [&str; 3] = ["http://a/mcp", "http://b/mcp", "http://c/mcp"];
/// The one that dies and returns.
const MORTAL: &str = "http://b/mcp";
const OUTAGE: Range<u64> = 20_000..80_000;
const END_MS: u64 = 200_000;
/// The share of sessions is taken over so much of the end.
const LATE_MS: u64 = 30_000;
const ISOLATES: usize = 20;
const LEASE_MS: u64 = 3_000;
