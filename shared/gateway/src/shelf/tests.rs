//! Is a machine right however many instances tell it something, in whatever order, and whoever goes in the middle?

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use audit::Chain;
use futures_channel::oneshot;
use futures_util::FutureExt as _;
use machine::Machine as _;
use proptest::prelude::*;
use serde_json::{Value, json};
use session::Session;

use super::{telling::wake, *};

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_acknowledged_is_there_once_and_nobody_is_left_waiting(
        tellers in prop::collection::vec(0..3_usize, 1..80),
        turns in prop::collection::vec((any::<prop::sample::Index>(), 0..24_u8), 0..600),
    ) {
        let (shelf, instances) = (Table::default(), [Machines::<Rope>::default(), Machines::<Rope>::default(), Machines::<Rope>::default()]);
        let acknowledged = Rc::new(RefCell::new(Vec::new()));
        let mut running: Vec<Option<Running<'_>>> = Vec::new();
        for (number, instance) in tellers.iter().enumerate() {
            let (machines, shelf, acknowledged) = (&instances[*instance], &shelf, Rc::clone(&acknowledged));
            running.push(Some(Box::pin(async move {
                let command = json!({ "Append": [{ "number": number }] }).to_string();
                let reply = machines.tell(shelf, chain(), command, Timestamp::default).await;
                if let Ok(reply) = reply {
                    let reply: Value = serde_json::from_str(&reply).unwrap();
                    acknowledged.borrow_mut().push((reply["length"].as_u64().unwrap(), number));
                }
            })));
        }
        for (index, what) in turns {
            let one = &mut running[index.index(tellers.len())];
            // Now and then somebody goes in the middle.
            if what == 0 || one.as_mut().is_some_and(advance) {
                *one = None;
            }
        }
        let mut rounds = 0;
        while running.iter().any(Option::is_some) {
            for one in &mut running {
                if one.as_mut().is_some_and(advance) {
                    *one = None;
                }
            }
            rounds += 1;
            prop_assert!(rounds < 20_000, "somebody waits for ever");
        }
        let rows = shelf.entries();
        for (length, number) in acknowledged.take() {
            prop_assert_eq!(&rows[usize::try_from(length).unwrap() - 1]["entry"], &json!({ "number": number }));
        }
        let mut entries: Vec<_> = rows.iter().map(|row| row["entry"]["number"].as_u64()).collect();
        entries.sort_unstable();
        entries.dedup();
        prop_assert_eq!(entries.len(), rows.len(), "no command is carried out twice");
    }
}

#[test]
fn commands_that_wait_are_one_step() {
    let (shelf, machines) = (Table::default(), Machines::<Rope>::default());
    let command = || json!({ "Append": [{ "n": 1 }] }).to_string();
    let mut all: Vec<Running<'_>> = Vec::new();
    for _ in 0..10 {
        let told = machines.tell(&shelf, chain(), command(), Timestamp::default);
        all.push(Box::pin(async { assert!(told.await.is_ok()) }));
    }
    while !all.is_empty() {
        all.retain_mut(|one| !advance(one));
    }
    assert_eq!((shelf.entries().len(), *shelf.makes.borrow()), (10, 2), "the first alone, then all others together");
}

#[test]
fn whoever_is_slow_gets_its_turn_among_many_that_are_fast() {
    let shelf = Table::default();
    let instances: Vec<Machines<Rope>> = (0..6).map(|_| Machines::default()).collect();
    let is_done = Cell::new(false);
    let command = json!({ "Append": [{ "n": 1 }] }).to_string();
    let mut fast: Vec<Running<'_>> = Vec::new();
    for machines in &instances[1..] {
        fast.push(Box::pin(async {
            while !is_done.get() {
                let told = machines.tell(&shelf, chain(), command.clone(), Timestamp::default).await;
                assert!(told.is_ok(), "{told:?}");
            }
        }));
    }
    let mut slow: Running<'_> = Box::pin(async {
        let told = instances[0].tell(&shelf, chain(), command.clone(), Timestamp::default).await;
        assert!(told.is_ok(), "{told:?}");
    });
    for round in 0..2_000 {
        if round % 25 == 0 && advance(&mut slow) {
            is_done.set(true);
            break;
        }
        fast.retain_mut(|one| !advance(one));
    }
    assert!(is_done.get(), "it never came to its turn");
}

#[test]
fn a_command_that_makes_no_sense_fails_alone() {
    let (shelf, machines) = (Table::default(), Machines::<Rope>::default());
    let now = Timestamp::default;
    let good = json!({ "Append": [] }).to_string();
    let mut all: Vec<Running<'_>> = Vec::new();
    for (command, works) in [(good.clone(), true), ("{}".to_owned(), false), (good, true)] {
        let told = machines.tell(&shelf, chain(), command, now);
        all.push(Box::pin(async move { assert_eq!(told.await.is_ok(), works) }));
    }
    while !all.is_empty() {
        all.retain_mut(|one| !advance(one));
    }
}

