//! How does a request reach an instance? Through its circuit, to a place there, and again where that is safe.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use mcp::Timestamp;
use registry::Server;
use upstream::{Admit, Breaker, Failure, Outcome, Pass, Place, Readable, Repeatable, Resilience, Retry, Room, Ticket};

use crate::{
    answer::is_mcp,
    config::Config,
    course::Made,
    memory::Memory,
    platform::{Answer, Departure, Platform, Unanswered},
    serve::Gateway,
};

/// Where a request goes, and how often.
#[derive(Clone, Copy)]
pub(crate) struct Way<'a> {
    pub(crate) server: &'a Server,
    pub(crate) instance: &'a str,
    pub(crate) resilience: Resilience,
    pub(crate) repeatable: Repeatable,
}

/// An answer, and the place its request holds until all of it was handed on.
pub(crate) struct Reached<B> {
    pub(crate) answer: Answer<B>,
    pub(crate) seat: Option<Seat>,
}

/// Why an instance gave no answer.
#[derive(Debug)]
pub(crate) enum Missed {
    /// It was asked, and did not answer.
    Unanswered(Unanswered),
    /// It failed too often, and is left alone for so long.
    Shut { retry_after_ms: u64 },
    /// It has as much to do as it may.
    Full { retry_after_ms: u64 },
}

/// A place at an instance; dropped, it is free.
pub(crate) struct Seat {
    memory: Memory,
    instance: String,
    ticket: Ticket,
    now: Box<dyn Fn() -> Timestamp>,
}

impl<'a> Way<'a> {
    /// A request to `instance` that is not repeated.
    pub(crate) fn once(config: &Config, server: &'a Server, instance: &'a str) -> Self {
        Self { server, instance, resilience: config.resilience(server), repeatable: Repeatable::No }
    }
}

impl<P: Platform> Gateway<P> {
    /// Sends `departure`, again while that is safe and promises something.
    pub(crate) async fn reach(&self, way: Way<'_>, departure: Departure) -> Result<Reached<P::Body>, Missed> {
        let deadline = self.platform.now().plus_millis(millis(way.server.timeout));
        let mut retry = Retry::new(way.resilience.retries, way.repeatable, deadline);
        while !retry.is_over() {
            let attempt = self.attempt(way, departure.clone()).await;
            let now = self.platform.now();
            let Some(failure) = failure(&attempt, now) else { return attempt };
            let Some(pause_ms) = retry.after(failure, now, self.chance()) else { return attempt };
            drop(attempt);
            self.platform.pause(Duration::from_millis(pause_ms)).await;
        }
        self.attempt(way, departure).await
    }

    /// Sends `request` to a conversation, which has circuits and places of its own.
    pub(crate) async fn converse(
        &self,
        server: &Server,
        made: &Made,
        mut request: Request<Bytes>,
    ) -> Result<Reached<P::Body>, Missed> {
        let told = made.terms.tell(&mut request);
        told.map_err(|detail| Missed::Unanswered(Unanswered::Broken(detail)))?;
        let answer = self.platform.converse(&made.name, request, server.timeout).await;
        answer.map(|answer| Reached { answer, seat: None }).map_err(Missed::Unanswered)
    }

    async fn attempt(&self, way: Way<'_>, departure: Departure) -> Result<Reached<P::Body>, Missed> {
        let pass = self.pass_circuit(way).await?;
        // The stream a GET opens stays for as long as its session does, and would leave no place for calls.
        let seat = if departure.head.method() == http::Method::GET { None } else { Some(self.seat(way).await?) };
        let answer = self.send_in_its_transport(way, departure).await;
        self.record(way, pass, outcome(&answer));
        answer.map(|answer| Reached { answer, seat }).map_err(Missed::Unanswered)
    }

    async fn pass_circuit(&self, way: Way<'_>) -> Result<Pass, Missed> {
        let chance = self.chance();
        let admit = self.circuit(way, |circuit, now| circuit.admit(now, chance));
        let command = match admit {
            Admit::Go(pass) => return Ok(pass),
            Admit::Open { retry_after_ms } => return Err(Missed::Shut { retry_after_ms }),
            Admit::Ask(command) => command,
        };
        let reply = self.tell::<Breaker>(way.instance, &command).await;
        let admit = self.circuit(way, |circuit, now| match reply {
            Ok(reply) => circuit.accept(&command, reply, now),
            Err(_) => circuit.unasked(now, chance),
        });
        match admit {
            Admit::Go(pass) => Ok(pass),
            Admit::Open { retry_after_ms } => Err(Missed::Shut { retry_after_ms }),
            Admit::Ask(_) => Err(Missed::Shut { retry_after_ms: 1_000 }),
        }
    }

