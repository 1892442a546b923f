//! How are many commands told to one machine at once? Who comes first leads: what came meanwhile is one step with it.
//!
//! Within an instance a machine is told by one request at a time, which takes along what others left for it and then
//! hands on the lead. Among instances the shelf decides: a step that began with what is no more is decided anew.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    rc::Rc,
};

use audit::Chain;
use machine::{Alarm, Fault, Machine};
use mcp::Timestamp;
use quota::{Ledger, Usage};
use registry::Release;
use session::Session;
use upstream::Breaker;

use super::{Bell, Key, Made, Shelf, Step};
use crate::platform::Failed;

/// The machines an instance is telling something.
pub struct Machines<B>(Rc<RefCell<BTreeMap<Key, VecDeque<Waiting<B>>>>>);

/// A command that somebody else may take along.
struct Waiting<B> {
    command: String,
    /// Where its teller looks when the bell rings; shared with nobody once that is gone.
    turn: Rc<RefCell<Option<Turn<B>>>>,
    #[expect(dead_code, reason = "it rings when it is dropped, after the turn was put down")]
    bell: B,
}

/// What becomes of a command that waited.
enum Turn<B> {
    Told(Result<String, Failed>),
    Lead(String, Lead<B>),
}

/// The right to tell a machine; handed on when it is dropped.
struct Lead<B> {
    machines: Machines<B>,
    key: Key,
}

/// What comes of asking for the lead.
enum Asked<B: Bell> {
    Leads(String, Lead<B>),
    Waits(Rc<RefCell<Option<Turn<B>>>>, B::Rung),
}

impl<B> Default for Machines<B> {
    fn default() -> Self {
        Self(Rc::default())
    }
}

impl<B> Clone for Machines<B> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<B: Bell> Machines<B> {
    /// Tells a machine a JSON command and gives its reply.
    ///
    /// # Errors
    /// [`Failed`]; whether the command was carried out is not known where the shelf failed while it was made.
    pub async fn tell(
        &self,
        shelf: &impl Shelf,
        key: Key,
        command: String,
        now: impl Fn() -> Timestamp,
    ) -> Result<String, Failed> {
        let (command, lead) = match self.ask(key, command)? {
            Asked::Leads(command, lead) => (command, lead),
            Asked::Waits(turn, rung) => {
                rung.await;
                match turn.take() {
                    Some(Turn::Told(reply)) => return reply,
                    Some(Turn::Lead(command, lead)) => (command, lead),
                    None => return Err(Failed("whoever told the machine was cut off".to_owned())),
                }
            }
        };
        let others = lead.others();
        let commands: Vec<&str> =
            std::iter::once(&command).chain(others.iter().map(|one| &one.command)).map(String::as_str).collect();
        let mut replies = tell_all(shelf, &lead.key, &commands, now).await.into_iter();
        let own = replies.next().unwrap_or_else(|| Err(Failed("the machine said nothing".to_owned())));
        for (other, reply) in others.into_iter().zip(replies) {
            other.turn.replace(Some(Turn::Told(reply)));
        }
        own
    }

    fn ask(&self, key: Key, command: String) -> Result<Asked<B>, Failed> {
        let mut queues = self.0.borrow_mut();
        let Some(queue) = queues.get_mut(&key) else {
            queues.insert(key.clone(), VecDeque::new());
            return Ok(Asked::Leads(command, Lead { machines: self.clone(), key }));
        };
        if queue.len() >= QUEUE_MAX {
            return Err(Failed(format!("too much is told to one machine of kind `{}`", key.kind)));
        }
        let (turn, (bell, rung)) = (Rc::default(), B::hung());
        queue.push_back(Waiting { command, turn: Rc::clone(&turn), bell });
        Ok(Asked::Waits(turn, rung))
    }
}

impl<B> Lead<B> {
    /// What is taken along.
    fn others(&self) -> Vec<Waiting<B>> {
        let mut queues = self.machines.0.borrow_mut();
        let queue = queues.get_mut(&self.key).into_iter();
        queue.flat_map(|queue| queue.drain(..queue.len().min(TOGETHER_MAX - 1))).filter(Waiting::is_awaited).collect()
    }
}