#[test]
fn an_alarm_wakes_when_it_is_due_and_once() {
    let (shelf, machines) = (Table::default(), Machines::<Rope>::default());
    let at = |millis| move || Timestamp::from_millis(millis);
    let key = Key { kind: Session::KIND.to_owned(), name: "one".to_owned() };
    let row = json!({ "instance": "http://127.0.0.1:1/mcp", "upstream_id": "theirs", "revision": "2025-11-25",
        "idle_ms": 1_000, "secret": null, "client": null });
    let opened = machines.tell(&shelf, key.clone(), json!({ "Open": row }).to_string(), at(0));
    finish(async { assert!(opened.await.is_ok(), "the row is one of a session") });
    let woken = |millis| {
        let woken = Rc::new(RefCell::new(None));
        finish(async { *woken.borrow_mut() = Some(wake(&shelf, &key, at(millis)).await.unwrap()) });
        woken.take().unwrap()
    };
    assert!(!woken(999), "it is not due");
    assert!(woken(1_000));
    assert!(!woken(1_000), "it was woken");
    assert_eq!(shelf.outbox.borrow().len(), 1, "the upstream's session is ended");
}

/// A bell that is heard by a waker.
struct Rope(#[expect(dead_code, reason = "it rings when it is dropped")] oneshot::Sender<()>);

impl Bell for Rope {
    type Rung = futures_util::future::Map<oneshot::Receiver<()>, fn(Result<(), oneshot::Canceled>)>;

    fn hung() -> (Self, Self::Rung) {
        let (bell, rung) = oneshot::channel();
        (Self(bell), rung.map(drop))
    }
}

type Running<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Polls once; whether it ended.
fn advance(one: &mut Running<'_>) -> bool {
    one.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

fn finish<'a>(task: impl Future<Output = ()> + 'a) {
    let mut task: Running<'a> = Box::pin(task);
    while !advance(&mut task) {}
}

fn chain() -> Key {
    Key { kind: Chain::KIND.to_owned(), name: "acme".to_owned() }
}

/// A shelf whose every answer takes a turn, so that others come in between.
#[derive(Default)]
struct Table {
    machines: RefCell<BTreeMap<Key, Found>>,
    rows: RefCell<Vec<String>>,
    outbox: RefCell<Vec<Outgoing>>,
    makes: RefCell<u32>,
    is_held: Rc<Cell<bool>>,
}

struct Grip(Rc<Cell<bool>>);

impl Drop for Grip {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl Table {
    fn entries(&self) -> Vec<Value> {
        self.rows.borrow().iter().map(|row| serde_json::from_str(row).unwrap()).collect()
    }
}

impl Shelf for Table {
    type Hold = Grip;

    async fn hold(&self) -> Result<Option<Grip>, Failed> {
        while self.is_held.replace(true) {
            turn().await;
        }
        Ok(Some(Grip(Rc::clone(&self.is_held))))
    }

    async fn find(&self, key: &Key, _: Option<&Grip>) -> Result<Found, Failed> {
        turn().await;
        let found = self.machines.borrow().get(key).cloned().unwrap_or_default();
        turn().await;
        Ok(found)
    }

    async fn make(&self, key: &Key, step: &Step, hold: Option<&Grip>) -> Result<Made, Failed> {
        turn().await;
        while hold.is_none() && self.is_held.get() {
            turn().await;
        }
        let mut found = self.machines.borrow().get(key).cloned().unwrap_or_default();
        if found.state != step.was {
            return Ok(Made::No);
        }
        found.state.clone_from(&step.state);
        match step.alarm {
            Alarm::Keep => {}
            Alarm::At(at) => found.alarm = Some(at),
            Alarm::Off => found.alarm = None,
        }
        self.machines.borrow_mut().insert(key.clone(), found);
        self.rows.borrow_mut().extend(step.rows.clone());
        self.outbox.borrow_mut().extend(step.outbox.clone());
        *self.makes.borrow_mut() += 1;
        turn().await;
        Ok(Made::Yes)
    }

    async fn rows(&self, _: &Key, _: u64, _: u32) -> Result<Vec<String>, Failed> {
        Ok(self.rows.borrow().clone())
    }

    async fn due(&self, _: Timestamp) -> Result<Vec<Key>, Failed> {
        Ok(Vec::new())
    }

    async fn take(&self, _: Timestamp) -> Result<Vec<Waiting>, Failed> {
        Ok(Vec::new())
    }

    async fn settle(&self, _: i64) -> Result<(), Failed> {
        Ok(())
    }
}

/// Lets others go first.
async fn turn() {
    let mut is_over = false;
    poll_fn(|_| match std::mem::replace(&mut is_over, true) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    })
    .await;
}