    /// Tells the circuit what became of a request, and the breaker all isolates share if it concerns them.
    fn record(&self, way: Way<'_>, pass: Pass, outcome: Outcome) {
        let chance = self.chance();
        let command =
            self.circuit(way, |circuit, now| circuit.record(pass, outcome, now, chance).or_else(|| circuit.due(now)));
        let Some(command) = command else { return };
        let (gateway, server, instance) = (self.clone(), way.server.clone(), way.instance.to_owned());
        let (resilience, repeatable) = (way.resilience, way.repeatable);
        self.platform.defer(async move {
            if let Ok(reply) = gateway.tell::<Breaker>(&instance, &command).await {
                let way = Way { server: &server, instance: &instance, resilience, repeatable };
                let _ = gateway.circuit(way, |circuit, now| circuit.accept(&command, reply, now));
            }
        });
    }

    /// A place at the instance, waited for in line. The line is looked at now and then: on Workers one request cannot
    /// wake another.
    async fn seat(&self, way: Way<'_>) -> Result<Seat, Missed> {
        let Resilience { concurrency, queue, queue_wait, stream_idle, .. } = way.resilience;
        let hold_ms = millis(way.server.timeout).saturating_add(millis(stream_idle)).max(HOLD_MIN_MS);
        let room = Room { concurrency, queue, queue_wait_ms: millis(queue_wait), hold_ms };
        let now = self.platform.now();
        let place = self.memory.0.borrow_mut().slots.admit(way.instance, room, now);
        let (ticket, is_granted) = match place {
            Place::Granted(ticket) => (ticket, true),
            Place::Queued(ticket) => (ticket, false),
            Place::Full { retry_after_ms } => return Err(Missed::Full { retry_after_ms }),
        };
        let platform = self.platform.clone();
        let seat = Seat {
            memory: self.memory.clone(),
            instance: way.instance.to_owned(),
            ticket,
            now: Box::new(move || platform.now()),
        };
        let until = now.plus_millis(room.queue_wait_ms);
        while !is_granted && !self.memory.0.borrow().slots.holds(way.instance, ticket) {
            if self.platform.now() >= until {
                return Err(Missed::Full { retry_after_ms: room.queue_wait_ms.max(1_000) });
            }
            self.platform.pause(LINE_LOOK).await;
        }
        Ok(seat)
    }

    fn circuit<T>(&self, way: Way<'_>, what: impl FnOnce(&mut upstream::Circuit, Timestamp) -> T) -> T {
        let now = self.platform.now();
        let mut memory = self.memory.0.borrow_mut();
        what(memory.circuits.of(way.instance, way.resilience.breaker), now)
    }

    /// A number for jitter: spread, but no secret.
    pub(crate) fn chance(&self) -> u64 {
        let mut memory = self.memory.0.borrow_mut();
        if memory.chance == 0 {
            let [a, b, c, d, e, f, g, h, ..] = self.platform.random();
            memory.chance = u64::from_le_bytes([a, b, c, d, e, f, g, h]) | 1;
        }
        // Knuth's MMIX generator; its upper bits are the good ones.
        memory.chance = memory.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        memory.chance.rotate_right(32)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let now = (self.now)();
        // Who is next in line looks for itself. A place that cannot be given back now is taken back later.
        if let Ok(mut memory) = self.memory.0.try_borrow_mut() {
            let _ = memory.slots.leave(&self.instance, self.ticket, now);
        }
    }
}

fn outcome<B>(answer: &Result<Answer<B>, Unanswered>) -> Outcome {
    match answer {
        Ok(answer) => {
            let readable = if is_mcp(answer.response.headers()) { Readable::Yes } else { Readable::No };
            Outcome::of_answer(answer.response.status().as_u16(), readable)
        }
        Err(_) => Outcome::Failed,
    }
}

/// What an attempt failed with, if another might not.
fn failure<B>(attempt: &Result<Reached<B>, Missed>, now: Timestamp) -> Option<Failure> {
    match attempt {
        Ok(Reached { answer, .. }) if answer.response.status().is_server_error() => {
            let field = answer.response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
            let retry_after_ms = field.and_then(|field| upstream::retry_after_ms(field, now));
            Some(Failure::Status { status: answer.response.status().as_u16(), retry_after_ms })
        }
        Err(Missed::Unanswered(Unanswered::Broken(_))) => Some(Failure::Broken),
        Err(Missed::Unanswered(Unanswered::Deadline(_))) => Some(Failure::Deadline),
        Ok(_) | Err(Missed::Shut { .. } | Missed::Full { .. }) => None,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

const LINE_LOOK: Duration = Duration::from_millis(10);
/// A place whose request was dropped without a word is taken back after this, or what the server may take if that is more.
const HOLD_MIN_MS: u64 = 60_000;