impl<B> Drop for Lead<B> {
    fn drop(&mut self) {
        let next = {
            let mut queues = self.machines.0.borrow_mut();
            let Some(queue) = queues.get_mut(&self.key) else { return };
            queue.retain(Waiting::is_awaited);
            let next = queue.pop_front();
            if next.is_none() {
                queues.remove(&self.key);
            }
            next
        };
        if let Some(mut next) = next {
            let lead = Self { machines: self.machines.clone(), key: self.key.clone() };
            // Who goes before it is taken drops the lead, which hands it on.
            next.turn.replace(Some(Turn::Lead(std::mem::take(&mut next.command), lead)));
        }
    }
}

impl<B> Waiting<B> {
    fn is_awaited(&self) -> bool {
        Rc::strong_count(&self.turn) > 1
    }
}

/// Tells a machine several commands in one step.
async fn tell_all(
    shelf: &impl Shelf,
    key: &Key,
    commands: &[&str],
    now: impl Fn() -> Timestamp,
) -> Vec<Result<String, Failed>> {
    let told = step(shelf, key, now, |step, _| {
        let told = |command: &&str| run(key, step, Told::Command(command)).map_err(|fault| Failed(fault.to_string()));
        Some(commands.iter().map(told).collect())
    });
    match told.await {
        Ok(replies) => replies.unwrap_or_default(),
        Err(failed) => commands.iter().map(|_| Err(failed.clone())).collect(),
    }
}

/// Wakes a machine whose alarm is due; whether it was.
pub(super) async fn wake(shelf: &impl Shelf, key: &Key, now: impl Fn() -> Timestamp) -> Result<bool, Failed> {
    let woken = step(shelf, key, now, |step, alarm| {
        if alarm.is_none_or(|at| at > step.now) {
            return None;
        }
        step.alarm = Alarm::Off;
        Some(run(key, step, Told::Wake))
    });
    match woken.await? {
        None => Ok(false),
        Some(woken) => woken.map(|_| true).map_err(|fault| Failed(fault.to_string())),
    }
}

/// Makes the step that `decide` makes of what is there, which may have to be decided again.
async fn step<T>(
    shelf: &impl Shelf,
    key: &Key,
    now: impl Fn() -> Timestamp,
    mut decide: impl FnMut(&mut Step, Option<Timestamp>) -> Option<T>,
) -> Result<Option<T>, Failed> {
    for attempt in 0..ATTEMPTS {
        let hold = if attempt < FREE_ATTEMPTS { None } else { shelf.hold().await? };
        let found = shelf.find(key, hold.as_ref()).await?;
        let mut step = Step::from(found.state, now());
        let Some(decided) = decide(&mut step, found.alarm) else { return Ok(None) };
        if step.is_empty() || shelf.make(key, &step, hold.as_ref()).await? == Made::Yes {
            return Ok(Some(decided));
        }
    }
    Err(Failed(format!("a machine of kind `{}` is told too much by others", key.kind)))
}

/// What a machine is told.
enum Told<'a> {
    Command(&'a str),
    Wake,
}

fn run(key: &Key, step: &mut Step, told: Told<'_>) -> Result<String, Fault> {
    match key.kind.as_str() {
        Session::KIND => run_one::<Session>(step, told),
        Ledger::KIND => run_one::<Ledger>(step, told),
        Usage::KIND => run_one::<Usage>(step, told),
        Breaker::KIND => run_one::<Breaker>(step, told),
        Release::KIND => run_one::<Release>(step, told),
        Chain::KIND => run_one::<Chain>(step, told),
        kind => Err(Fault::Command(format!("there is no machine `{kind}`"))),
    }
}

fn run_one<M: Machine>(step: &mut Step, told: Told<'_>) -> Result<String, Fault> {
    let now = step.now;
    match told {
        Told::Command(command) => machine::run::<M>(step, command, now),
        Told::Wake => machine::wake::<M>(step, now).map(|()| String::new()),
    }
}

/// Commands that wait for one machine.
const QUEUE_MAX: usize = 4_096;
/// No more commands are one step.
pub const TOGETHER_MAX: usize = 64;
/// How often a step is tried before the shelf is held for it: among many instances some are always slower than others.
const FREE_ATTEMPTS: u32 = 4;
/// How often a step is decided anew before it is given up: each time a step of another instance was made.
const ATTEMPTS: u32 = 64;
